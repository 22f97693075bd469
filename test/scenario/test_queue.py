"""Admission: what happens when every worker is full or resting. A request waits, within bounds, and is served, or is told
at once that it will not be."""
import threading
import time

import pytest

from support.cluster import TestCluster, merged
from support.engine import RecordingEngine, chat_answer
from support.raw_http import answer_of
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, at_once, attempts, fresh, knobs, within
from support.wait import SCALE, until


def cluster_of(kind="http", workers=1, engine=SWIFT, engines=None, max_concurrent=1, model="sim", queue=None, retry=None, **routing):
    limits = {"timeoutMs": 8000, "streamingTimeoutMs": 8000, "streamIdleTimeoutMs": 8000, **routing}
    extra = {"cluster": {"requestRouting": {"queue": queue}}} if queue else {}
    return TestCluster(workers=workers, kind=kind, engine=engine, engines=engines, model=model, max_concurrent=max_concurrent,
                       config=merged(knobs(circuitBreaker=NO_TRIPS, retry=retry, **limits), extra))


def behind(function, *arguments, **keywords):
    """The function on a thread; .join() and .value."""
    def run():
        thread.value = function(*arguments, **keywords)
    thread = threading.Thread(target=run, daemon=True)
    thread.value = None
    thread.start()
    return thread


def occupy(cluster, tokens=30):
    """One long request at the only place; `tokens` at the engine's pace."""
    thread = behind(ask, cluster, max_tokens=tokens)
    until(lambda: cluster.in_flight() == 1 and sum(attempts(cluster)) >= 1, 3, "the place is taken")
    return thread


def waiting(cluster):
    return cluster.get("/api/cluster/status").json()["requests"]["inFlight"] - cluster.in_flight()


SLOW = {"ttft_ms": 5, "tps": 50}  # 30 tokens: 0.6 s


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_requests_beyond_a_worker_s_places_wait_and_are_served_one_after_the_other(kind, way):
    with cluster_of(kind=kind, engine={"ttft_ms": 20, "tps": 0}) as cluster:
        answers = at_once(cluster, 8, width=8, way=way)
        assert all(answer.ok and answer.meta["retryCount"] == 0 for answer in answers), answers
        entries = sorted(cluster.worker(0).inference(), key=lambda entry: entry["at_ms"])
        assert len(entries) == 8
        for earlier, later in zip(entries, entries[1:]):
            assert later["at_ms"] >= earlier["at_ms"] + earlier["duration_ms"] - 2, "never two at once"


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_at_once_are_served_by_three_workers_of_sixteen_places(kind):
    with cluster_of(kind=kind, workers=3, engine={"ttft_ms": 10, "tps": 0, "capacity": 0}, max_concurrent=16) as cluster:
        answers = at_once(cluster, 100, width=100, way=WAYS)
        bad = [answer for answer in answers if not answer.ok]
        assert not bad, bad[:3]
        assert sum(attempts(cluster)) == 100


@pytest.mark.parametrize("queue, count", [({"maxLength": 1}, 1), ({"maxLength": 0}, 0), ({"maxBytes": 400}, 2)],
                         ids=["entries", "none", "bytes"])
def test_what_exceeds_the_queue_is_refused_at_once(queue, count):
    """Bodies are between 100 and 200 bytes."""
    with cluster_of(engine=SLOW, queue=queue) as cluster:
        holder = occupy(cluster, 40)
        waiters = [behind(ask, cluster, max_tokens=1) for _ in range(count)]
        until(lambda: waiting(cluster) == count, 2, "the queue is full")
        if "maxBytes" in queue:
            answer = ask(cluster, text="x" * 300, max_tokens=1)
        else:
            answer = ask(cluster, max_tokens=1)
        assert (answer.status, answer.code) == (503, "WORKER_OVERLOADED"), answer
        assert int(answer.headers["retry-after"]) >= 1 and answer.headers["x-should-retry"] == "true"
        assert (answer.meta["retryCount"], answer.meta["failedWorkers"], answer.meta["lastError"]) == (0, [], None)
        assert answer.seconds < 0.2 * SCALE
        for thread in [holder, *waiters]:
            thread.join(10)
            assert thread.value.ok
        assert cluster.get("/api/cluster/status").json()["requests"]["shed"] == 1


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
def test_waiting_ends_after_its_time(kind):
    with cluster_of(kind=kind, engine=SLOW, queue={"maxWaitMs": 250}) as cluster:
        holder = occupy(cluster, 100)

        def measure():
            answer = ask(cluster, max_tokens=1)
            assert (answer.status, answer.code) == (503, "WORKER_OVERLOADED") and answer.headers["retry-after"], answer
            return answer.seconds
        within(0.25, 0.25 + 0.05, measure)
        holder.join(10)
        assert holder.value.ok and attempts(cluster) == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_expired_while_it_waited_is_never_sent(kind):
    with cluster_of(kind=kind, engine=SLOW) as cluster:
        holder = occupy(cluster)
        answer = ask(cluster, headers={"x-request-timeout-ms": "200"}, max_tokens=1)
        assert answer.status in (503, 504) and answer.seconds < 0.5 * SCALE, answer
        holder.join(10)
        assert holder.value.ok
        time.sleep(0.1)
        assert attempts(cluster) == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_leaves_the_queue_is_never_sent(kind):
    with cluster_of(kind=kind, engine=SLOW) as cluster:
        holder = occupy(cluster)
        with pytest.raises(OSError):
            ask(cluster, "streaming", seconds=0.1, max_tokens=1)
        until(lambda: waiting(cluster) == 0, 1, "it is gone")
        assert cluster.get("/api/cluster/status").json()["requests"]["cancelled"] == 1
        holder.join(10)
        assert ask(cluster, max_tokens=1).ok and attempts(cluster) == [2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_only_worker_says_in_a_second_and_is_asked_again_in_a_second(kind, way):
    with cluster_of(kind=kind, max_concurrent=16) as cluster:
        cluster.worker(0).fault("busy", count=1)
        answer = ask(cluster, way)
        assert answer.ok and answer.meta["retryCount"] == 1, answer
        assert 1 <= answer.seconds < 1 + 0.5 * SCALE
        assert attempts(cluster) == [2]


def test_requests_that_find_all_workers_resting_wait_for_the_first():
    with cluster_of(workers=2, max_concurrent=16) as cluster:
        for worker in cluster.workers:
            worker.fault("busy", count=1)
        answers = at_once(cluster, 8, width=8)
        assert all(answer.ok for answer in answers), answers
        assert max(answer.seconds for answer in answers) < 2.5 * SCALE


@pytest.mark.parametrize("kind", KINDS)
def test_what_will_not_be_served_in_time_is_told_so_at_once(kind):
    def busy(request_, send, server):
        send(answer_of(429, b'{"error":{"message":"later"}}', extra="Retry-After: 20\r\n"))
        return True
    with RecordingEngine(on_chat=busy) as engine, cluster_of(
            kind=kind, engines=[engine], model="rec", max_concurrent=16, queue={"maxWaitMs": 5000}) as cluster:
        for _ in range(2):
            answer = ask(cluster)
            assert (answer.status, answer.code) == (503, "WORKER_OVERLOADED"), answer
            assert int(answer.headers["retry-after"]) in (19, 20) and answer.seconds < 0.5 * SCALE
        assert len(engine.inference) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_clients_take_turns(kind):
    release = threading.Event()
    order = []

    def answer(request_, send, server):
        order.append(request_.body.split(b'"content": "')[1].split(b'"')[0].decode())
        if order[-1] == "first":
            release.wait(10)
        send(answer_of(200, chat_answer()))
        return True
    with RecordingEngine(on_chat=answer) as engine, cluster_of(kind=kind, engines=[engine], model="rec") as cluster:
        threads = [behind(ask, cluster, text="first")]
        until(lambda: order == ["first"], 3, "the place is taken")
        for count, name in enumerate(["a1", "a2", "a3", "b1"], 1):
            threads.append(behind(ask, cluster, text=name, headers={"authorization": f"Bearer sk-{name[0]}"}))
            until(lambda: waiting(cluster) == count, 3, f"{name} waits")
        release.set()
        for thread in threads:
            thread.join(10)
            assert thread.value.ok
        assert order.index("b1") <= 2, order
        assert [name for name in order if name[0] == "a"] == ["a1", "a2", "a3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_worker_is_passed_over_for_one_that_has_room(kind):
    with cluster_of(kind=kind, workers=2, engine=SLOW) as cluster:
        holder = occupy(cluster)
        answers = [ask(cluster, max_tokens=1) for _ in range(4)]
        assert all(answer.ok and answer.seconds < 0.3 * SCALE for answer in answers), answers
        assert len({answer.meta["selectedWorker"] for answer in answers}) == 1
        holder.join(10)


def test_nothing_is_left_of_a_rush():
    with cluster_of(workers=2, engine={"ttft_ms": 5, "tps": 0}, max_concurrent=2, queue={"maxLength": 5}) as cluster:
        answers = at_once(cluster, 200, width=40, way=WAYS)
        assert {answer.code for answer in answers if not answer.ok} <= {"WORKER_OVERLOADED"}
        cluster.until_quiet()
        counts = cluster.get("/api/cluster/status").json()["requests"]
        assert counts["inFlight"] == 0 and counts["ok"] == sum(answer.ok for answer in answers)
        assert counts["shed"] == sum(not answer.ok for answer in answers)
        assert counts["accepted"] == sum(counts[key] for key in ("ok", "clientError", "upstreamError", "timeout", "cancelled", "shed"))
        fresh(cluster)
        assert ask(cluster).ok
