"""A whole Signalbox on loopback: engines, workers, one controller, each a process of its own.

    with TestCluster(workers=3, kind="nats") as cluster:
        answer = cluster.chat("hello")
        cluster.worker(0).kill()

Every wait is bounded, every process is ended by its pid, and the end of the test shows that none is left.
"""
import collections
import copy
import itertools
import json
import pathlib
import secrets
import shutil
import socket
import tempfile

from support.client import Response, Stream, address_of, request
from support.engine import SimulatedEngine
from support.process import BINARY, Child, marked
from support.wait import SCALE, until


_reserved = collections.deque(maxlen=64)  # bound and not listening: a server may take such a port, a second test may not


def free_port(host="127.0.0.1"):
    """One that neither an outgoing connection takes meanwhile (they come from above 32768) nor another test run."""
    while True:
        sock = socket.socket()
        try:
            sock.bind((host, 12_000 + secrets.randbelow(20_000)))
        except OSError:
            sock.close()
            continue
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _reserved.append(sock)
        return sock.getsockname()[1]


def merged(base, extra):
    """base with extra laid over it: dicts key by key, lists entry by entry."""
    if isinstance(base, dict) and isinstance(extra, dict):
        return {key: merged(base.get(key), extra.get(key)) for key in {**base, **extra}}
    if isinstance(base, list) and isinstance(extra, list):
        return [merged(a, b) for a, b in itertools.zip_longest(base, extra)]
    return copy.deepcopy(base if extra is None else extra)


class Worker:
    """One place where requests go: an engine, and for kind nats the worker process beside it."""

    def __init__(self, cluster, index, engine, process=None):
        self.cluster, self.index, self.engine, self.process = cluster, index, engine, process
        self.id = f"w{index}"

    def fault(self, fault, count=1, **order):
        self.engine.fault(fault, count, **order)

    def simulate_error(self, count=1):
        """The next `count` requests fail with a 500."""
        self.fault("error_500", count)

    def inference(self):
        return self.engine.inference()

    def kill(self):
        """kill -9 of what the controller talks to: the worker process, or the engine itself."""
        (self.process or self.engine).kill()

    def stop(self):
        return (self.process or self.engine).stop()

    def restart(self):
        """Starts again what kill() or stop() ended, at the same place."""
        if self.process:
            self.process = self.cluster.start_worker_process(self.index, self.engine)
        else:
            self.engine = self.cluster.start_engine(self.index, listen=self.engine.url[len("http://"):])

    def reset(self):
        """The admin's reset: breaker closed, cool-down and the like over."""
        answer = self.cluster.post(f"/admin/workers/{self.id}/reset", b"")
        assert answer.status in (200, 204), answer

    def state(self):
        return self.cluster.workers_json().get(self.id)


class TestCluster:
    __test__ = False

    def __init__(self, workers=1, kind="nats", config=None, model="sim", engine=None, engines=None, models=None,
                 worker_config=None, ready=True, env=None, wrap=(), max_concurrent=16):
        """engine: options of every simulated engine; engines: ready-made ones, instead; models: one per worker;
        wrap: a command to run the controller under; max_concurrent: of each worker."""
        self.max_concurrent = max_concurrent
        self.kind, self.model, self.models, self.env, self.wrap = kind, model, models, env, list(wrap)
        self.engine_options, self.worker_config = dict(engine or {}), worker_config
        self.mark = "t" + secrets.token_hex(8)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sbx-test-"))
        self.children, self.starts, self.workers, self.controller = [], {}, [], None
        self.port, self.bus_port = free_port(), free_port()
        (self.folder / "store").mkdir()
        self.token_file = self.folder / "bus.token"
        self.token_file.write_text("test-" + secrets.token_hex(8))
        try:
            ready_made = engines or [None] * workers
            for index, made in enumerate(ready_made):
                self.workers.append(Worker(self, index, made or self.start_engine(index)))
            self.config = self._config(config)
            self.start_controller()
            if kind == "nats":
                self.wait_bus()  # a worker that found no bus would wait a while before it looks again
                for worker in self.workers:
                    worker.process = self.start_worker_process(worker.index, worker.engine)
            if ready:
                self.wait_ready()
        except BaseException:
            print("\n".join(f"--- {child.name}\n{child.log[-2000:]}" for child in self.children if child.log))
            self.stop(check=False)
            raise

    # --- starting -------------------------------------------------------------------------

    def child(self, name, argv, env=None):
        """A process of this cluster; a second of the same name logs into a file of its own."""
        self.starts[name] = self.starts.get(name, 0) + 1
        number = self.starts[name]
        child = Child(name if number == 1 else f"{name}-{number}", argv, self.folder, self.mark, {**(self.env or {}), **(env or {})})
        self.children.append(child)
        return child

    def model_of(self, index):
        return self.models[index] if self.models else self.model

    def start_engine(self, index, **options):
        self.starts["engine"] = self.starts.get("engine", 0) + 1
        engine = SimulatedEngine(f"engine{index}-{self.starts['engine']}", self.folder, self.mark,
                                 **{"model": self.model_of(index), **self.engine_options, **options})
        self.children.append(engine)
        return engine

    def start_worker_process(self, index, engine):
        config = merged({"cluster": {
            "mode": "worker",
            "nats": {"mode": "external", "serverUrl": f"nats://127.0.0.1:{self.bus_port}", "tokenFile": str(self.token_file)},
            "worker": {"workerId": f"w{index}", "engines": [{"kind": "openai", "url": engine.url, "maxConcurrent": self.max_concurrent}]},
        }}, self.worker_config)
        path = self.write(f"worker{index}.yaml", config)
        return self.child(f"worker{index}", [BINARY, "worker", "--config", path])

    def start_controller(self):
        path = self.write("controller.yaml", self.config)
        self.controller = self.child("controller", [*self.wrap, BINARY, "controller", "--config", path])

    def write(self, name, config):
        # JSON is YAML.
        path = self.folder / name
        path.write_text(json.dumps(config, indent=1))
        return path

    def _config(self, extra):
        base = {"cluster": {
            "mode": "controller",
            "controller": {"bindAddress": "127.0.0.1", "port": self.port},
            "loadBalancing": {"strategy": "round_robin"},
            "nats": {"mode": "off"},
        }, "logging": {"level": "debug", "format": "json"}}
        if SCALE > 1:
            # A slow (sanitized) worker is not a dead one.
            base["cluster"]["requestRouting"] = {"ackTimeoutMs": int(250 * SCALE), "connectTimeoutMs": int(1000 * SCALE)}
        if self.kind == "nats":
            base["cluster"]["nats"] = {"mode": "embedded", "embedded": {
                "bind": "127.0.0.1", "port": self.bus_port, "tokenFile": str(self.token_file),
                "storeDir": str(self.folder / "store")}}
        else:
            base["backends"] = {w.id: {"url": w.engine.url, "model": w.engine.model, "max_concurrent": self.max_concurrent}
                                for w in self.workers}
        return merged(base, extra)

    def wait_ready(self):
        self.wait_listening()
        until(lambda: self.serving() == len(self.workers), 20, f"{len(self.workers)} workers are online with their models")

    def wait_listening(self):
        def ready():
            if not self.controller.alive:
                raise AssertionError(f"the controller ended: {self.controller.log[-3000:]}")
            try:
                return self.get("/readyz", seconds=2).status == 200
            except OSError:
                return False
        until(ready, 20, "/readyz says 200")

    def wait_bus(self):
        self.wait_listening()
        until(lambda: self.get("/api/cluster/status").json()["busUp"], 20, "the bus is up")

    # --- asking ---------------------------------------------------------------------------

    @property
    def api_url(self):
        return f"http://127.0.0.1:{self.port}"

    def worker(self, index):
        return self.workers[index]

    def get(self, path, headers=None, seconds=10):
        return request(self.api_url, "GET", path, None, headers, seconds)

    def post(self, path, body, headers=None, seconds=30) -> Response:
        return request(self.api_url, "POST", path, body, headers, seconds)

    def stream(self, body, path="/v1/chat/completions", headers=None, seconds=60) -> Stream:
        return Stream(self.api_url, path, {**body, "stream": True} if isinstance(body, dict) else body, headers, seconds)

    def body(self, text="hello", **extra):
        """A chat of exactly max_tokens tokens, when the engine is the simulated one."""
        return {"model": self.model, "messages": [{"role": "user", "content": text}], "max_tokens": 16,
                "ignore_eos": True, **extra}

    def chat(self, text="hello", headers=None, **extra):
        return self.post("/v1/chat/completions", self.body(text, **extra), headers)

    def workers_json(self):
        """{worker id: what /api/cluster/workers says of it}"""
        answer = self.get("/api/cluster/workers")
        assert answer.status == 200, answer
        return {entry["workerId"]: entry for entry in answer.json()["workers"]}

    def online(self):
        return sum(entry["online"] for entry in self.workers_json().values())

    def serving(self):
        """Workers that are online and have said what they serve."""
        return sum(entry["online"] and entry["models"] != [] for entry in self.workers_json().values())

    def in_flight(self):
        return sum(entry["inFlight"] for entry in self.workers_json().values())

    def until_quiet(self, seconds=10):
        until(lambda: self.in_flight() == 0, seconds, "nothing is in flight")

    def descriptors(self):
        """Of the controller, without its pooled connections to engines."""
        return self.controller.descriptors([address_of(w.engine.url)[1] for w in self.workers])

    # --- ending ---------------------------------------------------------------------------

    def stop(self, check=True, keep=False):
        """Ends everything. With check: the controller ends by itself with 0 and no process is left. keep: the logs."""
        problems = []
        running = [child for child in self.children if child.alive]
        for worker in self.workers:  # all at once: each takes its time to say goodbye
            if worker.process:
                worker.process.tell_to_end()
        # The controller last but for engines, as a person would.
        for child in sorted(running, key=lambda c: (c in [w.engine for w in self.workers], c is self.controller)):
            try:
                code = child.stop()
                if code != 0:
                    problems.append(f"{child.name} ended with {code}: {child.log[-3000:]}")
            except AssertionError as error:
                problems.append(str(error))
        for child in self.children:
            if "runtime error: " in child.log or "ERROR: AddressSanitizer" in child.log:
                problems.append(f"{child.name}: a sanitizer speaks: {child.log[-3000:]}")
        try:
            until(lambda: not marked(self.mark), 5, "every process of the test is gone")
        except AssertionError:
            problems.append(f"left behind: {marked(self.mark)}")
        if not keep and not (check and problems):
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not (check and problems), "\n".join([*problems, f"logs: {self.folder}"])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"logs of the failed test: {self.folder}")
        self.stop(check=kind is None, keep=kind is not None)
