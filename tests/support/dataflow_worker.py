"""The workers of the tests' Dataflow: a process that has nothing of Concord but what was staged, and runs staged jobs.

It is run as a file of its own (`python -P tests/support/dataflow_worker.py PACKAGE_FOLDER`), so that the clone is
not within its reach. A line of its input names a staged pipeline in the object store; a line of its output says how
it went.
"""

import importlib
import json
import logging
import sys
import traceback
from typing import Any


def run_job(place: str) -> dict[str, Any]:
    """Run a staged pipeline; its state, its counters as the service gives them, and the error that it ended with."""
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
    from apache_beam.portability import common_urns, python_urns
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from storage import stores

    pipeline = beam_runner_api_pb2.Pipeline.FromString(stores.read_bytes(place))
    for environment in pipeline.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn, environment.urn
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    options = PipelineOptions(["--direct_num_workers=1"])
    assert options.view_as(DirectOptions).direct_num_workers == 1
    try:
        result = FnApiRunner().run_via_runner_api(pipeline, options)
        result.wait_until_finish()
    except Exception:
        return {"state": "JOB_STATE_FAILED", "metrics": [], "error": traceback.format_exc()}
    return {"state": "JOB_STATE_DONE", "metrics": list(_metrics(result.metrics().query())), "error": ""}


def _metrics(found: Any) -> Any:
    """Counters and distributions, each committed and tentative, as the service tells them."""
    for entry in [*found["counters"], *found["distributions"]]:
        value: dict[str, Any] = {"scalar": entry.result}
        if hasattr(entry.result, "max"):
            held = {key: getattr(entry.result, key) for key in ("count", "min", "max", "sum")}
            value = {"distribution": held}
        for tentative in ({}, {"tentative": "true"}):
            context = {"namespace": entry.key.metric.namespace, "step": entry.key.step, **tentative}
            yield {"name": {"origin": "user", "name": entry.key.metric.name, "context": context}, **value}


def main() -> None:
    """Answer each line of the input."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a job prints is no answer
    logging.basicConfig(level=logging.WARNING)
    package = sys.argv[1]
    for name in ("schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "concord"):
        found = str(importlib.import_module(name).__file__)
        assert found.startswith(package), f"{name} is not the staged one: {found}"
    for line in sys.stdin:
        answers.write(json.dumps(run_job(line.strip())) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
