// A real engine for tests: llama.cpp (by node-llama-cpp) behind a small OpenAI-shaped HTTP server.
//
//   node server.mjs [--port 0] [--model NAME] [--seed 1] [--slots 4]
//
// Serves a tiny model with random weights that it writes itself; nothing is downloaded. Prints one
// JSON line when ready: {"url","model","pid"}. Text is a function of the prompt alone (temperature 0).
// A last message of role "assistant" is continued. A client that leaves ends its generation.
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { randomUUID } from "node:crypto";
import { getLlama } from "node-llama-cpp";
import { writeTinyModel, CONTEXT_LENGTH } from "./tiny_model.mjs";

const { values: args } = parseArgs({ options: {
    port: { type: "string", default: "0" }, model: { type: "string", default: "tiny-random" },
    seed: { type: "string", default: "1" }, slots: { type: "string", default: "4" },
} });
const BODY_LIMIT = 32 << 20, DEFAULT_MAX_TOKENS = 64;
const served = { id: args.model, object: "model", created: Math.floor(Date.now() / 1000), owned_by: "llama.cpp" };
const counts = { requests: 0, running: 0, aborted: 0 };

class ApiError extends Error {
    constructor(status, message, code = null) {
        super(message);
        this.status = status;
        this.body = { error: { message, type: status < 500 ? "invalid_request_error" : "server_error", param: null, code } };
    }
}

// --- the model ------------------------------------------------------------------------------

async function loadModel() {
    const folder = mkdtempSync(join(tmpdir(), "signalbox-llama-"));
    const file = join(folder, "tiny.gguf");
    writeTinyModel(file, Number(args.seed));
    const llama = await getLlama({ build: "never", gpu: false, logLevel: "error", maxThreads: 1 });
    const model = await llama.loadModel({ modelPath: file });
    rmSync(folder, { recursive: true });
    return model;
}

const model = await loadModel();
const slots = Number(args.slots);
const context = await model.createContext({ contextSize: CONTEXT_LENGTH, sequences: slots });
const embedding = await model.createEmbeddingContext({ contextSize: CONTEXT_LENGTH });
const free = Array.from({ length: slots }, () => context.getSequence());
const waiting = [];

const takeSequence = () => free.length ? free.pop() : new Promise((resolve) => waiting.push(resolve));
const giveSequence = (sequence) => waiting.length ? waiting.shift()(sequence) : free.push(sequence);

// Yields one piece of text per token. signal: stops it; the sequence is free again then.
async function* generate(tokens, maxTokens, signal) {
    const sequence = await takeSequence();
    counts.running++;
    try {
        await sequence.clearHistory();
        let left = maxTokens;
        if (left === 0 || signal.aborted)
            return;
        for await (const token of sequence.evaluate(tokens, { temperature: 0 })) {
            if (signal.aborted)
                return;
            yield model.detokenize([token], false, tokens.slice(-1));
            left--;
            if (left === 0)
                return;
        }
    } finally {
        counts.running--;
        giveSequence(sequence);
    }
}

// --- requests -------------------------------------------------------------------------------

const textOf = (content) => typeof content === "string" ? content
    : (content ?? []).filter((part) => part.type === "text").map((part) => part.text).join("");

function chatPrompt(messages) {
    if (!Array.isArray(messages) || messages.length === 0)
        throw new ApiError(400, "messages: a non-empty list is expected");
    const last = messages[messages.length - 1];
    const continues = last.role === "assistant";
    const done = continues ? messages.slice(0, -1) : messages;
    return done.map((m) => `[${m.role}]${textOf(m.content)}\n`).join("") + "[assistant]" + (continues ? textOf(last.content) : "");
}

function tokensOf(text, room) {
    const tokens = model.tokenize(text);
    tokens.unshift(model.tokens.bos);
    if (tokens.length + room > CONTEXT_LENGTH)
        throw new ApiError(400, `the request needs ${tokens.length + room} tokens, the context has ${CONTEXT_LENGTH}`,
            "context_length_exceeded");
    return tokens;
}

function planOf(body, prompt) {
    const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? DEFAULT_MAX_TOKENS;
    if (!Number.isInteger(maxTokens) || maxTokens < 0)
        throw new ApiError(400, "max_tokens: a whole number is expected");
    const stops = [body.stop ?? []].flat();
    return { tokens: tokensOf(prompt, maxTokens), maxTokens, stops };
}

// Calls onText for each piece up to a stop string; resolves to {finish, completion tokens}.
async function run({ tokens, maxTokens, stops }, signal, onText) {
    let text = "", sent = 0, used = 0;
    const held = Math.max(0, ...stops.map((stop) => stop.length - 1));
    for await (const piece of generate(tokens, maxTokens, signal)) {
        text += piece;
        used++;
        const cut = Math.min(...stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0));
        if (cut !== Infinity) {
            onText(text.slice(sent, cut));
            return { finish: "stop", used };
        }
        const until = Math.max(sent, text.length - held);
        onText(text.slice(sent, until));
        sent = until;
    }
    onText(text.slice(sent));
    return { finish: used === maxTokens ? "length" : "stop", used };
}

const usageOf = (prompt, completion) =>
    ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion });

const CHAT = {
    prefix: "chatcmpl-", object: "chat.completion", chunk: "chat.completion.chunk",
    prompt: (body) => chatPrompt(body.messages),
    whole: (text, finish) => ({ index: 0, message: { role: "assistant", content: text }, finish_reason: finish }),
    first: { index: 0, delta: { role: "assistant", content: "" }, finish_reason: null },
    piece: (text) => ({ index: 0, delta: { content: text }, finish_reason: null }),
    last: (finish) => ({ index: 0, delta: {}, finish_reason: finish }),
};
const COMPLETION = {
    prefix: "cmpl-", object: "text_completion", chunk: "text_completion",
    prompt: (body) => {
        if (typeof body.prompt !== "string")
            throw new ApiError(400, "prompt: a string is expected");
        return body.prompt;
    },
    whole: (text, finish) => ({ index: 0, text, finish_reason: finish }),
    first: null,
    piece: (text) => ({ index: 0, text, finish_reason: null }),
    last: (finish) => ({ index: 0, text: "", finish_reason: finish }),
};

async function complete(shape, body, response, signal) {
    const plan = planOf(body, shape.prompt(body));
    const base = { id: shape.prefix + randomUUID(), created: Math.floor(Date.now() / 1000), model: served.id };
    if (!body.stream) {
        let text = "";
        const { finish, used } = await run(plan, signal, (piece) => { text += piece; });
        return sendJson(response, 200, { ...base, object: shape.object, choices: [shape.whole(text, finish)],
            usage: usageOf(plan.tokens.length, used) });
    }
    const withUsage = body.stream_options?.include_usage === true;
    const send = (choices, extra = {}) => response.write("data: " + JSON.stringify(
        { ...base, object: shape.chunk, choices, ...(withUsage ? { usage: null } : {}), ...extra }) + "\n\n");
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    if (shape.first)
        send([shape.first]);
    const { finish, used } = await run(plan, signal, (piece) => { if (piece) send([shape.piece(piece)]); });
    send([shape.last(finish)]);
    if (withUsage)
        send([], { usage: usageOf(plan.tokens.length, used) });
    response.end("data: [DONE]\n\n");
}

async function embed(body, response) {
    const inputs = [body.input].flat();
    if (inputs.length === 0 || inputs.some((input) => typeof input !== "string"))
        throw new ApiError(400, "input: a string or a list of strings is expected");
    const data = [];
    let used = 0;
    for (const [index, input] of inputs.entries()) {
        const tokens = tokensOf(input, 0);
        const { vector } = await embedding.getEmbeddingFor(tokens);
        used += tokens.length;
        data.push({ object: "embedding", index, embedding: Array.from(vector) });
    }
    sendJson(response, 200, { object: "list", data, model: served.id, usage: { prompt_tokens: used, total_tokens: used } });
}

// --- HTTP -----------------------------------------------------------------------------------

function sendJson(response, status, body) {
    const text = Buffer.from(JSON.stringify(body));
    response.writeHead(status, { "content-type": "application/json", "content-length": text.length });
    response.end(text);
}

async function readJson(request) {
    const parts = [];
    let length = 0;
    for await (const part of request) {
        length += part.length;
        if (length > BODY_LIMIT)
            throw new ApiError(413, "the body is too large");
        parts.push(part);
    }
    try {
        return JSON.parse(Buffer.concat(parts).toString("utf8"));
    } catch {
        throw new ApiError(400, "the body is not JSON");
    }
}

const routes = {
    "GET /health": (_, response) => sendJson(response, 200, { status: "ok" }),
    "GET /counts": (_, response) => sendJson(response, 200, counts),
    "GET /v1/models": (_, response) => sendJson(response, 200, { object: "list", data: [served] }),
    "POST /v1/chat/completions": (body, response, signal) => complete(CHAT, body, response, signal),
    "POST /v1/completions": (body, response, signal) => complete(COMPLETION, body, response, signal),
    "POST /v1/embeddings": embed,
};

async function handle(request, response) {
    const abort = new AbortController();
    response.on("close", () => {
        if (!response.writableFinished) {
            counts.aborted++;
            abort.abort();
        }
    });
    try {
        const route = routes[`${request.method} ${request.url.split("?")[0]}`];
        if (!route)
            throw new ApiError(404, `no such path: ${request.method} ${request.url}`);
        const body = request.method === "POST" ? await readJson(request) : null;
        if (request.method === "POST") {
            counts.requests++;
            if (body?.model !== served.id)
                throw new ApiError(404, `the model ${body?.model} is not served here`, "model_not_found");
        }
        await route(body, response, abort.signal);
    } catch (error) {
        if (abort.signal.aborted)
            return;
        if (response.headersSent)
            return response.destroy(error);
        sendJson(response, error.status ?? 500, error.body ?? new ApiError(500, String(error)).body);
    }
}

const server = createServer({ keepAliveTimeout: 65000 }, handle);
server.listen(Number(args.port), "127.0.0.1", () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}`, model: served.id, pid: process.pid }));
});
for (const signal of ["SIGINT", "SIGTERM"])
    process.on(signal, () => process.exit(0));
