"""Requests that must be refused: every row of the strictness table that wants 4xx gets 4xx.

A row passes when the first answer is a 4xx (or 5xx of the row's own), nothing follows it, and the
connection is closed: what follows a framing error could be a smuggled request."""
import pytest

from support.cluster import TestCluster
from support.raw_http import exchange, statuses

BODY = b'{"model":"sim","messages":[{"role":"user","content":"x"}],"max_tokens":1}'
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def cluster():
    with TestCluster(kind="http") as cluster:
        yield cluster


def length(value=None):
    return b"Content-Length: " + (str(len(BODY)).encode() if value is None else value) + b"\r\n"


def head(*headers, line=LINE, host=b"Host: x\r\n"):
    return line + host + b"Content-Type: application/json\r\n" + b"".join(headers) + b"\r\n"


def chunks(data, size_line=None):
    return (size_line or b"%x" % len(data)) + b"\r\n" + data + b"\r\n0\r\n\r\n"


N = str(len(BODY)).encode()

REFUSED = {
    "CL+TE": head(length(), CHUNKED) + chunks(BODY),
    "TE+CL": head(CHUNKED, length()) + chunks(BODY),
    "dup CL differ": head(length(), length(b"5")) + BODY,
    "dup CL same": head(length(), length()) + BODY,
    "CL +n": head(length(b"+" + N)) + BODY,
    "CL n, n": head(length(N + b", " + N)) + BODY,
    "CL -1": head(length(b"-1")) + BODY,
    "CL 0x": head(length(b"0x1c")) + BODY,
    "CL overflow": head(length(b"18446744073709551617")) + BODY,
    "CL empty": head(length(b"")) + BODY,
    "CL 2 8": head(length(b"2 8")) + BODY,
    "TE chunked,identity": head(b"Transfer-Encoding: chunked, identity\r\n") + chunks(BODY),
    "TE xchunked": head(b"Transfer-Encoding: xchunked\r\n") + chunks(BODY),
    "TE xchunked+CL": head(b"Transfer-Encoding: xchunked\r\n", length()) + BODY,
    "TE dup chunked": head(CHUNKED, CHUNKED) + chunks(BODY),
    "TE dup identity,chunked": head(b"Transfer-Encoding: identity\r\n", CHUNKED) + chunks(BODY),
    "TE HTTP/1.0": head(CHUNKED, line=LINE.replace(b"1.1", b"1.0")) + chunks(BODY),
    "bare LF headers": head(length()).replace(b"\r\n", b"\n") + BODY,
    "bare CR in value": head(b"X-A: a\rb\r\n", length()) + BODY,
    "bare CR smuggle TE": head(b"X-A: a\rTransfer-Encoding: chunked\r\n", length()) + BODY,
    "obs-fold": head(b"X-A: a\r\n b\r\n", length()) + BODY,
    "obs-fold tab": head(b"X-A: a\r\n\tb\r\n", length()) + BODY,
    "fold in CL": head(b"Content-Length:\r\n " + N + b"\r\n") + BODY,
    "space before colon": head(b"Content-Length : " + N + b"\r\n") + BODY,
    "leading space hdr": LINE + b" Host: x\r\n" + length() + b"\r\n" + BODY,
    "sp before CL line": head(b"X-A: a\r\n Content-Length: " + N + b"\r\n") + BODY,
    "NUL in value": head(b"X-A: a\0b\r\n", length()) + BODY,
    "bad hdr name": head(b"X(A): a\r\n", length()) + BODY,
    "empty hdr name": head(b": a\r\n", length()) + BODY,
    "no colon hdr": head(b"XA\r\n", length()) + BODY,
    "no Host": head(length(), host=b"") + BODY,
    "dup Host": head(b"Host: y\r\n", length()) + BODY,
    "HTTP/3.7": head(length(), line=LINE.replace(b"1.1", b"3.7")) + BODY,
    "ctl in URL": head(length(), line=LINE.replace(b"/v1", b"/v\x01")) + BODY,
    "chunk 0x": head(CHUNKED) + chunks(BODY, b"0x%x" % len(BODY)),
    "chunk overflow": head(CHUNKED) + chunks(BODY, b"1000000000000000%x" % len(BODY)),
    "chunk bad end": head(CHUNKED) + b"%x\r\n%sXX0\r\n\r\n" % (len(BODY), BODY),
    "chunk bare LF": head(CHUNKED) + chunks(BODY).replace(b"\r\n", b"\n"),
    "chunk ext LF": head(CHUNKED) + chunks(BODY, b"%x;a\nb" % len(BODY)),
    "chunk neg": head(CHUNKED) + chunks(BODY, b"-%x" % len(BODY)),
    "chunk plus": head(CHUNKED) + chunks(BODY, b"+%x" % len(BODY)),
    "chunk underscore": head(CHUNKED) + chunks(BODY, b"4_9"),
    "chunk empty size": head(CHUNKED) + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "1MB header": head(b"X-A: " + b"a" * (1 << 20) + b"\r\n", length()) + BODY,
    "10000 headers": head(*[b"X-%d: a\r\n" % i for i in range(10000)], length()) + BODY,
    "long URL": head(length(), line=b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n") + BODY,
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "no method": b" /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /livez\r\nHost: x\r\n\r\n",
}

SERVED = {
    "ok plain": (head(length()) + BODY, [200]),
    "ok chunked": (head(CHUNKED) + chunks(BODY), [200]),
    "chunk trailers": (head(CHUNKED) + b"%x\r\n%s\r\n0\r\nX-Trailer: a\r\n\r\n" % (len(BODY), BODY), [200]),
    "chunk extension": (head(CHUNKED) + chunks(BODY, b"%x;name=value" % len(BODY)), [200]),
    "upper-case names": (head(length().upper()) + BODY, [200]),
    "pipelined x2": (head(length()) + BODY + head(length()) + BODY, [200, 200]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_request_is_refused_and_the_connection_closed(cluster, name):
    received = exchange(cluster.api_url, REFUSED[name] + SMUGGLED, seconds=2)
    assert statuses(received)[:1] and 400 <= statuses(received)[0] < 500 or (
        name == "HTTP/3.7" and statuses(received) == [505]), received[:400]
    assert len(statuses(received)) == 1, received[:800]
    assert b"onnection: close" in received.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize("name", SERVED)
def test_a_well_formed_request_is_served(cluster, name):
    data, expected = SERVED[name]
    assert statuses(exchange(cluster.api_url, data, seconds=0.5)) == expected


@pytest.mark.parametrize("name", ["ok plain", "ok chunked", "chunk trailers"])
def test_a_request_may_come_one_byte_at_a_time(cluster, name):
    data, expected = SERVED[name]
    parts = [data[i:i + 1] for i in range(len(data))]
    assert statuses(exchange(cluster.api_url, *parts, seconds=0.5, pause=0.0002)) == expected


def test_the_worker_is_none_the_worse_for_it(cluster):
    assert cluster.chat().status == 200
    assert cluster.in_flight() == 0
