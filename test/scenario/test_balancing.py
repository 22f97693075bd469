"""Who is asked: load, speed, failures and recovery decide, as far as a client can tell."""
import pytest

from support.cluster import TestCluster, merged
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, at_once, attempts, breaker, knobs, trip
from support.wait import until

STRATEGIES = ["round_robin", "least_loaded", "smart"]


def cluster_of(strategy, workers=3, kind="http", engine=SWIFT, breaker_keys=NO_TRIPS, slow_start_ms=30000, **config):
    balancing = {"cluster": {"loadBalancing": {"strategy": strategy, "slowStartMs": slow_start_ms}}}
    return TestCluster(workers=workers, kind=kind, engine=engine, max_concurrent=64,
                       config=merged(merged(knobs(circuitBreaker=breaker_keys, timeoutMs=8000, streamingTimeoutMs=8000), balancing), config))


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded"])
def test_equal_workers_get_equal_shares(strategy):
    with cluster_of(strategy, engine={"ttft_ms": 10, "tps": 0, "capacity": 0}) as cluster:
        assert all(answer.ok for answer in at_once(cluster, 150, width=12, way=WAYS))
        assert min(attempts(cluster)) >= 35, attempts(cluster)


@pytest.mark.alone
def test_smart_starves_none_of_equal_workers():
    """What it learned of speed is noisy; it must not outweigh a dozen requests in flight."""
    with cluster_of("smart", engine={"ttft_ms": 10, "tps": 0, "capacity": 0}) as cluster:
        assert all(answer.ok for answer in at_once(cluster, 150, width=12, way=WAYS))
        assert min(attempts(cluster)) >= 20, attempts(cluster)


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_worker_is_asked_less(kind):
    with cluster_of("least_loaded", kind=kind) as cluster:
        ask(cluster)
        cluster.worker(0).fault("hang_after_bytes", count=-1, after_tokens=2)
        streams = []
        until(lambda: streams.append(cluster.stream(cluster.body())) or
              sum(stream.headers["x-signalbox-worker"] == "w0" for stream in streams) >= 1, 3, "w0 is at work")
        fresh_count = attempts(cluster)[0]
        answers = [ask(cluster) for _ in range(12)]
        assert all(answer.ok for answer in answers)
        assert attempts(cluster)[0] == fresh_count, "two idle ones are there"
        for stream in streams:
            stream.abort()


@pytest.mark.alone
def test_smart_gives_the_quicker_worker_more():
    with cluster_of("smart", workers=2, engine={"ttft_ms": 10, "tps": 0, "capacity": 0}) as cluster:
        cluster.worker(0).engine.set(ttft_ms=80)
        at_once(cluster, 40, width=4)
        for worker in cluster.workers:
            worker.engine.clear_log()
        answers = at_once(cluster, 160, width=8)
        assert all(answer.ok for answer in answers)
        slow, quick = attempts(cluster)
        assert quick > 2 * slow, (slow, quick)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_worker_that_fails_quickly_never_looks_idle(strategy):
    """With a breaker that never opens, only the balancer can keep the requests away."""
    with cluster_of(strategy, engine={"ttft_ms": 20, "tps": 0, "capacity": 0}) as cluster:
        cluster.worker(0).simulate_error(count=-1)
        answers = at_once(cluster, 150, width=12)
        assert all(answer.ok for answer in answers)
        most = 60 if strategy == "smart" else 110
        assert attempts(cluster)[0] <= most, attempts(cluster)


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_a_recovered_worker_s_share_ramps_up(kind):
    keys = {"timeoutMs": 150}
    with cluster_of("least_loaded", workers=2, kind=kind, engine={"ttft_ms": 10, "tps": 0, "capacity": 0}, breaker_keys=keys,
                    slow_start_ms=2000) as cluster:
        at_once(cluster, 20, width=4)
        trip(cluster)
        until(lambda: ask(cluster).ok and breaker(cluster)["state"] == "closed", 4, "it has recovered")
        fresh_logs(cluster)
        at_once(cluster, 100, width=8)
        early = attempts(cluster)
        assert early[0] < 40, early

        def later():
            fresh_logs(cluster)
            at_once(cluster, 100, width=8)
            return attempts(cluster)[0] >= 40
        until(later, 4, "its share is whole")


def fresh_logs(cluster):
    for worker in cluster.workers:
        worker.engine.clear_log()
