#!/usr/bin/env python3
"""Starts a controller with one simulated engine behind a worker, and runs sdk.test.mjs against it:

  run.py [BINARY [KIND...]]    kinds: http, nats; both when none is named


Prints the tests' TAP; exit 1 when one failed.
"""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
if len(sys.argv) > 1:
    os.environ["SBX_BINARY"] = sys.argv[1]

from support.cluster import TestCluster  # noqa: E402  (needs the path above)


def run(kind):
    with TestCluster(workers=1, kind=kind, max_concurrent=64, engine={"ttft_ms": 2, "tps": 1000, "capacity": 0}) as cluster:
        env = {**os.environ, "SIGNALBOX_URL": cluster.api_url, "ENGINE_URL": cluster.worker(0).engine.url}
        return subprocess.run(["node", "--test", "--test-reporter=tap", str(HERE / "sdk.test.mjs")], env=env,
                              timeout=120, stdin=subprocess.DEVNULL).returncode


sys.exit(max(run(kind) for kind in sys.argv[2:] or ["http", "nats"]))
