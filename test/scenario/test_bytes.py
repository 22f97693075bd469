"""What a client sends is what the engine gets, byte for byte, over both ways to reach a worker.

Only `model`, `stream_options.include_usage` and our `session_id` may ever be edited (DESIGN 4.1)."""
import json
import random

import pytest

from support.cluster import TestCluster
from support.engine import RecordingEngine

CLIENT_KEY = "sk-the-client-s-own-key"

KINDS = ["http", "nats"]


@pytest.fixture(scope="module", params=KINDS)
def recorded(request):
    """(cluster, recording engine) with nothing in the configuration that would edit a body."""
    with RecordingEngine() as engine:
        config = {"routing": {"aliases": {"alias-of-rec": ["rec"]}}}
        if request.param == "http":
            config["backends"] = {"w0": {"stream_usage": "off", "api_key": "sk-of-the-worker"}}
        worker = {"cluster": {"worker": {"engines": [
            {"streamUsage": "off", "apiKey": "sk-of-the-worker"}]}}}
        with TestCluster(kind=request.param, engines=[engine], model="rec", config=config,
                         worker_config=worker) as cluster:
            yield cluster, engine


def sent(recorded, body, headers=None, path="/v1/chat/completions"):
    """Posts the exact bytes and returns the request as the engine saw it."""
    cluster, engine = recorded
    seen = len(engine.inference)
    answer = cluster.post(path, body, {"content-type": "application/json", **(headers or {})})
    assert answer.status == 200, answer
    assert len(engine.inference) == seen + 1
    return engine.inference[-1]


def prompt_of(size, seed=7):
    """JSON text of a string that makes the body `size` bytes long: prose, escapes, other alphabets."""
    words = ["the", "quick", "br\\u00f6wn", "fox", '\\"jumps\\"', "über", "den", "\\\\", "\\n", "犬", "🙂", "\\ud83d\\ude42", "\\/"]
    rng, text = random.Random(seed), []
    length = 0
    while length < size:
        word = rng.choice(words)
        text.append(word)
        length += len(word.encode()) + 1
    return " ".join(text)


SIZES = [300, 2_000, 60_000, 70_000, 1_000_000, 1_100_000, 8_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_of_any_size_arrives_unchanged(recorded, size):
    body = ('{"messages":[{"role":"user","content":"' + prompt_of(size) + '"}],"model":"rec","max_tokens":5}').encode()
    assert sent(recorded, body).body == body


@pytest.mark.parametrize("size", [300, 70_000, 1_100_000])
def test_a_streaming_request_arrives_unchanged(recorded, size):
    body = ('{"stream" : true, "messages":[{"role":"user","content":"' + prompt_of(size, 8)
            + '"}],"model":"rec"}').encode()
    assert sent(recorded, body).body == body


def test_odd_but_valid_json_arrives_unchanged(recorded):
    body = (b'\r\n\t {"temperature" : 0.10000000000000000001 , "seed":-0, "big":1e400, "deep":[[[[{"a":{}}]]]],\n'
            b'"x-unknown":{"dup":1,"dup":2},"model"\t:"rec","messages":[ {"content":"\\u0041\\u00e9","role":"user"} ]}  \n')
    assert sent(recorded, body).body == body


def test_tools_images_and_unknown_fields_arrive_unchanged(recorded):
    image = "data:image/png;base64," + "iVBORw0KGgo" * 40_000
    body = json.dumps({
        "model": "rec",
        "messages": [
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": image, "detail": "low"}}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "blue"}],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {
            "at": {"type": "string", "description": "where"}}, "required": ["at"]}}}],
        "tool_choice": "auto", "response_format": {"type": "json_object"}, "logit_bias": {"50256": -100},
        "vendor_extension": {"nested": [1, None, True, {"x": "y"}]}, "metadata": {"customer": "42"},
    }, indent=2).encode()
    assert sent(recorded, body).body == body


def test_plain_completions_arrive_unchanged(recorded):
    body = b'{"model":"rec","prompt":"Once upon a time","echo":false,"suffix":null}'
    request = sent(recorded, body, path="/v1/completions")
    assert request.body == body
    assert request.path == "/v1/completions"


def test_only_the_model_of_an_alias_is_edited(recorded):
    body = b'{"messages":[{"role":"user","content":"alias-of-rec"}], "model" : "alias-of-rec" ,"n":1}'
    assert sent(recorded, body).body == body.replace(b'"model" : "alias-of-rec"', b'"model" : "rec"')


def test_a_session_id_in_the_body_stays_with_us(recorded):
    body = b'{"messages":[{"role":"user","content":"hi"}],"session_id":"abc","model":"rec","n":1}'
    assert json.loads(sent(recorded, body).body) == {
        "messages": [{"role": "user", "content": "hi"}], "model": "rec", "n": 1}


def test_the_engine_gets_the_headers_of_the_contract_and_never_the_client_s_key(recorded):
    body = b'{"messages":[{"role":"user","content":"hi"}],"model":"rec"}'
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = sent(recorded, body, {
        "authorization": f"Bearer {CLIENT_KEY}", "x-api-key": CLIENT_KEY, "x-request-id": "mine", "traceparent": trace,
        "cookie": "a=b", "x-forwarded-for": "10.1.1.1", "accept-encoding": "gzip"})
    assert request.header("content-type") == "application/json"
    assert request.header("accept-encoding") == "identity"
    assert request.header("authorization") == "Bearer sk-of-the-worker"
    assert request.header("traceparent").split("-")[1] == trace.split("-")[1]
    assert CLIENT_KEY.encode() not in request.raw_head
    assert request.values("cookie") == [] and request.values("x-forwarded-for") == []


def test_usage_is_asked_for_where_the_configuration_says_so_and_nothing_else_changes():
    with RecordingEngine() as engine, TestCluster(
            kind="http", engines=[engine], model="rec", config={"backends": {"w0": {"stream_usage": "on"}}}) as cluster:
        body = b'{"messages":[{"role":"user","content":"hi"}], "stream":true,"model":"rec"}'
        assert cluster.post("/v1/chat/completions", body, {"content-type": "application/json"}).status == 200
        got = engine.inference[-1].body
        edited = json.loads(got)
        assert edited.pop("stream_options") == {"include_usage": True}
        assert edited == json.loads(body)
