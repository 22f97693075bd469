"""Sessions: a client's requests stay with one worker, for its KV cache, as long as that is good for them."""
import time

import pytest

from support.cluster import TestCluster, merged
from support.scenario import KINDS, NO_TRIPS, SWIFT, WAYS, ask, isolate, knobs, lines


def cluster_of(workers=3, kind="http", engine=SWIFT, retry=None, config=None, **affinity):
    extra = {"cluster": {"loadBalancing": {"sessionAffinity": affinity}}} if affinity else {}
    return TestCluster(workers=workers, kind=kind, engine=engine,
                       config=merged(merged(knobs(circuitBreaker=NO_TRIPS, retry=retry, timeoutMs=5000, streamingTimeoutMs=5000), extra), config))


def homes(cluster, count=6, headers=None, **extra):
    """The workers that answered."""
    answers = [ask(cluster, WAYS[i % 2], headers=headers, **extra) for i in range(count)]
    assert all(answer.ok for answer in answers), answers
    return [answer.meta["selectedWorker"] for answer in answers]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers, body", [({"x-session-id": "s"}, {}), ({}, {"session_id": "s"}), ({}, {"prompt_cache_key": "s"})],
                         ids=["header", "body", "cache key"])
def test_each_of_three_names_keeps_requests_together(kind, headers, body):
    with cluster_of(kind=kind) as cluster:
        assert len(set(homes(cluster, headers=headers, **body))) == 1
        assert len(set(homes(cluster))) == 3, "without one they go round"


def test_the_header_counts_before_the_body():
    with cluster_of() as cluster:
        home = {name: homes(cluster, 1, {"x-session-id": name})[0] for name in ("a", "b", "c")}
        assert len(set(home.values())) == 3
        assert set(homes(cluster, 4, {"x-session-id": "a"}, session_id="b", prompt_cache_key="c")) == {home["a"]}
        assert set(homes(cluster, 4, session_id="b", prompt_cache_key="c")) == {home["b"]}


def test_it_is_scoped_to_the_key_of_its_client():
    with cluster_of() as cluster:
        keys = [{"x-session-id": "same", "authorization": f"Bearer sk-{i}"} for i in range(3)]
        first = [homes(cluster, 1, headers)[0] for headers in keys]
        assert len(set(first)) == 3, "three clients, three sessions"
        assert [homes(cluster, 1, headers)[0] for headers in keys] == first


@pytest.mark.parametrize("kind", KINDS)
def test_it_moves_only_when_another_worker_succeeded(kind):
    with cluster_of(workers=2, kind=kind, retry={"enabled": False}) as cluster:
        session = {"x-session-id": "s"}
        home = int(homes(cluster, 2, session)[0][1])
        isolate(cluster, home)
        cluster.worker(1 - home).simulate_error(count=1)
        assert ask(cluster, headers=session).status == 502
        cluster.worker(home).reset()
        assert set(homes(cluster, 4, session)) == {f"w{home}"}, "the other one failed: nothing moved"
        assert lines(cluster, "session_moved") == []
        isolate(cluster, home)
        assert homes(cluster, 1, session) == [f"w{1 - home}"]
        cluster.worker(home).reset()
        assert set(homes(cluster, 4, session)) == {f"w{1 - home}"}, "its cache is there now"
        assert len(lines(cluster, "session_moved")) == 1


def test_unused_it_is_forgotten_and_use_keeps_it():
    with cluster_of(ttlMs=500) as cluster:
        session = {"x-session-id": "s"}
        home = homes(cluster, 1, session)[0]
        for _ in range(5):
            time.sleep(0.2)
            homes(cluster, 1)  # so that the round goes on
            assert homes(cluster, 1, session) == [home]
        seen = set()
        for _ in range(3):
            time.sleep(0.65)
            homes(cluster, 1)
            seen |= set(homes(cluster, 1, session))
        assert len(seen) > 1, "a new choice each time"


def test_the_least_recently_used_is_forgotten_first():
    with cluster_of(maxSessions=2) as cluster:
        names = [f"s{i}" for i in range(7)]
        rounds = [[homes(cluster, 1, {"x-session-id": name})[0] for name in names] for _ in range(2)]
        assert rounds[0] != rounds[1], "seven sessions, none of which is remembered long enough"
        assert len(set(homes(cluster, 4, {"x-session-id": "s6"}))) == 1, "the newest is"


def test_disabled_requests_go_round():
    with cluster_of(enabled=False) as cluster:
        assert len(set(homes(cluster, 6, {"x-session-id": "s"}))) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_with_much_more_load_than_the_others_is_passed_over(kind):
    with cluster_of(workers=2, kind=kind) as cluster:
        session = {"x-session-id": "s"}
        home = int(homes(cluster, 2, session)[0][1])
        isolate(cluster, 1 - home)
        cluster.worker(home).fault("hang_after_bytes", count=6, after_tokens=2)
        streams = [cluster.stream(cluster.body(), headers=session) for _ in range(6)]
        cluster.worker(1 - home).reset()
        try:
            assert cluster.in_flight() == 6
            assert homes(cluster, 1, session) == [f"w{1 - home}"], "it did not wait behind its own load"
        finally:
            for stream in streams:
                stream.abort()
