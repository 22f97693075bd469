"""A worker of kind nats that does what a test says: docs/bus.md over a plain socket.

    with BusWorker(cluster, "odd", lambda run: run.error("draining")) as odd: ...

on_run is called on a thread of its own for each run, and says ack, head, data, end, error, ping in any order it likes;
what it does not say, a worker that is stuck would not say either."""
import contextlib
import json
import secrets
import socket
import struct
import threading
import time

from support.engine import chat_answer
from support.wait import until

ACK, HEAD, DATA, END, ERROR, PING = range(1, 7)


class Run:
    def __init__(self, worker, subject, headers, body):
        self.worker, self.subject, self.headers, self.body, self.at = worker, subject, headers, body, time.monotonic()
        self.sequence, self.cancelled = 0, threading.Event()

    def _frame(self, kind, payload=b"", flags=0):
        header = struct.pack("<IBBHII", self.sequence, kind, flags, 0, 0, len(payload))
        if kind != PING:
            self.sequence += 1
        self.worker.publish(self.subject, header + payload)

    def ack(self):
        self._frame(ACK)

    def head(self, status=200, content_type="application/json"):
        self._frame(HEAD, json.dumps({"status": status, "contentType": content_type, "contentEncoding": ""}).encode())

    def data(self, data):
        self._frame(DATA, data)

    def end(self):
        self._frame(END)

    def error(self, outcome, **members):
        self._frame(ERROR, json.dumps({"outcome": outcome, "text": "the test says so", **members}).encode())

    def ping(self, progress=False):
        self._frame(PING, flags=1 if progress else 0)

    def answer(self, text="from the bus worker"):
        """A whole buffered answer."""
        self.ack()
        self.head()
        self.data(chat_answer(text, self.worker.model))
        self.end()


class BusWorker:
    def __init__(self, cluster, worker_id, on_run=Run.answer, model=None, max_concurrent=16, deaf=False):
        """deaf: it registers and beats, but nobody listens where its runs arrive."""
        self.cluster, self.id, self.on_run, self.model = cluster, worker_id, on_run, model or cluster.model
        self.max_concurrent, self.boot_id = max_concurrent, secrets.token_hex(8)
        self.runs, self.cancels, self.beats, self.over = [], [], True, threading.Event()
        self.lock, self.on_frame = threading.Lock(), {}
        cluster.wait_bus()
        self.sock = socket.create_connection(("127.0.0.1", cluster.bus_port), timeout=10)
        self.sock.settimeout(None)
        self.input = self.sock.makefile("rb")
        self.input.readline()  # INFO
        hello = {"auth_token": cluster.token_file.read_text().strip(), "verbose": False, "headers": True, "no_responders": True,
                 "lang": "python", "version": "0", "pedantic": False}
        self._write(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
        for number, subject in enumerate(["worker.who"] if deaf else ["worker.who", f"inference.{worker_id}", f"inference.{worker_id}.>"], 1):
            self._write(f"SUB {subject} {number}\r\n".encode())
        self.threads = [threading.Thread(target=self._read, daemon=True), threading.Thread(target=self._beat, daemon=True)]
        for thread in self.threads:
            thread.start()
        self.register()
        until(lambda: (cluster.workers_json().get(worker_id) or {}).get("online"), 5, f"{worker_id} is online")

    # --- the wire -------------------------------------------------------------------------

    def _write(self, data):
        with self.lock:
            self.sock.sendall(data)

    def publish(self, subject, payload, reply=""):
        with contextlib.suppress(OSError):
            self._write(f"PUB {subject} {reply + ' ' if reply else ''}{len(payload)}\r\n".encode() + payload + b"\r\n")

    def _read(self):
        with contextlib.suppress(OSError, ValueError):
            for line in iter(self.input.readline, b""):
                words = line.decode().split()
                if words and words[0] == "PING":
                    self._write(b"PONG\r\n")
                elif words and words[0] in ("MSG", "HMSG"):
                    self._take(words, self.input.read(int(words[-1]) + 2)[:-2])

    def _take(self, words, data):
        headers, subject = {}, words[1]
        if words[0] == "HMSG":
            head, data = data[:int(words[-2])].decode(), data[int(words[-2]):]
            headers = dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in head.split("\r\n")[1:] if line)
            reply = words[3] if len(words) == 6 else ""
        else:
            reply = words[3] if len(words) == 5 else ""
        kind = subject.rsplit(".", 1)[-1]
        if subject in self.on_frame:
            self._take_frame(subject, data)
        elif subject == "worker.who":
            self.register("worker.heartbeat")
        elif kind == "run":
            run = Run(self, reply, headers, data)
            self.runs.append(run)
            threading.Thread(target=self.on_run, args=(run,), daemon=True).start()
        elif kind == "cancel":
            self.cancels.append(time.monotonic())
            for run in self.runs:
                if run.subject == reply:
                    run.cancelled.set()

    def publish_run(self, worker_id, body, headers, on_frame):
        """Plays the controller: one run for a worker; on_frame gets {"type", "json" or None} of each of its frames."""
        request_id, data = secrets.token_hex(16), json.dumps(body).encode()
        subject = f"response.{self.id}.{request_id}.1"
        self.on_frame[subject] = on_frame
        headers = {"Sbx-Rid": request_id, "Sbx-Attempt": "1", "Sbx-Path": "/v1/chat/completions", "Sbx-Stream": "0",
                   "Sbx-Credit": "1000000", **headers}
        head = ("NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()) + "\r\n").encode()
        self._write(f"SUB {subject} {len(self.on_frame) + 10}\r\n".encode()
                    + f"HPUB inference.{worker_id}.run {subject} {len(head)} {len(head) + len(data)}\r\n".encode() + head + data + b"\r\n")

    def _take_frame(self, subject, data):
        kind, length = data[4], len(data) - 16
        text = data[16:] if length and kind in (HEAD, ERROR) else b""
        self.on_frame[subject]({"type": kind, "json": json.loads(text) if text else None})

    # --- what it says of itself -----------------------------------------------------------

    def register(self, subject="worker.register", **extra):
        self.publish(subject, json.dumps({
            "workerId": self.id, "bootId": self.boot_id, "version": "0.1.0", "engine": {"kind": "openai", "state": "up"},
            "models": [self.model], "maxConcurrent": self.max_concurrent, "load": {"inFlight": 0, "queued": 0}, "resume": "off",
            "streamUsage": "auto", "draining": False, **extra}).encode())

    def reboot(self):
        """The same worker under a new boot id."""
        self.boot_id = secrets.token_hex(8)
        self.register()

    def _beat(self):
        while not self.over.wait(0.3):
            if self.beats:
                self.register("worker.heartbeat")

    def state(self):
        return self.cluster.workers_json().get(self.id)

    def stop(self):
        self.over.set()
        self.publish("worker.deregister", json.dumps({"workerId": self.id, "bootId": self.boot_id}).encode())
        self.threads[1].join(5)
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.threads[0].join(5)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
