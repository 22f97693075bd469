"""HTTP by hand: a socket for requests that no client library would send, a server for answers that
no server library would give. Both keep the exact bytes."""
import contextlib
import re
import socket
import struct
import threading
import time

from support.client import address_of
from support.wait import SCALE


def exchange(url, *parts, seconds=2.0, pause=0.02, half_close=False):
    """Sends the parts with a pause between them; returns what came back until the peer closed or was
    silent for `seconds`."""
    received = b""
    with socket.create_connection(address_of(url), timeout=5) as sock:
        with contextlib.suppress(ConnectionError):
            for index, part in enumerate(parts):
                if index:
                    time.sleep(pause)
                sock.sendall(part)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        sock.settimeout(seconds * SCALE)
        with contextlib.suppress(ConnectionError, socket.timeout):
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                received += data
    return received


def statuses(received):
    """The status codes in a byte stream of answers, 100s included."""
    return [int(code) for code in re.findall(rb"(?:^|\r\n\r\n|[}\n])HTTP/1\.1 (\d\d\d) ", received)]


def heads(received):
    """The header block of each answer."""
    return re.findall(rb"HTTP/1\.1 \d\d\d [^\r\n]*(?:\r\n[^\r\n]+)*", received)


class Request:
    def __init__(self, method, path, headers, body, raw_head):
        self.method, self.path, self.headers, self.body, self.raw_head = method, path, headers, body, raw_head
        self.at = time.monotonic()

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.values(name)
        return values[0] if values else None


class _Connection:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def _more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        self.buffer += data

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _exactly(self, count):
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            data = self.sock.recv(1 << 20)
            if not data:
                raise ConnectionResetError
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.buffer = whole[count:]
        return whole[:count]

    def _chunked(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            body += self._exactly(size)
            self._until(b"\r\n")
            if size == 0:
                return body

    def read_request(self):
        head = self._until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        request = Request(method, path, headers, b"", head)
        if request.header("transfer-encoding"):
            request.body = self._chunked()
        else:
            request.body = self._exactly(int(request.header("content-length") or 0))
        return request


class RawServer:
    """Calls answer(request, send, server) for each request, on a thread per connection.

    answer sends bytes with send(...) and returns True to keep the connection, False to close it,
    "reset" to end it with RST. `requests` keeps every request seen; `connections` counts."""

    def __init__(self, answer, host="127.0.0.1", port=0):
        self.answer = answer
        self.requests, self.connections, self.open = [], 0, set()
        self.lock = threading.Lock()
        self.listener = socket.create_server((host, port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        connection = _Connection(sock)
        try:
            while True:
                request = connection.read_request()
                with self.lock:
                    self.requests.append(request)
                keep = self.answer(request, sock.sendall, self)
                if keep == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if keep is not True:
                    return
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def close_connections(self):
        """Closes every open connection as a peer would whose keep-alive time is over."""
        with self.lock:
            for sock in self.open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.stopped.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_connections()
        self.thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def answer_of(status, body, content_type="application/json", extra=""):
    return (f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
            ).encode() + body
