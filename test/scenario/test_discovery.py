"""`up` looks for engines on this machine at the ports where they usually are.

Runs in a network namespace of its own, so that those ports are free whatever runs here; without
root such a namespace comes with a user namespace."""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from support.process import ROOT

HERE = pathlib.Path(__file__).resolve().parent


def can_unshare():
    flags = ["-n"] if os.getuid() == 0 else ["-rn"]
    works = subprocess.run(["unshare", *flags, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0
    return flags if works else None


FLAGS = can_unshare()
pytestmark = pytest.mark.skipif(FLAGS is None, reason="no network namespace can be made here")

OLLAMA, LM_STUDIO, LLAMA_SERVER, VLLM = 11434, 1234, 8080, 8000


def discover(engines):
    """Runs support/discovery_run.py inside a fresh namespace; engines: {port: behaviour}. Its JSON report."""
    run = subprocess.run(["unshare", *FLAGS, sys.executable, ROOT / "test/support/discovery_run.py", json.dumps(engines)],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.strip().split("\n")[-1])


def test_a_worker_is_put_beside_each_engine():
    report = discover({OLLAMA: "models:llama3", LM_STUDIO: "models:qwen", LLAMA_SERVER: "models:tiny", VLLM: "models:big"})
    assert sorted(report["models"]) == ["big", "llama3", "qwen", "tiny"]
    assert report["workers"] == 4 and not report["simulated"]
    assert report["chat"] == 200


def test_a_server_that_hangs_a_signalbox_and_one_without_models_are_left_out():
    report = discover({OLLAMA: "models:llama3", LM_STUDIO: "hang", LLAMA_SERVER: "signalbox", VLLM: "empty"})
    assert report["models"] == ["llama3"] and report["workers"] == 1 and not report["simulated"]


def test_all_are_asked_at_once_and_none_for_longer_than_its_time():
    report = discover({OLLAMA: "hang", LM_STUDIO: "hang", LLAMA_SERVER: "hang", VLLM: "hang"})
    assert report["simulated"] and report["workers"] == 2
    assert report["seconds_to_ready"] < 3


def test_a_server_that_speaks_no_http_or_says_404_is_left_out():
    report = discover({OLLAMA: "garbage", LM_STUDIO: "404", LLAMA_SERVER: "drip"})
    assert report["simulated"] and report["workers"] == 2
