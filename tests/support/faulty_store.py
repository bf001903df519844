"""Something between a client and an object store, in a process of its own, that fails when it is told to.

`python -m tests.support.faulty_store ADDRESS`: it passes on what it is asked to the server at ADDRESS, except while
faults are due. What goes wrong is stated by a request for `/_faults/KIND/COUNT/AFTER`, which answers how many requests
there were.
"""

import http.server
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTROL = "/_faults/"
SLOW, RESET = "slow", "reset"
_OWN = {"connection", "transfer-encoding", "content-length", "expect", "host", "server", "date"}


@dataclass(frozen=True)
class FaultyStore:
    """A store that fails when it is told to."""

    address: str

    def fail(self, kind: str, requests: int, after: int = 0) -> int:
        """Let so many requests fail, with a status (`500`), a reset or no answer; how many there have been so far.

        Args:
            kind: of the fault.
            requests: how many.
            after: how many more are answered first.
        """
        with urllib.request.urlopen(f"{self.address}{CONTROL}{kind}/{requests}/{after}") as answer:
            return int(answer.read())

    def requests(self) -> int:
        """How many requests there have been; nothing fails any more."""
        return self.fail("500", 0)


@contextmanager
def before(address: str) -> Iterator[FaultyStore]:
    """Stand before the server at an address."""
    command = [sys.executable, "-m", "tests.support.faulty_store", address]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield FaultyStore(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.stdin.close()  # it ends with its input


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.kind, self.asked = upstream, "", 0
        self.due = range(0)  # the requests that are to fail
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        server = self.server
        if self.path.startswith(CONTROL):
            with server.lock:
                server.kind, *numbers = self.path.removeprefix(CONTROL).split("/")
                count, first = int(numbers[0]), server.asked + int(numbers[1])
                server.due = range(first, first + count)
            self._send(200, str(server.asked).encode(), {})
            return
        body = self._body()
        with server.lock:
            kind = server.kind if server.asked in server.due else ""
            server.asked += 1
        if kind in (SLOW, RESET):
            time.sleep(20 if kind == SLOW else 0)
            self.close_connection = True
        elif kind:
            self._send(int(kind), b"", {})
        else:
            self._pass_on(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815  (as the class wants them)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _pass_on(self, body: bytes) -> None:
        data = body if self.command in ("PUT", "POST", "PATCH") else None
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        request = urllib.request.Request(self.server.upstream + self.path, data, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self._send(answer.status, answer.read(), dict(answer.headers.items()))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        stated = {name.lower(): value for name, value in headers.items()}.get("content-length", "0")
        self.send_header("Content-Length", stated if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _serve(upstream: str) -> None:
    """Run until the input ends; print the port."""
    server = _Server(upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
