"""Backends are held to the same rules as clients: a malformed answer is never passed on as a 200.

Two set-ups: the raw backend alone (the client sees 502 WORKER_UNAVAILABLE), and beside a sound one
(the client sees the sound one's answer after one retry)."""
import pytest

from support.cluster import TestCluster
from support.engine import RecordingEngine, SSE_HEAD, chat_answer, chunked, sse_events

BODY = chat_answer("from the raw backend", "rec")
N = str(len(BODY)).encode()
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_BREAKER = {"cluster": {"requestRouting": {
    "circuitBreaker": {"enabled": False}, "timeoutMs": 3000, "streamingTimeoutMs": 3000, "streamIdleTimeoutMs": 2000}}}


def answer(*headers, body=BODY, line=b"HTTP/1.1 200 OK\r\n"):
    return line + JSON + b"".join(headers) + b"\r\n" + body


def length(value=N):
    return b"Content-Length: " + value + b"\r\n"


def chunks(data, size_line=None):
    return (size_line or b"%x" % len(data)) + b"\r\n" + data + b"\r\n0\r\n\r\n"


MALFORMED = {
    "CL+TE": answer(length(), CHUNKED, body=chunks(BODY)),
    "dup CL differ": answer(length(), length(b"5")),
    "CL +n": answer(length(b"+" + N)),
    "CL -1": answer(length(b"-1")),
    "CL 0x": answer(length(b"0x1c")),
    "CL overflow": answer(length(b"18446744073709551617")),
    "CL empty": answer(length(b"")),
    "CL 2 8": answer(length(b"2 8")),
    "CL too large": answer(length(b"%d" % (len(BODY) + 10))),
    "TE chunked,identity": answer(b"Transfer-Encoding: chunked, identity\r\n", body=chunks(BODY)),
    "TE xchunked": answer(b"Transfer-Encoding: xchunked\r\n", body=chunks(BODY)),
    "TE dup chunked": answer(CHUNKED, CHUNKED, body=chunks(BODY)),
    "TE HTTP/1.0": answer(CHUNKED, body=chunks(BODY), line=b"HTTP/1.0 200 OK\r\n"),
    "bare LF headers": answer(length()).replace(b"\r\n", b"\n"),
    "bare CR in value": answer(b"X-A: a\rb\r\n", length()),
    "bare CR smuggle TE": answer(b"X-A: a\rTransfer-Encoding: chunked\r\n", length()),
    "obs-fold": answer(b"X-A: a\r\n b\r\n", length()),
    "fold in CL": answer(b"Content-Length:\r\n " + N + b"\r\n"),
    "space before colon": answer(b"Content-Length : " + N + b"\r\n"),
    "NUL in value": answer(b"X-A: a\0b\r\n", length()),
    "bad hdr name": answer(b"X(A): a\r\n", length()),
    "no colon hdr": answer(b"XA\r\n", length()),
    "HTTP/3.7": answer(length(), line=b"HTTP/3.7 200 OK\r\n"),
    "status 20": answer(length(), line=b"HTTP/1.1 20 OK\r\n"),
    "status 2000": answer(length(), line=b"HTTP/1.1 2000 OK\r\n"),
    "status abc": answer(length(), line=b"HTTP/1.1 abc OK\r\n"),
    "no status": answer(length(), line=b"HTTP/1.1\r\n"),
    "chunk 0x": answer(CHUNKED, body=chunks(BODY, b"0x%x" % len(BODY))),
    "chunk overflow": answer(CHUNKED, body=chunks(BODY, b"1000000000000000%x" % len(BODY))),
    "chunk bad end": answer(CHUNKED, body=b"%x\r\n%sXX0\r\n\r\n" % (len(BODY), BODY)),
    "chunk bare LF": answer(CHUNKED, body=chunks(BODY).replace(b"\r\n", b"\n")),
    "chunk neg": answer(CHUNKED, body=chunks(BODY, b"-%x" % len(BODY))),
    "chunks without end": answer(CHUNKED, body=b"%x\r\n%s\r\n" % (len(BODY), BODY)),
    "1MB header": answer(b"X-A: " + b"a" * (1 << 20) + b"\r\n", length()),
    "10000 headers": answer(*[b"X-%d: a\r\n" % i for i in range(10000)], length()),
    "garbage": b"\x16\x03\x01\x02\x00" + b"\0" * 40 + b"\r\n\r\n",
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: appl",
    # Well-formed HTTP whose content is none of the API.
    "not JSON": answer(length(b"5"), body=b"hello"),
    "JSON cut": answer(length(b"%d" % (len(BODY) - 1)), body=BODY[:-1]),
    "JSON of another kind": answer(length(b"2"), body=b"[]"),
    "200 with error": answer(length(b"32"), body=b'{"error":{"message":"I am ill"}}'),
    "no body": answer(length(b"0"), body=b""),
    "encoded": answer(b"Content-Encoding: gzip\r\n", length()),
    "wrong type": answer(length()).replace(JSON, b"Content-Type: text/html\r\n"),
    "redirect": answer(b"Location: http://127.0.0.1/\r\n", length(b"0"), body=b"", line=b"HTTP/1.1 302 Found\r\n"),
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}

WELL_FORMED = {
    "plain": answer(length()),
    "chunked": answer(CHUNKED, body=chunks(BODY)),
    "chunk trailers": answer(CHUNKED, body=b"%x\r\n%s\r\n0\r\nX-T: a\r\n\r\n" % (len(BODY), BODY)),
    "until close": answer(b"Connection: close\r\n"),
    "HTTP/1.0": answer(length(), line=b"HTTP/1.0 200 OK\r\n"),
    "no reason": answer(length(), line=b"HTTP/1.1 200 \r\n"),
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(length()),
}

EVENTS = b"".join(chunked(event) for event in sse_events(("raw",), "rec"))

MALFORMED_STREAMS = {
    "no finish, no DONE": SSE_HEAD + chunked(sse_events(("raw",), "rec")[0]) + b"0\r\n\r\n",
    "bad chunk at once": SSE_HEAD + b"zz\r\n",
    "role only, then cut": SSE_HEAD + chunked(sse_events(("raw",), "rec")[0]),
    "error first": SSE_HEAD + chunked(b'data: {"error":{"message":"I am ill","type":"server_error"}}\n\n') + b"0\r\n\r\n",
    "JSON instead of SSE is broken": answer(length(b"5"), body=b"hello"),
    "event that is no JSON": SSE_HEAD + chunked(b"data: {nonsense\n\n") + b"0\r\n\r\n",
}


class RawBackend(RecordingEngine):
    """Sends whatever `reply` is and closes."""

    def __init__(self):
        self.reply = b""
        super().__init__(on_chat=self._send)

    def _send(self, request, send, server):
        send(self.reply)
        return False


@pytest.fixture(scope="module")
def raw():
    with RawBackend() as backend:
        yield backend


@pytest.fixture(scope="module")
def alone(raw):
    with TestCluster(kind="http", engines=[raw], model="rec", config=NO_BREAKER) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def beside(raw):
    with RecordingEngine() as sound, TestCluster(
            kind="http", engines=[raw, sound], model="rec", config=NO_BREAKER) as cluster:
        yield cluster


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_answer_of_the_only_backend_is_a_502(raw, alone, name):
    raw.reply = MALFORMED[name]
    answer = alone.chat()
    assert (answer.status, answer.error_code) == (502, "WORKER_UNAVAILABLE"), answer
    assert b"raw backend" not in answer.body


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_answer_is_made_good_by_another_backend(raw, beside, name):
    raw.reply = MALFORMED[name]
    answers = [beside.chat() for _ in range(4)]
    assert [a.status for a in answers] == [200] * 4, answers
    assert [a.text for a in answers] == ["recorded"] * 4
    assert "1" in [a.headers["x-signalbox-retry-count"] for a in answers]


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_well_formed_answer_passes(raw, alone, name):
    raw.reply = WELL_FORMED[name]
    answer = alone.chat()
    assert (answer.status, answer.text) == (200, "from the raw backend")


@pytest.mark.parametrize("name", MALFORMED_STREAMS)
def test_a_stream_that_fails_before_its_first_content_is_a_502(raw, alone, name):
    raw.reply = MALFORMED_STREAMS[name]
    answer = alone.chat(stream=True)
    assert (answer.status, answer.error_code) == (502, "WORKER_UNAVAILABLE"), answer


@pytest.mark.parametrize("name", MALFORMED_STREAMS)
def test_a_stream_that_fails_before_its_first_content_goes_to_another_backend(raw, beside, name):
    raw.reply = MALFORMED_STREAMS[name]
    for _ in range(2):
        stream = beside.stream(beside.body())
        stream.read_all()
        assert (stream.status, stream.text, stream.done) == (200, "recorded", True)


def test_a_well_formed_stream_passes(raw, alone):
    raw.reply = SSE_HEAD + EVENTS + b"0\r\n\r\n"
    stream = alone.stream(alone.body())
    stream.read_all()
    assert (stream.status, stream.text, stream.done, stream.clean_end) == (200, "raw", True, True)
