"""Object stores on loopback for the tests: an S3 server (moto), a Google Cloud Storage server (gcp-storage-emulator).

Google's runs in a process of its own, `python -m tests.support.servers`: Arrow's client and a server in threads of one
process wait for each other.
"""

import functools
import hashlib
import http.server
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUCKET = "pictures"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """An S3 server with an empty bucket; gives the environment variables by which it is found."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = {"scheme": "http", "endpoint_override": f"{host}:{port}", "region": "us-east-1"}
    client = fs.S3FileSystem(access_key="key", secret_key="secret", allow_bucket_creation=True, **address)
    client.create_dir(BUCKET)
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server.stop()


@contextmanager
def google_server() -> Iterator[dict[str, str]]:
    """A Google Cloud Storage server with an empty bucket; gives the environment variable by which it is found."""
    command = [sys.executable, "-m", "tests.support.servers"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
        finally:
            process.stdin.close()  # it ends with its input


def _lock_methods(kind: type) -> None:
    """Let one thread at a time into a class that was written for one: uploads side by side lost each other's."""
    lock = threading.RLock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*given: Any, **named: Any) -> Any:
            with lock:
                return method(*given, **named)

        return call

    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member):
            setattr(kind, name, locked(member))


def _date_answers(response: type) -> None:
    """Let every answer tell a time and a tag, as Google's do, and as clients other than Google's ask for."""
    close = vars(response)["close"]

    def dated(self: Any) -> None:
        content = self._content.encode() if isinstance(self._content, str) else self._content
        self["Last-Modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"
        self["ETag"] = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        close(self)

    setattr(response, "close", dated)  # noqa: B010  (mypy: a method is assigned)


def _serve() -> None:
    """Run the server, a thread a request, until the input ends; print its port."""
    from gcp_storage_emulator import server, storage  # type: ignore[import-untyped]

    _lock_methods(storage.Storage)
    _date_answers(server.Response)
    server.server.HTTPServer = http.server.ThreadingHTTPServer
    http.server.ThreadingHTTPServer.daemon_threads = True
    emulator = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    emulator._api.daemon = True
    emulator.start()
    while emulator._api._httpd is None:
        threading.Event().wait(0.01)
    print(emulator._api._httpd.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
