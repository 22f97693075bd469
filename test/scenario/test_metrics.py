"""/metrics: the format, the conservation law under mixed traffic, and labels that stay few whatever comes."""
import concurrent.futures
import contextlib
import json
import secrets
import time

import pytest

from support.bus_worker import BusWorker
from support.client import Stream
from support.cluster import TestCluster, free_port
from support.engine import RecordingEngine
from support.exposition import Exposition
from support.raw_http import answer_of
from support.scenario import KINDS, NO_TRIPS, SWIFT, fresh, isolate, knobs, lines, trip
from support.wait import until

S = "signalbox_"


def scrape(cluster):
    answer = cluster.get("/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    page = Exposition(answer.body)
    assert len(page.samples) <= 2000
    assert_conserved(page)
    return page


def assert_conserved(page):
    ended = {labels["end"]: value for labels, value in page.all(S + "requests_ended_total")}
    assert set(ended) == {"ok", "client_error", "upstream_error", "timeout", "cancelled", "shed"}
    assert page.get(S + "requests_accepted_total") == sum(ended.values()) + page.get(S + "requests_in_flight")
    assert page.get(S + "conservation_error") == 0
    assert page.sum(S + "requests_by_code_total") == sum(ended.values())
    assert page.sum(S + "request_duration_seconds_count") == sum(ended.values())


@pytest.fixture(scope="module", params=KINDS)
def cluster(request):
    with TestCluster(workers=2, kind=request.param, engine=SWIFT,
                     config=knobs(circuitBreaker=NO_TRIPS, timeoutMs=300, streamingTimeoutMs=300)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def clean(request):
    yield
    if "cluster" in request.fixturenames:
        fresh(request.getfixturevalue("cluster"))


class Since:
    """What was added to a counter since `before`."""

    def __init__(self, cluster):
        self.cluster, self.before = cluster, scrape(cluster)

    def added(self, name, **labels):
        return scrape(self.cluster).get(S + name, **labels) - self.before.get(S + name, **labels)


# ---- what is counted ----

def test_the_page_has_every_family_of_the_table(cluster):
    page = scrape(cluster)
    for name in ("build_info", "requests_accepted_total", "requests_in_flight", "attempts_total", "retries_total",
                 "breaker_trips_total", "worker_breaker_state", "candidates_filtered_total", "first_content_seconds",
                 "queue_wait_seconds", "http_connections", "http_sent_bytes_total", "bus_up", "log_lines_lost_total"):
        assert S + name in page.families, name
    assert [labels for labels, value in page.all(S + "build_info") if value == 1][0]["version"]
    assert page.get(S + "bus_up") == (1 if cluster.kind == "nats" else 0)
    assert page.get(S + "log_lines_lost_total") == 0
    assert abs(page.get(S + "start_time_seconds") - time.time()) < 600


def test_a_good_answer_is_counted_everywhere_once(cluster):
    since = Since(cluster)
    worker = cluster.chat().headers["x-signalbox-worker"]
    assert since.added("requests_ended_total", end="ok") == 1
    assert since.added("requests_by_code_total", model="sim", code="ok") == 1
    assert since.added("attempts_total") == since.added("worker_attempts_total", worker=worker) == 1
    assert since.added("worker_successes_total", worker=worker) == 1
    assert since.added("events_total", event="attempt_succeeded") == 1
    assert since.added("request_duration_seconds_count", stream="false") == 1
    assert since.added("queue_wait_seconds_count") == 1
    assert since.added("first_content_seconds_count") == since.added("retries_total") == 0
    assert since.added("http_received_bytes_total") > 100 and since.added("http_sent_bytes_total") > 400


def test_a_stream_has_a_time_to_first_content(cluster):
    since = Since(cluster)
    cluster.stream(cluster.body()).read_all()
    assert since.added("first_content_seconds_count") == since.added("request_duration_seconds_count", stream="true") == 1
    page = scrape(cluster)
    assert page.get(S + "first_content_seconds_sum") <= page.get(S + "request_duration_seconds_sum", stream="true")


def test_a_retry_is_counted_with_its_reason(cluster):
    isolate(cluster, 1)
    cluster.worker(0).fault("error_500")
    since = Since(cluster)
    cluster.worker(1).reset()
    answers = [cluster.chat(), cluster.chat()]
    assert [answer.status for answer in answers] == [200, 200]
    assert since.added("attempts_failed_total", outcome="server_error") == 1
    assert since.added("retries_scheduled_total", outcome="server_error") == since.added("retries_total") == 1
    assert since.added("worker_failures_total", worker="w0") == 1
    assert since.added("candidates_filtered_total", why="tried") == 1
    assert since.added("requests_ended_total", end="ok") == 2


def test_breakers_and_what_they_filter_are_seen(cluster):
    assert scrape(cluster).get(S + "worker_breaker_state", worker="w0") == 0
    since = Since(cluster)
    isolate(cluster, 0)
    assert scrape(cluster).get(S + "worker_breaker_state", worker="w0") == 2
    assert cluster.chat().status == 200
    assert since.added("candidates_filtered_total", why="breaker") == 1
    assert since.added("events_total", event="breaker_opened") == 1
    isolate(cluster, 1)
    assert cluster.chat().error_code == "CIRCUIT_BREAKER_OPEN"
    assert since.added("requests_by_code_total", model="sim", code="CIRCUIT_BREAKER_OPEN") == 1
    assert since.added("requests_ended_total", end="shed") == 1
    entry = lines(cluster, "candidates_filtered", eligible=0)[-1]
    assert (entry["total"], entry["filtered"], entry["why"], entry["level"]) == (2, 2, "breaker:2", "debug")


def test_a_trip_is_counted(request):
    with TestCluster(workers=1, kind="http", engine=SWIFT, config=knobs(retry={"enabled": False})) as cluster:
        trip(cluster)
        page = scrape(cluster)
        assert page.get(S + "breaker_trips_total") == 1
        assert page.get(S + "worker_breaker_state", worker="w0") == 2
        assert page.get(S + "requests_ended_total", end="upstream_error") == 5


# ---- conservation ----

def leave_early(cluster, i):
    stream = Stream(cluster.api_url, "/v1/chat/completions", {**cluster.body(f"leave {i}", max_tokens=400), "stream": True})
    next(iter(stream), None)
    stream.abort()


def one_of_many(cluster, i):
    kind = i % 6
    if kind == 0:
        leave_early(cluster, i)
    elif kind == 1:
        cluster.post("/v1/chat/completions", {**cluster.body(), "model": "no-such-model"})
    elif kind == 2:
        cluster.stream(cluster.body(f"stream {i}")).read_all()
    elif kind == 3:
        cluster.chat(f"hurry {i}", headers={"x-request-timeout-ms": "1"})
    else:
        cluster.chat(f"buffered {i}")


def test_every_request_ends_once_whatever_happens_to_it(cluster):
    since = Since(cluster)
    for worker, faults in zip(cluster.workers, (["error_500", "reset", "hang_before_head"], ["error_429", "conflict_409", "cut"])):
        for fault in faults:
            worker.fault(fault, count=4)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(one_of_many, cluster, i) for i in range(120)]
        while not all(future.done() for future in asked):
            scrape(cluster)  # the law holds at every moment
            time.sleep(0.05)
        for future in asked:
            future.result()
    until(lambda: scrape(cluster).get(S + "requests_in_flight") == 0, 10, "all requests ended")
    assert since.added("requests_accepted_total") == 120
    ends = {end: since.added("requests_ended_total", end=end) for end in ("ok", "client_error", "cancelled", "timeout")}
    assert ends["client_error"] >= 20 and ends["ok"] >= 20, ends
    assert ends["cancelled"] > 0 and ends["timeout"] > 0, ends
    assert lines(cluster, "conservation_broken") == []
    assert len(lines(cluster, "request_ended")) >= 120


# ---- labels ----

def known_models(cluster):
    return [model["id"] for model in cluster.get("/v1/models").json()["data"]]


def ask_for(cluster, model):
    return cluster.post("/v1/chat/completions", {**cluster.body(), "model": model}).status


def test_a_thousand_random_models_add_no_series(cluster):
    assert ask_for(cluster, "warm-up") == 404
    before = scrape(cluster)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda _: ask_for(cluster, secrets.token_hex(16)), range(1000)))
    after = scrape(cluster)
    assert statuses == {404}
    assert set(after.samples) == set(before.samples)
    assert after.get(S + "requests_by_code_total", model="_other", code="MODEL_NOT_FOUND") - \
        before.get(S + "requests_by_code_total", model="_other", code="MODEL_NOT_FOUND") == 1000


HOSTILE = 'evil"} 1 signalbox_fake_total{a="\\ \u0085\u00e4'
FORGING = "evil\nsignalbox_fake_total 666"


class HostileEngine(RecordingEngine):
    """An engine whose models' names try to break out of their label and of their line."""

    def _probe(self, request_, send):
        if request_.path != "/v1/models":
            return super()._probe(request_, send)
        models = [{"id": name, "object": "model"} for name in (HOSTILE, FORGING)]
        send(answer_of(200, json.dumps({"object": "list", "data": models}).encode()))
        return True


def test_a_hostile_model_name_stays_in_its_label():
    with HostileEngine(model=HOSTILE) as engine, \
            TestCluster(workers=0, kind="http", config={"backends": {"w0": {"url": engine.url}}}, ready=False) as cluster:
        cluster.wait_listening()
        until(lambda: HOSTILE in known_models(cluster), 10, "its model is known")
        assert FORGING not in known_models(cluster)
        assert [ask_for(cluster, HOSTILE), ask_for(cluster, FORGING)] == [200, 404]
        page = scrape(cluster)
        assert S + "fake_total" not in page.families
        models = {labels["model"]: value for labels, value in page.all(S + "requests_by_code_total")}
        assert models == {HOSTILE.replace("\u0085", "\ufffd"): 1, "_other": 1}


def test_a_hostile_worker_name_never_gets_a_series():
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(TestCluster(workers=0, kind="nats"))
        until(lambda: scrape(cluster).get(S + "bus_up") == 1, 10, "the bus is up")
        fine = stack.enter_context(BusWorker(cluster, "fine", model=HOSTILE))
        names = ['w"} 1\nsignalbox_fake_total 666', "w.>", "", "x" * 65]
        for name in names:
            fine.register(workerId=name)
        until(lambda: len(lines(cluster, "registration_refused")) >= len(names), 5, "all of them are refused")
        assert ask_for(cluster, HOSTILE) == 200
        page = scrape(cluster)
        assert [labels["worker"] for labels, _ in page.all(S + "worker_online")] == ["fine"]


def test_a_fleet_does_not_flood_the_page():
    count, dead = 300, free_port()
    backends = {f"b{i}": {"url": f"http://127.0.0.1:{dead}", "model": f"m{i}"} for i in range(count)}
    with TestCluster(workers=0, kind="http", config={"backends": backends}, ready=False) as cluster:
        cluster.wait_listening()
        page = scrape(cluster)
        assert page.get(S + "workers") == count
        assert len(page.all(S + "worker_online")) == 190
        assert len(page.all(S + "queue_length")) == 64
        assert page.get(S + "series_left_out") == (count - 190) * 7 + (count - 64) * 2


def test_only_get_and_head(cluster):
    assert cluster.post("/metrics", b"").status == 405
