"""A plain HTTP client for tests: one connection per call, everything bounded in time."""
import http.client
import json
import socket
import struct
import time
import urllib.parse

from support.wait import SCALE


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error_code(self):
        return self.json()["error"]["code"]

    @property
    def text(self):
        return self.json()["choices"][0]["message"]["content"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def address_of(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


def _send(url, method, path, body, headers, seconds):
    connection = http.client.HTTPConnection(*address_of(url), timeout=seconds * SCALE)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**({"content-type": "application/json"} if data is not None else {}), **(headers or {})}
    connection.request(method, path, data, headers)
    return connection, connection.getresponse()


def request(url, method, path, body=None, headers=None, seconds=30):
    connection, answer = _send(url, method, path, body, headers, seconds)
    try:
        return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Stream:
    """An SSE answer, read event by event. `for data in stream` yields the text behind "data: "."""

    def __init__(self, url, path, body, headers=None, seconds=60):
        self.started = time.monotonic()
        self.connection, self.answer = _send(url, "POST", path, body, headers, seconds)
        self.status = self.answer.status
        self.headers = {k.lower(): v for k, v in self.answer.getheaders()}
        self.events = []  # (seconds since start, data)
        self.clean_end = False  # the last chunk arrived, not only the end of the connection

    def _parts(self):
        """The body's bytes as they come. Chunks are read by hand: http.client hides whether the last one came."""
        raw = self.answer.fp
        if not self.answer.chunked:
            yield from iter(self.answer.readline, b"")
            self.clean_end = True
            return
        while True:
            size = raw.readline()
            if not size.endswith(b"\n"):
                return
            data = raw.read(int(size.split(b";")[0], 16))
            if raw.read(2) != b"\r\n":
                return
            if not data:
                self.clean_end = True
                return
            yield data

    def __iter__(self):
        waiting = b""
        try:
            for part in self._parts():
                *lines, waiting = (waiting + part).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        data = line[6:].rstrip(b"\r").decode()
                        self.events.append((time.monotonic() - self.started, data))
                        yield data
        except ConnectionError:
            pass

    def read_all(self):
        for _ in self:
            pass
        return [data for _, data in self.events]

    @property
    def chunks(self):
        return [json.loads(data) for _, data in self.events if data != "[DONE]"]

    @property
    def text(self):
        deltas = (c["choices"][0].get("delta", {}) for c in self.chunks if c.get("choices"))
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def done(self):
        return bool(self.events) and self.events[-1][1] == "[DONE]"

    @property
    def error(self):
        return next((c["error"] for c in self.chunks if "error" in c), None)

    def abort(self):
        """Leaves at once, with a reset, as a killed client does."""
        sock = self.connection.sock or self.answer.fp.raw._sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.answer.close()
        self.connection.close()
        sock.close()

    def close(self):
        self.answer.close()
        self.connection.close()
