"""A new configuration takes over between two requests: what is as it was stays, what changed starts fresh."""
import concurrent.futures
import json
import signal

import pytest

from support.cluster import merged
from support.engine import RecordingEngine
from support.scenario import lines
from support.stack import StackCluster, VectorServer, helper_config, texts
from support.wait import until


def reload(cluster, config, by="page"):
    """Writes the file anew and has it read; the config_reloaded line."""
    before = len(lines(cluster, "config_reloaded"))
    cluster.write("controller.yaml", config)
    if by == "page":
        assert cluster.post("/admin/config/reload", b"").json() == {"ok": True}
    else:
        cluster.controller.signal(signal.SIGHUP)
    return until(lambda: lines(cluster, "config_reloaded")[before:], 5, "it is told")[0]


def counts(line):
    return {key: line[key] for key in ("kept", "changed", "added", "removed")}


@pytest.fixture
def helpers():
    servers = [VectorServer(mood="error"), VectorServer(mood="error")]
    yield servers
    for server in servers:
        server.stop()


@pytest.mark.parametrize("by", ["page", "SIGHUP"])
def test_a_changed_endpoint_starts_with_a_closed_breaker_and_an_unchanged_one_keeps_its_own(helpers, by):
    with StackCluster(config=helper_config("embedding", *helpers, fallback="skip")) as cluster:
        for _ in range(4):
            cluster.embed()
        assert [cluster.endpoint(n)["circuit_state"] for n in (0, 1)] == ["open", "open"]
        changed = merged(cluster.config, {"helper_nodes": {"embedding": {"endpoints": [{"timeout_sec": 5}]}}})
        assert counts(reload(cluster, changed, by)) == {"kept": 1, "changed": 1, "added": 0, "removed": 0}
        assert [cluster.endpoint(n)["circuit_state"] for n in (0, 1)] == ["closed", "open"]
        assert (cluster.endpoint(0)["timeout_sec"], cluster.endpoint(1)["failures"]) == (5, 3)
        for server in helpers:
            server.mood = "well"
        assert cluster.embed().headers["x-signalbox-worker"] == "embedding/0"


def test_a_configuration_with_an_error_changes_nothing(helpers):
    with StackCluster(config=helper_config("embedding", *helpers)) as cluster:
        cluster.write("controller.yaml", merged(cluster.config, {"helper_nodes": {"embedding": {"fallback": "sideways"}}}))
        answer = cluster.post("/admin/config/reload", b"")
        assert (answer.status, answer.error_code) == (409, "CONFLICT")
        assert 'helper_nodes.embedding.fallback: found the string "sideways", expected local or skip' in cluster.controller.log and lines(cluster, "config_refused")
        assert cluster.stack()["helper_nodes"]["embedding"]["fallback"] == "local"


def test_backends_roles_and_aliases_come_and_go():
    with RecordingEngine("a") as a, RecordingEngine("b") as b:
        config = {"backends": {"x": {"url": a.url, "model": "a"}}, "routing": {"aliases": {"n": "a"}}}
        with StackCluster(config=config) as cluster:
            new = {**cluster.config, "backends": {"y": {"url": b.url, "model": "b"}}, "routing": {"aliases": {"n": "b"}},
                   "stack_presets": {"p": {"roles": {"r": "b"}}}, "active_stack_preset": "p"}
            assert counts(reload(cluster, new)) == {"kept": 0, "changed": 0, "added": 1, "removed": 1}
            assert [cluster.chat(model=name).status for name in ("b", "n", "r")] == [200, 200, 200]
            assert cluster.chat(model="a").status in (404, 503) and a.inference == []
            stack = cluster.stack()
            assert (list(stack["backends"]), stack["active_stack_preset"], stack["aliases"]) == (["y"], "p", {"n": ["b"]})
            until(lambda: not cluster.workers_json()["x"]["online"], 5, "the old one is gone")
            assert counts(reload(cluster, cluster.config)) == {"kept": 0, "changed": 0, "added": 1, "removed": 1}
            assert cluster.chat(model="n").status == 200 and len(a.inference) == 1


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_what_runs_at_a_backend_that_changes_or_goes_ends_well(change):
    with RecordingEngine("a", pace_s=0.15) as a:
        patient = {"cluster": {"requestRouting": {"streamIdleTimeoutMs": 5000}}}
        with StackCluster(config={"backends": {"x": {"url": a.url, "model": "a"}}, **patient}) as cluster:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                stream = pool.submit(lambda: (lambda s: (s.read_all(), s.done, s.error))(cluster.stream(cluster.body(model="a"))))
                until(lambda: a.inference, 5, "it runs")
                new = {**cluster.config, "backends": {"x": {**cluster.config["backends"]["x"], "weight": 50}} if change == "changed" else {}}
                assert counts(reload(cluster, new))[change] == 1
                _, done, error = stream.result(20)
            assert done and error is None
            assert cluster.chat(model="a").status == (200 if change == "changed" else 503)


def test_reloads_under_load_fail_nothing():
    with VectorServer() as helper:
        config = helper_config("embedding", helper)
        with StackCluster(workers=1, models=["emb"], config=config) as cluster:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                load = [pool.submit(cluster.embed, f"text {i}") for i in range(300)]
                for i in range(20):
                    reload(cluster, merged(cluster.config, {"helper_nodes": {"embedding": {"timeout_sec": 5 + i}}, "backends": {"w0": {"weight": 100 + i}}}))
                for answer in load:
                    texts(answer.result(30))
            json.dumps(cluster.stack())
