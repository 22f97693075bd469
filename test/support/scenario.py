"""What the scenarios of routing share: short knobs, one way to ask for both buffered and streaming, and looks at
what each engine and each breaker saw. docs/testing.md shows how to use it."""
import concurrent.futures
import json
import time

from support.cluster import merged
from support.wait import SCALE

KINDS = ["http", "nats"]
WAYS = ["buffered", "streaming"]

def ms(value):
    """A time limit of a test, longer where everything is slow."""
    return int(value * SCALE)


# Time limits that let a test of hanging workers be short; a controller that ends without a grace.
SHORT = {"cluster": {
    "controller": {"drainGraceMs": 0},
    "requestRouting": {"timeoutMs": ms(400), "streamingTimeoutMs": ms(400), "streamIdleTimeoutMs": ms(300), "connectTimeoutMs": ms(300),
                       "retry": {"retryDelayMs": 5, "maxDelayMs": 10}}}}


def knobs(circuitBreaker=None, retry=None, base=SHORT, **routing):
    """SHORT with keys of cluster.requestRouting laid over it."""
    extra = {**({"circuitBreaker": circuitBreaker} if circuitBreaker else {}), **({"retry": retry} if retry else {})}
    return merged(base, {"cluster": {"requestRouting": {**routing, **extra}}})


# A breaker that never opens by itself, where a test is not about breakers.
NO_TRIPS = {"failureThreshold": 100000, "rateThresholdPct": 0}

# Of an engine: a whole answer within milliseconds.
SWIFT = {"ttft_ms": 2, "tps": 10000}


class Asked:
    """What a client saw of one request, buffered or streaming alike."""

    def __init__(self, status, headers, body, seconds, stream=None):
        self.status, self.headers, self.body, self.seconds, self.stream = status, headers, body, seconds, stream

    @property
    def error(self):
        """The error object, of the body or in-band; None when there is none."""
        if self.stream is not None:
            return self.stream.error
        return json.loads(self.body).get("error")

    @property
    def code(self):
        return self.error["code"] if self.error else None

    @property
    def text(self):
        if self.stream is not None:
            return self.stream.text
        return json.loads(self.body)["choices"][0]["message"]["content"]

    @property
    def meta(self):
        """The metadata: of the body, of the stream's last chunk, or an error's context."""
        if self.error:
            return self.error["context"]
        if self.stream is not None:
            return next(chunk["metadata"] for chunk in reversed(self.stream.chunks) if "metadata" in chunk)
        return json.loads(self.body)["metadata"]

    @property
    def ok(self):
        """Whole and without an error."""
        return self.status == 200 and self.error is None and (self.stream is None or self.stream.done)

    def __repr__(self):
        seen = self.stream.events[-3:] if self.stream is not None else self.body[:500]
        return f"<{self.status} after {self.seconds:.3f} s {self.headers} {seen!r}>"


def ask(cluster, way="buffered", text="hello", headers=None, seconds=30, **extra):
    """One chat; a stream is read to its end and asked for its metadata."""
    started = time.monotonic()
    if way == "buffered":
        answer = cluster.post("/v1/chat/completions", cluster.body(text, **extra), headers, seconds)
        return Asked(answer.status, answer.headers, answer.body, time.monotonic() - started)
    stream = cluster.stream(cluster.body(text, **extra), headers={"x-signalbox-metadata": "true", **(headers or {})}, seconds=seconds)
    try:
        if stream.status != 200:
            body = stream.answer.read()
            return Asked(stream.status, stream.headers, body, time.monotonic() - started)
        stream.read_all()
        return Asked(200, stream.headers, b"", time.monotonic() - started, stream)
    finally:
        stream.close()


def fresh(cluster):
    """No orders, no logs, closed breakers, nothing in flight: as after the start."""
    cluster.until_quiet()
    for worker in cluster.workers:
        worker.engine.clear_faults()
        worker.engine.clear_log()
        worker.reset()


def attempts(cluster):
    """How often each engine was asked to infer since its log was last cleared."""
    return [len(worker.inference()) for worker in cluster.workers]


def breaker(cluster, index=0):
    """{"state", "consecutiveFailures", "retryInMs"} of one worker."""
    return cluster.worker(index).state()["circuitBreaker"]


def states(cluster):
    workers = cluster.workers_json()
    return [workers[worker.id]["circuitBreaker"]["state"] for worker in cluster.workers]


def isolate(cluster, index):
    answer = cluster.post(f"/admin/workers/{cluster.worker(index).id}/isolate", b"")
    assert answer.status in (200, 204), answer


def trip(cluster, index=0, fault="error_500", most=40):
    """Lets one worker fail until its breaker is open, the others standing aside; its orders are cleared afterwards."""
    aside = [worker.index for worker in cluster.workers if worker.index != index and breaker(cluster, worker.index)["state"] == "closed"]
    for other in aside:
        isolate(cluster, other)
    cluster.worker(index).fault(fault, count=-1)
    for _ in range(most):
        if breaker(cluster, index)["state"] == "open":
            break
        ask(cluster)
    assert breaker(cluster, index)["state"] == "open", breaker(cluster, index)
    cluster.worker(index).engine.clear_faults()
    for other in aside:
        cluster.worker(other).reset()


def within(least, most, measure, tries=3):
    """measure() gives seconds: never less than `least`, and less than `most` once in a few tries: a machine with other
    work stumbles now and then, a limit that is late is late each time."""
    took = []
    while not took or (took[-1] >= most and len(took) < tries):
        took.append(measure())
        assert took[-1] >= least, took
    assert took[-1] < most, f"{took} s, wanted less than {most} s"


def lines(cluster, event=None, **fields):
    """The controller's log lines of one event (docs/events.md) whose fields have these values."""
    found = []
    for line in cluster.controller.log.split("\n"):
        if line.startswith("{"):
            entry = json.loads(line)
            if (event is None or entry["event"] == event) and all(entry.get(k) == v for k, v in fields.items()):
                found.append(entry)
    return found


def at_once(cluster, count, width=64, way="buffered", **extra):
    """`count` requests, `width` of them at a time, each with a text of its own; the answers."""
    ways = [way] if isinstance(way, str) else way
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        return list(pool.map(lambda i: ask(cluster, ways[i % len(ways)], f"request {i}", **extra), range(count)))
