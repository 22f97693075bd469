"""Metadata and error context, exactly as DESIGN 7: of success, retry, exhaustion, timeout, and nothing tried; buffered and
streamed."""
import json
import re
import time

import pytest

from support.cluster import TestCluster
from support.engine import RecordingEngine, SSE_HEAD, chat_answer, chunked, sse_events
from support.raw_http import answer_of
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, fresh, knobs, ms
from support.wait import SCALE

METADATA = ["requestId", "retryCount", "circuitBreakerTrips", "timeouts", "failedWorkers", "selectedWorker", "totalDurationMs"]
QUICK = {"timeoutMs": ms(150), "streamingTimeoutMs": ms(150), "streamIdleTimeoutMs": ms(150)}
CONTEXT = [*METADATA, "lastError"]


@pytest.fixture(scope="module", params=KINDS)
def three(request):
    with TestCluster(workers=3, kind=request.param, engine=SWIFT, config=knobs(circuitBreaker=NO_TRIPS, **QUICK)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def clean(request):
    yield
    if "three" in request.fixturenames:
        fresh(request.getfixturevalue("three"))


def check(meta, answer, *, keys=METADATA, **wanted):
    """The keys are these and no others, the values are as wanted, and the rest is true of this answer."""
    assert sorted(meta) == sorted(keys), meta
    assert {key: meta[key] for key in wanted} == wanted, meta
    assert re.fullmatch("[0-9a-f]{32}", meta["requestId"]) and meta["requestId"] == answer.headers["x-request-id"]
    assert isinstance(meta["totalDurationMs"], (int, float)) and 0 <= meta["totalDurationMs"] <= answer.seconds * 1000 + 1
    assert len(meta["failedWorkers"]) <= meta["retryCount"] + 1


NOTHING_WRONG = {"retryCount": 0, "circuitBreakerTrips": 0, "timeouts": 0, "failedWorkers": []}


@pytest.mark.parametrize("way", WAYS)
def test_of_a_success(three, way):
    answer = ask(three, way)
    check(answer.meta, answer, **NOTHING_WRONG, selectedWorker=answer.headers["x-signalbox-worker"])
    assert answer.meta["selectedWorker"] in ("w0", "w1", "w2") and answer.headers["x-signalbox-retry-count"] == "0"


@pytest.mark.parametrize("way", WAYS)
def test_of_a_retry_that_helped(three, way):
    three.worker(0).simulate_error(count=-1)
    three.worker(1).fault("hang_before_head", count=-1)
    answers = [ask(three, way, f"request {i}") for i in range(3)]
    for answer in answers:
        failed = answer.meta["failedWorkers"]
        check(answer.meta, answer, retryCount=len(failed), circuitBreakerTrips=0, timeouts=failed.count("w1"), selectedWorker="w2")
        assert answer.headers["x-signalbox-worker"] == "w2" and answer.headers["x-signalbox-retry-count"] == str(len(failed))
        assert answer.meta["totalDurationMs"] >= 150 * failed.count("w1")
    assert max(len(answer.meta["failedWorkers"]) for answer in answers) >= 1


@pytest.mark.parametrize("way", WAYS)
def test_of_exhaustion(three, way):
    for worker in three.workers:
        worker.simulate_error(count=-1)
    answer = ask(three, way)
    check(answer.error["context"], answer, keys=CONTEXT, retryCount=2, circuitBreakerTrips=0, timeouts=0, selectedWorker=None,
          lastError="WORKER_UNAVAILABLE")
    assert sorted(answer.meta["failedWorkers"]) == ["w0", "w1", "w2"]
    assert sorted(answer.error) == ["code", "context", "message", "param", "type"]


@pytest.mark.parametrize("way", WAYS)
def test_of_timeouts(three, way):
    for worker in three.workers:
        worker.fault("hang_before_head", count=-1)
    answer = ask(three, way)
    check(answer.error["context"], answer, keys=CONTEXT, retryCount=2, circuitBreakerTrips=0, timeouts=3, selectedWorker=None,
          lastError="WORKER_TIMEOUT")
    assert answer.meta["totalDurationMs"] >= 450


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_of_requests_that_open_breakers(kind, way):
    """Each worker's breaker opens at its first failure, so a request over three workers opens three."""
    with TestCluster(workers=3, kind=kind, engine=SWIFT, config=knobs(circuitBreaker={"failureThreshold": 1})) as cluster:
        for worker in cluster.workers:
            worker.simulate_error(count=1)
        answer = ask(cluster, way)
        check(answer.meta, answer, keys=CONTEXT, retryCount=2, circuitBreakerTrips=3, selectedWorker=None)
        refused = ask(cluster, way)
        assert refused.code == "CIRCUIT_BREAKER_OPEN"
        check(refused.meta, refused, keys=CONTEXT, **NOTHING_WRONG, selectedWorker=None, lastError=None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_request_that_opens_one_breaker_and_succeeds(kind, way):
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=knobs(circuitBreaker={"failureThreshold": 1})) as cluster:
        cluster.worker(0).simulate_error(count=1)
        answers = [ask(cluster, way) for _ in range(2)]
        assert all(answer.ok for answer in answers)
        assert sorted(answer.meta["circuitBreakerTrips"] for answer in answers) == [0, 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_failed_workers_are_in_their_order(kind, way):
    def failing(request_, send, server):
        send(answer_of(500, b'{"error":{"message":"ill"}}'))
        return True
    engines = [RecordingEngine(on_chat=failing) for _ in range(3)]
    try:
        with TestCluster(kind=kind, engines=engines, model="rec", config=knobs()) as cluster:
            answer = ask(cluster, way)
            order = sorted(range(3), key=lambda index: engines[index].inference[0].at)
            assert answer.meta["failedWorkers"] == [f"w{index}" for index in order]
            assert {engine.inference[0].header("x-request-id") for engine in engines} == {answer.meta["requestId"]}
    finally:
        for engine in engines:
            engine.stop()


@pytest.mark.parametrize("way", WAYS)
def test_of_a_stream_or_body_when_nothing_was_tried(way):
    with TestCluster(workers=0, kind="http", config=knobs()) as cluster:
        answer = ask(cluster, way)
        check(answer.meta, answer, keys=CONTEXT, **NOTHING_WRONG, selectedWorker=None, lastError=None)


@pytest.mark.parametrize("way", WAYS)
def test_of_an_unknown_model(three, way):
    answer = ask(three, way, model="ghost")
    assert answer.status == 404
    check(answer.meta, answer, keys=CONTEXT, **NOTHING_WRONG, selectedWorker=None, lastError=None)


@pytest.mark.parametrize("body", [b"{}", b"nonsense"])
def test_a_request_that_was_not_routed_has_none(three, body):
    answer = three.post("/v1/chat/completions", body)
    assert answer.status == 400 and answer.json()["error"]["context"] is None
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("way", WAYS)
def test_of_an_answer_that_is_passed_through(three, way):
    for worker in three.workers:
        worker.fault("context_length", count=1)
    answer = ask(three, way)
    assert b"metadata" not in answer.body
    check(json.loads(answer.headers["x-signalbox-metadata"]), answer, **NOTHING_WRONG, selectedWorker=answer.headers["x-signalbox-worker"])


# --- streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "false"])
def test_a_stream_has_no_extra_chunk_unless_asked(three, value):
    stream = three.stream(three.body(), headers={"x-signalbox-metadata": value} if value else None)
    stream.read_all()
    assert stream.done and all("metadata" not in chunk for chunk in stream.chunks)
    assert re.fullmatch("[0-9a-f]{32}", stream.headers["x-request-id"])
    assert stream.headers["x-signalbox-worker"] in ("w0", "w1", "w2") and stream.headers["x-signalbox-retry-count"] == "0"
    meta = json.loads(stream.headers["x-signalbox-metadata"])
    assert sorted(meta) == sorted(METADATA) and meta["selectedWorker"] == stream.headers["x-signalbox-worker"]


def test_the_extra_chunk_is_one_and_the_last_before_done(three):
    stream = ask(three, "streaming", stream_options={"include_usage": True}).stream
    with_metadata = [index for index, chunk in enumerate(stream.chunks) if "metadata" in chunk]
    assert with_metadata == [len(stream.chunks) - 1] and stream.done
    last = stream.chunks[-1]
    assert last["choices"] == [] and last["object"] == "chat.completion.chunk"
    assert stream.chunks[-2]["usage"]["completion_tokens"] == 16


def test_of_a_stream_that_breaks_after_its_commit(three):
    for worker in three.workers:
        worker.fault("cut", count=1, after_tokens=3)
    answer = ask(three, "streaming")
    assert (answer.status, answer.code) == (200, "STREAM_INTERRUPTED")
    check(answer.error["context"], answer, keys=CONTEXT, retryCount=0, circuitBreakerTrips=0, timeouts=0,
          failedWorkers=[answer.headers["x-signalbox-worker"]], selectedWorker=None, lastError="WORKER_UNAVAILABLE")
    stream = answer.stream
    assert "error" in stream.chunks[-1] and not stream.done and "[DONE]" not in [data for _, data in stream.events]
    assert stream.clean_end, "the client's connection is whole"
    assert all("error" not in chunk for chunk in stream.chunks[:-1])


def test_of_a_stream_that_stands_still_after_its_commit(three):
    for worker in three.workers:
        worker.fault("hang_after_bytes", count=1, after_tokens=3)
    answer = ask(three, "streaming")
    check(answer.error["context"], answer, keys=CONTEXT, timeouts=1, lastError="WORKER_TIMEOUT", selectedWorker=None)


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_upstream_key_of_that_name_is_replaced_and_nothing_else(kind):
    body = b'{"metadata":{"theirs":[1,{"a":"}"}]},"id":"1","object":"chat.completion","created":1,"model":"rec", "odd" : 1e2,' \
           b'"choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9 metadata"},"finish_reason":"stop"}]}'

    def answer(request_, send, server):
        send(answer_of(200, body))
        return True
    with RecordingEngine(on_chat=answer) as engine, TestCluster(kind=kind, engines=[engine], model="rec", config=knobs()) as cluster:
        answer = ask(cluster)
        check(answer.meta, answer, **NOTHING_WRONG, selectedWorker="w0")
        assert answer.body.count(b'"metadata"') == 1 and b"theirs" not in answer.body
        theirs, ours = json.loads(body), json.loads(answer.body)
        del theirs["metadata"], ours["metadata"]
        assert ours == theirs and b'"odd" : 1e2' in answer.body and b"\\u00e9 metadata" in answer.body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["headers", "off"])
def test_kept_out_of_the_body_the_body_is_the_engine_s(kind, where):
    engine_s = chat_answer()
    config = knobs()
    config["cluster"]["controller"]["responseMetadata"] = where
    with RecordingEngine() as engine, TestCluster(kind=kind, engines=[engine], model="rec", config=config) as cluster:
        answer = ask(cluster)
        assert answer.body == engine_s
        if where == "headers":
            assert answer.headers["x-signalbox-worker"] == "w0" and answer.headers["x-signalbox-retry-count"] == "0"
            check(json.loads(answer.headers["x-signalbox-metadata"]), answer, **NOTHING_WRONG, selectedWorker="w0")
        else:
            assert not [name for name in answer.headers if name.startswith("x-signalbox-")]
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_duration_is_what_it_took(kind):
    def slow(request_, send, server):
        time.sleep(0.2)
        if b'"stream"' in request_.body:
            send(SSE_HEAD + b"".join(chunked(event) for event in sse_events()) + b"0\r\n\r\n")
        else:
            send(answer_of(200, chat_answer()))
        return True
    with RecordingEngine(on_chat=slow) as engine, TestCluster(kind=kind, engines=[engine], model="rec", config=knobs()) as cluster:
        for way in WAYS:
            answer = ask(cluster, way)
            assert 200 <= answer.meta["totalDurationMs"] < 200 + 100 * SCALE
