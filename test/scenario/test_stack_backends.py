"""Backends and the health of everything that is called directly; the configuration files of others, unchanged."""
import json
import re
import subprocess
import time

import pytest

from support.client import request
from support.cluster import free_port
from support.engine import RecordingEngine
from support.process import BINARY, ROOT, Child
from support.raw_http import answer_of
from support.stack import StackCluster, VectorServer, helper_config, texts
from support.wait import until

FIXTURES = ROOT / "test/fixtures"


class Fixture:
    """A controller with one of the fixtures as it is: flags say where it listens, nothing is added to the file."""

    def __init__(self, name, folder):
        self.port = free_port()
        self.child = Child("controller", [BINARY, "controller", "--config", FIXTURES / name, "--port", self.port], folder,
                           env={"SIGNALBOX_NATS_MODE": "off", "XDG_STATE_HOME": str(folder)})
        try:
            until(lambda: self._answers() or not self.child.alive, 10, "it listens")
            assert self.child.alive, self.child.log
            self.stack = request(f"http://127.0.0.1:{self.port}", "GET", "/admin/stack").json()
        finally:
            code = self.child.stop()
        assert code == 0, self.child.log

    def _answers(self):
        try:
            return request(f"http://127.0.0.1:{self.port}", "GET", "/livez", seconds=2).status == 200
        except OSError:
            return False


# --- fixtures ---------------------------------------------------------------------------------


def test_the_fixture_of_backends_loads_and_shows_as_written(tmp_path):
    stack = Fixture("mono-machine-backends.yaml", tmp_path).stack
    shown = {name: {key: entry[key] for key in ("url", "model", "status")} for name, entry in stack["backends"].items()}
    assert shown == {
        "m2.5-4bit": {"url": "http://localhost:10001/v1", "model": "mlx-community/MiniMax-M2.5-4bit", "status": "active"},
        "m2.5-5bit": {"url": "http://localhost:10002/v1", "model": "mlx-community/MiniMax-M2.5-5bit", "status": "active"}}
    assert (stack["roles"], stack["helper_nodes"], stack["stack_presets"]) == ({}, {}, {})
    assert (stack["active_stack_preset"], stack["default_model"]) == (None, None)


def test_the_fixture_of_helper_nodes_loads_and_shows_as_written(tmp_path):
    nodes = Fixture("helper-nodes.yaml", tmp_path).stack["helper_nodes"]
    embedding, reranking = nodes["embedding"], nodes["reranking"]
    assert (embedding["url"], embedding["model"], embedding["fallback"], embedding["circuit_state"]) == (
        "http://192.168.188.20:1234", "nomic-embed-text-v1.5", "local", "closed")
    assert [(e["url"], e["model"], e["priority"], e["timeout_sec"]) for e in embedding["endpoints"]] == [
        ("http://192.168.188.20:1234", "nomic-embed-text-v1.5", 1, 10)]
    assert reranking["fallback"] == "skip"
    assert [(e["url"], e["model"], e["priority"], e["timeout_sec"]) for e in reranking["endpoints"]] == [
        ("http://192.168.188.21:1234", "qwen3-reranker-0.6b", 1, 10), ("http://192.168.188.22:1234/v1", "qwen3-reranker-0.6b", 2, 10)]


def test_the_fixture_of_presets_loads_and_shows_as_written(tmp_path):
    presets = Fixture("stack-presets.yaml", tmp_path).stack["stack_presets"]
    assert presets == {
        "standard": {"description": "Standard 4-model stack", "roles": {
            "coding": "mlx-community/Qwen2.5-Coder-32B-Instruct-4bit", "reasoning": "mlx-community/QwQ-32B-4bit",
            "chat": "mlx-community/Qwen3-30B-A3B-4bit", "vision": "mlx-community/Qwen2.5-VL-32B-Instruct-4bit"}},
        "minimax": {"description": "MiniMax single-model stack", "roles": {
            "coding": "mlx-community/MiniMax-M2.5-5bit", "chat": "mlx-community/MiniMax-M2.5-4bit"}}}


def test_the_fixture_of_routing_loads(tmp_path):
    stack = Fixture("request-routing.yaml", tmp_path).stack
    assert all(stack[section] == {} for section in ("roles", "helper_nodes", "backends", "stack_presets", "aliases"))


def test_the_example_of_the_documentation_loads(tmp_path):
    text = (ROOT / "docs/stack.md").read_text()
    (tmp_path / "signalbox.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
    (tmp_path / "admin.key").write_text("a-key\n")
    run = subprocess.run([BINARY, "check", tmp_path / "signalbox.yaml"], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0, run.stdout + run.stderr


def test_another_status_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("backends:\n  a:\n    url: http://h\n    status: paused\n")
    run = subprocess.run([BINARY, "check", path], capture_output=True, text=True, timeout=20)
    if run.returncode != 2:
        run = subprocess.run([BINARY, "controller", "--config", path], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2
    assert re.search(r"c\.yaml:4:13: backends\.a\.status: found \"paused\", expected active or inactive", run.stdout + run.stderr)


# --- backends ---------------------------------------------------------------------------------


def test_an_inactive_backend_is_shown_and_never_called():
    with RecordingEngine("on") as active, RecordingEngine("off") as inactive:
        config = {"backends": {"a": {"url": active.url, "model": "on"}, "b": {"url": inactive.url, "model": "off", "status": "inactive"}}}
        with StackCluster(config=config) as cluster:
            until(lambda: active.requests, 5, "the active one is checked")
            assert cluster.chat(model="off").status == 404
            shown = cluster.stack()
            assert (shown["backends"]["b"]["status"], shown["backends"]["b"]["healthy"]) == ("inactive", False)
            assert shown["loaded_models"] == ["on"]
            time.sleep(0.3)
            assert inactive.connections == 0


@pytest.mark.parametrize("written, called", [
    ("", "/v1/chat/completions"), ("/", "/v1/chat/completions"), ("/v1", "/v1/chat/completions"), ("/v1/", "/v1/chat/completions"),
    ("/llm", "/llm/v1/chat/completions"), ("/llm/v1/", "/llm/v1/chat/completions"), ("/x/v4", "/x/v4/chat/completions")])
def test_a_url_joins_with_or_without_v1_slash_and_prefix(written, called):
    with RecordingEngine("m") as engine:
        with StackCluster(config={"backends": {"a": {"url": engine.url + written, "model": "m"}}}) as cluster:
            assert cluster.chat(model="m").status == 200
            assert [r.path for r in engine.inference] == [called]


def test_the_models_of_a_backend_without_any_are_asked_for_and_followed():
    with RecordingEngine("first") as engine:
        config = {"backends": {"a": {"url": engine.url, "health_check_interval_sec": 1}}}
        with StackCluster(config=config) as cluster:
            until(lambda: cluster.stack()["backends"]["a"]["models"] == ["first"], 5, "it is asked")
            assert cluster.chat(model="first").status == 200
            engine.model = "second"
            until(lambda: cluster.stack()["backends"]["a"]["model"] == "second", 5, "the next check asks again")
            assert (cluster.chat(model="second").status, cluster.chat(model="first").status) == (200, 404)


def test_a_model_that_was_dropped_is_back_when_the_backend_lists_it_again():
    """404 for a model it claims: dropped until seen again, and that is the next check."""
    def answers(request_, send, server):
        if len(server.inference) == 1:
            send(answer_of(404, b'{"error":{"message":"The model does not exist","code":"model_not_found"}}'))
        else:
            send(answer_of(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}).encode()))
        return True
    with RecordingEngine("m", on_chat=answers) as engine:
        with StackCluster(config={"backends": {"a": {"url": engine.url, "model": "m", "health_check_interval_sec": 1}}}) as cluster:
            assert cluster.chat(model="m").status == 404
            until(lambda: cluster.chat(model="m").status == 200, 5, "it is there again")


# --- health -----------------------------------------------------------------------------------


def checks(engine):
    return [r.at for r in engine.requests if r.method == "GET" and r.path == "/health"]


def test_everything_is_checked_at_the_start_side_by_side_and_a_slow_one_delays_no_other():
    slow, quick, backend = VectorServer(delay_s=1.5), VectorServer(), RecordingEngine("m")
    config = {**helper_config("embedding", slow, quick), "backends": {"a": {"url": backend.url, "model": "m"}}}
    try:
        started = time.monotonic()
        with StackCluster(config=config) as cluster:
            until(lambda: all(map(checks, (slow, quick, backend))), 5, "all are asked")
            until(lambda: cluster.endpoint(1)["last_check_at"] and cluster.stack()["backends"]["a"]["last_check_at"], 5, "two are done")
            assert time.monotonic() - started < 1.4 and cluster.endpoint(0)["last_check_at"] is None
            until(lambda: cluster.endpoint(0)["last_check_at"], 5, "the slow one too")
    finally:
        for server in (slow, quick, backend):
            server.stop()


def test_nothing_to_check_is_fine():
    with StackCluster(config={"helper_nodes": {}, "backends": {}}) as cluster:
        stack = cluster.stack()
        assert (stack["backends"], stack["helper_nodes"], stack["loaded_models"]) == ({}, {}, [])
        assert cluster.get("/admin/helpers").json() == {}


def test_it_takes_fall_bad_checks_to_demote_and_rise_good_ones_to_trust_again():
    helper = VectorServer()
    config = helper_config("embedding", helper, health_check_interval_sec=1, health_rise=2, health_fall=3)
    try:
        with StackCluster(config=config) as cluster:
            until(lambda: cluster.endpoint()["last_check_at"], 5, "the first check is over")
            helper.health = 503
            before = len(checks(helper))
            until(lambda: not cluster.endpoint()["healthy"], 10, "it is demoted")
            assert len(checks(helper)) - before >= 3
            assert "health check: status 503" in cluster.endpoint()["last_error"]
            assert cluster.endpoint()["circuit_state"] == "closed"  # failed checks trip nothing
            assert texts(cluster.embed())
            helper.health, before = 200, len(checks(helper))
            until(lambda: cluster.endpoint()["healthy"], 10, "it is trusted again")
            assert len(checks(helper)) - before >= 2
    finally:
        helper.stop()


def test_checks_come_once_per_interval_with_jitter():
    helper = VectorServer()
    try:
        with StackCluster(config=helper_config("embedding", helper, health_check_interval_sec=1)):
            until(lambda: len(checks(helper)) >= 5, 10, "five checks")
            times = checks(helper)
            gaps = [later - earlier for earlier, later in zip(times, times[1:])]
            assert all(0.85 < gap < 1.3 for gap in gaps) and max(gaps) - min(gaps) > 0.001, gaps
    finally:
        helper.stop()


@pytest.mark.parametrize("expect, page, listed, well", [
    ("auto", 200, "another", True), ("auto", 404, "emb", True), ("auto", 404, "another", False), ("auto", 500, "emb", False),
    ("ok", 200, "another", True), ("ok", 404, "emb", False), ("models", 500, "emb", True), ("models", 200, "another", False)])
def test_path_and_expectation_are_configurable(expect, page, listed, well):
    def infer(request_, send, server):
        return False
    engine = RecordingEngine(listed, on_chat=infer)
    probe = engine._probe

    def answer(request_, send):
        if request_.path == "/ready":
            send(answer_of(page, b"{}"))
            return True
        return probe(request_, send)
    engine._probe = answer
    config = {"backends": {"a": {"url": engine.url, "model": "emb", "health_path": "/ready", "health_expect": expect}}}
    try:
        with StackCluster(config=config) as cluster:
            until(lambda: cluster.stack()["backends"]["a"]["last_check_at"], 5, "the first check is over")
            assert cluster.stack()["backends"]["a"]["healthy"] is well
    finally:
        engine.stop()


def test_a_good_check_helps_a_half_open_breaker_to_close():
    helper = VectorServer(mood="error")
    config = helper_config("embedding", helper, health_check_interval_sec=1, circuit_breaker={"reset_timeout_sec": 1}, fallback="skip")
    try:
        with StackCluster(config=config) as cluster:
            for _ in range(3):
                cluster.embed()
            assert cluster.endpoint()["circuit_state"] == "open"
            until(lambda: cluster.endpoint()["circuit_state"] == "closed", 5, "health alone closes it, on probation")
            cluster.embed()
            assert cluster.endpoint()["circuit_state"] == "open"  # the first failure opens it again
    finally:
        helper.stop()
