"""The worker's command: it asks a runner what there is to do, and ends with the process that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from google.protobuf import struct_pb2

from pipelines.runners import worker
from tests.support import other_runners

ROOT = Path(__file__).resolve().parents[3]


class Runner(provision_grpc.ProvisionServiceServicer):  # type: ignore[misc]
    """A runner that tells workers what to do, and notes who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802  (Beam's name)
        self.asked += [value for name, value in context.invocation_metadata() if name == "worker_id"]
        info = provision.ProvisionInfo(
            pipeline_options=struct_pb2.Struct(), runner_capabilities=["beam:one", "beam:two"]
        )
        info.pipeline_options["beam:option:job_name:v1"] = "concord"
        info.logging_endpoint.url, info.control_endpoint.url = "localhost:1", "localhost:2"
        return provision.GetProvisionInfoResponse(info=info)


@pytest.fixture
def served() -> Iterator[tuple[Runner, str]]:
    """A runner, and its address."""
    runner, server = Runner(), grpc.server(futures.ThreadPoolExecutor(2))
    provision_grpc.add_ProvisionServiceServicer_to_server(runner, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield runner, f"localhost:{port}"
    server.stop(None)


def test_a_worker_asks_by_its_id_and_is_told_what_beams_own_boot_program_would_be(served: tuple[Runner, str]) -> None:
    runner, endpoint = served
    found = worker.environment("7-1", worker.provisioned("7-1", endpoint))
    assert runner.asked == ["7-1"]
    assert found["WORKER_ID"] == "7-1"
    assert found["RUNNER_CAPABILITIES"] == "beam:one beam:two"
    from apache_beam.runners.worker import sdk_worker_main

    assert sdk_worker_main._load_pipeline_options(found["PIPELINE_OPTIONS"]) == {"job_name": "concord"}
    assert found["LOGGING_API_SERVICE_DESCRIPTOR"].strip() == 'url: "localhost:1"'
    assert found["CONTROL_API_SERVICE_DESCRIPTOR"].strip() == 'url: "localhost:2"'


def test_a_worker_becomes_beams_and_leaves_unknown_arguments_alone(
    served: tuple[Runner, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.runners.worker import sdk_worker_main

    seen: list[dict[str, str]] = []
    monkeypatch.setattr(sdk_worker_main, "main", lambda arguments: seen.append(dict(os.environ)))
    monkeypatch.setattr(os, "_exit", lambda code: seen.append({"code": str(code)}))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(worker, "_end_with", lambda parent: None)
    worker.main(["--id=7-1", f"--provision_endpoint={served[1]}", "--artifact_endpoint=localhost:3"])
    assert [one.get("WORKER_ID", one.get("code")) for one in seen] == ["7-1", "0"]


STARTER = """
import subprocess, sys, time
code = "import os, threading, time; from pipelines.runners import worker; "
code += "threading.Thread(target=worker._end_with, args=(os.getppid(),)).start(); "
code += "print('on', flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", code])
"""


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "on\n"
        assert len(other_runners.members(starter.pid)) == 2
        starter.kill()
        starter.wait()
        other_runners.within(5, lambda: not other_runners.members(starter.pid), "the worker lives on")
    finally:
        if other_runners.members(starter.pid):
            os.killpg(starter.pid, signal.SIGKILL)
