"""Processes: nothing survives the controller, the bus's server and the workers come back, `up` and `check`."""
import os
import pathlib
import re
import signal
import time

import pytest

from support.client import request
from support.cluster import TestCluster, free_port
from support.process import BINARY, ROOT, Child, marked
from support.wait import until


def pids_of(mark, words):
    """Living processes of the test whose command line holds the words."""
    return {pid: line for pid, line in marked(mark).items() if words in line}


class Up(Child):
    """`signalbox up` on a port of its own, away from engines that may run on this machine."""

    def __init__(self, folder, mark, *arguments, config=None, env=None):
        self.port, self.mark = free_port(), mark
        path = pathlib.Path(folder) / "up.yaml"
        if config is None:
            config = "{}"
        path.write_text(config)
        super().__init__("up", [BINARY, "up", "--config", path, *arguments], folder, mark,
                         {"SIGNALBOX_CONTROLLER_PORT": str(self.port), **(env or {})})
        self.url = f"http://127.0.0.1:{self.port}"

    def workers(self):
        try:
            return {w["workerId"]: w for w in request(self.url, "GET", "/api/cluster/workers", seconds=2).json()["workers"]
                    if w["online"]}
        except OSError:
            if not self.alive:
                raise AssertionError(f"up ended: {self.log[-3000:]}\n{self.out[-1000:]}") from None
            return {}

    def chat(self, model, text="hello", **extra):
        return request(self.url, "POST", "/v1/chat/completions",
                       {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 8, **extra})


@pytest.fixture
def up(tmp_path):
    """Starts `up` with the given arguments; shows at the end that it ended well and left nothing."""
    started = []

    def start(*arguments, **options):
        started.append(Up(tmp_path, "up" + os.urandom(6).hex(), *arguments, **options))
        return started[-1]
    yield start
    for child in started:
        if child.alive:
            assert child.stop() == 0, child.log[-3000:]
        until(lambda: not marked(child.mark), 3, f"nothing is left: {marked(child.mark)}")


@pytest.mark.parametrize("kind", ["http", "nats"])
@pytest.mark.timing
def test_kill_9_of_the_controller_leaves_no_child(kind):
    with TestCluster(workers=1, kind=kind) as cluster:
        assert cluster.chat().status == 200
        own = {cluster.controller.pid} | set(pids_of(cluster.mark, "nats-server"))
        cluster.controller.kill()
        others = {child.pid for child in cluster.children}
        until(lambda: not (set(marked(cluster.mark)) - others), 1, f"children of the controller are gone ({own})")


@pytest.mark.timing
def test_kill_9_of_up_leaves_no_child(up):
    child = up()
    until(lambda: len(child.workers()) == 2, 15, "two workers")
    assert len(marked(child.mark)) >= 4  # itself, the guard, nats-server, two workers
    child.kill()
    until(lambda: not marked(child.mark), 1, "all children are gone")


@pytest.mark.timing
def test_nats_server_killed_comes_back_on_its_port_and_no_stream_is_cut():
    with TestCluster(workers=2, kind="nats", engine={"ttft_ms": 5, "tps": 100}) as cluster:
        assert cluster.chat().status == 200
        cluster.until_quiet()
        descriptors = cluster.descriptors()
        expected = cluster.chat("long", max_tokens=300).text
        streams = [cluster.stream(cluster.body("long", max_tokens=300)) for _ in range(4)]
        iterators = [iter(stream) for stream in streams]
        for iterator in iterators:
            for _ in range(20):
                next(iterator)
        server, = pids_of(cluster.mark, "nats-server")
        os.kill(server, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: [p for p in pids_of(cluster.mark, "nats-server") if p != server], 1, "a new nats-server")
        until(lambda: cluster.online() == 2 and cluster.chat(max_tokens=1).status == 200,
              1 - (time.monotonic() - killed), "the cluster is whole again")
        for stream, iterator in zip(streams, iterators):
            for _ in iterator:
                pass
            assert stream.done and stream.error is None and stream.text == expected
            stream.close()
        cluster.until_quiet()
        until(lambda: cluster.descriptors() == descriptors, 5, f"{descriptors} descriptors as before")


def test_up_without_engines_starts_two_simulated_workers_and_says_so(up):
    child = up()
    until(lambda: len(child.workers()) == 2, 15, "two workers")
    model = next(iter(child.workers().values()))["models"][0]
    assert child.chat(model).status == 200
    said = child.out + child.log
    assert "simulated" in said and f"127.0.0.1:{child.port}" in said and "curl " in said


def test_a_killed_worker_of_up_is_started_again(up):
    child = up()
    until(lambda: len(child.workers()) == 2, 15, "two workers")
    model = next(iter(child.workers().values()))["models"][0]
    worker = next(pid for pid, line in marked(child.mark).items() if " worker" in line)
    os.kill(worker, signal.SIGKILL)
    for _ in range(20):
        assert child.chat(model).status == 200
    until(lambda: worker not in marked(child.mark) and len(child.workers()) == 2, 10, "two workers again")


def test_ctrl_c_lets_a_stream_finish_and_ends_everything(up):
    from support.client import Stream
    child = up()
    until(lambda: len(child.workers()) == 2, 15, "two workers")
    model = next(iter(child.workers().values()))["models"][0]
    stream = Stream(child.url, "/v1/chat/completions", {
        "model": model, "stream": True, "max_tokens": 40, "messages": [{"role": "user", "content": "x"}]})
    iterator = iter(stream)
    next(iterator)
    child.signal(signal.SIGINT)
    for _ in iterator:
        pass
    assert stream.done and stream.error is None
    assert child.process.wait(15) == 0


def test_sigterm_answers_readyz_with_503_and_finishes_what_runs():
    with TestCluster(kind="http", engine={"ttft_ms": 5, "tps": 50}) as cluster:
        stream = cluster.stream(cluster.body(max_tokens=60))
        iterator = iter(stream)
        next(iterator)
        cluster.controller.signal(signal.SIGTERM)
        until(lambda: cluster.get("/readyz").status == 503, 2, "/readyz says 503")
        assert cluster.get("/livez").status == 200
        for _ in iterator:
            pass
        assert stream.done
        assert cluster.controller.process.wait(10) == 0


def test_a_worker_that_is_told_to_end_finishes_and_says_goodbye():
    with TestCluster(workers=2, kind="nats", engine={"ttft_ms": 5, "tps": 50}) as cluster:
        streams = [cluster.stream(cluster.body(max_tokens=60)) for _ in range(2)]
        iterators = [iter(stream) for stream in streams]
        for iterator in iterators:
            next(iterator)
        cluster.worker(0).process.signal(signal.SIGTERM)
        time.sleep(0.2)
        for _ in range(5):
            assert cluster.chat(max_tokens=2).headers["x-signalbox-worker"] == "w1"
        for stream, iterator in zip(streams, iterators):
            for _ in iterator:
                pass
            assert stream.done and stream.error is None
        assert cluster.worker(0).process.process.wait(10) == 0
        until(lambda: cluster.online() == 1, 2, "w0 said goodbye")


def test_a_stopped_worker_does_not_run_old_requests_when_it_wakes():
    config = {"cluster": {"requestRouting": {"timeoutMs": 800, "streamingTimeoutMs": 800}}}
    with TestCluster(workers=2, kind="nats", config=config) as cluster:
        stopped = cluster.worker(0)
        stopped.process.signal(signal.SIGSTOP)
        for _ in range(6):
            assert cluster.chat().status == 200
        seen = len(stopped.inference())
        time.sleep(1)
        stopped.process.signal(signal.SIGCONT)
        until(lambda: cluster.online() == 2, 10, "it is back")
        time.sleep(0.3)
        assert len(stopped.inference()) == seen


# --- the command line -----------------------------------------------------------------------


def run(tmp_path, *arguments, seconds=10):
    child = Child("command", [BINARY, *arguments], tmp_path)
    code = child.process.wait(seconds)
    return code, child.out + child.log


@pytest.mark.parametrize("text,where,what", [
    ("cluster:\n  mode: boss\n", "2:9", "mode"),
    ("cluster:\n  controler: {}\n", "2:3", "controler"),
    ("backends:\n  a: { url: 'ftp://x' }\n", "2:13", "url"),
    ("backends:\n  a: {}\n", "2:", "url"),
    ("cluster:\n  controller:\n    port: 70000\n", "3:11", "port"),
    ("a: [\n", "", ""),
])
def test_check_names_file_line_and_column_and_exits_2(tmp_path, text, where, what):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    code, said = run(tmp_path, "check", path)
    assert code == 2
    assert f"{path}:{where}" in said and what in said


def test_check_reports_every_problem_of_a_file_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("cluster:\n  mode: boss\n  nats: { mode: maybe }\nunknown: 1\n")
    code, said = run(tmp_path, "check", path)
    assert code == 2
    assert len(re.findall(rf"^{re.escape(str(path))}:\d+:\d+: ", said, re.M)) == 3


def fixtures():
    return sorted((ROOT / "test/fixtures").glob("*.yaml"))


@pytest.mark.parametrize("path", fixtures(), ids=lambda p: p.name)
def test_the_fixtures_load_unchanged(tmp_path, path):
    code, said = run(tmp_path, "check", path)
    assert code == 0, said


def test_a_config_that_does_not_load_starts_nothing(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("cluster: { mode: boss }\n")
    for command in ("controller", "up", "worker"):
        code, said = run(tmp_path, command, "--config", path)
        assert code == 2 and str(path) in said


def test_an_unknown_command_is_a_usage_error(tmp_path):
    code, said = run(tmp_path, "frobnicate")
    assert code == 2 and "usage" in said.lower()
