"""What must never be in a log or an answer: prompts, completions, keys of clients, workers and the bus."""
import json

import pytest

from support.cluster import TestCluster

CANARIES = {
    "prompt": "CANARY-PROMPT-7f3a",
    "client key": "sk-CANARY-CLIENT-91c2",
    "worker key": "sk-CANARY-WORKER-55e0",
    "admin key": "CANARY-ADMIN-d1b7",
    "session": "CANARY-SESSION-0a9f",
}


def config_of(kind):
    config = {"security": {"admin_key": CANARIES["admin key"]}, "logging": {"level": "debug"}}
    if kind == "http":
        config["backends"] = {"w0": {"api_key": CANARIES["worker key"]}}
    return config


def worker_config():
    return {"logging": {"level": "debug", "format": "json"}}


def send_everything(cluster):
    """Requests that go well, fail, are refused; with every secret that a client can carry."""
    headers = {"authorization": f"Bearer {CANARIES['client key']}", "x-session-id": CANARIES["session"]}
    text = CANARIES["prompt"]
    texts = [cluster.chat(text, headers).text]
    stream = cluster.stream(cluster.body(text), headers=headers)
    for _ in stream:
        pass
    texts.append(stream.text)
    for fault in ("error_500", "reset", "garbage_json", "error_429"):
        cluster.worker(0).fault(fault, 1)
        cluster.chat(text, headers)
    cluster.post("/v1/chat/completions", f'{{"model":"sim","messages":"{text}"', headers)
    cluster.post("/v1/chat/completions", {"model": f"no-such-{text}", "messages": [{"role": "user", "content": text}]}, headers)
    cluster.post("/admin/workers/w0/reset", "", {"x-admin-key": CANARIES["admin key"]})
    cluster.post("/admin/workers/w0/reset", "", {"x-admin-key": "wrong-" + CANARIES["admin key"]})
    return texts


@pytest.mark.parametrize("kind", ["http", "nats"])
def test_no_secret_and_no_prompt_is_in_any_log(kind):
    with TestCluster(kind=kind, config=config_of(kind), worker_config=worker_config()) as cluster:
        answers = send_everything(cluster)
        logs = "".join(child.log + child.out for child in cluster.children if not child.name.startswith("engine"))
        token = cluster.token_file.read_text().strip()
    assert "request_ended" in logs
    for name, canary in {**CANARIES, "bus token": token}.items():
        where = [line for line in logs.split("\n") if canary in line and not is_the_clients_own_model(line)]
        assert not where, (name, where[:2])
    for answer in answers:
        assert len(answer) > 20 and answer[:20] not in logs


def is_the_clients_own_model(line):
    """The name of a model that a client asked for is part of the log; here it holds the prompt's canary."""
    try:
        return CANARIES["prompt"] in json.loads(line).get("model", "")
    except ValueError:
        return False


def test_a_hostile_model_name_is_one_escaped_line():
    with TestCluster(kind="http") as cluster:
        name = 'x"}\n{"event":"forged"}\r\n\x1b[31m'
        answer = cluster.post("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "a"}]})
        assert answer.status == 404
        lines = [line for line in cluster.controller.log.split("\n") if line]
        assert all(json.loads(line)["event"] != "forged" for line in lines)
        assert "\x1b" not in cluster.controller.log


def test_a_workers_refusal_of_our_key_never_reaches_the_client():
    with TestCluster(kind="http", config=config_of("http")) as cluster:
        cluster.worker(0).fault("auth_401", 1)
        answer = cluster.chat()
        assert answer.status == 502
        assert b"Incorrect API key" not in answer.body
        for canary in CANARIES.values():
            assert canary.encode() not in answer.body
