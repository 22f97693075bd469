"""Helper nodes: embeddings and rerank at machines of their own, and what happens when these sleep or lie."""
import base64
import concurrent.futures
import struct
import time

import pytest

from support.cluster import TestCluster
from support.engine import SimulatedEngine
from support.stack import StackCluster, VectorServer, helper_config, texts, vector_of, vectors
from support.wait import until


@pytest.fixture
def servers():
    made = []

    def make(**options):
        made.append(VectorServer(**options))
        return made[-1]
    yield make
    for server in made:
        server.stop()


# --- what is asked and answered ---------------------------------------------------------------


@pytest.mark.parametrize("model", ["emb", "embedding"])
def test_the_helper_s_model_and_its_role_go_to_the_helper(servers, model):
    helper = servers()
    with StackCluster(config=helper_config("embedding", helper)) as cluster:
        answer = cluster.embed("hello", model=model)
        assert texts(answer) == [vector_of("hello")]
        assert answer.headers["x-signalbox-worker"] == "embedding/0" and "x-signalbox-fallback" not in answer.headers
        assert b'"model":"emb"' in helper.inference[0].body.replace(b" ", b"")
        assert helper.inference[0].path == "/v1/embeddings"


@pytest.mark.parametrize("given, count", [("one", 1), (["one", "two", "three"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_inputs_are_strings_lists_and_token_ids(servers, given, count):
    with StackCluster(config=helper_config("embedding", servers())) as cluster:
        assert len(texts(cluster.embed(given))) == count


def test_vectors_come_in_the_order_of_the_inputs(servers):
    helper = servers(mood=lambda body: vectors(body, "emb", order=-1))
    with StackCluster(config=helper_config("embedding", helper)) as cluster:
        answer = cluster.embed(["a", "b", "c"])
        assert texts(answer) == [vector_of("a"), vector_of("b"), vector_of("c")]
        assert [entry["index"] for entry in answer.json()["data"]] == [0, 1, 2]


def test_both_encodings_come_whatever_the_helper_knows(servers):
    with StackCluster(config=helper_config("embedding", servers())) as cluster:
        floats = texts(cluster.embed("x", encoding_format="float"))[0]
        packed = base64.b64decode(texts(cluster.embed("x", encoding_format="base64"))[0])
        assert struct.unpack(f"<{len(floats)}f", packed) == pytest.approx(floats, abs=1e-6)


def test_dimensions_are_passed_on_and_held_to(servers):
    helper = servers()
    with StackCluster(config=helper_config("embedding", helper, fallback="skip")) as cluster:
        assert len(texts(cluster.embed("x", dimensions=7))[0]) == 7
        helper.mood = lambda body: vectors({**body, "dimensions": 3}, "emb")
        assert cluster.embed("x", dimensions=7).error_code == "HELPER_NODE_UNAVAILABLE"


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_rerank_sorts_cuts_and_gives_documents(servers, path):
    helper = servers(model="rank")
    with StackCluster(config=helper_config("reranking", helper)) as cluster:
        answer = cluster.rerank(["a", "bbb", "cc"], path)
        assert [r["index"] for r in answer.json()["results"]] == [1, 2, 0]
        answer = cluster.rerank(["a", "bbb", "cc"], path, model="reranking", top_n=2, return_documents=True)
        assert answer.json()["results"] == [{"index": 1, "relevance_score": 0.03, "document": {"text": "bbb"}},
                                            {"index": 2, "relevance_score": 0.02, "document": {"text": "cc"}}]
        assert {request.path for request in helper.inference} == {"/v1/rerank"}


def test_a_rank_out_of_range_is_malformed(servers):
    helper = servers(model="rank", mood=lambda body: {"results": [{"index": 9, "relevance_score": 1}]})
    with StackCluster(config=helper_config("reranking", helper, fallback="skip")) as cluster:
        assert cluster.rerank().status == 502
        assert cluster.endpoint(role="reranking")["failures"] == 1


@pytest.mark.parametrize("lie", [
    lambda body: {**vectors(body, "emb"), "data": vectors(body, "emb")["data"][:1]},
    lambda body: {**vectors(body, "emb"), "data": [{**e, "index": 0} for e in vectors(body, "emb")["data"]]},
    lambda body: {**vectors(body, "emb"), "data": [{**e, "embedding": [1.0] * (i + 1)} for i, e in enumerate(vectors(body, "emb")["data"])]},
    lambda body: {**vectors(body, "emb"), "data": [{**e, "embedding": [None, 1.0]} for e in vectors(body, "emb")["data"]]},
    lambda body: {"choices": []},
], ids=["count", "index", "dimension", "null", "shape"])
def test_a_wrong_200_is_a_failure_before_any_success_and_trips(servers, lie):
    helper = servers(mood=lie)
    with StackCluster(config=helper_config("embedding", helper, fallback="skip")) as cluster:
        for _ in range(3):
            assert cluster.embed(["a", "b"]).status == 502
        endpoint = cluster.endpoint()
        assert (endpoint["successes"], endpoint["failures"], endpoint["circuit_state"]) == (0, 3, "open")


def test_other_models_are_routed_as_ever_and_helpers_serve_nothing_else(servers):
    helper = servers()
    with StackCluster(workers=1, models=["chat"], config=helper_config("embedding", helper)) as cluster:
        assert cluster.embed("x", model="chat").headers["x-signalbox-worker"] == "w0"
        assert cluster.post("/v1/chat/completions", cluster.body(model="emb")).status == 404
        assert helper.hits == 0
        assert cluster.online() == 1  # helper endpoints are no workers of the cluster


# --- endpoints --------------------------------------------------------------------------------


def test_lower_priorities_come_first_and_the_next_one_takes_over(servers):
    first, second = servers(), servers()
    with StackCluster(config=helper_config("embedding", first, second)) as cluster:
        for _ in range(5):
            texts(cluster.embed())
        assert (first.hits, second.hits) == (5, 0)
        first.mood = "error"
        for _ in range(5):
            assert texts(cluster.embed()) == [vector_of("hello")]
        assert (first.hits, second.hits) == (8, 5)  # three failures, then its breaker is open
        assert cluster.endpoint(0)["circuit_state"] == "open" and cluster.endpoint(0)["rejected"] == 2


def test_equal_priorities_are_balanced(servers):
    both = [servers(), servers()]
    config = {"helper_nodes": {"embedding": {"endpoints": [{"url": s.url, "model": "emb"} for s in both]}}}
    with StackCluster(config=config) as cluster:
        for _ in range(10):
            texts(cluster.embed())
        assert [s.hits for s in both] == [5, 5]


def test_timeout_sec_is_the_limit_of_one_attempt(servers):
    slow, good = servers(mood="hangs"), servers()
    config = helper_config("embedding", slow, good, endpoints=[{"timeout_sec": 1}])
    config["cluster"] = {"requestRouting": {"timeoutMs": 20000}}
    with StackCluster(config=config) as cluster:
        started = time.monotonic()
        answer = cluster.embed()
        assert texts(answer) == [vector_of("hello")] and answer.headers["x-signalbox-worker"] == "embedding/1"
        assert 0.9 < time.monotonic() - started < 3
        assert "no complete response in time" in cluster.endpoint(0)["last_error"]


# --- fallback ---------------------------------------------------------------------------------


def test_local_is_a_backend_that_serves_the_same_model(servers):
    helper = servers()
    with StackCluster(workers=1, models=["emb"], config=helper_config("embedding", helper)) as cluster:
        direct = cluster.post("/v1/embeddings", {"model": "emb", "input": "x"})
        helper.mood = "error"
        answer = cluster.embed("x")
        assert direct.headers["x-signalbox-worker"] == "embedding/0"
        assert (answer.status, answer.headers["x-signalbox-fallback"], answer.headers["x-signalbox-worker"]) == (200, "local", "w0")
        assert answer.json()["metadata"]["failedWorkers"] == ["embedding/0"]


def test_local_is_a_cluster_worker_too(servers):
    helper = servers(mood="error")
    with StackCluster(workers=1, kind="nats", models=["emb"], config=helper_config("embedding", helper)) as cluster:
        assert cluster.embed("x").headers["x-signalbox-fallback"] == "local"


def test_without_anybody_local_it_is_a_503_that_says_so_and_never_another_model(servers):
    helper = servers(mood="error")
    config = {**helper_config("embedding", helper), "routing": {"default_model": "other", "aliases": {"emb": ["other"]}}}
    with StackCluster(workers=1, models=["other"], config=config) as cluster:
        for attempt in range(5):
            answer = cluster.embed("x")
            assert (answer.status, answer.error_code) == (503, "NO_WORKERS_AVAILABLE"), attempt
            assert "No worker or backend of the cluster serves the same model" in answer.json()["error"]["message"]
        assert "circuit open" in answer.json()["error"]["message"]
        assert cluster.worker(0).inference() == []


def test_skip_is_a_502_that_names_the_endpoint_and_the_open_circuit(servers):
    helper = servers(mood="error")
    config = helper_config("embedding", helper, fallback="skip")
    with StackCluster(workers=1, models=["emb"], config=config) as cluster:
        for _ in range(3):
            answer = cluster.embed("x")
            assert (answer.status, answer.error_code) == (502, "HELPER_NODE_UNAVAILABLE")
        hits = helper.hits
        answer = cluster.embed("x")
        assert (answer.status, answer.error_code, helper.hits) == (502, "HELPER_NODE_UNAVAILABLE", hits)
        assert "circuit open" in answer.json()["error"]["message"] and helper.url in answer.json()["error"]["message"]
        assert cluster.worker(0).inference() == []


@pytest.mark.timing
def test_an_open_breaker_falls_back_at_once(servers):
    helper = servers(mood="hangs")
    config = helper_config("embedding", helper, timeout_sec=1)
    with StackCluster(workers=1, models=["emb"], config=config) as cluster:
        for _ in range(3):
            assert cluster.embed("x").headers["x-signalbox-fallback"] == "local"
        started = time.monotonic()
        answer = cluster.embed("x")
        assert answer.headers["x-signalbox-fallback"] == "local" and time.monotonic() - started < 0.3
        assert helper.hits == 3


def test_the_fallback_is_no_retry(servers):
    """It works with retries switched off, and behind more endpoints than there are retries."""
    broken = [servers(mood="error") for _ in range(4)]
    config = helper_config("embedding", *broken)
    config["cluster"] = {"requestRouting": {"retry": {"enabled": False}}}
    with StackCluster(workers=1, models=["emb"], config=config) as cluster:
        answer = cluster.embed("x")
        assert (answer.status, answer.headers["x-signalbox-worker"]) == (200, "w0")
        assert [server.hits for server in broken] == [1, 1, 1, 1]


# --- breakers ---------------------------------------------------------------------------------


def test_ten_client_errors_trip_nothing_and_are_passed_through(servers):
    helper = servers(mood="refuses")
    with StackCluster(config=helper_config("embedding", helper)) as cluster:
        for _ in range(10):
            answer = cluster.embed("x")
            assert (answer.status, answer.error_code) == (400, "bad_option")
        endpoint = cluster.endpoint()
        assert (endpoint["circuit_state"], endpoint["failures"], helper.hits) == ("closed", 0, 10)


def test_requests_of_a_client_alone_trip_nothing(servers):
    """stream, an unknown encoding: whatever a client writes, a helper that answers well is well."""
    helper = servers()
    with StackCluster(config=helper_config("embedding", helper)) as cluster:
        for _ in range(4):
            texts(cluster.embed("x", stream=True))
        assert cluster.embed([], stream=True).status == 400
        assert cluster.endpoint()["failures"] == 0


def test_the_breaker_s_numbers_are_configurable_and_it_closes_again(servers):
    helper = servers(mood="error")
    config = helper_config("embedding", helper, circuit_breaker={"failure_threshold": 2, "reset_timeout_sec": 1}, fallback="skip",
                           health_check_interval_sec=600)
    with StackCluster(config=config) as cluster:
        for _ in range(2):
            assert cluster.embed().status == 502
        assert cluster.endpoint()["circuit_state"] == "open" and 0 < cluster.endpoint()["retry_in_ms"] <= 1000
        helper.mood = "well"
        until(lambda: cluster.endpoint()["circuit_state"] == "half_open", 3, "its time is over")
        texts(cluster.embed())
        assert cluster.endpoint()["circuit_state"] == "closed"


def test_an_admin_s_reset_closes_it(servers):
    helper = servers(mood="error")
    with StackCluster(config=helper_config("embedding", helper, fallback="skip")) as cluster:
        for _ in range(3):
            cluster.embed()
        assert cluster.endpoint()["circuit_state"] == "open"
        helper.mood = "well"
        assert cluster.post("/admin/helpers/embedding/0/reset", b"").json() == {"ok": True}
        assert cluster.endpoint()["circuit_state"] == "closed"
        texts(cluster.embed())
        for wrong in ["embedding/1/reset", "embedding/reset", "nobody/0/reset", "embedding/0/open"]:
            assert cluster.post(f"/admin/helpers/{wrong}", b"").status == 404


def test_a_live_health_page_with_broken_embeddings_gets_one_request_per_open_period(servers):
    """Scaled: an open time of 1 s and 10 requests a second instead of 60 s and one, 8 s instead of 10 minutes."""
    helper = servers(mood="error")
    config = helper_config("embedding", helper, circuit_breaker={"reset_timeout_sec": 1}, health_check_interval_sec=1)
    with StackCluster(workers=1, models=["emb"], config=config) as cluster:
        started, answers = time.monotonic(), []
        while time.monotonic() - started < 8:
            answers.append(cluster.embed("x"))
            time.sleep(0.1)
        assert {answer.status for answer in answers} == {200}
        assert {answer.headers.get("x-signalbox-fallback") for answer in answers} == {"local"}
        assert 4 <= helper.hits <= 3 + 8
        times = [request.at for request in helper.inference][2:]
        assert all(later - earlier > 0.9 for earlier, later in zip(times, times[1:]))


# --- figures ----------------------------------------------------------------------------------


def test_admin_helpers_tells_all_figures_of_each_endpoint(servers):
    helper = servers()
    with StackCluster(config=helper_config("embedding", helper)) as cluster:
        until(lambda: cluster.endpoint()["last_check_at"], 5, "the first check is over")
        for _ in range(4):
            texts(cluster.embed())
        helper.mood = "error"
        cluster.embed()
        endpoint = cluster.endpoint()
        assert set(endpoint) >= {"url", "model", "healthy", "total_requests", "successes", "failures", "rejected", "success_rate_pct",
                                 "avg_latency_ms", "p95_latency_ms", "last_check_at", "last_error", "circuit_state", "retry_in_ms"}
        assert (endpoint["url"], endpoint["model"], endpoint["healthy"]) == (helper.url, "emb", True)
        assert (endpoint["total_requests"], endpoint["successes"], endpoint["failures"], endpoint["rejected"]) == (5, 4, 1, 0)
        assert (endpoint["success_rate_pct"], endpoint["circuit_state"], endpoint["retry_in_ms"]) == (80, "closed", 0)
        assert 0 < endpoint["avg_latency_ms"] <= endpoint["p95_latency_ms"] < 5000
        assert "5xx" in endpoint["last_error"]


# --- under load -------------------------------------------------------------------------------


def test_a_helper_killed_under_load_costs_no_request_and_changes_no_bit(tmp_path):
    """The simulated engine gives the same vector everywhere: before and after must be the same bytes."""
    helper = SimulatedEngine("helper", tmp_path, model="emb", seed=1, tps=0, ttft_ms=1)
    config = {"helper_nodes": {"embedding": {"url": helper.url, "model": "emb"}}}
    with TestCluster(workers=2, models=["emb", "emb"], config=config, engine={"seed": 1, "tps": 0, "ttft_ms": 1}, kind="http") as cluster:
        wanted = cluster.post("/v1/embeddings", {"model": "emb", "input": ["one", "two"]}).json()["data"]

        def ask(i):
            if i == 150:
                helper.kill()
            answer = cluster.post("/v1/embeddings", {"model": "emb", "input": ["one", "two"]})
            return answer.status, answer.json().get("data") == wanted, answer.headers.get("x-signalbox-fallback")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(400)))
        assert {(status, same) for status, same, _ in answers} == {(200, True)}
        assert {fallback for _, _, fallback in answers} == {None, "local"}
