"""A web server on loopback that fails by rule: before a folder, or before another server such as moto's S3.

A rule says of each path, and of the how-manieth request for it, what goes wrong, so that a test knows every answer
beforehand. The server counts requests, and how many it has at once.
"""

import hashlib
import http.server
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
Origin = Callable[[str], tuple[int, bytes]]  # the raw path of a request to status and body


class Fault(StrEnum):
    """What can go wrong; those that are numbers are answered as such."""

    MOVED = "301"  # to another place, where it is
    UNKNOWN = "401"
    FORBIDDEN = "403"
    MISSING = "404"
    GONE = "410"
    BROKEN = "500"
    BUSY = "503"
    SLOW = "no answer until the client has given up"
    DRIP = "an answer that begins at once, and then takes too long"
    CUT = "half of the body that was announced, then the end of the connection"
    SHORT = "half of the body, announced as the whole"
    EMPTY = "a body of no bytes"
    RESET = "the connection is reset"
    PAGE = "a web page"


Rule = Callable[[str, int], Fault | None]


def folder(path: Path) -> Origin:
    """The files of a folder."""

    def get(raw: str) -> tuple[int, bytes]:
        file = path / unquote(raw).lstrip("/")
        return (200, file.read_bytes()) if file.is_file() else (404, b"")

    return get


def upstream(address: str) -> Origin:
    """Whatever another server answers to a request without credentials."""

    def get(raw: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(address + raw) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return get


def listed(faults: Mapping[str, Fault | list[Fault | None]]) -> Rule:
    """A fault of each path that is named: always, or at its first requests, one after the other."""

    def rule(path: str, attempt: int) -> Fault | None:
        fault = faults.get(path.rpartition("/")[2])
        if isinstance(fault, list):
            return fault[attempt - 1] if attempt <= len(fault) else None
        return fault

    return rule


def share(path: str, attempt: int, salt: str = "") -> float:
    """A number in [0, 1) that follows from its arguments alone."""
    return int.from_bytes(hashlib.sha256(f"{salt}{path}{attempt}".encode()).digest()[:8]) / 2**64


class FaultyServer(http.server.ThreadingHTTPServer):
    """The server; paths are kept as they are meant, not as they are quoted.

    Attributes:
        requests: how many there were for each path.
        signed: how many brought credentials along.
        most: how many there were at once, at most.
    """

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, origin: Origin, rule: Rule, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin, self.rule, self.delay = origin, rule, delay
        self.requests: Counter[str] = Counter()
        self.signed = self.at_once = self.most = 0
        self.lock, self.stopped = threading.Lock(), threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are sent apart
    server: FaultyServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, path = self.server, unquote(urlsplit(self.path).path)
        with server.lock:
            server.requests[path] += 1
            attempt = server.requests[path]
            server.signed += "Authorization" in self.headers
            server.at_once += 1
            server.most = max(server.most, server.at_once)
        time.sleep(server.delay)
        with server.lock:
            server.at_once -= 1  # not after the answer, with which the client may have asked again
        self._answer(None if path.startswith("/moved/") else server.rule(path, attempt))

    def _answer(self, fault: Fault | None) -> None:
        if fault == Fault.SLOW:
            self.server.stopped.wait(30)
            self.close_connection = True
        elif fault == Fault.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault is not None and fault.isdigit():
            self._send(int(fault), b"")
        else:
            status, body = (200, PAGE) if fault == Fault.PAGE else self.server.origin(self.path.removeprefix("/moved"))
            kept = {Fault.EMPTY: 0, Fault.SHORT: len(body) // 2}.get(fault or Fault.PAGE, len(body))
            self._send(status, body[:kept], fault)

    def _send(self, status: int, body: bytes, fault: Fault | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 19 Nov 2026 12:00:00 GMT")  # Google's client wants it, and the next
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        if status == 301:
            self.send_header("Location", f"/moved{self.path}")
        self.end_headers()
        half = len(body) // 2 if fault in {Fault.CUT, Fault.DRIP} else len(body)
        self.wfile.write(body[:half])
        if fault == Fault.CUT:
            self.close_connection = True
        elif fault == Fault.DRIP:
            self.server.stopped.wait(30)
            self.close_connection = True


@contextmanager
def serving(origin: Origin, rule: Rule = lambda path, attempt: None, delay: float = 0.0) -> Iterator[FaultyServer]:
    """A server that runs as long as the block does; each answer comes `delay` seconds late."""
    server = FaultyServer(origin, rule, delay)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
