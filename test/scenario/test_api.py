"""The shapes of the API, over both ways to reach a worker."""
import json
import re
import time

import pytest

from support.cluster import TestCluster
from support.wait import until


@pytest.fixture(scope="module", params=["http", "nats"])
def cluster(request):
    config = {"routing": {"default_model": "sim", "aliases": {"nick": ["absent", "sim"]}}}
    with TestCluster(workers=2, kind=request.param, config=config) as cluster:
        yield cluster


def test_a_buffered_chat_has_the_shape_of_the_api_and_metadata(cluster):
    answer = cluster.chat("hi", max_tokens=8)
    body = answer.json()
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/json")
    assert body["object"] == "chat.completion" and body["model"] == "sim"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 8
    meta = body["metadata"]
    assert meta["requestId"] == answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", meta["requestId"])
    assert meta["selectedWorker"] == answer.headers["x-signalbox-worker"] in ("w0", "w1")
    assert (meta["retryCount"], meta["circuitBreakerTrips"], meta["timeouts"], meta["failedWorkers"]) == (0, 0, 0, [])
    assert 0 <= meta["totalDurationMs"] < 5000


def test_a_client_s_request_id_is_echoed(cluster):
    assert cluster.chat(headers={"x-request-id": "my-own-id"}).headers["x-request-id"] == "my-own-id"


def test_a_stream_has_the_shape_of_the_api_and_its_metadata_in_headers(cluster):
    whole = cluster.chat("same", max_tokens=12)
    stream = cluster.stream(cluster.body("same", max_tokens=12))
    stream.read_all()
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in stream.headers["cache-control"]
    assert stream.headers["x-signalbox-worker"] in ("w0", "w1")
    assert stream.text == whole.text
    assert stream.done and stream.clean_end
    assert all("usage" not in c or c["usage"] is None for c in stream.chunks)


def test_a_stream_gives_usage_when_asked(cluster):
    stream = cluster.stream(cluster.body(max_tokens=4, stream_options={"include_usage": True}))
    stream.read_all()
    assert stream.chunks[-1]["choices"] == []
    assert stream.chunks[-1]["usage"]["completion_tokens"] == 4


def test_a_stream_gives_metadata_in_a_last_chunk_when_asked(cluster):
    stream = cluster.stream(cluster.body(max_tokens=4), headers={"x-signalbox-metadata": "true"})
    stream.read_all()
    assert stream.done
    assert stream.chunks[-1]["metadata"]["retryCount"] == 0


@pytest.mark.timing
def test_a_stream_arrives_event_by_event(cluster):
    """Fifteen tokens at 500 per second: the first comes before the last was made."""
    stream = cluster.stream(cluster.body(max_tokens=200))
    stream.read_all()
    times = [at for at, _ in stream.events]
    assert times[-1] - times[0] > 0.2, times


def test_completions_of_plain_text_work(cluster):
    answer = cluster.post("/v1/completions", {"model": "sim", "prompt": "Once", "max_tokens": 5})
    body = answer.json()
    assert (answer.status, body["object"]) == (200, "text_completion")
    assert body["choices"][0]["text"]
    stream = cluster.stream({"model": "sim", "prompt": "Once", "max_tokens": 5}, path="/v1/completions")
    stream.read_all()
    assert "".join(c["choices"][0]["text"] for c in stream.chunks if c["choices"]) == body["choices"][0]["text"]


def test_models_are_listed_once_each(cluster):
    body = cluster.get("/v1/models").json()
    assert body["object"] == "list"
    assert {m["id"]: m["owned_by"] for m in body["data"]} == {
        "sim": "signalbox", "auto": "signalbox-role", "nick": "signalbox-role"}
    assert len(body["data"]) == 3 and body["data"][0]["object"] == "model"
    one = cluster.get("/v1/models/sim")
    assert (one.status, one.json()["id"]) == (200, "sim")
    missing = cluster.get("/v1/models/nothing")
    assert (missing.status, missing.error_code) == (404, "MODEL_NOT_FOUND")


@pytest.mark.parametrize("name", ["auto", "nick"])
def test_auto_and_aliases_resolve_to_a_served_model(cluster, name):
    answer = cluster.post("/v1/chat/completions", {**cluster.body(), "model": name})
    assert (answer.status, answer.json()["model"]) == (200, "sim")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/routablez", "/health"])
def test_the_health_pages_say_200(cluster, path):
    assert cluster.get(path).status == 200


def test_the_cluster_pages_show_the_workers(cluster):
    status = cluster.get("/api/cluster/status")
    assert status.status == 200 and isinstance(status.json(), dict)
    workers = cluster.workers_json()
    assert sorted(workers) == ["w0", "w1"]
    for entry in workers.values():
        assert entry["online"] and entry["models"] == ["sim"]
    one = cluster.get("/api/cluster/workers/w1")
    assert (one.status, one.json()["workerId"]) == (200, "w1")
    assert cluster.get("/api/cluster/workers/w9").status == 404


def test_requests_go_round_the_workers(cluster):
    chosen = [cluster.chat().headers["x-signalbox-worker"] for _ in range(6)]
    assert chosen.count("w0") == chosen.count("w1") == 3


INVALID = {
    "no JSON": b"hello",
    "nothing": b"",
    "cut": b'{"model":"sim","messages":[{"role":"user","content":"x"}]',
    "trailing": b'{"model":"sim","messages":[{"role":"user","content":"x"}]} x',
    "two values": b'{"model":"sim","messages":[{"role":"user","content":"x"}]}{}',
    "duplicate key": b'{"model":"sim","model":"sim","messages":[{"role":"user","content":"x"}]}',
    "duplicate key, escaped": b'{"model":"sim","mod\\u0065l":"x","messages":[{"role":"user","content":"x"}]}',
    "no model": b'{"messages":[{"role":"user","content":"x"}]}',
    "model of wrong type": b'{"model":1,"messages":[{"role":"user","content":"x"}]}',
    "no messages": b'{"model":"sim"}',
    "messages of wrong type": b'{"model":"sim","messages":"x"}',
    "bad UTF-8": b'{"model":"sim","messages":[{"role":"user","content":"\xff"}]}',
    "lone surrogate key": b'{"\\ud800":1,"model":"sim","messages":[{"role":"user","content":"x"}]}',
    "stream of wrong type": b'{"model":"sim","stream":"yes","messages":[{"role":"user","content":"x"}]}',
    "control character": b'{"model":"sim","messages":[{"role":"user","content":"a\nb"}]}',
    "deep": b'{"model":"sim","messages":[{"role":"user","content":"x"}],"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_body_is_a_400_that_reaches_no_worker(cluster, name):
    before = sum(len(w.inference()) for w in cluster.workers)
    answer = cluster.post("/v1/chat/completions", INVALID[name])
    assert (answer.status, answer.error_code) == (400, "REQUEST_VALIDATION_FAILED"), answer
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sum(len(w.inference()) for w in cluster.workers) == before


def test_an_unknown_model_is_a_404_that_names_the_known(cluster):
    answer = cluster.post("/v1/chat/completions", {**cluster.body(), "model": "ghost"})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["type"]) == (404, "MODEL_NOT_FOUND", "invalid_request_error")
    assert "sim" in json.dumps(error)
    assert set(error) >= {"message", "type", "param", "code", "context"}


def test_a_body_above_the_limit_is_a_413():
    with TestCluster(kind="http", config={"cluster": {"controller": {"maxBodyBytes": 10_000}}}) as cluster:
        answer = cluster.chat("x" * 20_000)
        assert (answer.status, answer.error_code) == (413, "REQUEST_TOO_LARGE")
        assert cluster.chat("x" * 5_000).status == 200


def test_a_request_that_passed_through_signalbox_is_refused(cluster):
    answer = cluster.chat(headers={"via": "1.1 signalbox"})
    assert (answer.status, answer.error_code) == (508, "LOOP_DETECTED")


@pytest.mark.parametrize("where", ["headers", "off"])
def test_metadata_can_be_kept_out_of_the_body(where):
    with TestCluster(kind="http", config={"cluster": {"controller": {"responseMetadata": where}}}) as cluster:
        answer = cluster.chat()
        assert "metadata" not in answer.json()
        assert ("x-signalbox-worker" in answer.headers) == (where == "headers")


@pytest.mark.parametrize("kind", ["http", "nats"])
def test_without_workers_nothing_is_tried(kind):
    with TestCluster(workers=0, kind=kind) as cluster:
        answer = cluster.chat()
        assert (answer.status, answer.error_code) == (503, "NO_WORKERS_AVAILABLE")
        assert cluster.get("/readyz").status == 200
        assert cluster.get("/routablez").status == 503


def test_no_prompt_and_no_key_reaches_the_log(cluster):
    cluster.chat("the-secret-prompt", headers={"authorization": "Bearer sk-secret-key"})
    until(lambda: cluster.controller.log, 5, "the controller logs")
    time.sleep(0.1)
    logs = "".join(child.log + child.out for child in cluster.children)
    assert "the-secret-prompt" not in logs and "sk-secret-key" not in logs


def test_each_request_has_one_log_line_with_its_id(cluster):
    request_id = cluster.chat().json()["metadata"]["requestId"]
    lines = until(lambda: [l for l in cluster.controller.log.split("\n")
                           if request_id in l and json.loads(l).get("level") != "debug"], 5, "a line in the log")
    assert len(lines) == 1, lines
