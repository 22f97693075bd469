"""The circuit breaker as operators and clients see it: /api/cluster/workers, /admin/workers, and where requests go."""
import threading
import time

import pytest

from support.bus_worker import BusWorker
from support.cluster import TestCluster, merged
from support.scenario import KINDS, SWIFT, WAYS, ask, at_once, attempts, breaker, isolate, knobs, lines, states, trip
from support.wait import SCALE, until

ONE_TRY = {"enabled": False}


def cluster_of(workers=1, kind="http", engine=SWIFT, config=None, **breaker_keys):
    return TestCluster(workers=workers, kind=kind, engine=engine,
                       config=merged(knobs(circuitBreaker=breaker_keys, retry=ONE_TRY if workers == 1 else None), config))


def in_background(function, *arguments, **keywords):
    """A thread whose .answer() waits for the function's value."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*arguments, **keywords)), daemon=True)
    thread.start()

    def answer():
        thread.join(20)
        assert result, "no answer in time"
        return result[0]
    thread.answer = answer
    return thread


def fail(cluster, times=1):
    cluster.worker(0).simulate_error(count=times)
    for _ in range(times):
        assert ask(cluster).status == 502


def until_half_open(cluster, index=0):
    until(lambda: breaker(cluster, index)["state"] == "half_open", 5, "the breaker is half open")


# --- opening ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_five_failures_in_a_row_open_it_and_a_success_starts_the_row_anew(kind):
    with cluster_of(kind=kind, rateThresholdPct=0) as cluster:
        fail(cluster, 4)
        assert ask(cluster).ok
        assert breaker(cluster)["consecutiveFailures"] == 0
        fail(cluster, 4)
        assert breaker(cluster) == {"state": "closed", "consecutiveFailures": 4, "retryInMs": 0}
        fail(cluster, 1)
        state = breaker(cluster)
        assert state["state"] == "open" and 29_000 < state["retryInMs"] <= 30_000
        assert not cluster.worker(0).state()["eligible"]


def test_half_of_twenty_attempts_failing_opens_it():
    with cluster_of() as cluster:
        for attempt in range(1, 21):
            assert breaker(cluster)["state"] == "closed", attempt
            fail(cluster) if attempt % 2 == 0 else ask(cluster)
        assert breaker(cluster)["state"] == "open"


def test_less_than_half_of_the_attempts_failing_leaves_it_closed():
    with cluster_of() as cluster:
        for attempt in range(1, 31):
            fail(cluster) if attempt % 3 == 0 else ask(cluster)
        assert breaker(cluster)["state"] == "closed"


def test_attempts_older_than_the_window_count_no_more():
    with cluster_of(rateMinAttempts=4, rateWindowMs=500) as cluster:
        for step in (ask, fail, ask):
            step(cluster)
        time.sleep(0.65)  # the window and one of its ten parts
        fail(cluster)
        assert breaker(cluster)["state"] == "closed"
        for step in (ask, fail, ask):
            step(cluster)
        assert breaker(cluster)["state"] == "open"


def test_a_rate_of_0_is_off():
    with cluster_of(rateThresholdPct=0) as cluster:
        for attempt in range(1, 41):
            fail(cluster) if attempt % 4 else ask(cluster)
        assert breaker(cluster)["state"] == "closed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_always_dies_at_token_40_trips(kind):
    with cluster_of(kind=kind, timeoutMs=300) as cluster:
        cluster.worker(0).fault("reset_after_bytes", count=-1, after_tokens=40)
        for _ in range(5):
            answer = ask(cluster, "streaming", max_tokens=60)
            assert (answer.status, answer.code) == (200, "STREAM_INTERRUPTED") and answer.text, answer
        assert breaker(cluster)["state"] == "open"
        until_half_open(cluster)
        assert ask(cluster, "streaming", max_tokens=60).code == "STREAM_INTERRUPTED"
        assert breaker(cluster)["state"] == "open", "a probe that began well has not succeeded"


@pytest.mark.parametrize("kind", KINDS)
def test_disabled_nothing_counts_and_all_pass(kind):
    with cluster_of(kind=kind, enabled=False) as cluster:
        fail(cluster, 30)
        assert breaker(cluster)["state"] == "closed" and attempts(cluster) == [30]
        assert ask(cluster).ok


# --- how long it is open ---------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_open_lasts_exactly_its_time(kind):
    with cluster_of(kind=kind, timeoutMs=500) as cluster:
        for _ in range(2):  # after a reset it is the first again
            cluster.worker(0).simulate_error(count=5)
            for _ in range(4):
                ask(cluster)
            before = time.monotonic()
            ask(cluster)
            after = time.monotonic()
            assert 400 < breaker(cluster)["retryInMs"] <= 500
            while breaker(cluster)["state"] == "open":
                last_open = time.monotonic()
                time.sleep(0.002)
            assert time.monotonic() - before >= 0.5 and last_open - after < 0.5 + 0.05
            cluster.worker(0).reset()


@pytest.mark.parametrize("kind", KINDS)
def test_each_re_open_doubles_with_a_little_jitter_up_to_the_most(kind):
    with cluster_of(kind=kind, timeoutMs=150, maxOpenMs=500) as cluster:
        fail(cluster, 5)
        for least, most in ((300, 330), (500, 500), (500, 500)):
            until_half_open(cluster)
            fail(cluster)
            state = breaker(cluster)
            assert state["state"] == "open" and least - 40 * SCALE < state["retryInMs"] <= most, (state, least, most)
        assert [round(entry["delay_ms"]) for entry in lines(cluster, "breaker_opened")][0] == 150


def test_asking_changes_nothing():
    with cluster_of(timeoutMs=200) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        for _ in range(20):
            assert breaker(cluster) == {**breaker(cluster), "state": "half_open", "retryInMs": 0}
        assert ask(cluster).ok and attempts(cluster) == [6]


# --- half open -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_half_open_lets_one_probe_out_at_a_time(kind):
    with cluster_of(kind=kind, timeoutMs=200, config=knobs(base={}, timeoutMs=700)) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        cluster.worker(0).engine.clear_log()
        cluster.worker(0).fault("hang_before_head", count=1)
        probe = in_background(ask, cluster)
        until(lambda: attempts(cluster) == [1], 2, "the probe is out")
        others = at_once(cluster, 6, width=6)
        assert {answer.code for answer in others} == {"CIRCUIT_BREAKER_OPEN"}, others
        assert attempts(cluster) == [1]
        assert probe.answer().code == "WORKER_TIMEOUT" and breaker(cluster)["state"] == "open"


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_s_slot_is_free_at_its_first_content(kind):
    with cluster_of(kind=kind, timeoutMs=200, engine={"ttft_ms": 2, "tps": 50}) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        stream = cluster.stream(cluster.body(max_tokens=40))  # 0.8 s
        first = next(iter(stream))
        assert first and cluster.in_flight() == 1
        second = ask(cluster, max_tokens=1)
        assert second.ok and cluster.in_flight() == 1, "the second passed while the first still runs"
        assert breaker(cluster)["state"] == "half_open", "one success; the stream counts at its end"
        stream.read_all()
        assert stream.done
        until(lambda: breaker(cluster)["state"] == "closed", 2, "its end was the second success")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_s_own_fault_shows_that_the_worker_lives(kind):
    with cluster_of(kind=kind, timeoutMs=200, successThreshold=1) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        cluster.worker(0).fault("context_length", count=1)
        assert ask(cluster).status == 400
        assert breaker(cluster)["state"] == "closed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_answer_to_a_probe_says_nothing_and_gives_the_slot_back(kind):
    with cluster_of(kind=kind, timeoutMs=200) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        cluster.worker(0).fault("busy", count=1)
        assert ask(cluster).code == "WORKER_OVERLOADED"
        assert breaker(cluster)["state"] == "half_open"
        until(lambda: ask(cluster).ok, 3, "the next probe passes when it has rested")


@pytest.mark.parametrize("kind", KINDS)
def test_a_straggler_s_success_does_not_close_an_open_breaker(kind):
    with cluster_of(kind=kind, engine={"ttft_ms": 2, "tps": 50}, config=knobs(base={}, timeoutMs=5000)) as cluster:
        straggler = in_background(ask, cluster, max_tokens=30)
        until(lambda: attempts(cluster) == [1], 2, "it runs")
        fail(cluster, 5)
        assert breaker(cluster)["state"] == "open"
        assert straggler.answer().ok
        assert breaker(cluster)["state"] == "open"


def probe_that_hangs(kind):
    config = knobs(base={}, timeoutMs=30000, streamingTimeoutMs=60000)
    with cluster_of(workers=2, kind=kind, timeoutMs=200, config=config) as cluster:
        trip(cluster)
        until_half_open(cluster)
        cluster.worker(0).fault("hang_before_head", count=-1)
        answers = []
        until(lambda: answers.append(ask(cluster, "streaming")) or answers[-1].meta["failedWorkers"], 3,
              "a stream is the probe when no better request came for a second")
        answer = answers[-1]
        assert answer.ok and answer.meta["failedWorkers"] == ["w0"], answer
        assert 1.9 < answer.seconds < 2 + 1 * SCALE
        return breaker(cluster)["state"]


def test_a_probe_that_hangs_costs_the_client_two_seconds_not_a_minute():
    assert [thread.answer() for thread in [in_background(probe_that_hangs, kind) for kind in KINDS]] == ["open", "open"]


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded", "smart"])
def test_a_recovered_worker_is_not_starved_by_the_balancer(strategy):
    with cluster_of(workers=3, timeoutMs=200, config={"cluster": {"loadBalancing": {"strategy": strategy}}}) as cluster:
        trip(cluster)
        until_half_open(cluster)
        cluster.worker(0).engine.clear_log()
        assert ask(cluster).meta["selectedWorker"] == "w0"
        until(lambda: ask(cluster).ok and breaker(cluster)["state"] == "closed", 3, "the second probe follows within two seconds")


@pytest.mark.parametrize("kind", KINDS)
def test_without_traffic_it_is_probed_by_health_checks_or_a_run_of_one_token(kind):
    config = {"backends": {"w0": {"health_check_interval_sec": 1}}} if kind == "http" else None
    with cluster_of(kind=kind, timeoutMs=200, successThreshold=1, config=config) as cluster:
        fail(cluster, 5)
        cluster.worker(0).engine.clear_log()
        until(lambda: breaker(cluster)["state"] == "closed", 8, "closed without a request")
        assert [entry["tokens"] for entry in cluster.worker(0).inference()] == ([] if kind == "http" else [1])


# --- health ----------------------------------------------------------------------------------


def test_a_failed_health_check_demotes_and_never_trips():
    config = {"backends": {f"w{index}": {"health_check_interval_sec": 1} for index in (0, 1)}}
    with cluster_of(workers=2, config=config) as cluster:
        cluster.worker(0).fault("error_500", count=-1, path="/health")
        until(lambda: not cluster.worker(0).state()["healthy"], 4, "the check failed")
        assert states(cluster) == ["closed", "closed"]
        assert {ask(cluster).meta["selectedWorker"] for _ in range(6)} == {"w1"}
        isolate(cluster, 1)
        assert ask(cluster).meta["selectedWorker"] == "w0", "better than nothing"


def test_a_breaker_closed_by_health_alone_is_on_probation():
    config = {"backends": {"w0": {"health_check_interval_sec": 1}}}
    with cluster_of(config=config, timeoutMs=400) as cluster:
        fail(cluster, 5)
        until(lambda: breaker(cluster)["state"] == "closed", 12, "closed by good checks")
        fail(cluster, 1)
        state = breaker(cluster)
        assert state["state"] == "open" and 500 < state["retryInMs"] <= 880, state


# --- boots -----------------------------------------------------------------------------------


def test_a_new_boot_is_a_new_worker_and_three_in_a_minute_are_half_open():
    with TestCluster(workers=1, kind="nats", engine=SWIFT, config=knobs()) as cluster, \
            BusWorker(cluster, "odd", lambda run: run.error("reset")) as odd:
        for _ in range(20):
            assert ask(cluster).ok
        assert odd.state()["circuitBreaker"]["state"] == "open" and len(odd.runs) == 5
        odd.reboot()
        until(lambda: odd.state()["circuitBreaker"]["state"] == "closed", 2, "a new worker starts closed")
        assert odd.state()["circuitBreaker"]["consecutiveFailures"] == 0
        odd.reboot()
        until(lambda: odd.state()["circuitBreaker"]["state"] == "half_open", 2, "the third boot is not trusted")


# --- admin -----------------------------------------------------------------------------------


def admin(cluster, index, command, headers=None):
    return cluster.post(f"/admin/workers/{cluster.worker(index).id}/{command}", b"", headers)


@pytest.mark.parametrize("kind", KINDS)
def test_an_isolated_worker_gets_nothing_until_it_is_reset(kind):
    with cluster_of(workers=2, kind=kind, timeoutMs=100) as cluster:
        assert admin(cluster, 0, "isolate").status == 200
        assert breaker(cluster)["state"] != "closed" and not cluster.worker(0).state()["eligible"]
        time.sleep(0.3)  # well over the open time
        answers = [ask(cluster, way) for way in WAYS * 4]
        assert all(answer.ok and answer.meta["selectedWorker"] == "w1" for answer in answers)
        admin(cluster, 1, "isolate")
        assert ask(cluster).code == "CIRCUIT_BREAKER_OPEN"
        assert attempts(cluster)[0] == 0
        for index in (0, 1):
            assert admin(cluster, index, "reset").status == 200
        assert {ask(cluster).meta["selectedWorker"] for _ in range(4)} == {"w0", "w1"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_drained_worker_finishes_what_it_has_and_gets_nothing_new(kind):
    with cluster_of(workers=2, kind=kind, engine={"ttft_ms": 2, "tps": 100}) as cluster:
        streams = [cluster.stream(cluster.body(max_tokens=30)) for _ in range(2)]
        for stream in streams:
            next(iter(stream))
        assert admin(cluster, 0, "drain").status == 200
        assert cluster.worker(0).state()["draining"]
        answers = [ask(cluster, max_tokens=2) for _ in range(4)]
        assert all(answer.ok and answer.meta["selectedWorker"] == "w1" for answer in answers)
        for stream in streams:
            stream.read_all()
            assert stream.done
        assert {stream.headers["x-signalbox-worker"] for stream in streams} == {"w0", "w1"}
        admin(cluster, 0, "undrain")
        assert {ask(cluster, max_tokens=2).meta["selectedWorker"] for _ in range(4)} == {"w0", "w1"}


def test_a_reset_forgets_the_doubling():
    with cluster_of(timeoutMs=100) as cluster:
        fail(cluster, 5)
        until_half_open(cluster)
        fail(cluster)
        assert breaker(cluster)["retryInMs"] > 130
        cluster.worker(0).reset()
        assert breaker(cluster) == {"state": "closed", "consecutiveFailures": 0, "retryInMs": 0}
        fail(cluster, 5)
        assert breaker(cluster)["retryInMs"] <= 100


def test_admin_asks_for_its_key_and_knows_its_workers():
    with cluster_of(config={"security": {"admin_key": "the-admin-key"}}) as cluster:
        assert (admin(cluster, 0, "isolate").status, admin(cluster, 0, "isolate", {"x-admin-key": "no"}).status) == (401, 403)
        assert breaker(cluster)["state"] == "closed"
        for headers in ({"x-admin-key": "the-admin-key"}, {"authorization": "Bearer the-admin-key"}):
            assert admin(cluster, 0, "isolate", headers).status == 200
            assert breaker(cluster)["state"] != "closed"
            assert admin(cluster, 0, "reset", headers).status == 200
        key = {"x-admin-key": "the-admin-key"}
        assert cluster.post("/admin/workers/nobody/reset", b"", key).status == 404
        assert cluster.post("/admin/workers/w0/explode", b"", key).status == 404
        assert cluster.get("/admin/workers/w0/reset", key).status == 405
