// The official OpenAI SDK through the real program. SIGNALBOX_URL: the controller; ENGINE_URL: the
// simulated engine behind it, whose log shows what really arrived.
import { test } from "node:test";
import assert from "node:assert/strict";
import OpenAI from "openai";

const { SIGNALBOX_URL, ENGINE_URL, MODEL = "sim" } = process.env;
const KEY = "sk-client-secret";
const client = new OpenAI({ baseURL: `${SIGNALBOX_URL}/v1`, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "Say something." }];
const timeout = { timeout: 30_000 };

const simLog = async () => (await fetch(`${ENGINE_URL}/sim/log`)).json();

const aborts = async () => (await simLog()).requests.filter((entry) => entry.aborted).length;

async function until(condition, what) {
    for (let i = 0; i < 200; i++) {
        if (await condition())
            return;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail(`not within 4 s: ${what}`);
}

test("a buffered chat gives a message, usage and a finish reason", timeout, async () => {
    const answer = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 12, ignore_eos: true });
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.ok(answer.choices[0].message.content.length > 0);
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 12);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12);
    assert.ok(answer._request_id, "x-request-id reaches the SDK");
});

test("a stream gives the text of the buffered answer, chunk by chunk", timeout, async () => {
    const whole = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 20, ignore_eos: true });
    const stream = await client.chat.completions.create(
        { model: MODEL, messages, max_tokens: 20, ignore_eos: true, stream: true, stream_options: { include_usage: true } });
    let text = "", finish = null, usage = null, chunks = 0;
    for await (const chunk of stream) {
        chunks++;
        text += chunk.choices[0]?.delta?.content ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
        usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(finish, "length");
    assert.equal(usage.completion_tokens, 20);
    assert.ok(chunks > 5, `${chunks} chunks`);
});

test("a stream without include_usage carries no usage", timeout, async () => {
    const stream = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 5, stream: true });
    for await (const chunk of stream)
        assert.ok(!chunk.usage, JSON.stringify(chunk));
});

test("an abort in mid-stream ends the request at the engine", timeout, async () => {
    const before = (await aborts());
    const stream = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 100_000, ignore_eos: true, stream: true });
    let chunks = 0;
    for await (const _ of stream) {
        chunks++;
        if (chunks === 3)
            stream.controller.abort();
    }
    await until(async () => (await aborts()) === before + 1, "the engine sees the abort");
});

test("an unknown model is a NotFoundError that names the known ones", timeout, async () => {
    await assert.rejects(client.chat.completions.create({ model: "no-such-model", messages }), (error) => {
        assert.ok(error instanceof OpenAI.NotFoundError, error.constructor.name);
        assert.equal(error.code, "MODEL_NOT_FOUND");
        assert.match(error.message, /sim/);
        return true;
    });
});

test("a request without messages is a BadRequestError", timeout, async () => {
    await assert.rejects(client.chat.completions.create({ model: MODEL }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError, error.constructor.name);
        assert.equal(error.code, "REQUEST_VALIDATION_FAILED");
        return true;
    });
});

test("an engine that fails is an InternalServerError", timeout, async () => {
    await fetch(`${ENGINE_URL}/sim/faults`,
        { method: "POST", body: JSON.stringify({ fault: "error_500", count: 1 }) });
    await assert.rejects(client.chat.completions.create({ model: MODEL, messages }), (error) => {
        assert.ok(error instanceof OpenAI.InternalServerError, error.constructor.name);
        assert.equal(error.status, 502);
        assert.equal(error.code, "WORKER_UNAVAILABLE");
        return true;
    });
});

test("models are listed and found one by one", timeout, async () => {
    const ids = [];
    for await (const model of client.models.list())
        ids.push(model.id);
    assert.deepEqual(ids, [MODEL]);
    const model = await client.models.retrieve(MODEL);
    assert.equal(model.id, MODEL);
    assert.equal(model.object, "model");
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
});

test("completions of plain text work", timeout, async () => {
    const answer = await client.completions.create({ model: MODEL, prompt: "Once", max_tokens: 7 });
    assert.equal(answer.object, "text_completion");
    assert.ok(answer.choices[0].text.length > 0);
});

test("fifty requests at once, half of them streams, all come back with their own text", timeout, async () => {
    const one = async (i) => {
        const request = { model: MODEL, messages: [{ role: "user", content: `Question ${i >> 1}` }], max_tokens: 15, ignore_eos: true };
        if (i % 2 === 0)
            return (await client.chat.completions.create(request)).choices[0].message.content;
        let text = "";
        for await (const chunk of await client.chat.completions.create({ ...request, stream: true }))
            text += chunk.choices[0]?.delta?.content ?? "";
        return text;
    };
    const texts = await Promise.all(Array.from({ length: 50 }, (_, i) => one(i)));
    for (let i = 0; i < 50; i += 2)
        assert.equal(texts[i], texts[i + 1], `question ${i >> 1}: buffered and streamed differ`);
    assert.equal(new Set(texts).size, 25, "each question has a text of its own");
});

test("the client's key never reaches the engine", timeout, async () => {
    assert.ok(!JSON.stringify(await simLog()).includes(KEY));
});
