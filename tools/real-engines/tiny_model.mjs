// A llama model with random weights, small enough to write in a moment (about 1 MB).
//
// It says syllables: the only tokens it can choose are "ba", "be" ... "zu", a space and a full stop.
// Each of them is one merge away from single characters and none merges further, so text turns back
// into exactly the tokens it came from: a text cut anywhere between tokens continues as if uncut.
import { writeGguf } from "./gguf.mjs";

const WIDTH = 64, LAYERS = 2, HEADS = 4, FEED_FORWARD = 128;
export const CONTEXT_LENGTH = 4096;
const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, byte: 6 };

function vocabulary() {
    const tokens = [];
    const add = (text, type, score, spoken = false) => tokens.push({ text, type: TOKEN_TYPE[type], score, spoken });
    add("<unk>", "unknown", 0);
    add("<s>", "control", 0);
    add("</s>", "control", 0);
    for (let byte = 0; byte < 256; byte++)
        add(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, "byte", 0);
    for (let code = 0x21; code < 0x7f; code++) {
        const character = String.fromCharCode(code);
        add(character, "normal", -2, character === ".");
    }
    add("\u2581", "normal", -2, true); // how SentencePiece writes a space
    for (const consonant of "bdfghjklmnprstvz")
        for (const vowel of "aeiou")
            add(consonant + vowel, "normal", -1, true);
    return tokens;
}

// mulberry32: the same weights on every machine.
function seededRandom(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296 - 0.5;
    };
}

function tensors(vocab, random) {
    const matrix = (name, columns, rows, scale) =>
        ({ name, shape: [columns, rows], data: Float32Array.from({ length: columns * rows }, () => random() * scale) });
    const ones = (name) => ({ name, shape: [WIDTH], data: new Float32Array(WIDTH).fill(1) });

    const output = matrix("output.weight", WIDTH, vocab.length, 2);
    vocab.forEach((token, row) => {
        if (!token.spoken)
            output.data.fill(0, row * WIDTH, (row + 1) * WIDTH);
    });
    const list = [matrix("token_embd.weight", WIDTH, vocab.length, 2), ones("output_norm.weight"), output];
    for (let i = 0; i < LAYERS; i++) {
        const block = (name, columns, rows) => matrix(`blk.${i}.${name}.weight`, columns, rows, 0.5);
        list.push(ones(`blk.${i}.attn_norm.weight`), ones(`blk.${i}.ffn_norm.weight`),
            block("attn_q", WIDTH, WIDTH), block("attn_k", WIDTH, WIDTH), block("attn_v", WIDTH, WIDTH),
            block("attn_output", WIDTH, WIDTH), block("ffn_gate", WIDTH, FEED_FORWARD),
            block("ffn_up", WIDTH, FEED_FORWARD), block("ffn_down", FEED_FORWARD, WIDTH));
    }
    return list;
}

export function writeTinyModel(path, seed = 1) {
    const vocab = vocabulary();
    writeGguf(path, [
        ["general.architecture", "string", "llama"],
        ["general.name", "string", "signalbox tiny random"],
        ["general.file_type", "uint32", 0],
        ["llama.vocab_size", "uint32", vocab.length],
        ["llama.context_length", "uint32", CONTEXT_LENGTH],
        ["llama.embedding_length", "uint32", WIDTH],
        ["llama.block_count", "uint32", LAYERS],
        ["llama.feed_forward_length", "uint32", FEED_FORWARD],
        ["llama.attention.head_count", "uint32", HEADS],
        ["llama.attention.head_count_kv", "uint32", HEADS],
        ["llama.attention.layer_norm_rms_epsilon", "float32", 1e-5],
        ["llama.rope.dimension_count", "uint32", WIDTH / HEADS],
        ["tokenizer.ggml.model", "string", "llama"],
        ["tokenizer.ggml.tokens", "string[]", vocab.map((t) => t.text)],
        ["tokenizer.ggml.scores", "float32[]", vocab.map((t) => t.score)],
        ["tokenizer.ggml.token_type", "int32[]", vocab.map((t) => t.type)],
        ["tokenizer.ggml.unknown_token_id", "uint32", 0],
        ["tokenizer.ggml.bos_token_id", "uint32", 1],
        ["tokenizer.ggml.eos_token_id", "uint32", 2],
        ["tokenizer.ggml.add_bos_token", "bool", true],
        ["tokenizer.ggml.add_space_prefix", "bool", false],
    ], tensors(vocab, seededRandom(seed)));
}
