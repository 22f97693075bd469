"""What the scenarios of the model stack share: a server for vectors and ranks whose mood a test sets, and short ways
to ask."""
import hashlib
import json
import time

from support.cluster import TestCluster, merged
from support.engine import RecordingEngine
from support.raw_http import answer_of
from support.scenario import SHORT
from support.wait import until


def vector_of(text, dimension=4):
    """The same on every machine."""
    digest = hashlib.sha256(str(text).encode()).digest()
    return [round(byte / 255, 3) for byte in digest[:dimension]]


def inputs_of(body):
    given = body["input"]
    return given if isinstance(given, list) and not isinstance(given[0], int) else [given]


def vectors(body, model, dimension=4, order=1):
    data = [{"object": "embedding", "index": i, "embedding": vector_of(text, body.get("dimensions", dimension))}
            for i, text in enumerate(inputs_of(body))]
    return {"object": "list", "data": data[::order], "model": model, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def ranks(body, model):
    """By the length of the documents; unsorted, and more than top_n: the order is Signalbox's business."""
    results = [{"index": i, "relevance_score": len(text) / 100} for i, text in enumerate(body["documents"])]
    return {"model": model, "results": results, "usage": {"total_tokens": 1}}


class VectorServer(RecordingEngine):
    """Serves embeddings and rerank. mood: a word below, or a function(body) that gives the answer's object."""

    def __init__(self, model="emb", mood="well", health=200, delay_s=0.0):
        self.mood, self.health, self.delay_s = mood, health, delay_s
        super().__init__(model=model, on_chat=self._infer)

    def _probe(self, request_, send):
        if request_.path.endswith("/health"):
            time.sleep(self.delay_s)
            send(answer_of(self.health, b"{}"))
            return True
        return super()._probe(request_, send)

    def _infer(self, request_, send, server):
        body = json.loads(request_.body)
        answer = ranks(body, self.model) if request_.path.endswith("rerank") else vectors(body, self.model)
        mood = self.mood
        if mood == "error":
            send(answer_of(500, b'{"error":{"message":"broken","type":"server_error"}}'))
        elif mood == "refuses":
            send(answer_of(400, b'{"error":{"message":"no such option","type":"invalid_request_error","code":"bad_option"}}'))
        elif mood == "closes":
            return False
        elif mood == "hangs":
            time.sleep(30)
            return False
        elif callable(mood):
            send(answer_of(200, json.dumps(mood(body)).encode()))
        else:
            send(answer_of(200, json.dumps(answer).encode()))
        return True

    @property
    def hits(self):
        return len(self.inference)


def helper_config(role="embedding", *servers, fallback="local", **more):
    """helper_nodes of one role: the short form for one server, else the long one in order of priority."""
    node = {"fallback": fallback, "circuit_breaker": {"failure_threshold": 3, "reset_timeout_sec": 60}}
    if len(servers) == 1:
        node.update(url=servers[0].url, model=servers[0].model)
    else:
        node["endpoints"] = [{"url": s.url, "model": s.model, "priority": i + 1} for i, s in enumerate(servers)]
    return {"helper_nodes": {role: merged(node, more)}}


class StackCluster(TestCluster):
    """A TestCluster of http backends, without workers unless said otherwise, with ways to ask for vectors and pages."""
    __test__ = False

    def __init__(self, workers=0, kind="http", config=None, **more):
        super().__init__(workers=workers, kind=kind, config=merged(SHORT, config), **more)

    def wait_ready(self):
        """Backends that the configuration of a test adds count too."""
        self.wait_listening()
        until(lambda: self.online() >= len(self.workers), 20, f"{len(self.workers)} workers are online")

    def embed(self, given="hello", model="emb", headers=None, seconds=30, **extra):
        return self.post("/v1/embeddings", {"model": model, "input": given, **extra}, headers, seconds)

    def rerank(self, documents=("a", "bbb", "cc"), path="/v1/rerank", model="rank", **extra):
        return self.post(path, {"model": model, "query": "q", "documents": list(documents), **extra})

    def stack(self, headers=None):
        answer = self.get("/admin/stack", headers)
        assert answer.status == 200, answer
        return answer.json()

    def endpoint(self, n=0, role="embedding"):
        answer = self.get("/admin/helpers")
        assert answer.status == 200, answer
        return answer.json()[role]["endpoints"][n]

    def activate(self, preset, query=""):
        return self.post(f"/admin/stack/presets/{preset}/activate{query}", b"")


def texts(answer):
    """The vectors of a good answer, in order."""
    assert answer.status == 200, answer
    return [entry["embedding"] for entry in answer.json()["data"]]
