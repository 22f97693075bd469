"""Engines that tests put behind Signalbox: the simulated one, one that records, a real one."""
import json
import re
import time

from support.client import request
from support.process import BINARY, ROOT, Child
from support.raw_http import RawServer, answer_of
from support.wait import until


class SimulatedEngine(Child):
    """`signalbox engine simulated`: deterministic text, faults at run time, a log of what it saw."""

    def __init__(self, name, folder, mark="", model="sim", ttft_ms=5, tps=500, seed=1, listen="127.0.0.1:0", **options):
        argv = [BINARY, "engine", "simulated", "--listen", listen, "--model", model, "--ttft-ms", ttft_ms,
                "--tps", tps, "--seed", seed]
        for key, value in options.items():
            argv += [f"--{key.replace('_', '-')}", value]
        super().__init__(name, argv, folder, mark)
        self.model = model
        address = re.search(r"(?:http://)?([\w.\-]+:\d+)", self.first_line())
        self.url = "http://" + address.group(1)

    def fault(self, fault, count=1, **order):
        """Orders a fault (src/worker/sim_faults.def) for the next `count` requests; order: after_bytes, path ..."""
        answer = request(self.url, "POST", "/sim/faults", {"fault": fault, "count": count, **order}, seconds=5)
        assert answer.status in (200, 204), answer

    def clear_faults(self):
        assert request(self.url, "DELETE", "/sim/faults", seconds=5).status in (200, 204)

    def sim_log(self):
        """{"now_ms","total","dropped","requests":[{"method","path","status","aborted",...}]}"""
        return request(self.url, "GET", "/sim/log", seconds=5).json()

    def inference(self):
        """What it was asked to infer, probes of models and health left out."""
        return [entry for entry in self.sim_log()["requests"] if entry["method"] == "POST"]

    def was_checked(self):
        """Whether it was asked for its health or its models, since the log was last cleared."""
        return any(entry["method"] == "GET" for entry in self.sim_log()["requests"])

    def clear_log(self):
        assert request(self.url, "DELETE", "/sim/log", seconds=5).status in (200, 204)

    def set(self, **config):
        """Changes ttft_ms, tps, capacity, state ... while it runs."""
        answer = request(self.url, "POST", "/sim/config", config, seconds=5)
        assert answer.status in (200, 204), answer

    def aborts(self):
        return sum(entry["aborted"] for entry in self.inference())


def chat_answer(text="recorded", model="rec"):
    return json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }).encode()


def sse_events(texts=("re", "cor", "ded"), model="rec", done=True):
    def chunk(delta, finish=None):
        return b"data: " + json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"

    events = [chunk({"role": "assistant", "content": ""})] + [chunk({"content": t}) for t in texts] + [chunk({}, "stop")]
    return events + ([b"data: [DONE]\n\n"] if done else [])


def chunked(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


SSE_HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n")


class RecordingEngine(RawServer):
    """Answers well and keeps every request as it came, byte for byte. `inference` = what is no probe.

    on_chat(request, send, server) may replace the answer to inference requests."""

    def __init__(self, model="rec", on_chat=None, pace_s=0.0):
        self.model, self.on_chat, self.pace_s = model, on_chat, pace_s
        super().__init__(self._respond)

    @property
    def inference(self):
        with self.lock:
            return [r for r in self.requests if r.method == "POST"]

    def _respond(self, request_, send, server):
        if request_.method != "POST":
            return self._probe(request_, send)
        if self.on_chat:
            return self.on_chat(request_, send, server)
        if b'"stream":true' in request_.body.replace(b" ", b""):
            send(SSE_HEAD)
            for event in sse_events(model=self.model):
                send(chunked(event))
                time.sleep(self.pace_s)
            send(b"0\r\n\r\n")
        else:
            send(answer_of(200, chat_answer(model=self.model)))
        return True

    def _probe(self, request_, send):
        path = request_.path.split("?")[0]
        if path == "/v1/models":
            body = json.dumps({"object": "list", "data": [
                {"id": self.model, "object": "model", "created": 1, "owned_by": "test"}]}).encode()
        elif path == "/health":
            body = b'{"status":"ok"}'
        else:
            send(answer_of(404, b'{"error":{"message":"no such path","type":"invalid_request_error","code":null}}'))
            return True
        send(answer_of(200, body))
        return True


class LlamaEngine(Child):
    """llama.cpp with a tiny random model (tools/real-engines)."""

    def __init__(self, folder, mark="", name="llama", model="tiny-random"):
        super().__init__(name, ["node", ROOT / "tools/real-engines/server.mjs", "--model", model], folder, mark)
        ready = json.loads(self.first_line(60))
        self.url, self.model = ready["url"], ready["model"]

    def counts(self):
        return request(self.url, "GET", "/counts", seconds=5).json()

    def until_idle(self):
        until(lambda: self.counts()["running"] == 0, 10, "the real engine runs nothing")
