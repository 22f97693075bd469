"""A real engine, llama.cpp, as embedding helper, asked through the official SDK and killed in the middle of it: another
one of the same model stands in, and no vector changes."""
import json
import os
import subprocess

import pytest

from support.engine import LlamaEngine
from support.process import ROOT
from support.stack import StackCluster

pytestmark = pytest.mark.skipif(not os.environ.get("SBX_REAL_ENGINE"), reason="set SBX_REAL_ENGINE=1 (npm packages needed)")


def test_a_thousand_calls_succeed_and_the_vectors_stay_the_same(tmp_path):
    helper, local = LlamaEngine(tmp_path, name="helper"), LlamaEngine(tmp_path, name="local")
    config = {"helper_nodes": {"embedding": {"url": helper.url, "model": helper.model, "fallback": "local"}},
              "cluster": {"requestRouting": {"timeoutMs": 20000}}}
    try:
        with StackCluster(engines=[local], model=local.model, config=config) as cluster:
            env = {**os.environ, "SIGNALBOX_URL": cluster.api_url, "MODEL": "embedding", "KILL_PID": str(helper.pid)}
            run = subprocess.run(["node", ROOT / "test/sdk/embeddings.mjs"], env=env, capture_output=True, text=True, timeout=300)
            assert run.returncode == 0, run.stderr
            result = json.loads(run.stdout)
            assert (result["calls"], result["failed"]) == (1000, 0), result
            assert result["helper"] >= 250 and result["local"] >= 650, result
            assert result["leastCosine"] >= 0.9999 and result["dimension"] > 1, result
            assert cluster.endpoint()["circuit_state"] == "open"
    finally:
        for engine in (helper, local):
            if engine.alive:
                engine.stop()
