"""Every row of the table "What counts" (DESIGN 5), end to end: what the client sees, what the breaker did, how often
which engine was asked. Both kinds of worker, buffered and streaming."""
import contextlib
import pathlib
import re
import socket
import threading
import time

import pytest

from support.bus_worker import BusWorker
from support.client import request
from support.cluster import TestCluster
from support.engine import RecordingEngine, chat_answer
from support.raw_http import answer_of
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, attempts, breaker, fresh, knobs, lines, ms
from support.wait import until

QUICK = {"timeoutMs": ms(120), "streamingTimeoutMs": ms(120), "streamIdleTimeoutMs": ms(120)}
CONTEXT = {"requestId", "retryCount", "circuitBreakerTrips", "timeouts", "failedWorkers", "selectedWorker", "totalDurationMs",
           "lastError"}


@pytest.fixture(scope="module", params=KINDS)
def alone(request):
    """One worker: its failure is the only attempt's."""
    with TestCluster(workers=1, kind=request.param, engine=SWIFT, config=knobs(circuitBreaker=NO_TRIPS, **QUICK)) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=KINDS)
def once(request):
    """One worker and no retries."""
    with TestCluster(workers=1, kind=request.param, engine=SWIFT, config=knobs(circuitBreaker=NO_TRIPS, retry={"enabled": False})) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    with TestCluster(workers=2, kind=request.param, engine=SWIFT, config=knobs(circuitBreaker=NO_TRIPS, **QUICK)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def clean(request):
    yield
    for name in ("alone", "once", "pair"):
        if name in request.fixturenames:
            fresh(request.getfixturevalue(name))


def rows(faults):
    """(way, fault, order) of each fault, which is a name or (name, ways, {order of streams})."""
    for entry in faults:
        name, ways, order = (entry, WAYS, {}) if isinstance(entry, str) else entry
        for way in ways:
            yield pytest.param(way, name, order if way == "streaming" else {}, id=f"{name}-{way}")


AT_ONCE = {"after_tokens": 0}  # of a stream: behind the role, before any content
LOST = ["reset", "close", ("reset_after_bytes", WAYS, AT_ONCE), ("cut", WAYS, AT_ONCE)]
SERVER_ERROR = ["error_500", "error_502", "error_503", "error_408"]
MALFORMED = ["garbage", "garbage_json", "error_200", "empty_200", "wrong_content_type", "encoded", "redirect_302",
             ("malformed_chunk", WAYS, AT_ONCE), ("error_in_stream", ["streaming"], AT_ONCE)]
HANGING = ["hang_before_head", ("hang_after_bytes", WAYS, AT_ONCE), ("role_only", ["streaming"], {}), ("comments", ["streaming"], {})]
BUSY = ["error_429", "error_529", "busy", "loading"]
KEY_REFUSED = {"auth_401": 401, "payment_402": 402, "forbidden_403": 403}
CLIENT_S_FAULT = {"context_length": 400, "content_filter": 400, "conflict_409": 409, "too_large_413": 413, "unprocessable_422": 422,
                  "not_found_404": 404}


def check_only_attempt(answer, status, code, timeouts=0):
    """The error of a request whose one attempt at w0 failed, in the shape of DESIGN 7."""
    assert (answer.status, answer.code) == (status, code), answer
    error, context = answer.error, answer.error["context"]
    assert set(error) >= {"message", "type", "param", "code", "context"} and set(context) == CONTEXT
    assert (context["retryCount"], context["failedWorkers"], context["selectedWorker"]) == (0, ["w0"], None), answer
    assert (context["circuitBreakerTrips"], context["timeouts"], context["lastError"]) == (0, timeouts, code), answer
    assert context["requestId"] == answer.headers["x-request-id"] and answer.headers["x-signalbox-retry-count"] == "0"
    assert answer.headers["content-type"].startswith("application/json")
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1 and answer.headers["x-should-retry"] == "true"
    assert b"simulated" not in answer.body.lower()


def after_a_failure(cluster, way, fault, order):
    """The answer to a request that meets the fault at w0, whose breaker has counted one failure before."""
    cluster.worker(0).simulate_error()
    assert ask(cluster).code == "WORKER_UNAVAILABLE"
    assert breaker(cluster)["consecutiveFailures"] == 1
    cluster.worker(0).engine.clear_log()
    cluster.worker(0).fault(fault, count=-1, **order)
    return ask(cluster, way)


# --- what the client sees and the breaker counts when it is the only attempt ------------------


@pytest.mark.parametrize("way, fault, order", rows(LOST + SERVER_ERROR + MALFORMED))
def test_a_failed_worker_is_a_502_and_a_failure(alone, way, fault, order):
    answer = after_a_failure(alone, way, fault, order)
    check_only_attempt(answer, 502, "WORKER_UNAVAILABLE")
    assert breaker(alone)["consecutiveFailures"] == 2
    # A kept-alive connection that ends without a byte is tried once more on a fresh one.
    assert attempts(alone)[0] in ([1, 2] if fault in ("reset", "close") else [1])


@pytest.mark.parametrize("way, fault, order", rows(HANGING))
def test_a_silent_worker_is_a_504_and_a_failure(alone, way, fault, order):
    answer = after_a_failure(alone, way, fault, order)
    check_only_attempt(answer, 504, "WORKER_TIMEOUT", timeouts=1)
    assert breaker(alone)["consecutiveFailures"] == 2
    assert attempts(alone) == [1]
    until(lambda: alone.worker(0).engine.aborts() == 1, 1, "the engine was told")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", BUSY)
def test_a_busy_worker_is_a_503_and_cools_down_without_a_failure(once, way, fault):
    answer = after_a_failure(once, way, fault, {})
    check_only_attempt(answer, 503, "WORKER_OVERLOADED")
    assert answer.headers["retry-after"] == "1"
    state = once.worker(0).state()
    assert state["circuitBreaker"]["consecutiveFailures"] == 1 and state["circuitBreaker"]["state"] == "closed"
    assert not state["eligible"] and state["online"]
    assert attempts(once) == [1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", CLIENT_S_FAULT)
def test_the_request_s_own_fault_is_passed_through_unchanged(alone, way, fault):
    alone.worker(0).fault(fault, count=2)
    direct = request(alone.worker(0).engine.url, "POST", "/v1/chat/completions", alone.body())
    alone.worker(0).engine.clear_log()
    answer = ask(alone, way)
    assert (answer.status, answer.body) == (CLIENT_S_FAULT[fault], direct.body)
    assert answer.headers["content-type"] == direct.headers["content-type"]
    assert (answer.headers["x-signalbox-worker"], answer.headers["x-signalbox-retry-count"]) == ("w0", "0")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert breaker(alone)["state"] == "closed" and breaker(alone)["consecutiveFailures"] == 0
    assert attempts(alone) == [1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", KEY_REFUSED)
def test_a_worker_that_refuses_our_key_is_hard_down_until_reset(alone, way, fault):
    alone.worker(0).fault(fault, count=1)
    answer = ask(alone, way)
    check_only_attempt(answer, 502, "WORKER_UNAVAILABLE")
    said = re.sub(rb"[0-9a-f]{32}", b"", answer.body)  # ids have any digits
    for text in (b"API key", b"quota", b"Not allowed", b"401", b"402", b"403"):
        assert text not in said
    state = alone.worker(0).state()
    assert not state["eligible"]
    assert state["circuitBreaker"]["retryInMs"] > 29 * 60 * 1000
    again = ask(alone, way)  # the order is used up: only hard-down keeps the request away
    assert again.status == 503 and int(again.headers["retry-after"]) > 29 * 60, again
    assert attempts(alone) == [1]
    assert lines(alone, "worker_hard_down")[-1]["level"] == "error"
    alone.worker(0).reset()
    assert ask(alone, way).ok


# --- the same with another worker beside it --------------------------------------------------


def check_made_good(pair, way, fault, order, failures):
    """The first request that meets the fault at w0 is answered by w1; nobody notices."""
    expected = ask(pair, way).text
    fresh(pair)
    pair.worker(0).fault(fault, count=-1, **order)
    answers = [ask(pair, way)]
    if not answers[0].meta["failedWorkers"]:
        answers.append(ask(pair, way))
    assert all(answer.ok and answer.text == expected for answer in answers), answers
    met = answers[-1]
    meta = met.meta
    assert (meta["retryCount"], meta["failedWorkers"], meta["selectedWorker"]) == (1, ["w0"], "w1"), meta
    assert met.headers["x-signalbox-worker"] == "w1" and met.headers["x-signalbox-retry-count"] == "1"
    assert [breaker(pair, index)["consecutiveFailures"] for index in (0, 1)] == [failures, 0]
    seen = attempts(pair)
    assert seen[0] in ([1, 2] if fault in ("reset", "close") else [1]) and seen[1] == len(answers), seen
    return meta


@pytest.mark.parametrize("way, fault, order", rows(LOST + SERVER_ERROR + MALFORMED))
def test_a_failed_worker_is_made_good_by_another(pair, way, fault, order):
    assert check_made_good(pair, way, fault, order, failures=1)["timeouts"] == 0


@pytest.mark.parametrize("way, fault, order", rows(HANGING))
def test_a_silent_worker_is_made_good_by_another(pair, way, fault, order):
    assert check_made_good(pair, way, fault, order, failures=1)["timeouts"] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [*BUSY, *KEY_REFUSED])
def test_a_busy_worker_or_one_that_refuses_our_key_is_made_good_by_another(pair, way, fault):
    check_made_good(pair, way, fault, {}, failures=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", CLIENT_S_FAULT)
def test_the_request_s_own_fault_is_not_tried_elsewhere(pair, way, fault):
    for worker in pair.workers:
        worker.fault(fault, count=-1)
    assert ask(pair, way).status == CLIENT_S_FAULT[fault]
    assert sum(attempts(pair)) == 1


# --- rows that change what is known of a worker ----------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_lacks_a_model_it_claimed_is_left_alone_with_it(kind):
    with TestCluster(workers=2, kind=kind, config=knobs(), worker_config={"cluster": {"discovery": {
            "heartbeatIntervalMs": 3000, "offlineTimeoutMs": 9000}}}) as cluster:
        if kind == "http":  # a list that was asked for before the fault would bring the model back
            until(lambda: all(worker.engine.was_checked() for worker in cluster.workers), 5, "the first checks are done")
        cluster.worker(0).fault("model_missing_404", count=-1)
        answers = [ask(cluster, way) for way in WAYS * 2]
        assert all(answer.ok for answer in answers), answers
        assert sorted(answer.meta["retryCount"] for answer in answers) == [0, 0, 0, 1]
        assert breaker(cluster)["consecutiveFailures"] == 0
        assert cluster.worker(0).state()["models"] == [] and cluster.worker(0).state()["online"]
        assert attempts(cluster) == [1, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_its_only_worker_lacks_is_a_404(kind):
    with TestCluster(workers=1, kind=kind, config=knobs()) as cluster:
        cluster.worker(0).fault("model_missing_404", count=1)
        check_only_attempt(ask(cluster), 404, "MODEL_NOT_FOUND")


def test_a_dropped_model_is_back_when_the_worker_is_seen_with_it_again():
    with TestCluster(workers=1, kind="nats", config=knobs(), worker_config={"cluster": {"discovery": {
            "heartbeatIntervalMs": 200, "offlineTimeoutMs": 2000}}}) as cluster:
        cluster.worker(0).fault("model_missing_404", count=1)
        assert ask(cluster).code == "MODEL_NOT_FOUND"
        until(lambda: cluster.worker(0).state()["models"] == ["sim"], 2, "the next heartbeat brings it back")
        assert ask(cluster).ok


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_is_not_there_is_a_503_and_a_failure(kind, way):
    with TestCluster(workers=1, kind=kind, config=knobs()) as cluster:
        cluster.worker(0).kill()
        time.sleep(0.1)  # until the NATS server, too, has seen that it is gone
        answer = ask(cluster, way)
        check_only_attempt(answer, 503, "WORKER_UNAVAILABLE")
        if kind == "http":
            assert breaker(cluster)["consecutiveFailures"] == 1
        else:  # no responder: offline at once, no request after request fails on it
            assert not cluster.worker(0).state()["online"]
            assert ask(cluster, way).code == "NO_WORKERS_AVAILABLE"


def test_no_tls_where_tls_is_wanted_is_a_503_and_a_failure():
    with TestCluster(workers=1, kind="http", config=knobs()) as cluster:
        cluster.controller.stop()
        cluster.config["backends"]["w0"]["url"] = cluster.worker(0).engine.url.replace("http://", "https://")
        cluster.start_controller()
        cluster.wait_listening()
        check_only_attempt(ask(cluster), 503, "WORKER_UNAVAILABLE")
        assert breaker(cluster)["consecutiveFailures"] == 1
        assert attempts(cluster) == [0]


class ClosesKept(RecordingEngine):
    """Answers the first request of a connection and closes on each further one: what a keep-alive that ran out looks like."""

    def __init__(self):
        super().__init__(on_chat=self._answer)
        self.connection = threading.local()  # each has a thread of its own

    def _answer(self, request_, send, server):
        if getattr(self.connection, "served", False):
            return False
        self.connection.served = True
        send(answer_of(200, chat_answer()))
        return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_stale_connection_is_neither_failure_nor_retry(kind):
    with ClosesKept() as engine, TestCluster(kind=kind, engines=[engine], model="rec", config=knobs()) as cluster:
        answers = [ask(cluster) for _ in range(5)]
        assert all(answer.ok and answer.meta["retryCount"] == 0 for answer in answers), answers
        assert all(answer.meta["failedWorkers"] == [] for answer in answers)
        assert cluster.worker(0).state()["failures"] == 0
        assert len(engine.inference) > 5  # some were asked twice: the test is about something


@pytest.mark.parametrize("way", WAYS)
def test_a_draining_worker_is_no_failure_and_the_retry_is_free(way):
    config = knobs(retry={"maxRetries": 0}, circuitBreaker=NO_TRIPS)
    with TestCluster(workers=1, kind="nats", config=config) as cluster, \
            BusWorker(cluster, "odd", lambda run: run.error("draining")) as odd:
        answers = [ask(cluster, way) for _ in range(4)]
        assert all(answer.ok for answer in answers), answers
        assert len(odd.runs) == 1, "what said that it is draining is not asked again"
        assert odd.state()["circuitBreaker"]["consecutiveFailures"] == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_says_it_is_full_is_overloaded(way):
    with TestCluster(workers=1, kind="nats", config=knobs()) as cluster, \
            BusWorker(cluster, "full", lambda run: run.error("overloaded")) as full:
        answers = [ask(cluster, way) for _ in range(4)]
        assert all(answer.ok for answer in answers), answers
        assert len(full.runs) == 1 and not full.state()["eligible"]
        assert full.state()["circuitBreaker"]["consecutiveFailures"] == 0


def test_a_worker_that_does_not_acknowledge_is_a_timeout_and_a_failure():
    with TestCluster(workers=1, kind="nats", config=knobs(timeoutMs=5000)) as cluster, \
            BusWorker(cluster, "mute", lambda run: None) as mute:
        answers = [ask(cluster) for _ in range(2)]
        assert all(answer.ok for answer in answers), answers
        met = [answer.meta for answer in answers if answer.meta["retryCount"]]
        assert [(m["timeouts"], m["failedWorkers"]) for m in met] == [(1, ["mute"])]
        assert mute.state()["circuitBreaker"]["consecutiveFailures"] == 1
        until(lambda: mute.cancels, 1, "the attempt is cancelled at the worker")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_above_the_limit_is_malformed(kind):
    config = knobs()
    config["cluster"]["controller"]["maxResponseBytes"] = 20_000
    with TestCluster(workers=1, kind=kind, config=config, engine={"tps": 0}) as cluster:
        check_only_attempt(ask(cluster, max_tokens=20_000), 502, "WORKER_UNAVAILABLE")
        assert breaker(cluster)["consecutiveFailures"] == 1
        assert ask(cluster, max_tokens=100).ok


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, answer, wait", [
    ("503 with Retry-After", answer_of(503, b'{"error":{"message":"later"}}', extra="Retry-After: 7\r\n"), 7),
    ("429 with Retry-After", answer_of(429, b'{"error":{"message":"later"}}', extra="Retry-After: 20\r\n"), 20),
    ("Ollama's busy", answer_of(503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'), 1),
], ids=lambda value: value if isinstance(value, str) else "")
def test_how_long_a_busy_worker_rests_is_what_it_said(kind, name, answer, wait):
    def busy(request_, send, server):
        send(answer)
        return True
    with RecordingEngine(on_chat=busy) as engine, TestCluster(
            kind=kind, engines=[engine], model="rec", config=knobs(retry={"enabled": False})) as cluster:
        said = ask(cluster)
        check_only_attempt(said, 503, "WORKER_OVERLOADED")
        assert int(said.headers["retry-after"]) == wait
        assert not cluster.worker(0).state()["eligible"]


def test_without_a_word_on_it_a_busy_worker_rests_a_second_and_longer_each_time():
    with TestCluster(workers=1, kind="http", config=knobs(retry={"enabled": False})) as cluster:
        cluster.worker(0).fault("error_529", count=-1)
        said = []
        for _ in range(2):
            said.append(int(ask(cluster).headers["retry-after"]))
            until(lambda: cluster.worker(0).state()["eligible"], 5, "it has rested")
        assert said[0] == 1 and said[1] > 1, said


def test_no_descriptors_is_our_own_fault_and_not_the_worker_s():
    body = b'{"model":"sim","messages":[{"role":"user","content":"x"}],"max_tokens":1}'
    request_ = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % len(body) + body)
    with TestCluster(workers=1, kind="http", config=knobs(timeoutMs=20000), wrap=["prlimit", "--nofile=64:64"]) as cluster:
        # The first health check is over: its connection is in the pool, and the first of the six takes it.
        until(lambda: any(entry["method"] == "GET" for entry in cluster.worker(0).engine.sim_log()["requests"]), 5, "a health check")
        cluster.worker(0).fault("hang_before_head", count=6)
        with contextlib.ExitStack() as stack:
            def connect():
                return stack.enter_context(socket.create_connection(("127.0.0.1", cluster.port), 5))
            asking = connect()
            asking.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in asking.recv(4096)
            # Every connection to the engine is in use, then every other descriptor.
            for _ in range(6):
                connect().sendall(request_)
            until(lambda: attempts(cluster) == [6], 5, "all hang")
            for _ in range(64):
                connect()
            until(lambda: cluster.controller.descriptors() >= 63, 5, "every descriptor is in use")
            asking.sendall(request_)
            received = asking.recv(65536)
        assert received.startswith(b"HTTP/1.1 503 ") and b"INTERNAL_ERROR" in received, received
        cluster.until_quiet()
        assert cluster.worker(0).state()["failures"] == 0
        assert ask(cluster).ok


def test_there_is_one_caller_of_classify():
    """The decision is made in one place (issue 3)."""
    sources = pathlib.Path(__file__).resolve().parents[2] / "src"
    calls = [f"{path.name}:{number}" for path in sources.rglob("*.c") if path.name != "classify.c"
             for number, line in enumerate(path.read_text().split("\n"), 1) if "sbx_classify(" in line]
    assert len(calls) == 1, calls
