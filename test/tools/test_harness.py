"""The harness itself: it counts what it should, keeps exact bytes, and sees what a test leaves behind."""
import os
import pathlib
import signal
import subprocess

import pytest

from support.client import Stream, address_of, request
from support.engine import RecordingEngine
from support.process import Child, marked
from support.raw_http import RawServer, answer_of, exchange, statuses
from support.wait import until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def count(tmp_path, kind, text):
    source, counts = tmp_path / "results", tmp_path / "counts"
    source.write_text(text)
    run = subprocess.run([ROOT / "tools/count_tests", kind, source, counts], capture_output=True, text=True, timeout=30)
    return counts.read_text().split(), run.stdout


def test_a_cmocka_program_counts_as_its_tests_and_its_failures_are_named(tmp_path):
    counts, said = count(tmp_path, "ctest", """<testsuite>
        <testcase name="base_test_map" status="run"><system-out>[  PASSED  ] 12 test(s).</system-out></testcase>
        <testcase name="fuzz_json" status="run"><system-out>replayed</system-out></testcase>
        <testcase name="core_test_x" status="fail"><failure message="Failed"/><system-out>[  PASSED  ] 3 test(s).
[  FAILED  ] a_straggler_does_not_close_it
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] a_straggler_does_not_close_it
</system-out></testcase></testsuite>""")
    assert counts == ["16", "1", "0"]
    assert "core_test_x: a_straggler_does_not_close_it" in said


def test_a_program_that_crashed_counts_as_one_failure(tmp_path):
    counts, said = count(tmp_path, "ctest", """<testsuite>
        <testcase name="base_test_map" status="fail"><failure message="SEGFAULT"/><system-out/></testcase></testsuite>""")
    assert counts == ["0", "1", "0"] and "base_test_map" in said


def test_pytest_s_results_are_counted(tmp_path):
    counts, said = count(tmp_path, "pytest", """<testsuites><testsuite>
        <testcase classname="a" name="b"/><testcase classname="a" name="c"><failure/></testcase>
        <testcase classname="a" name="d"><skipped/></testcase><testcase classname="a" name="e"><error/></testcase>
        </testsuite></testsuites>""")
    assert counts == ["1", "2", "1"] and "a::c" in said


def test_the_innermost_results_of_tap_are_counted(tmp_path):
    counts, _ = count(tmp_path, "tap", """TAP version 13
# Subtest: file
    ok 1 - one
    not ok 2 - two
    ok 3 - three # SKIP why
not ok 1 - file
""")
    assert counts == ["1", "2", "1"]  # the file that failed counts too


def test_results_that_are_missing_are_a_failure(tmp_path):
    counts = tmp_path / "counts"
    subprocess.run([ROOT / "tools/count_tests", "pytest", tmp_path / "absent", counts], timeout=30, capture_output=True)
    assert counts.read_text().split() == ["0", "1", "0"]


def test_a_grandchild_that_outlives_its_parent_is_seen(tmp_path):
    mark = "harness" + os.urandom(4).hex()
    parent = Child("parent", ["sh", "-c", "sleep 60 & echo $!; wait"], tmp_path, mark)
    grandchild = int(parent.first_line())
    parent.kill()
    assert list(marked(mark)) == [grandchild]
    os.kill(grandchild, signal.SIGKILL)
    until(lambda: not marked(mark), 5, "it is gone")


def test_the_recording_engine_keeps_exact_bytes():
    body = b'{ "model":"rec" ,\r\n"x":"\xc3\xa9"}'
    with RecordingEngine() as engine:
        assert request(engine.url, "POST", "/v1/chat/completions", body).status == 200
        assert engine.inference[0].body == body


def test_a_chunked_request_is_recorded_without_its_chunks():
    with RecordingEngine() as engine:
        received = exchange(engine.url, b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                        b"3\r\nabc\r\n2;e=1\r\nde\r\n0\r\n\r\n", seconds=0.2)
        assert statuses(received) == [200] and engine.inference[0].body == b"abcde"


def test_a_stream_that_is_cut_has_no_clean_end():
    def cut(request_, send, server):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"f\r\ndata: {\"a\":1}\n\n\r\n")
        return False
    with RawServer(cut) as server:
        stream = Stream(server.url, "/", {})
        stream.read_all()
        assert stream.chunks == [{"a": 1}] and not stream.clean_end


def test_every_status_of_a_connection_is_seen():
    received = b"HTTP/1.1 100 Continue\r\n\r\n" + answer_of(200, b"{}") + answer_of(400, b"x\n") + answer_of(200, b"")
    assert statuses(received) == [100, 200, 400, 200]


def test_an_aborted_stream_reaches_the_server_as_a_reset():
    seen = []

    def flood(request_, send, server):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
        try:
            while not server.stopped.wait(0.01):
                send(b"data: {}\n\n")
        except OSError as error:
            seen.append(error)
        return False
    with RawServer(flood) as server:
        stream = Stream(server.url, "/", {})
        next(iter(stream))
        stream.abort()
        until(lambda: seen, 3, "the server sees it")
        assert isinstance(seen[0], ConnectionError)


def test_until_fails_with_its_words():
    with pytest.raises(AssertionError, match="the moon is blue"):
        until(lambda: False, 0.05, "the moon is blue")


def test_addresses_come_out_of_urls():
    assert address_of("http://127.0.0.1:80/v1") == ("127.0.0.1", 80)
