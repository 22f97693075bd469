"""Names that stand for models: roles, aliases, auto; and prompts that are too long for a model of a list."""
import json
import subprocess

import pytest

from support.engine import RecordingEngine, chat_answer
from support.process import BINARY
from support.raw_http import answer_of
from support.scenario import ask
from support.stack import StackCluster
from support.wait import until

WAYS = ["buffered", "streaming"]
PRESET = {"stack_presets": {"now": {"roles": {"coding": ["coder", "chat"], "talk": "chat"}}}, "active_stack_preset": "now",
          "routing": {"default_model": "chat", "aliases": {"fast": ["absent", "coding"], "one": "chat"}}}


@pytest.fixture(scope="module", params=["http", "nats"])
def cluster(request):
    with StackCluster(workers=2, models=["coder", "chat"], kind=request.param, config=PRESET) as cluster:
        yield cluster


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name, model", [("coding", "coder"), ("talk", "chat"), ("fast", "coder"), ("one", "chat"), ("auto", "chat")])
def test_a_name_gives_the_model_it_stands_for_and_the_answer_says_which(cluster, way, name, model):
    answer = ask(cluster, way, model=name)
    assert answer.ok
    answered = answer.stream.chunks[0]["model"] if way == "streaming" else json.loads(answer.body)["model"]
    assert answered == model


def test_models_lists_names_too_and_says_that_they_are_roles(cluster):
    listed = {entry["id"]: entry["owned_by"] for entry in cluster.get("/v1/models").json()["data"]}
    assert listed == {"coder": "signalbox", "chat": "signalbox", "coding": "signalbox-role", "talk": "signalbox-role", "fast": "signalbox-role",
                      "one": "signalbox-role", "auto": "signalbox-role"}
    assert cluster.get("/v1/models/coding").json()["owned_by"] == "signalbox-role"
    assert cluster.get("/v1/models/nothing").status == 404


def test_a_list_falls_through_to_the_next_model_with_an_eligible_worker():
    with StackCluster(workers=2, models=["coder", "chat"], config=PRESET) as cluster:
        assert cluster.chat(model="coding").json()["model"] == "coder"
        cluster.post("/admin/workers/w0/isolate", b"")
        assert cluster.chat(model="coding").json()["model"] == "chat"
        assert cluster.chat(model="coder").error_code == "CIRCUIT_BREAKER_OPEN"  # a plain id stands for itself
        cluster.post("/admin/workers/w0/reset", b"")
        cluster.worker(0).kill()
        answer = cluster.chat(model="coding")
        assert (answer.status, answer.json()["model"], answer.json()["metadata"]["failedWorkers"]) == (200, "chat", ["w0"])


def test_an_exact_id_beats_a_name_and_an_unknown_one_is_404_with_the_known_ones():
    config = {"routing": {"aliases": {"coder": ["chat"]}}}
    with StackCluster(workers=2, models=["coder", "chat"], config=config) as cluster:
        assert cluster.chat(model="coder").json()["model"] == "coder"
        answer = cluster.chat(model="nothing")
        assert answer.error_code == "MODEL_NOT_FOUND" and "coder, chat" in answer.json()["error"]["message"]


@pytest.mark.parametrize("text, told", [
    ("stack_presets:\n  p:\n    roles:\n      a: b\n      b: [m, a]\n", ":4:7: stack_presets.p.roles.a: found the circle a -> b -> a"),
    ("routing: {aliases: {a: a}}\n", ":1:21: routing.aliases.a: found the circle a -> a"),
    ("routing:\n  aliases: {fast: coding}\nstack_presets:\n  p: {roles: {coding: fast}}\n",
     ":4:15: stack_presets.p.roles.coding: found the circle fast -> coding -> fast"),
])
def test_circles_and_self_references_are_errors_with_their_line(tmp_path, text, told):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    run = subprocess.run([BINARY, "controller", "--config", path], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2 and str(path) + told in run.stderr + run.stdout


# --- contexts ---------------------------------------------------------------------------------

TOO_LONG = {"error": {"message": "This model's maximum context length is 1000 tokens. However, you requested 5000",
                      "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}


class Narrow(RecordingEngine):
    """Refuses every prompt as too long, or takes all. told: context length in its list of models."""

    def __init__(self, model, fits=False, refusal=None, told=None):
        self.fits, self.refusal, self.told = fits, refusal or TOO_LONG, told
        super().__init__(model=model, on_chat=self._infer)

    def _infer(self, request_, send, server):
        if not self.fits:
            send(answer_of(400, json.dumps(self.refusal).encode()))
        elif b'"stream":true' in request_.body.replace(b" ", b""):
            chunk = {"id": "1", "object": "chat.completion.chunk", "model": self.model,
                     "choices": [{"index": 0, "delta": {"content": "fits"}, "finish_reason": "stop"}]}
            body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
            send(answer_of(200, body, content_type="text/event-stream"))
        else:
            send(answer_of(200, chat_answer("fits", self.model)))
        return True

    def _probe(self, request_, send):
        if request_.path.endswith("/models"):
            entry = {"id": self.model, "object": "model", **({"max_model_len": self.told} if self.told else {})}
            send(answer_of(200, json.dumps({"object": "list", "data": [entry]}).encode()))
            return True
        return super()._probe(request_, send)


def narrow_cluster(engines, **backends):
    """One backend per engine, and the role `long` and the alias `far` over all of them."""
    models = list(dict.fromkeys(engine.model for engine in engines))
    config = {"backends": {f"w{i}": backends.get(f"w{i}", {}) for i in range(len(engines))},
              "stack_presets": {"p": {"roles": {"long": models}}}, "active_stack_preset": "p", "routing": {"aliases": {"far": models}}}
    return StackCluster(engines=engines, config=config)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["long", "far"])
def test_a_prompt_too_long_for_one_model_moves_on_to_the_next(name, way):
    with Narrow("small") as small, Narrow("big", fits=True) as big:
        with narrow_cluster([small, big]) as cluster:
            answer = ask(cluster, way, model=name)
            assert answer.ok and answer.text == "fits" and answer.headers["x-signalbox-worker"] == "w1"
            assert (answer.meta["retryCount"], answer.meta["failedWorkers"]) == (1, [])
            assert (len(small.inference), len(big.inference)) == (1, 1)


def test_each_model_is_tried_once_and_the_last_refusal_is_passed_through():
    """Two workers of the first model: only one of them is asked."""
    with Narrow("small") as small, Narrow("small") as again, Narrow("big", refusal={"error": {
            **TOO_LONG["error"], "message": "maximum context length is 2000 tokens"}}) as big:
        with narrow_cluster([small, again, big]) as cluster:
            answer = cluster.chat(model="far")
            assert (answer.status, answer.error_code) == (400, "context_length_exceeded")
            assert "2000" in answer.json()["error"]["message"]
            assert len(small.inference) + len(again.inference) == 1 and len(big.inference) == 1
            assert all(worker["failures"] == 0 for worker in cluster.workers_json().values())


def test_a_plain_model_id_passes_the_refusal_through():
    with Narrow("small") as small, Narrow("big", fits=True) as big:
        with narrow_cluster([small, big]) as cluster:
            answer = cluster.chat(model="small")
            assert (answer.status, answer.json()) == (400, TOO_LONG) and big.inference == []


def test_other_client_errors_do_not_move_on():
    with Narrow("small", refusal={"error": {"message": "bad temperature", "code": "bad"}}) as small, Narrow("big", fits=True) as big:
        with narrow_cluster([small, big]) as cluster:
            assert cluster.chat(model="far").error_code == "bad" and big.inference == []


def test_a_model_known_to_be_no_longer_is_passed_over():
    """By configuration, and by the engine's list."""
    with Narrow("small") as small, Narrow("told", fits=True) as told, Narrow("listed", fits=True, told=900) as listed, \
            Narrow("big", fits=True) as big:
        with narrow_cluster([small, told, listed, big], w1={"context_length": 1000}, w3={"context_length": 1001}) as cluster:
            until(lambda: any(r.path.endswith("/models") for r in listed.requests), 5, "the list is read")
            answer = cluster.chat(model="long")
            assert answer.headers["x-signalbox-worker"] == "w3"
            assert (len(told.inference), len(listed.inference), len(big.inference)) == (0, 0, 1)


def test_what_a_refusal_taught_is_remembered():
    """`second` said that it has 1000 tokens; so it is not asked again behind a model of 1000."""
    with Narrow("first") as first, Narrow("second") as second, Narrow("big", fits=True) as big:
        with narrow_cluster([first, second, big], w0={"context_length": 500}) as cluster:
            cluster.chat(model="second")
            assert len(second.inference) == 1
            assert cluster.chat(model="long").headers["x-signalbox-worker"] == "w2"
            assert (len(first.inference), len(second.inference)) == (1, 1)


def test_a_nats_worker_s_refusal_moves_on_too():
    config = {"routing": {"aliases": {"far": ["small", "big"]}}}
    with StackCluster(workers=2, kind="nats", models=["small", "big"], config=config) as cluster:
        cluster.worker(0).fault("context_length")
        answer = cluster.chat(model="far")
        assert (answer.status, answer.json()["model"]) == (200, "big")
