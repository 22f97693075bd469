"""The twelve scenarios of routing that keeps its promise, each with workers of both kinds."""
import math
import time

import pytest

from support.cluster import TestCluster
from support.scenario import (KINDS, NO_TRIPS, SWIFT, WAYS, ask, at_once, attempts, breaker, fresh, knobs, lines, states, trip)
from support.wait import SCALE, until


@pytest.fixture(scope="module", params=KINDS)
def three(request):
    with TestCluster(workers=3, kind=request.param, engine=SWIFT, max_concurrent=64, config=knobs(circuitBreaker=NO_TRIPS)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def clean(request):
    yield
    if "three" in request.fixturenames:
        fresh(request.getfixturevalue("three"))


def first_failed_over(cluster, way="buffered"):
    """Asks until a request met a failing worker; at most once round the workers."""
    for _ in cluster.workers:
        answer = ask(cluster, way)
        if answer.meta["failedWorkers"]:
            return answer
    raise AssertionError("no request went to the failing worker")


def test_1_success_at_the_first_try(three):
    answer = ask(three)
    assert answer.ok and sum(attempts(three)) == 1
    assert (answer.meta["retryCount"], answer.meta["failedWorkers"]) == (0, [])
    assert attempts(three)[int(answer.meta["selectedWorker"][1])] == 1


def test_2_a_worker_fails_and_another_succeeds(three):
    three.worker(0).simulate_error(count=-1)
    answer = first_failed_over(three)
    assert answer.ok
    assert (answer.meta["retryCount"], answer.meta["failedWorkers"]) == (1, ["w0"])
    assert answer.meta["selectedWorker"] in ("w1", "w2")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers, retries, tries", [(2, 2, 2), (4, 2, 3), (3, 1, 2)])
def test_3_all_retries_are_exhausted(kind, way, workers, retries, tries):
    config = knobs(circuitBreaker=NO_TRIPS, retry={"maxRetries": retries})
    with TestCluster(workers=workers, kind=kind, engine=SWIFT, config=config) as cluster:
        for worker in cluster.workers:
            worker.simulate_error(count=-1)
        answer = ask(cluster, way)
        assert (answer.status, answer.code) == (502, "ALL_RETRIES_EXHAUSTED"), answer
        context = answer.meta
        assert (context["retryCount"], context["lastError"], context["selectedWorker"]) == (tries - 1, "WORKER_UNAVAILABLE", None)
        assert len(set(context["failedWorkers"])) == len(context["failedWorkers"]) == tries
        assert sorted(attempts(cluster)) == [0] * (workers - tries) + [1] * tries
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-signalbox-retry-count"] == str(tries - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_4_an_open_breaker_keeps_traffic_away(kind):
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=knobs()) as cluster:
        trip(cluster)
        cluster.worker(0).engine.clear_log()
        answers = [ask(cluster, way) for way in WAYS * 10]
        assert all(answer.ok and answer.meta["selectedWorker"] == "w1" for answer in answers), answers
        assert attempts(cluster)[0] == 0 and states(cluster) == ["open", "closed"]


@pytest.mark.parametrize("kind", KINDS)
def test_5_a_worker_recovers_by_a_probe_and_two_successes(kind):
    config = knobs(circuitBreaker={"timeoutMs": 300})
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=config) as cluster:
        trip(cluster)
        cluster.worker(0).engine.clear_log()
        until(lambda: breaker(cluster)["state"] == "half_open", 2, "the open time is over")
        first = ask(cluster)  # probe duty: ahead of the balancer
        assert first.ok and first.meta["selectedWorker"] == "w0", first
        assert breaker(cluster)["state"] == "half_open" and attempts(cluster)[0] == 1
        until(lambda: ask(cluster).ok and breaker(cluster)["state"] == "closed", 3, "a second success closes it")
        assert attempts(cluster)[0] == 2, "two successes close it, no more are needed"
        assert len(lines(cluster, "breaker_closed", worker="w0")) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way, fault, order, limit", [
    ("buffered", "hang_before_head", {}, "timeoutMs"),
    ("streaming", "hang_before_head", {}, "streamingTimeoutMs"),
    ("streaming", "hang_after_bytes", {"after_tokens": 3}, "streamIdleTimeoutMs"),
], ids=["buffered", "first content", "idle"])
def test_6_a_timeout(kind, way, fault, order, limit):
    limits = {"timeoutMs": 5000, "streamingTimeoutMs": 5000, "streamIdleTimeoutMs": 5000, limit: 250}
    with TestCluster(workers=1, kind=kind, engine=SWIFT, config=knobs(**limits)) as cluster:
        cluster.worker(0).fault(fault, count=1, **order)
        answer = ask(cluster, way)
        if limit == "streamIdleTimeoutMs":  # after the commit: in-band, named by the first failure
            assert (answer.status, answer.code, answer.meta["lastError"]) == (200, "STREAM_INTERRUPTED", "WORKER_TIMEOUT"), answer
        else:
            assert (answer.status, answer.code) == (504, "WORKER_TIMEOUT"), answer
        assert answer.meta["timeouts"] == 1 and breaker(cluster)["consecutiveFailures"] == 1
        assert 0.25 <= answer.seconds < 0.25 + 1 * SCALE
        assert ask(cluster, way).ok


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timing
def test_7a_no_workers(kind):
    with TestCluster(workers=0, kind=kind, config=knobs()) as cluster:
        answers = [ask(cluster, way) for way in WAYS * 5]
        for answer in answers:
            assert (answer.status, answer.code) == (503, "NO_WORKERS_AVAILABLE"), answer
            assert int(answer.headers["retry-after"]) >= 1 and answer.headers["x-should-retry"] == "true"
            assert (answer.meta["retryCount"], answer.meta["failedWorkers"], answer.meta["lastError"]) == (0, [], None)
        assert min(answer.seconds for answer in answers) < 0.005 and max(answer.seconds for answer in answers) < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timing
def test_7b_all_breakers_open(kind):
    with TestCluster(workers=2, kind=kind, engine=SWIFT, config=knobs(circuitBreaker={"timeoutMs": 20000})) as cluster:
        trip(cluster, 0)
        time.sleep(0.3)  # so that the two breakers are open for a different time
        trip(cluster, 1)
        answers = []
        for way in WAYS * 5:
            answer = ask(cluster, way)
            soonest = min(breaker(cluster, index)["retryInMs"] for index in (0, 1))
            assert (answer.status, answer.code) == (503, "CIRCUIT_BREAKER_OPEN"), answer
            assert 0 <= int(answer.headers["retry-after"]) - math.ceil(soonest / 1000) <= 1, (answer, soonest)
            assert int(answer.headers["retry-after"]) <= 20 and answer.headers["x-should-retry"] == "true"
            answers.append(answer)
        assert min(answer.seconds for answer in answers) < 0.005 and max(answer.seconds for answer in answers) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_8_a_session_stays_fails_over_and_moves(kind):
    with TestCluster(workers=3, kind=kind, engine=SWIFT, config=knobs(circuitBreaker=NO_TRIPS)) as cluster:
        session = {"x-session-id": "conversation-1"}
        home = ask(cluster, headers=session).meta["selectedWorker"]
        assert {ask(cluster, way, headers=session).meta["selectedWorker"] for way in WAYS * 4} == {home}
        cluster.worker(int(home[1])).simulate_error(count=1)
        moved = ask(cluster, headers=session)
        assert moved.ok and moved.meta["failedWorkers"] == [home]
        new = moved.meta["selectedWorker"]
        assert {ask(cluster, way, headers=session).meta["selectedWorker"] for way in WAYS * 4} == {new} != {home}
        assert len(lines(cluster, "session_moved")) == 1


@pytest.mark.parametrize("way", WAYS)
def test_9_a_hundred_at_once(three, way):
    answers = at_once(three, 100, width=100, way=way)
    bad = [answer for answer in answers if not answer.ok]
    assert not bad, bad[:3]
    assert sum(attempts(three)) == 100 and min(attempts(three)) > 20
    assert len({answer.text for answer in answers}) > 90, "each got the answer to its own question"


@pytest.mark.parametrize("way", WAYS)
def test_10_success_and_failure_mixed(three, way):
    """One worker fails half of its requests, another drops some connections: no client sees it."""
    three.worker(0).fault("error_500", count=-1, probability_pct=50)
    three.worker(1).fault("reset", count=-1, probability_pct=20)
    answers = at_once(three, 120, width=16, way=way)
    bad = [answer for answer in answers if not answer.ok]
    assert not bad, bad[:3]
    assert sum(answer.meta["retryCount"] for answer in answers) > 10
    assert {answer.meta["selectedWorker"] for answer in answers} == {"w0", "w1", "w2"}
    assert all("w2" not in answer.meta["failedWorkers"] for answer in answers)


@pytest.mark.parametrize("fault, order", [("error_500", {}), ("reset_after_bytes", {"after_tokens": 0}), ("role_only", {}), ("crash", {})])
def test_11_a_stream_is_retried_before_its_commit(three, fault, order):
    expected = ask(three, "streaming").text
    three.worker(0).fault(fault, count=1, **order)
    answer = first_failed_over(three, "streaming")
    if fault == "crash":
        three.worker(0).engine.process.wait(5)
        three.worker(0).engine = three.start_engine(0, listen=three.worker(0).engine.url[len("http://"):])
        until(lambda: three.worker(0).state()["eligible"] and three.worker(0).state()["engine"] == "up", 10, "the engine is back")
    assert answer.ok and answer.text == expected
    assert (answer.meta["retryCount"], answer.meta["failedWorkers"]) == (1, ["w0"])
    roles = [c for c in answer.stream.chunks if c.get("choices") and c["choices"][0]["delta"].get("role")]
    assert len(roles) == 1, "nothing of the first attempt reached the client"


@pytest.mark.parametrize("fault, order", [("cut", {}), ("garbage_json", {}), ("hang_before_head", {})])
def test_12_a_buffered_request_is_retried(three, fault, order):
    expected = ask(three).text
    three.worker(0).fault(fault, count=1, **order)
    answer = first_failed_over(three)
    assert answer.ok and answer.text == expected
    assert (answer.meta["retryCount"], answer.meta["failedWorkers"]) == (1, ["w0"])
    assert answer.meta["timeouts"] == (fault == "hang_before_head")
