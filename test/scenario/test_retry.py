"""Which failures are retried, when, how often, and what the client is told when that does not help."""
import contextlib
import statistics
import threading
import time

import pytest

from support.bus_worker import BusWorker
from support.cluster import TestCluster
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, at_once, attempts, fresh, isolate, knobs, lines
from support.wait import until


def cluster_of(workers=2, kind="http", breaker=NO_TRIPS, engine=SWIFT, max_concurrent=64, config=None, **retry):
    return TestCluster(workers=workers, kind=kind, engine=engine, max_concurrent=max_concurrent,
                       config=knobs(circuitBreaker=breaker, retry=retry, **(config or {})))


def failing_first(cluster, way="buffered", **extra):
    """The answer of the first request whose first attempt went to a failing worker."""
    for number in range(len(cluster.workers) + 1):
        answer = ask(cluster, way, f"request {number}", **extra)
        if not answer.ok or answer.meta["failedWorkers"]:
            return answer
    raise AssertionError("no request met a failing worker")


# --- when ------------------------------------------------------------------------------------


@pytest.mark.timing
def test_after_a_refused_connection_the_next_worker_is_asked_at_once():
    with cluster_of(retryDelayMs=3000, maxDelayMs=3000) as cluster:
        direct = [ask(cluster).seconds for _ in range(20)]
        cluster.worker(0).kill()
        answers = [ask(cluster) for _ in range(12)]
        refused = [answer for answer in answers if answer.meta["retryCount"]]
        assert all(answer.ok for answer in answers) and refused
        assert statistics.median(answer.seconds for answer in refused) - statistics.median(direct) < 0.02, refused
        assert max(answer.seconds for answer in refused) < 1


@pytest.mark.timing
def test_after_no_responder_the_next_worker_is_asked_at_once():
    with cluster_of(workers=1, kind="nats", retryDelayMs=3000, maxDelayMs=3000) as cluster:
        direct = [ask(cluster).seconds for _ in range(20)]
        with BusWorker(cluster, "deaf", deaf=True) as deaf:
            refused = []
            for _ in range(4):
                until(lambda: deaf.state()["online"], 3, "its heartbeat brings it back")
                refused += [answer for answer in [ask(cluster) for _ in range(3)] if answer.meta["retryCount"]]
                assert not deaf.state()["online"], "no responder is offline at once"
        assert len(refused) == 4 and all(answer.ok for answer in refused)
        assert statistics.median(answer.seconds for answer in refused) - statistics.median(direct) < 0.02, refused
        assert max(answer.seconds for answer in refused) < 1


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
def test_after_other_failures_the_delay_has_full_jitter(kind):
    with cluster_of(kind=kind, retryDelayMs=400, maxDelayMs=1000) as cluster:
        cluster.worker(0).simulate_error(count=-1)
        answers = at_once(cluster, 40, width=40)
        delays = sorted(answer.seconds for answer in answers if answer.meta["retryCount"])
        assert all(answer.ok for answer in answers) and len(delays) >= 15
        assert delays[0] < 0.15 and delays[-1] > 0.25 and delays[-1] < 0.4 + 0.1, delays
        assert delays[len(delays) // 4] < 0.25 and delays[3 * len(delays) // 4] > 0.15, delays


@pytest.mark.timing
def test_the_delay_grows_no_further_than_its_most():
    with cluster_of(workers=4, maxRetries=3, retryDelayMs=100, maxDelayMs=100) as cluster:
        for worker in cluster.workers:
            worker.simulate_error(count=-1)
        answers = at_once(cluster, 20, width=20)
        assert {answer.meta["retryCount"] for answer in answers} == {3}
        assert max(answer.seconds for answer in answers) < 3 * 0.1 + 0.15


# --- which -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("retried, fault, goes_on", [
    ("WORKER_TIMEOUT", "error_500", False), ("WORKER_TIMEOUT", "hang_before_head", True), ("WORKER_TIMEOUT", "error_429", False),
    ("WORKER_UNAVAILABLE", "error_500", True), ("WORKER_UNAVAILABLE", "hang_before_head", False),
    ("WORKER_OVERLOADED", "error_429", True), ("WORKER_OVERLOADED", "reset", False),
])
def test_only_the_named_errors_are_retried(kind, way, retried, fault, goes_on):
    code = {"error_500": "WORKER_UNAVAILABLE", "reset": "WORKER_UNAVAILABLE", "hang_before_head": "WORKER_TIMEOUT",
            "error_429": "WORKER_OVERLOADED"}[fault]
    with cluster_of(kind=kind, retryOnErrors=[retried], config={"timeoutMs": 200, "streamingTimeoutMs": 200}) as cluster:
        cluster.worker(0).fault(fault, count=-1)
        answer = failing_first(cluster, way)
        assert (answer.ok, answer.meta["retryCount"]) == (goes_on, int(goes_on)), answer
        assert goes_on or answer.code == code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("off", [{"enabled": False}, {"maxRetries": 0}], ids=["disabled", "none"])
def test_without_retries_there_is_one_attempt(kind, off):
    with cluster_of(kind=kind, **off) as cluster:
        for way in WAYS:
            fresh(cluster)
            cluster.worker(0).simulate_error(count=-1)
            answer = failing_first(cluster, way)
            assert (answer.status, answer.code, answer.meta["retryCount"]) == (502, "WORKER_UNAVAILABLE", 0), answer
            assert answer.meta["failedWorkers"] == ["w0"] and attempts(cluster)[0] == 1


def test_a_worker_that_never_saw_it_may_be_asked_again_where_that_is_allowed():
    with cluster_of(workers=1, sameWorker=True, maxRetries=10, retryDelayMs=300, maxDelayMs=600) as cluster:
        engine = cluster.worker(0).engine
        engine.kill()
        refused = len(lines(cluster, "attempt_failed"))

        answers = []
        asking = threading.Thread(target=lambda: answers.append(ask(cluster)))
        asking.start()
        until(lambda: len(lines(cluster, "attempt_failed")) > refused, 3, "it was refused")
        cluster.worker(0).restart()
        asking.join(15)
        assert answers and answers[0].ok and answers[0].meta["retryCount"] >= 1, answers
        assert set(answers[0].meta["failedWorkers"]) == {"w0"}


def test_a_worker_that_saw_it_is_not_asked_again_even_there():
    with cluster_of(workers=1, sameWorker=True) as cluster:
        cluster.worker(0).simulate_error(count=1)
        answer = ask(cluster)
        assert (answer.code, answer.meta["retryCount"]) == ("WORKER_UNAVAILABLE", 0)


# --- how often -------------------------------------------------------------------------------


def test_beyond_the_first_retries_come_out_of_a_budget():
    """A bucket of 100, +0.2 per request, +10 per second; the first retry to an untried closed worker is free."""
    with cluster_of(workers=4, maxRetries=3, retryDelayMs=1, maxDelayMs=1) as cluster:
        for index in (0, 1, 2):
            cluster.worker(index).simulate_error(count=-1)
        started = time.monotonic()
        answers = at_once(cluster, 400, width=16)
        seconds = time.monotonic() - started
        paid = sum(max(0, answer.meta["retryCount"] - 1) for answer in answers)
        failed = [answer for answer in answers if not answer.ok]
        assert failed, "the budget never ran out: the test shows nothing"
        assert 90 < paid <= 100 + 0.2 * 400 + 10 * seconds + 2, paid
        assert all(answer.meta["retryCount"] >= 1 for answer in failed), "the first was free"
        assert {answer.code for answer in failed} == {"ALL_RETRIES_EXHAUSTED"}


@pytest.mark.parametrize("kind", KINDS)
def test_three_lost_connections_are_enough_for_one_request(kind):
    with cluster_of(workers=5, kind=kind, maxRetries=4) as cluster:
        for worker in cluster.workers:
            worker.fault("reset_after_bytes", count=-1)
        answer = ask(cluster, text="deadly")
        assert answer.code == "ALL_RETRIES_EXHAUSTED" and answer.headers["x-should-retry"] == "false"
        assert answer.meta["retryCount"] <= 2


def test_a_body_that_killed_two_workers_does_not_walk_the_fleet():
    """Each run boots its worker anew, as one does whose engine crashes it."""
    def die(run):
        run.ack()
        run.worker.reboot()
    with cluster_of(workers=0, kind="nats", maxRetries=4) as cluster, contextlib.ExitStack() as stack:
        for name in "abcd":
            stack.enter_context(BusWorker(cluster, name, die))
        answer = ask(cluster, text="deadly")
        assert answer.code == "ALL_RETRIES_EXHAUSTED" and answer.headers["x-should-retry"] == "false"
        assert answer.meta["retryCount"] <= 2, answer
        again = ask(cluster, text="deadly")
        assert again.meta["retryCount"] == 0 and again.headers["x-should-retry"] == "false", again
        other = ask(cluster, text="harmless so far")
        assert other.meta["retryCount"] >= 1, "another body is retried"


# --- what the client is told -----------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_exhaustion_by_timeouts_is_a_504(kind, way):
    with cluster_of(kind=kind, config={"timeoutMs": 200, "streamingTimeoutMs": 200}) as cluster:
        for worker in cluster.workers:
            worker.fault("hang_before_head", count=-1)
        answer = ask(cluster, way)
        assert (answer.status, answer.code) == (504, "ALL_RETRIES_EXHAUSTED"), answer
        assert (answer.meta["lastError"], answer.meta["timeouts"]) == ("WORKER_TIMEOUT", 2)
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_failure_decides_what_exhaustion_is_called(kind):
    with cluster_of(kind=kind, config={"timeoutMs": 200}) as cluster:
        cluster.worker(0).fault("hang_before_head", count=-1)
        cluster.worker(1).simulate_error(count=-1)
        for _ in range(2):
            answer = ask(cluster)
            last = {"w0": (504, "WORKER_TIMEOUT"), "w1": (502, "WORKER_UNAVAILABLE")}[answer.meta["failedWorkers"][-1]]
            assert (answer.code, answer.status, answer.meta["lastError"]) == ("ALL_RETRIES_EXHAUSTED", *last), answer
            assert sorted(answer.meta["failedWorkers"]) == ["w0", "w1"] and answer.meta["timeouts"] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_when_all_were_busy_the_client_hears_so(kind, way):
    with cluster_of(kind=kind, maxRetries=1) as cluster:
        for worker in cluster.workers:
            worker.fault("error_429", count=-1)
        answer = ask(cluster, way)
        assert (answer.status, answer.code) == (503, "WORKER_OVERLOADED"), answer
        assert answer.headers["retry-after"] == "1" and answer.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_that_is_gone_meanwhile_leaves_the_attempt_s_own_error(kind):
    """No retry was made, so it is not exhaustion."""
    with cluster_of(kind=kind) as cluster:
        cluster.worker(0).simulate_error(count=-1)
        isolate(cluster, 1)
        answer = ask(cluster)
        assert (answer.status, answer.code, answer.meta["retryCount"]) == (502, "WORKER_UNAVAILABLE", 0)
        assert answer.headers.get("x-should-retry") != "false"
