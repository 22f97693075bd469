"""Time limits: each fires at its time, says so, and what is left of it travels with the attempt."""
import contextlib
import socket
import threading
import time

import pytest

from support.bus_worker import BusWorker
from support.cluster import TestCluster
from support.engine import SSE_HEAD, RecordingEngine, chunked, sse_events
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, attempts, breaker, fresh, knobs, lines, within
from support.wait import until

LATE = 0.05  # ten times what a limit may be late
LONG = {"timeoutMs": 8000, "streamingTimeoutMs": 8000, "streamIdleTimeoutMs": 8000, "connectTimeoutMs": 8000}


def cluster_of(workers=1, kind="http", engine=SWIFT, retry=None, engines=None, model="sim", **limits):
    return TestCluster(workers=workers, kind=kind, engine=engine, engines=engines, model=model,
                       config=knobs(circuitBreaker=NO_TRIPS, retry=retry, **{**LONG, **limits}))


# --- each limit ------------------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way, limit", [("buffered", "timeoutMs"), ("streaming", "streamingTimeoutMs")])
def test_an_attempt_ends_when_its_time_is_over(kind, way, limit):
    with cluster_of(kind=kind, **{limit: 300}) as cluster:
        ask(cluster)
        cluster.worker(0).fault("hang_before_head", count=-1)

        def measure():
            answer = ask(cluster, way)
            assert (answer.status, answer.code) == (504, "WORKER_TIMEOUT")
            return answer.seconds
        within(0.3, 0.3 + LATE, measure)


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_stands_still_ends_after_the_idle_time(kind):
    with cluster_of(kind=kind, streamIdleTimeoutMs=300) as cluster:
        cluster.worker(0).fault("hang_after_bytes", count=-1, after_tokens=3)

        def measure():
            stream = ask(cluster, "streaming").stream
            times = [at for at, _ in stream.events]
            assert stream.error["code"] == "STREAM_INTERRUPTED"
            return times[-1] - times[-2]
        within(0.3 - 0.01, 0.3 + LATE, measure)  # the last content may have reached us late


@pytest.mark.timing
def test_connecting_has_its_time():
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # one or two connections fill it; the next one is never answered
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        with cluster_of(connectTimeoutMs=250) as cluster:
            cluster.controller.stop()
            cluster.config["backends"]["w0"]["url"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            cluster.start_controller()
            cluster.wait_listening()
            for way in WAYS:
                def measure():
                    answer = ask(cluster, way)
                    assert (answer.status, answer.code, answer.meta["timeouts"]) == (504, "WORKER_TIMEOUT", 1), answer
                    return answer.seconds
                within(0.25, 0.25 + LATE, measure)
            assert breaker(cluster)["consecutiveFailures"] >= 2


@pytest.mark.timing
@pytest.mark.parametrize("size, limit", [(100, 0.2), (800_000, 0.2 + 0.195)])
def test_an_acknowledgement_has_its_time_and_more_for_a_large_body(size, limit):
    with cluster_of(workers=0, kind="nats", ackTimeoutMs=200) as cluster, BusWorker(cluster, "mute", lambda run: None):
        def measure():
            answer = ask(cluster, text="x" * size)
            assert (answer.status, answer.code, answer.meta["timeouts"]) == (504, "WORKER_TIMEOUT", 1), answer
            return answer.seconds
        within(limit, limit + LATE + 0.02 * (size > 1000), measure)  # the body's way to us takes time, too


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_the_whole_request_has_its_time_over_all_attempts(kind, way):
    config = {"timeoutMs": 300, "streamingTimeoutMs": 300, "requestDeadlineMs": 500}
    with cluster_of(workers=3, kind=kind, **config) as cluster:
        def measure():
            fresh(cluster)
            for worker in cluster.workers:
                worker.fault("hang_before_head", count=-1)
            answer = ask(cluster, way)
            assert answer.status == 504 and answer.meta["retryCount"] == 1, answer
            assert sum(attempts(cluster)) == 2
            return answer.seconds
        within(0.5, 0.5 + LATE, measure)


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
def test_a_running_stream_ends_with_the_whole_request_s_time(kind):
    with cluster_of(kind=kind, engine={"ttft_ms": 2, "tps": 50}, requestDeadlineMs=500) as cluster:
        def measure():
            answer = ask(cluster, "streaming", max_tokens=200)
            assert answer.code == "STREAM_INTERRUPTED" and answer.text
            return answer.seconds
        within(0.5, 0.5 + LATE, measure)
        until(lambda: cluster.worker(0).engine.aborts() >= 1, 2, "the engine was told")


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_client_may_ask_for_less_time_and_does_not_blame_the_worker(kind, way):
    with cluster_of(kind=kind) as cluster:
        cluster.worker(0).fault("hang_before_head", count=-1)

        def measure():
            answer = ask(cluster, way, headers={"x-request-timeout-ms": "250"})
            assert answer.status == 504, answer
            return answer.seconds
        within(0.25, 0.25 + LATE, measure)
        cluster.worker(0).engine.clear_faults()
        assert breaker(cluster)["consecutiveFailures"] == 0, "the client's haste is not the worker's failure"
        assert ask(cluster, way, headers={"x-request-timeout-ms": "5000"}).ok


@pytest.mark.timing
def test_a_client_may_not_ask_for_more_time():
    with cluster_of(requestDeadlineMs=300) as cluster:
        cluster.worker(0).fault("hang_before_head", count=-1)
        within(0.3, 0.3 + LATE, lambda: ask(cluster, headers={"x-request-timeout-ms": "60000"}).seconds)


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way, limit", [("buffered", "timeoutMs"), ("streaming", "streamingTimeoutMs")])
def test_a_model_may_have_limits_of_its_own(kind, way, limit):
    config = knobs(circuitBreaker=NO_TRIPS, **{**LONG, limit: 200, "models": {"slow": {limit: 400}}})
    with TestCluster(workers=2, kind=kind, engine=SWIFT, models=["sim", "slow"], config=config) as cluster:
        for worker, seconds in zip(cluster.workers, (0.2, 0.4)):
            worker.fault("hang_before_head", count=-1)

            def measure():
                answer = ask(cluster, way, model=worker.engine.model)
                assert (answer.code, answer.meta["failedWorkers"]) == ("WORKER_TIMEOUT", [worker.id])
                return answer.seconds
            within(seconds, seconds + LATE, measure)


# --- what a limit does not end ---------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_flows_may_take_longer_than_any_single_limit(kind):
    limits = {"timeoutMs": 300, "streamingTimeoutMs": 300, "streamIdleTimeoutMs": 300}
    with cluster_of(kind=kind, engine={"ttft_ms": 2, "tps": 20}, **limits) as cluster:
        answer = ask(cluster, "streaming", max_tokens=18)
        assert answer.ok and answer.seconds > 0.7


class Dribbling(RecordingEngine):
    """Sends content, then what is no content, without end."""

    def __init__(self, filler):
        self.filler = filler
        super().__init__(on_chat=self._dribble)

    def _dribble(self, request_, send, server):
        send(SSE_HEAD)
        for event in sse_events(("one ", "two "))[:3]:
            send(chunked(event))
        while not self.stopped.is_set():
            send(chunked(self.filler))
            time.sleep(0.02)
        return False


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filler", [b": keep-alive\n\n", sse_events()[0]], ids=["comments", "roles"])
def test_what_is_no_content_does_not_keep_a_stream_alive(kind, filler):
    with Dribbling(filler) as engine, cluster_of(kind=kind, engines=[engine], model="rec", streamIdleTimeoutMs=300) as cluster:
        def measure():
            answer = ask(cluster, "streaming")
            assert answer.code == "STREAM_INTERRUPTED" and answer.text == "one two "
            return answer.seconds
        within(0.3, 0.3 + 2 * LATE, measure)


# --- a worker that shows progress ------------------------------------------------------------


@pytest.mark.parametrize("way, knob", [("buffered", "timeoutMs"), ("streaming", "streamingTimeoutMs")])
def test_a_timeout_under_progress_is_neither_failure_nor_retry_and_the_log_names_the_knob(way, knob):
    def work(run):
        run.ack()
        while not run.cancelled.wait(0.05):
            run.ping(progress=True)
    with cluster_of(workers=1, kind="nats", **{knob: 400}) as cluster, BusWorker(cluster, "slow", work) as slow:
        answers = [ask(cluster, way) for _ in range(2)]
        bad = [answer for answer in answers if not answer.ok]
        assert len(bad) == 1 and sum(answer.ok for answer in answers) == 1, answers
        assert (bad[0].status, bad[0].code) == (504, "WORKER_TIMEOUT"), bad
        assert (bad[0].meta["retryCount"], bad[0].meta["timeouts"]) == (0, 1)
        assert slow.state()["circuitBreaker"]["consecutiveFailures"] == 0 and slow.state()["failures"] == 0
        assert slow.runs[0].cancelled.wait(1)
        named = [entry for entry in lines(cluster, worker="slow") if knob in entry.values()]
        assert named, lines(cluster, worker="slow")


def test_a_plain_sign_of_life_is_no_progress():
    def idle(run):
        run.ack()
        while not run.cancelled.wait(0.05):
            run.ping()
    with cluster_of(workers=1, kind="nats", timeoutMs=300) as cluster, BusWorker(cluster, "slow", idle) as slow:
        answers = [ask(cluster) for _ in range(2)]
        assert all(answer.ok for answer in answers) and sorted(answer.meta["retryCount"] for answer in answers) == [0, 1]
        assert slow.state()["circuitBreaker"]["consecutiveFailures"] == 1


# --- what is left travels --------------------------------------------------------------------


def test_what_is_left_travels_with_each_attempt():
    with cluster_of(workers=0, kind="nats", timeoutMs=400) as cluster:
        def hang(run):
            run.ack()
        with BusWorker(cluster, "a", hang) as a, BusWorker(cluster, "b", hang) as b:
            ask(cluster, headers={"x-request-timeout-ms": "700"})
            first, second = sorted([*a.runs, *b.runs], key=lambda run: run.at)
            left = [int(run.headers["Sbx-Deadline-Ms"]) for run in (first, second)]
            assert 350 < left[0] <= 400, left
            assert 200 < left[1] <= 300, "of 700 ms the first attempt took 400"
            assert [run.headers["Sbx-Attempt"] for run in (first, second)] == ["1", "2"]


def test_a_worker_drops_what_has_expired():
    """Asked over the bus by hand: a run whose time was over before it came."""
    with cluster_of(workers=1, kind="nats") as cluster, BusWorker(cluster, "asker") as asker:
        answers = []
        asker.publish_run("w0", cluster.body(), {"Sbx-Deadline-Ms": "5000", "Sbx-Expires-Ms": "1"}, answers.append)
        until(lambda: answers, 3, "the worker says what became of it")
        assert answers[0]["type"] == 5 and answers[0]["json"]["outcome"] == "expired", answers
        assert attempts(cluster) == [0]


@pytest.mark.timing
@pytest.mark.parametrize("way", WAYS)
def test_a_worker_ends_the_engine_s_work_at_the_deadline_it_was_told(way):
    with cluster_of(workers=1, kind="nats", timeoutMs=300, streamingTimeoutMs=300) as cluster:
        cluster.worker(0).fault("hang_before_head", count=1)
        ask(cluster, way)
        entry = until(lambda: [e for e in cluster.worker(0).inference() if e["aborted"]], 1, "the engine was left")[0]
        assert entry["aborted_after_ms"] < 300 + 100
