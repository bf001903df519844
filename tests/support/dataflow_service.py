"""A Dataflow service on loopback: takes jobs, runs what was staged for them, and answers as Google's does.

Google's starts machines, and containers of the job's image on them. Here a job runs in a process that can write only to
the object store and a scratch folder, and has nothing of Concord but the staged package (`dataflow_worker.py` beside).
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import read_only

WORKER = Path(__file__).with_name("dataflow_worker.py")
_JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/?]+)(/messages|/metrics)?)?")


@dataclass
class Job:
    """A job as it was handed in, and how it went; `done` once it has ended."""

    asked: dict[str, Any]
    went: dict[str, Any] = field(default_factory=dict)
    seen: int = 0

    @property
    def state(self) -> str:
        return str(self.went["state"]) if self.went else "JOB_STATE_RUNNING"


@dataclass
class Service:
    """The service: its jobs by id, in the order in which they came."""

    environment: dict[str, str]
    scratch: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    url: str = ""
    requests: list[str] = field(default_factory=list)
    _idle: "list[subprocess.Popen[str]]" = field(default_factory=list)
    _all: "list[subprocess.Popen[str]]" = field(default_factory=list)
    _unpacking: threading.Lock = field(default_factory=threading.Lock)

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take a job, and run it in a thread of its own."""
        name = f"2026-11-20_00_00_00-{len(self.jobs)}"
        job = self.jobs[name] = Job(asked)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return self.shown(name)

    def shown(self, name: str) -> dict[str, Any]:
        """A job as the service shows it."""
        job = self.jobs[name]
        told = ("name", "type", "clientRequestId")
        shown: dict[str, Any] = {key: job.asked[key] for key in told if key in job.asked}
        return {"id": name, "currentState": job.state, **shown}

    def messages(self, name: str) -> dict[str, Any]:
        """What the service says of a job: of one that failed, its traceback."""
        error = self.jobs[name].went.get("error")
        said = {"id": "1", "time": "2026-11-20T00:00:00Z", "messageText": error}
        return {"jobMessages": [{**said, "messageImportance": "JOB_MESSAGE_ERROR"}] if error else []}

    def metrics(self, name: str) -> dict[str, Any]:
        """The counters of a job."""
        return {"metricTime": "2026-11-20T00:00:00Z", "metrics": self.jobs[name].went.get("metrics", [])}

    def _run(self, job: Job) -> None:
        try:
            staged = job.asked["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
            with self._unpacking:
                worker = self._idle.pop() if self._idle else self._start(staged.rpartition("/")[0])
            job.went = self._answer(worker, staged)
            self._idle.append(worker)
        except Exception as error:
            job.went = {"state": "JOB_STATE_FAILED", "error": f"the test's service failed: {error!r}", "metrics": []}

    def _answer(self, worker: "subprocess.Popen[str]", staged: str) -> dict[str, Any]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(staged + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
        assert answer, f"the worker died: {(self.scratch / 'worker.log').read_text()[-3000:]}"
        return dict(json.loads(answer))

    def _start(self, staged: str) -> "subprocess.Popen[str]":
        """A worker that has what was staged as an extra package, and nothing else."""
        folder = self._unpacked(staged)
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(folder), "TMPDIR": str(self.scratch)}
        worker = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(folder)],
            cwd=read_only.FOLDER,
            env={**environment, "HOME": read_only.FOLDER, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.scratch / "worker.log").open("a"),
            text=True,
        )
        self._all.append(worker)
        return worker

    def _unpacked(self, staged: str) -> Path:
        """The package of a job, unpacked: the last of its extra packages."""
        fetch = (
            "import sys; from storage import stores; folder = sys.argv[1]; "
            "names = stores.read_bytes(folder + '/extra_packages.txt').decode().split(); "
            "sys.stdout.buffer.write(stores.read_bytes(folder + '/' + names[-1]))"
        )
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(read_only.ROOT)}
        found = subprocess.run([sys.executable, "-c", fetch, staged], env=environment, capture_output=True, check=True)
        package = self.scratch / f"package-{hashlib.sha256(found.stdout).hexdigest()[:8]}"
        with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
            archive.extractall(package, filter="data")
        (folder,) = package.iterdir()
        return folder

    def stop(self) -> None:
        """End the workers."""
        for worker in self._all:
            assert worker.stdin is not None
            worker.stdin.close()
            worker.kill()  # what it was given is done; TensorFlow takes seconds to take leave
            worker.wait(timeout=60)


def _handler(found: Service) -> type[BaseHTTPRequestHandler]:
    """What answers requests in the name of a service."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._handle({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            self._handle(json.loads(data) if data.startswith(b"{") else {})

        def _handle(self, body: dict[str, Any]) -> None:
            found.requests.append(f"{self.command} {self.path}")
            if self.path.startswith("/token"):
                return self._send({"access_token": "loopback", "expires_in": 3600, "token_type": "Bearer"})
            asked = _JOBS.match(self.path)
            if asked is None or (asked[3] and asked[3] not in found.jobs):
                return self._send({"error": {"code": 404, "message": self.path, "status": "NOT_FOUND"}}, 404)
            if self.command == "POST":
                return self._send(found.create(body))
            answer = {"/messages": found.messages, "/metrics": found.metrics}.get(asked[4] or "", found.shown)
            return self._send(answer(asked[3]))

        def _send(self, content: dict[str, Any], code: int = 200) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def service(environment: dict[str, str], scratch: Path) -> Iterator[Service]:
    """A running service; the environment says where the object store is."""
    found = Service(environment, scratch)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://localhost:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        found.stop()


def credentials(folder: Path, url: str) -> str:
    """The file of a service account that exists nowhere, whose tokens the service above gives."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    about = {
        "type": "service_account",
        "project_id": "ours-123",
        "private_key_id": "0",
        "private_key": key.decode(),
        "client_email": "concord@ours-123.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }
    path = folder / "credentials.json"
    path.write_text(json.dumps(about))
    return str(path)
