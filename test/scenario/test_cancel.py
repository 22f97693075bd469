"""A client that leaves, wherever its request is: the engine stops working for it, the breaker does not care."""
import json
import socket
import struct
import time

import pytest

from support.cluster import TestCluster
from support.scenario import KINDS, NO_TRIPS, SWIFT, ask, attempts, breaker, knobs, lines
from support.wait import until

SLOW = {"ttft_ms": 300, "tps": 20}


class Client:
    """A client that sends one chat and leaves when the test says so, with a FIN or a reset."""

    def __init__(self, cluster, way="buffered", **extra):
        body = json.dumps(cluster.body("leaving", **({"stream": True} if way == "streaming" else {}), **extra)).encode()
        self.sock = socket.create_connection(("127.0.0.1", cluster.port), 10)
        self.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                          % len(body) + body)

    def until_content(self):
        received = b""
        while received.count(b'"content":') < 3:
            received += self.sock.recv(65536)

    def leave(self, how="reset"):
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@pytest.fixture(scope="module", params=KINDS)
def cluster(request):
    config = knobs(circuitBreaker=NO_TRIPS, timeoutMs=20000, streamingTimeoutMs=20000, streamIdleTimeoutMs=20000)
    with TestCluster(workers=1, kind=request.param, engine=SLOW, config=config) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def clean(request):
    yield
    if "cluster" in request.fixturenames:
        cluster = request.getfixturevalue("cluster")
        cluster.until_quiet()
        cluster.worker(0).engine.clear_faults()
        cluster.worker(0).engine.clear_log()
        cluster.worker(0).reset()


def ended(cluster):
    return cluster.get("/api/cluster/status").json()["requests"]


def abort_of(cluster, left_at_ms, seconds=1):
    """How long after the client left the engine saw the end, in ms."""
    entry = until(lambda: [e for e in cluster.worker(0).inference() if e["aborted"]], seconds, "the engine saw the end")[0]
    return entry["at_ms"] + entry["aborted_after_ms"] - left_at_ms


def engine_now(cluster):
    return cluster.worker(0).engine.sim_log()["now_ms"]


WHERE = {
    "buffered": ("buffered", None),
    "streaming, before the head": ("streaming", None),
    "streaming, before content": ("streaming", "role_only"),
    "streaming, at work": ("streaming", "content"),
}


def leave(cluster, where, how="reset"):
    """A request that is left in the given place; the engine's time of the leaving."""
    way, place = WHERE[where]
    if place == "role_only":
        cluster.worker(0).fault("role_only", count=1)
    client = Client(cluster, way, max_tokens=400)
    until(lambda: attempts(cluster) == [1], 3, "the engine has it")
    if place == "content":
        client.until_content()
    at = engine_now(cluster)
    client.leave(how)
    return at


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("where", WHERE)
def test_a_client_that_leaves_ends_the_work_at_the_engine(cluster, where, how):
    before = ended(cluster)
    abort_of(cluster, leave(cluster, where, how))
    cluster.until_quiet(2)
    after = ended(cluster)
    assert after["cancelled"] == before["cancelled"] + 1
    assert after["accepted"] == sum(after[key] for key in (
        "ok", "clientError", "upstreamError", "timeout", "cancelled", "shed", "inFlight"))


@pytest.mark.timing
@pytest.mark.parametrize("where", WHERE)
def test_the_engine_s_own_log_shows_the_abort_within_100_ms(cluster, where):
    took = abort_of(cluster, leave(cluster, where))
    assert took < 100, f"{took} ms"


@pytest.mark.parametrize("where", WHERE)
def test_the_breaker_is_not_touched(cluster, where):
    cluster.worker(0).simulate_error()
    ask(cluster)
    cluster.worker(0).engine.clear_log()
    abort_of(cluster, leave(cluster, where))
    cluster.until_quiet(2)
    assert breaker(cluster) == {"state": "closed", "consecutiveFailures": 1, "retryInMs": 0}


def test_it_is_logged_as_499(cluster):
    leave(cluster, "buffered")
    entry = until(lambda: lines(cluster, "request_ended", end="cancelled"), 2, "a line in the log")[-1]
    assert entry["code"] == "CLIENT_CLOSED_REQUEST" and entry["outcome"] == "cancelled"


@pytest.mark.parametrize("way", ["buffered", "streaming"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_leaves_between_two_attempts_gets_no_second_one(kind, way):
    config = knobs(circuitBreaker=NO_TRIPS, retry={"retryDelayMs": 3600000, "maxDelayMs": 3600000}, requestDeadlineMs=7200000)
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=config) as cluster:
        for worker in cluster.workers:
            worker.simulate_error(count=-1)
        client = Client(cluster, way)
        until(lambda: sum(attempts(cluster)) == 1 and cluster.in_flight() == 0 and lines(cluster, "retry_scheduled"), 3, "the delay runs")
        assert ended(cluster)["inFlight"] == 1
        client.leave()
        until(lambda: ended(cluster)["inFlight"] == 0, 1, "the request is over")
        assert ended(cluster)["cancelled"] == 1 and sum(attempts(cluster)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_leaves_during_a_retry_ends_that(kind):
    config = knobs(circuitBreaker=NO_TRIPS, timeoutMs=20000)
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=config) as cluster:
        for worker in cluster.workers:
            worker.fault("error_500", count=1)
            worker.fault("hang_before_head", count=-1)
        cluster.worker(0).engine.clear_faults()
        cluster.worker(0).fault("hang_before_head", count=-1)
        clients = [Client(cluster) for _ in range(2)]  # one of them meets the 500 first
        until(lambda: lines(cluster, "attempt_sent", attempt=2), 3, "a retry runs")
        for client in clients:
            client.leave()
        until(lambda: sum(worker.engine.aborts() for worker in cluster.workers) == 2, 1, "both engines were left")
        until(lambda: ended(cluster)["cancelled"] == 2, 1, "both are counted")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_probe_gives_its_slot_back(kind):
    config = knobs(circuitBreaker={"timeoutMs": 200}, retry={"enabled": False}, timeoutMs=20000, streamingTimeoutMs=20000)
    with TestCluster(workers=1, kind=kind, engine=SWIFT, config=config) as cluster:
        cluster.worker(0).simulate_error(count=5)
        for _ in range(5):
            ask(cluster)
        until(lambda: breaker(cluster)["state"] == "half_open", 2, "half open")
        cluster.worker(0).fault("hang_before_head", count=1)
        client = Client(cluster)
        until(lambda: attempts(cluster) == [6], 2, "the probe is out")
        assert ask(cluster).code == "CIRCUIT_BREAKER_OPEN"
        client.leave()
        cluster.until_quiet(2)
        assert breaker(cluster)["state"] == "half_open"
        assert ask(cluster).ok, "the slot is free again"


def test_three_patient_clients_that_leave_a_hang_count_as_one_failure():
    config = knobs(circuitBreaker=NO_TRIPS, timeoutMs=20000, streamingTimeoutMs=20000)
    with TestCluster(workers=1, kind="http", engine=SWIFT, config=config) as http, \
            TestCluster(workers=1, kind="nats", engine=SWIFT, config=config) as nats:
        clients = {}
        for cluster in (http, nats):
            cluster.worker(0).fault("hang_before_head", count=-1)
            clients[cluster] = [Client(cluster, way) for way in ("streaming", "buffered", "streaming")]
        time.sleep(5.1)  # the rule's own patience
        for cluster in (http, nats):
            for count, client in enumerate(clients[cluster], 1):
                client.leave()
                until(lambda: ended(cluster)["cancelled"] == count, 2, "it is counted")
                assert breaker(cluster)["consecutiveFailures"] == (count == 3), (cluster.kind, count)
