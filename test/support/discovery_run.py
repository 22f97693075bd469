"""Inside a namespace of its own: fake engines at fixed ports, then `signalbox up`, then a report.

  discovery_run.py '{"11434": "models:llama3", "8080": "hang"}'

The last line printed is JSON: models, workers, simulated, chat (a status), seconds_to_ready."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.client import request  # noqa: E402  (needs the path above)
from support.engine import RecordingEngine, sse_events  # noqa: E402,F401
from support.process import BINARY, Child, marked  # noqa: E402
from support.raw_http import RawServer, answer_of  # noqa: E402
from support.wait import until  # noqa: E402


def no_models(request_, send, server):
    send(answer_of(200, b'{"object":"list","data":[]}'))
    return True


def hang(request_, send, server):
    server.stopped.wait(60)
    return False


def garbage(request_, send, server):
    send(b"\x15\x03\x01\x00\x02\x02\x50")
    return False


def missing(request_, send, server):
    send(answer_of(404, b"not here", "text/plain"))
    return True


def drip(request_, send, server):
    send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    while not server.stopped.wait(0.1):
        send(b" ")
    return False


BEHAVIOURS = {"empty": no_models, "hang": hang, "garbage": garbage, "404": missing, "drip": drip}


def start(port, behaviour, folder):
    if behaviour == "signalbox":
        path = folder / "other.yaml"
        path.write_text(json.dumps({
            "cluster": {"mode": "controller", "nats": {"mode": "off"}, "controller": {"port": port}},
            "backends": {"x": {"url": "http://127.0.0.1:1", "model": "of-the-other-signalbox"}}}))
        child = Child("other", [BINARY, "controller", "--config", path], folder, "discovery")
        until(lambda: answers(port), 10, "the other Signalbox listens")
        return child
    if behaviour.startswith("models:"):
        engine = RecordingEngine.__new__(RecordingEngine)
        engine.model, engine.on_chat, engine.pace_s = behaviour.split(":", 1)[1], None, 0
        RawServer.__init__(engine, engine._respond, port=port)
        return engine
    return RawServer(BEHAVIOURS[behaviour], port=port)


def answers(port):
    try:
        return request(f"http://127.0.0.1:{port}", "GET", "/livez", seconds=1).status == 200
    except OSError:
        return False


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        engines = [start(int(port), behaviour, folder) for port, behaviour in json.loads(sys.argv[1]).items()]
        started = time.monotonic()
        up = Child("up", [BINARY, "up"], folder, "discovery")
        url = "http://127.0.0.1:8484"

        def online():
            try:
                entries = request(url, "GET", "/api/cluster/workers", seconds=1).json()["workers"]
            except OSError:
                assert up.alive, up.log + up.out
                return []
            return [entry for entry in entries if entry["online"]]

        until(online, 15, "a worker is online")
        ready = time.monotonic() - started
        time.sleep(1)  # a worker too many would show up by now
        models = [entry["id"] for entry in request(url, "GET", "/v1/models").json()["data"]]
        chat = request(url, "POST", "/v1/chat/completions",
                       {"model": models[0], "messages": [{"role": "user", "content": "x"}], "max_tokens": 3})
        report = {"models": models, "workers": len(online()), "simulated": "simulated" in up.out + up.log,
                  "chat": chat.status, "seconds_to_ready": ready}
        assert up.stop() == 0, up.log
        for engine in engines:
            engine.stop()
        # All of the namespace's processes carry the mark of this run's environment.
        until(lambda: not [pid for pid in marked("discovery") if pid != os.getpid()], 3, "nothing is left")
        print(json.dumps(report))


main()
