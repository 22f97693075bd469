"""A real engine, llama.cpp, as a backend and behind a worker: the text must be the engine's own."""
import os

import pytest

from support.client import Stream, request
from support.cluster import TestCluster
from support.engine import LlamaEngine
from support.wait import until

pytestmark = pytest.mark.skipif(not os.environ.get("SBX_REAL_ENGINE"), reason="set SBX_REAL_ENGINE=1 (npm packages needed)")

MESSAGES = [{"role": "user", "content": "Tell me a story about a signal box."}]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    engine = LlamaEngine(tmp_path_factory.mktemp("llama"))
    yield engine
    engine.stop()


@pytest.fixture(scope="module", params=["http", "nats"])
def cluster(request, llama):
    with TestCluster(kind=request.param, engines=[llama], model=llama.model) as cluster:
        yield cluster


def body(llama, **extra):
    return {"model": llama.model, "messages": MESSAGES, "temperature": 0, "max_tokens": 40, **extra}


def test_the_engine_alone_is_deterministic_and_continues_a_prefill(llama):
    first, second = (request(llama.url, "POST", "/v1/chat/completions", body(llama)).text for _ in range(2))
    assert first == second and len(first) > 40
    begun = first[:20]
    rest = request(llama.url, "POST", "/v1/chat/completions", body(
        llama, messages=MESSAGES + [{"role": "assistant", "content": begun}], max_tokens=10)).text
    assert first.startswith(begun + rest)


def test_a_buffered_chat_gives_the_engine_s_text_and_usage(llama, cluster):
    direct = request(llama.url, "POST", "/v1/chat/completions", body(llama))
    through = cluster.post("/v1/chat/completions", body(llama))
    assert (through.status, through.text) == (200, direct.text)
    assert through.json()["usage"] == direct.json()["usage"]


def test_a_stream_gives_the_same_text_and_usage_when_asked(llama, cluster):
    direct = request(llama.url, "POST", "/v1/chat/completions", body(llama))
    stream = cluster.stream(body(llama, stream_options={"include_usage": True}))
    stream.read_all()
    assert (stream.text, stream.done) == (direct.text, True)
    assert stream.chunks[-1]["usage"] == direct.json()["usage"]
    assert len(stream.chunks) > 20


def test_a_client_that_leaves_ends_the_generation(llama, cluster):
    before = llama.counts()["aborted"]
    stream = Stream(cluster.api_url, "/v1/chat/completions", body(llama, stream=True, max_tokens=3500))
    next(iter(stream))
    stream.abort()
    until(lambda: llama.counts()["aborted"] == before + 1, 3, "llama.cpp is told")
    llama.until_idle()


def test_eight_at_once_each_get_their_own_answer(llama, cluster):
    from concurrent.futures import ThreadPoolExecutor
    prompts = [f"Question number {i}" for i in range(8)]

    def ask(url, prompt):
        return request(url, "POST", "/v1/chat/completions", body(llama, messages=[{"role": "user", "content": prompt}])).text

    with ThreadPoolExecutor(8) as pool:
        through = list(pool.map(lambda p: ask(cluster.api_url, p), prompts))
    assert through == [ask(llama.url, prompt) for prompt in prompts]


def test_a_prompt_that_is_too_long_is_the_engine_s_own_400(llama, cluster):
    answer = cluster.post("/v1/chat/completions", body(llama, messages=[{"role": "user", "content": "x" * 10_000}]))
    assert (answer.status, answer.error_code) == (400, "context_length_exceeded")
