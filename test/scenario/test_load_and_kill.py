"""Three workers under 200 requests per second, buffered and streaming, with kill -9 of one every 2 s.

None of the requests that were not yet committed may fail; a committed stream ends with the error
event; afterwards everything is as before. SBX_LOAD_SECONDS=120 runs it in full: a minute to settle,
and a minute in which memory may not grow by a MiB."""
import asyncio
import json
import os
import threading
import time

import aiohttp
import pytest

from support.cluster import TestCluster
from support.wait import SCALE, until

SECONDS = int(os.environ.get("SBX_LOAD_SECONDS", "16"))
RATE = int(200 / SCALE)
DOWN_S = 1.0


async def one_buffered(session, cluster, results):
    async with session.post(cluster.api_url + "/v1/chat/completions", json=cluster.body("load", max_tokens=8)) as answer:
        body = await answer.json(content_type=None)
        results.append(("buffered", "ok" if answer.status == 200 and body["choices"] else f"{answer.status} {body}"))


async def one_stream(session, cluster, results):
    body = cluster.body("load", max_tokens=30, stream=True)
    async with session.post(cluster.api_url + "/v1/chat/completions", json=body) as answer:
        if answer.status != 200:
            results.append(("stream", f"{answer.status} {await answer.text()}"))
            return
        events = [line[6:].strip().decode() async for line in answer.content if line.startswith(b"data: ")]
        if events and events[-1] == "[DONE]":
            results.append(("stream", "ok"))
        elif events and json.loads(events[-1]).get("error", {}).get("code") == "STREAM_INTERRUPTED" and any(
                (json.loads(e).get("choices") or [{}])[0].get("delta", {}).get("content") for e in events[:-1]):
            results.append(("stream", "interrupted"))
        else:
            results.append(("stream", f"bad end: {events[-2:]}"))


async def guarded(work, results):
    try:
        await work
    except Exception as error:  # whatever it is, it is a failed request
        results.append(("client", repr(error)))


async def load(cluster, seconds, results):
    timeout = aiohttp.ClientTimeout(total=30 * SCALE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        tasks, started, sent = set(), time.monotonic(), 0
        while time.monotonic() - started < seconds:
            await asyncio.sleep(max(0, started + sent / RATE - time.monotonic()))
            make = one_stream if sent % 2 else one_buffered
            task = asyncio.create_task(guarded(make(session, cluster, results), results))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.gather(*tasks)
        return sent


class Killer(threading.Thread):
    """kill -9 of one worker after the other every 2 s; each starts again after a second."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.kills, self.over, self.error = cluster, 0, threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(DOWN_S):
                worker = self.cluster.worker(self.kills % len(self.cluster.workers))
                worker.kill()
                self.kills += 1
                time.sleep(DOWN_S)
                worker.restart()
        except BaseException as error:
            self.error = error

    def stop(self):
        self.over.set()
        self.join(30)
        assert self.error is None, self.error


@pytest.mark.alone
@pytest.mark.timeout(SECONDS * 2 + 90)
@pytest.mark.parametrize("kind", ["http", "nats"])
def test_no_uncommitted_request_fails_while_workers_are_killed(kind):
    # Every worker dies each 6 s. A backend, unlike a worker process, has no boot id that tells a new start from
    # more of the old; with the usual two probes, a second apart, two of three would still be resting when the third dies.
    config = {"logging": {"level": "info"}, "cluster": {"loadBalancing": {"strategy": "least_loaded"}, "requestRouting": {
        "circuitBreaker": {"timeoutMs": 300, "maxOpenMs": 600, "successThreshold": 1, "halfOpenMaxProbes": 8},
        "retry": {"retryDelayMs": 20, "maxDelayMs": 100}}}}
    with TestCluster(workers=3, kind=kind, config=config, max_concurrent=64,
                     engine={"ttft_ms": 10, "tps": 200, "capacity": 0}) as cluster:
        asyncio.run(load(cluster, 2, []))
        cluster.until_quiet()
        descriptors = cluster.descriptors()

        results, killer = [], Killer(cluster)
        killer.start()
        sent = asyncio.run(load(cluster, SECONDS / 2, results))
        settled = cluster.controller.resident_bytes()
        sent += asyncio.run(load(cluster, SECONDS / 2, results))
        killer.stop()
        bad = [result for result in results if result[1] not in ("ok", "interrupted")]
        assert not bad, f"{len(bad)} of {sent} failed, {killer.kills} kills: {bad[:5]}"
        assert len(results) == sent and killer.kills >= SECONDS / 2 - 2
        interrupted = sum(result[1] == "interrupted" for result in results)
        assert 0 < interrupted < sent / 10, f"{interrupted} of {sent}: a harness that kills nothing shows nothing"
        cluster.until_quiet()
        until(lambda: cluster.online() == 3, 10, "all three are online")
        until(lambda: cluster.descriptors() <= descriptors, 10, f"{descriptors} descriptors as before")
        grown = cluster.controller.resident_bytes() - settled
        print(f"{sent} requests, {killer.kills} kills, {interrupted} interrupted, {grown / 1024:.0f} KiB more memory")
        if SECONDS >= 120:
            assert grown < 1 << 20
