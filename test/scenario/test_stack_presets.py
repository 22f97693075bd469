"""Presets are switched whole, between two requests, and survive a kill; admin pages are for those who may."""
import concurrent.futures
import json
import threading
import time

import pytest

from support.client import request
from support.cluster import free_port
from support.scenario import SWIFT, lines
from support.stack import StackCluster
from support.wait import until

TWO = {"stack_presets": {"left": {"description": "one", "roles": {"coding": "l1", "chat": "l2"}},
                         "right": {"roles": {"coding": "r1", "chat": ["nowhere", "r2"]}},
                         "broken": {"roles": {"coding": "l1", "chat": "nowhere", "vision": ["no", "never"]}}},
       "active_stack_preset": "left"}
MODELS = ["l1", "l2", "r1", "r2"]


def two(state=None, **extra):
    return {**TWO, **({"stack_state_file": str(state)} if state else {}), **extra}


@pytest.fixture
def cluster(tmp_path):
    with StackCluster(workers=4, models=MODELS, engine=SWIFT, config=two(tmp_path / "state.json")) as cluster:
        yield cluster


def roles(cluster):
    return {name: role["resolved_model"] for name, role in cluster.stack()["roles"].items()}


# --- switching --------------------------------------------------------------------------------


def test_activating_a_preset_switches_all_its_roles(cluster):
    assert roles(cluster) == {"coding": "l1", "chat": "l2"}
    assert cluster.activate("right").json() == {"ok": True, "active_stack_preset": "right"}
    assert roles(cluster) == {"coding": "r1", "chat": "r2"} and cluster.stack()["active_stack_preset"] == "right"
    assert [cluster.chat(model=role).json()["model"] for role in ("coding", "chat")] == ["r1", "r2"]
    assert lines(cluster, "preset_activated", preset="right", before="left", forced=False)


def test_the_presets_can_be_asked_for(cluster):
    page = cluster.get("/admin/stack/presets").json()
    assert page["active_stack_preset"] == "left" and set(page["stack_presets"]) == {"left", "right", "broken"}
    assert page["stack_presets"]["right"] == {"description": "", "roles": {"coding": "r1", "chat": ["nowhere", "r2"]}}


def test_a_preset_that_is_not_served_whole_is_a_409_that_lists_what_is_missing(cluster):
    answer = cluster.activate("broken")
    assert (answer.status, answer.error_code) == (409, "CONFLICT")
    assert answer.json()["missing"] == {"chat": "nowhere", "vision": ["no", "never"]}
    assert "nowhere" in answer.json()["error"]["message"] and "vision" in answer.json()["error"]["message"]
    assert cluster.stack()["active_stack_preset"] == "left"
    assert cluster.activate("broken", "?force=true").status == 200
    assert cluster.stack()["roles"]["vision"] == {"preferences": ["no", "never"], "resolved_model": "no", "loaded": False}
    assert cluster.chat(model="vision").error_code == "MODEL_NOT_FOUND"


def test_an_unknown_preset_or_command_is_404(cluster):
    assert cluster.activate("nothing").status == 404
    assert cluster.post("/admin/stack/presets/left/drop", b"").status == 404
    assert cluster.get("/admin/stack/presets/left/activate").status == 405


def test_what_was_activated_survives_restart_and_beats_the_configuration(tmp_path):
    with StackCluster(workers=4, models=MODELS, engine=SWIFT, config=two(tmp_path / "deep/er/state.json")) as cluster:
        assert cluster.activate("right").status == 200
        cluster.controller.kill()
        cluster.start_controller()
        cluster.wait_ready()
        assert roles(cluster) == {"coding": "r1", "chat": "r2"}


def test_without_a_path_the_state_is_in_the_state_directory_by_address_and_port(tmp_path):
    with StackCluster(workers=4, models=MODELS, config=two(), env={"XDG_STATE_HOME": str(tmp_path), "STATE_DIRECTORY": ""}) as cluster:
        assert cluster.activate("right").status == 200
        state = tmp_path / "signalbox" / f"stack-127.0.0.1-{cluster.port}.json"
        assert json.loads(state.read_text()) == {"active_stack_preset": "right"}
        cluster.controller.stop()
        cluster.start_controller()
        cluster.wait_ready()
        assert cluster.stack()["active_stack_preset"] == "right"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"active_stack_preset":"gone"}', '{"active_stack_preset":7}', "\0\xff"])
def test_a_state_file_that_cannot_be_used_is_told_and_ignored(tmp_path, text):
    state = tmp_path / "state.json"
    state.write_text(text, encoding="latin-1")
    with StackCluster(workers=4, models=MODELS, config=two(state)) as cluster:
        assert cluster.stack()["active_stack_preset"] == "left"
        assert lines(cluster, "stack_state_ignored", level="warn")


def test_a_state_file_that_cannot_be_written_switches_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with StackCluster(workers=4, models=MODELS, config=two(tmp_path / "file/below/state.json")) as cluster:
        answer = cluster.activate("right")
        assert (answer.status, answer.error_code) == (503, "INTERNAL_ERROR") and "state file" in answer.json()["error"]["message"]
        assert cluster.stack()["active_stack_preset"] == "left"


# --- under load -------------------------------------------------------------------------------


def test_flipping_presets_under_load_mixes_and_fails_nothing(cluster):
    """Each request names an alias of a role, so that both names are looked up: a mixture would give a model of
    neither preset's pair. Scaled: 200 flips (1,000 with SBX_FLIPS=1000)."""
    import os
    flips, over, answers = int(os.environ.get("SBX_FLIPS", "200")), threading.Event(), []

    def load(role):
        while not over.is_set():
            answer = cluster.chat(model=role, max_tokens=2)
            answers.append((role, answer.status, answer.json().get("model")))

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for role in ["coding", "chat"] * 3:
            pool.submit(load, role)
        try:
            for i in range(flips):
                assert cluster.activate(["right", "left"][i % 2]).status == 200
        finally:
            over.set()
    assert {(role, status) for role, status, _ in answers} == {("coding", 200), ("chat", 200)}
    assert {(role, model) for role, _, model in answers} == {("coding", "l1"), ("coding", "r1"), ("chat", "l2"), ("chat", "r2")}


def test_a_request_under_way_keeps_the_list_it_came_by(tmp_path):
    """It fails at its first model after the switch, and falls through by the old list."""
    config = {"stack_presets": {"a": {"roles": {"coding": ["m1", "m2"]}}, "b": {"roles": {"coding": "m3"}}}, "active_stack_preset": "a",
              "stack_state_file": str(tmp_path / "s.json"), "cluster": {"requestRouting": {"timeoutMs": 1500}}}
    with StackCluster(workers=3, models=["m1", "m2", "m3"], config=config) as cluster:
        cluster.worker(0).fault("hang_before_head")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(cluster.chat, model="coding")
            until(lambda: cluster.worker(0).inference(), 5, "it is at m1")
            assert cluster.activate("b").status == 200
            assert cluster.chat(model="coding").json()["model"] == "m3"
            answer = waiting.result(20)
        assert (answer.status, answer.json()["model"]) == (200, "m2")


def test_a_kill_during_a_flip_leaves_a_valid_state(tmp_path):
    state = tmp_path / "state.json"
    with StackCluster(workers=4, models=MODELS, config=two(state)) as cluster:
        for round_ in range(5):
            over = threading.Event()

            def flip():
                i = 0
                while not over.is_set():
                    try:
                        cluster.activate(["right", "left"][i % 2])
                    except OSError:
                        return
                    i += 1
            thread = threading.Thread(target=flip)
            thread.start()
            time.sleep(0.1 + 0.03 * round_)
            cluster.controller.kill()
            over.set()
            thread.join(10)
            assert json.loads(state.read_text())["active_stack_preset"] in ("left", "right")
            cluster.start_controller()
            cluster.wait_ready()
            assert not lines(cluster, "stack_state_ignored")
            assert roles(cluster) in ({"coding": "l1", "chat": "l2"}, {"coding": "r1", "chat": "r2"})


# --- who may ----------------------------------------------------------------------------------

PAGES = [("GET", "/admin/stack"), ("GET", "/admin/helpers"), ("GET", "/admin/stack/presets"),
         ("POST", "/admin/stack/presets/left/activate"), ("POST", "/admin/helpers/embedding/0/reset"), ("POST", "/admin/workers/w0/reset")]


@pytest.mark.parametrize("method, path", PAGES)
def test_admin_pages_ask_for_the_key_in_the_shape_of_the_api(admin, method, path):
    def ask(headers):
        return request(admin.api_url, method, path, b"" if method == "POST" else None, headers)
    none = ask({})
    assert (none.status, none.error_code, none.json()["error"]["type"]) == (401, "UNAUTHORIZED", "authentication_error")
    for wrong in ({"x-admin-key": "wrong"}, {"authorization": "Bearer secret-key2"}, {"x-admin-key": ""}):
        refused = ask(wrong)
        assert (refused.status, refused.error_code, refused.json()["error"]["type"]) == (403, "FORBIDDEN", "permission_error")
    for right in ({"x-admin-key": "secret-key"}, {"authorization": "Bearer secret-key"}):
        assert ask(right).status in (200, 404)


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    state = tmp_path_factory.mktemp("admin") / "state.json"
    with StackCluster(workers=4, models=MODELS, config=two(state, security={"admin_key": "secret-key"})) as cluster:
        yield cluster


def test_without_a_key_admin_is_open_to_loopback_peers_only(cluster):
    assert cluster.get("/admin/stack").status == 200


def test_admin_listen_moves_admin_off_the_public_listener(tmp_path):
    port = free_port()
    with StackCluster(workers=4, models=MODELS, config=two(tmp_path / "s.json", admin={"listen": f"127.0.0.1:{port}"})) as cluster:
        behind = f"http://127.0.0.1:{port}"
        for method, path in PAGES:
            assert request(cluster.api_url, method, path, b"" if method == "POST" else None).status == 404
        assert request(behind, "GET", "/admin/stack").json()["active_stack_preset"] == "left"
        assert request(behind, "POST", "/admin/stack/presets/right/activate", b"").status == 200
        assert request(behind, "GET", "/livez").status == 200
        assert request(behind, "POST", "/v1/chat/completions", cluster.body(model="l1")).status == 404
        assert cluster.chat(model="coding").json()["model"] == "r1"
