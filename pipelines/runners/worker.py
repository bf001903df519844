"""A Python worker as a cluster starts it, in Beam's environment PROCESS: the command `concord-worker`.

Beam's own boot program is part of its container images alone. This one requests its work from the runner, as that
one does, and becomes the worker; it installs nothing, for it runs in the environment that Concord is installed in.

concord-worker --id=1-1 --provision_endpoint=localhost:40000
"""

import argparse
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format

_PARENT_SECONDS = 0.5
_ANSWER_SECONDS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a worker until the runner, or the process that started it, is gone."""
    parser = argparse.ArgumentParser(prog="concord-worker", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--id", required=True, help="the worker's own")
    parser.add_argument("--provision_endpoint", required=True, help="where the runner states what there is to do")
    parsed, _ = parser.parse_known_args(arguments)  # such as endpoints that runners give twice
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    os.environ.update(environment(parsed.id, provisioned(parsed.id, parsed.provision_endpoint)))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])
    logging.shutdown()
    os._exit(0)  # threads of a job that was called off would keep it


def provisioned(worker_id: str, endpoint: str) -> Any:
    """What the runner states to a worker: endpoints, and the options of the pipeline."""
    with grpc.insecure_channel(endpoint) as channel:
        called = grpc.intercept_channel(channel, WorkerIdInterceptor(worker_id))
        stub = provision_grpc.ProvisionServiceStub(called)
        return stub.GetProvisionInfo(provision.GetProvisionInfoRequest(), timeout=_ANSWER_SECONDS).info


def environment(worker_id: str, info: Any) -> dict[str, str]:
    """The environment in which Beam's worker finds what the runner stated."""
    return {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def _end_with(parent: int) -> None:
    """End as soon as the process that started this one has: nobody else would, and it would hold its work on."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(1)
