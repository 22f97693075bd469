"""HTTP on both sides: keep-alive, pipelining, methods, Expect, time limits, slow readers, stale connections."""
import json
import socket
import threading
import time

import pytest

from support.client import address_of
from support.cluster import TestCluster
from support.engine import SSE_HEAD, RecordingEngine, chunked, sse_events
from support.raw_http import exchange, heads, statuses
from support.wait import until

BODY = b'{"model":"sim","messages":[{"role":"user","content":"x"}],"max_tokens":1}'


def post(*headers, body=BODY, path=b"/v1/chat/completions"):
    return (b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            % len(body)) + b"".join(headers) + b"\r\n" + body


def get(path, *headers, method=b"GET"):
    return method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(headers) + b"\r\n"


@pytest.fixture(scope="module")
def cluster():
    with TestCluster(kind="http", config={"cluster": {"controller": {
            "headerTimeoutMs": 600, "bodyTimeoutMs": 600, "keepAliveTimeoutMs": 900,
            "cors": {"allowedOrigins": ["https://app.example"]}}}}) as cluster:
        yield cluster


def test_a_connection_serves_one_request_after_the_other(cluster):
    received = exchange(cluster.api_url, post(), post(), get(b"/livez"), seconds=0.4, pause=0.1)
    assert statuses(received) == [200, 200, 200]


def test_pipelined_requests_are_answered_in_order(cluster):
    received = exchange(cluster.api_url, get(b"/v1/models") + post() + get(b"/nowhere") + post() + get(b"/livez"),
                        seconds=0.5)
    assert statuses(received) == [200, 200, 404, 200, 200]


def test_connection_close_is_honoured(cluster):
    started = time.monotonic()
    received = exchange(cluster.api_url, get(b"/livez", b"Connection: close\r\n"), seconds=5)
    assert statuses(received) == [200] and b"onnection: close" in received
    assert time.monotonic() - started < 2


def test_http_1_0_gets_an_answer_and_the_end(cluster):
    started = time.monotonic()
    received = exchange(cluster.api_url, b"GET /livez HTTP/1.0\r\nHost: x\r\n\r\n", seconds=5)
    assert b" 200 " in received.split(b"\r\n")[0] and time.monotonic() - started < 2


def test_head_is_get_without_the_body(cluster):
    whole = exchange(cluster.api_url, get(b"/v1/models"), seconds=0.3)
    head = exchange(cluster.api_url, get(b"/v1/models", method=b"HEAD"), seconds=0.3)
    assert statuses(head) == [200] and head.endswith(b"\r\n\r\n") and len(head) < len(whole)
    assert b"ontent-length" in head.lower().replace(b"C", b"c")


def test_options_names_the_methods(cluster):
    received = exchange(cluster.api_url, get(b"/v1/chat/completions", method=b"OPTIONS"), seconds=0.3)
    assert statuses(received)[0] in (200, 204)
    assert b"allow: " in received.lower() and b"POST" in received


def test_a_cors_preflight_is_answered_for_an_allowed_origin_only(cluster):
    def preflight(origin):
        return exchange(cluster.api_url, get(
            b"/v1/chat/completions", b"Origin: " + origin + b"\r\nAccess-Control-Request-Method: POST\r\n",
            method=b"OPTIONS"), seconds=0.3).lower()
    assert b"access-control-allow-origin: https://app.example" in preflight(b"https://app.example")
    assert b"access-control-allow-origin" not in preflight(b"https://evil.example")


@pytest.mark.parametrize("method,path,allowed", [
    (b"GET", b"/v1/chat/completions", b"POST"), (b"DELETE", b"/v1/models", b"GET"), (b"PUT", b"/livez", b"GET")])
def test_a_wrong_method_is_a_405_that_names_the_right_one(cluster, method, path, allowed):
    received = exchange(cluster.api_url, get(path, b"Content-Length: 0\r\n", method=method), seconds=0.3)
    assert statuses(received) == [405]
    allow = [line for line in heads(received)[0].split(b"\r\n") if line.lower().startswith(b"allow:")]
    assert allow and allowed in allow[0]


def test_an_unknown_path_is_a_404_in_the_shape_of_the_api(cluster):
    answer = cluster.get("/v2/things")
    assert answer.status == 404 and answer.error_code == "NOT_FOUND"


def test_expect_100_continue_is_answered_before_the_body(cluster):
    request = post(b"Expect: 100-continue\r\n")
    received = exchange(cluster.api_url, request[:-len(BODY)], BODY, seconds=0.5, pause=0.2)
    assert statuses(received) == [100, 200]


def test_expect_is_not_continued_when_the_body_would_be_too_large(cluster):
    head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
    assert statuses(exchange(cluster.api_url, head, seconds=1)) == [413]


def test_another_expectation_is_a_417(cluster):
    assert statuses(exchange(cluster.api_url, post(b"Expect: something\r\n"), seconds=1)) == [417]


@pytest.mark.timing
@pytest.mark.parametrize("part", [post()[:30], post()[:-20]], ids=["head", "body"])
def test_a_request_that_does_not_arrive_in_time_is_a_408(cluster, part):
    started = time.monotonic()
    received = exchange(cluster.api_url, part, seconds=4)
    assert statuses(received) in ([408], []) and time.monotonic() - started < 2
    assert statuses(received) == [408]


@pytest.mark.timing
def test_a_head_that_trickles_in_does_not_extend_its_time(cluster):
    started = time.monotonic()
    parts = [post()[i:i + 1] for i in range(60)]
    exchange(cluster.api_url, *parts, seconds=4, pause=0.05)
    with socket.create_connection(address_of(cluster.api_url)) as sock:
        sock.sendall(b"GET / HT")
        started = time.monotonic()
        sock.settimeout(0.2)
        while time.monotonic() - started < 5:
            try:
                sock.sendall(b"x")
                if sock.recv(100) is not None:
                    break
            except socket.timeout:
                continue
            except OSError:
                break
        assert time.monotonic() - started < 1.5


@pytest.mark.timing
def test_an_idle_connection_is_closed_after_its_time(cluster):
    started = time.monotonic()
    received = exchange(cluster.api_url, get(b"/livez"), seconds=5)
    assert statuses(received) == [200] and 0.8 < time.monotonic() - started < 2.5


def test_a_client_that_leaves_ends_the_request_at_the_engine(cluster):
    before = cluster.worker(0).engine.aborts()
    stream = cluster.stream(cluster.body(max_tokens=100_000))
    next(iter(stream))
    stream.abort()
    until(lambda: cluster.worker(0).engine.aborts() == before + 1, 3, "the engine sees the client leave")
    cluster.until_quiet()


def test_a_client_that_leaves_a_buffered_request_ends_it_too(cluster):
    before = cluster.worker(0).engine.aborts()
    with socket.create_connection(address_of(cluster.api_url)) as sock:
        body = json.dumps(cluster.body(max_tokens=100_000)).encode()
        sock.sendall(post(body=body))
        until(lambda: cluster.in_flight() == 1, 3, "the request runs")
    until(lambda: cluster.worker(0).engine.aborts() == before + 1, 3, "the engine sees the client leave")
    cluster.until_quiet()


def test_a_stale_keep_alive_connection_is_replaced_without_anyone_noticing():
    """The backend closes every idle connection; the next request goes out on one of those."""
    with RecordingEngine() as engine, TestCluster(
            kind="http", engines=[engine], model="rec",
            config={"cluster": {"requestRouting": {"retry": {"enabled": False}}}}) as cluster:
        for _ in range(20):
            assert cluster.chat().status == 200
            engine.close_connections()
        answer = cluster.chat()
        assert answer.json()["metadata"]["retryCount"] == 0
        assert len(engine.inference) == 21
        assert cluster.workers_json()["w0"]["circuitBreaker"]["state"] == "closed"


def test_connections_to_a_backend_are_reused():
    with RecordingEngine() as engine, TestCluster(kind="http", engines=[engine], model="rec") as cluster:
        for _ in range(20):
            cluster.chat()
        assert engine.connections <= 2  # a health check may have come at the same time as a request


@pytest.mark.parametrize("kind", ["http", "nats"])
def test_a_client_that_does_not_read_stops_the_engine_instead_of_filling_memory(kind):
    """64 MiB of events for a client that reads nothing: most of it must still be at the engine."""
    event = chunked(b"data: " + json.dumps({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "rec",
        "choices": [{"index": 0, "delta": {"content": "x" * 16_000}, "finish_reason": None}]}).encode() + b"\n\n")
    sent = []
    finished = threading.Event()

    def flood(request, send, server):
        send(SSE_HEAD)
        for _ in range(4000):
            send(event)
            sent.append(len(event))
        for last in sse_events((), "rec")[1:]:
            send(chunked(last))
        send(b"0\r\n\r\n")
        finished.set()
        return True

    with RecordingEngine(on_chat=flood) as engine, TestCluster(kind=kind, engines=[engine], model="rec") as cluster:
        sock = socket.create_connection(address_of(cluster.api_url))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(post(body=json.dumps(cluster.body(stream=True)).encode()))
        before = cluster.controller.resident_bytes()
        until(lambda: sent, 5, "the stream has begun")
        time.sleep(1.5)
        held = sum(sent)
        assert held < 24 << 20, f"{held} bytes left the engine"
        assert cluster.controller.resident_bytes() - before < 8 << 20
        sock.settimeout(20)
        tail, content = b"", 0
        while not tail.endswith(b"0\r\n\r\n"):
            data = sock.recv(1 << 20)
            assert data, "the stream was cut"
            tail, content = (tail + data)[-16:], content + data.count(b"x")
        # Our chunks hold several of the engine's, so the framing differs; the content does not.
        assert finished.is_set() and content >= 4000 * 16_000
        sock.close()
        cluster.until_quiet()


@pytest.mark.timing
def test_a_client_that_never_reads_again_is_dropped_after_its_time():
    with TestCluster(kind="http", engine={"ttft_ms": 1, "tps": 1_000_000},
                     config={"cluster": {"controller": {"clientWriteTimeoutMs": 700}}}) as cluster:
        sock = socket.create_connection(address_of(cluster.api_url))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(post(body=json.dumps(cluster.body(stream=True, max_tokens=1_000_000)).encode()))
        until(lambda: cluster.in_flight() == 1, 5, "the stream runs")
        until(lambda: cluster.in_flight() == 0, 10, "the stream that nobody reads is ended")
        sock.close()
