// 1,000 embeddings through the official SDK while the helper behind them is killed; test/real/test_embedding_helper.py
// starts it. SIGNALBOX_URL, MODEL; KILL_PID: killed after KILL_AT calls. Prints one JSON line.
import OpenAI from "openai";

const { SIGNALBOX_URL, MODEL, KILL_PID, CALLS = "1000", KILL_AT = "300", WIDTH = "4" } = process.env;
const client = new OpenAI({ baseURL: `${SIGNALBOX_URL}/v1`, apiKey: "none", maxRetries: 0, timeout: 30_000 });
const texts = Array.from({ length: 10 }, (_, i) => `Text number ${i}: trains pass the signal box.`);

const cosine = (a, b) => {
    let dot = 0, aa = 0, bb = 0;
    for (let i = 0; i < a.length; i++) {
        dot += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return a.length === b.length ? dot / Math.sqrt(aa * bb) : -1;
};

const ask = async (input) => {
    const { data, response } = await client.embeddings.create({ model: MODEL, input }).withResponse();
    return { vectors: data.data.map((entry) => Array.from(entry.embedding)), fallback: response.headers.get("x-signalbox-fallback") };
};

const before = (await ask(texts)).vectors;
const result = { calls: 0, failed: 0, local: 0, helper: 0, leastCosine: 1, dimension: before[0].length, errors: [] };
let next = 0;

async function work() {
    for (let i = next++; i < Number(CALLS); i = next++) {
        if (i === Number(KILL_AT))
            process.kill(Number(KILL_PID), "SIGKILL");
        result.calls++;
        try {
            const { vectors, fallback } = await ask(texts[i % texts.length]);
            result[fallback === "local" ? "local" : "helper"]++;
            result.leastCosine = Math.min(result.leastCosine, cosine(vectors[0], before[i % texts.length]));
        } catch (error) {
            result.failed++;
            result.errors.push(String(error).slice(0, 200));
        }
    }
}

await Promise.all(Array.from({ length: Number(WIDTH) }, work));
console.log(JSON.stringify(result));
