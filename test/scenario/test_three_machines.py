"""Three machines: network namespaces on one bridge. The controller (with its bus) on one, a worker on
each of the other two. A cut link loses one worker and no request; healed, the worker is back."""
import json
import os
import secrets
import subprocess
import time

import pytest

from support.client import Response
from support.process import BINARY, ROOT, Child, marked
from support.wait import until



def can_have_machines():
    name = "sbxprobe" + secrets.token_hex(2)
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    works = made and subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return works


pytestmark = [pytest.mark.root, pytest.mark.skipif(
    os.getuid() != 0 or not can_have_machines(), reason="network namespaces cannot be made here (root, /sys)")]


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=10)


class Machines:
    """Namespaces m0, m1, m2 with addresses 10.93.0.1 .. 3, joined by a bridge in a namespace of its own."""

    def __init__(self, count=3):
        self.tag = "sbx" + secrets.token_hex(2)
        self.names = [f"{self.tag}m{i}" for i in range(count)]
        self.switch = f"{self.tag}s"
        self.made = []
        for name in [self.switch, *self.names]:
            ip("netns", "add", name)
            self.made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        for i, name in enumerate(self.names):
            ip("-n", self.switch, "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", self.switch, "link", "set", f"p{i}", "master", "br0")
            ip("-n", self.switch, "link", "set", f"p{i}", "up")
            ip("-n", name, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def address(self, i):
        return f"10.93.0.{i + 1}"

    def argv(self, i, *argv):
        return ["ip", "netns", "exec", self.names[i], *argv]

    def cut(self, i):
        ip("-n", self.switch, "link", "set", f"p{i}", "down")

    def heal(self, i):
        ip("-n", self.switch, "link", "set", f"p{i}", "up")

    def remove(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Cluster:
    """Controller on machine 0 by a configuration, workers on the others by the line that it prints."""

    def __init__(self, machines, folder):
        self.machines, self.folder, self.mark = machines, folder, "m" + secrets.token_hex(6)
        self.children = []
        config = {
            "cluster": {
                "mode": "controller",
                "nats": {"mode": "embedded", "embedded": {"bind": machines.address(0), "port": 4222,
                                                          "tokenFile": str(folder / "token"), "storeDir": str(folder)}},
                "controller": {"bindAddress": machines.address(0), "port": 8484},
                "loadBalancing": {"strategy": "round_robin"},
                "requestRouting": {"timeoutMs": 4000, "retry": {"retryDelayMs": 20, "maxDelayMs": 50},
                                   "circuitBreaker": {"timeoutMs": 1000}},
                "discovery": {"heartbeatIntervalMs": 300, "offlineTimeoutMs": 1200}},
        }
        (folder / "token").write_text(secrets.token_hex(12))
        path = folder / "controller.yaml"
        path.write_text(json.dumps(config))
        self.controller = self.start("controller", 0, "controller", "--config", path)
        self.url = f"http://{machines.address(0)}:8484"

    def start(self, name, machine, *arguments):
        child = Child(name, self.machines.argv(machine, str(BINARY), *map(str, arguments)), self.folder, self.mark)
        self.children.append(child)
        return child

    def join(self, machine):
        config = {"cluster": {
            "mode": "worker",
            "discovery": {"heartbeatIntervalMs": 300, "offlineTimeoutMs": 1200},
            "nats": {"mode": "external", "serverUrl": f"nats://{self.machines.address(0)}:4222",
                     "tokenFile": str(self.folder / "token")},
            "worker": {"workerId": f"m{machine}", "engines": [{"kind": "simulated", "models": ["sim"]}]}}}
        path = self.folder / f"worker{machine}.yaml"
        path.write_text(json.dumps(config))
        return self.start(f"worker{machine}", machine, "worker", "--config", path)

    def curl(self, path, body=None, seconds=10):
        """A request from machine 0."""
        argv = self.machines.argv(0, "curl", "-s", "-m", str(seconds), "-w", "\n%{http_code}", self.url + path)
        if body is not None:
            argv += ["-H", "content-type: application/json", "-d", json.dumps(body)]
        run = subprocess.run(argv, capture_output=True, timeout=seconds + 5)
        text, _, status = run.stdout.rpartition(b"\n")
        return Response(int(status or 0), {}, text)

    def chat(self, max_tokens=4):
        return self.curl("/v1/chat/completions", {
            "model": "sim", "messages": [{"role": "user", "content": "x"}], "max_tokens": max_tokens})

    def online(self):
        answer = self.curl("/api/cluster/workers", seconds=3)
        if answer.status != 200:
            assert self.controller.alive, self.controller.log[-3000:]
            return []
        return sorted(w["workerId"] for w in answer.json()["workers"] if w["online"])

    def stop(self):
        for child in reversed(self.children):
            if child.alive:
                child.stop()
        until(lambda: not marked(self.mark), 5, f"nothing is left: {marked(self.mark)}")


@pytest.fixture
def cluster(tmp_path):
    machines = Machines()
    cluster = None
    try:
        cluster = Cluster(machines, tmp_path)
        cluster.join(1)
        cluster.join(2)
        until(lambda: cluster.online() == ["m1", "m2"], 15, "both workers have joined over the network")
        yield cluster
    finally:
        if cluster:
            cluster.stop()
        machines.remove()


def workers_that_answer(cluster, count):
    answers = [cluster.chat() for _ in range(count)]
    assert [a.status for a in answers] == [200] * count, answers
    return {a.json()["metadata"]["selectedWorker"] for a in answers}


def test_a_cut_link_loses_one_worker_and_no_request_and_heals(cluster):
    assert workers_that_answer(cluster, 8) == {"m1", "m2"}
    cluster.machines.cut(2)
    assert workers_that_answer(cluster, 8) <= {"m1", "m2"}
    until(lambda: cluster.online() == ["m1"], 6, "the cut worker is offline")
    assert workers_that_answer(cluster, 8) == {"m1"}
    cluster.machines.heal(2)
    until(lambda: cluster.online() == ["m1", "m2"], 20, "the worker is back")
    until(lambda: workers_that_answer(cluster, 4) == {"m1", "m2"}, 20, "both answer again")


def test_a_cut_controller_finds_both_workers_again(cluster):
    cluster.machines.cut(0)
    until(lambda: cluster.online() == [], 8, "both are offline")
    answer = cluster.chat()
    assert (answer.status, answer.error_code) == (503, "NO_WORKERS_AVAILABLE")
    cluster.machines.heal(0)
    until(lambda: cluster.online() == ["m1", "m2"], 20, "both are back")
    assert cluster.chat().status == 200
