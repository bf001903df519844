"""Runners of other processes, Flink and Prism: the flags that Beam needs for them beside the user's own."""

import json
import logging
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners import runner
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.job_server import StopOnExitJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner

from schemas.errors import InputError

FLINK_HOME = Path(".flink")  # of `make flink-up`, in the folder that make runs in
PRISM = Path(".prism/prism")  # of `make prism`
WORKER = "concord-worker"
_ANSWER_SECONDS = 10
_IDLE = "--idle_shutdown_timeout=60s"


def defaults(flags: tuple[str, ...]) -> list[str]:
    """Flags for what a runner of other processes needs, and the user's own leave open.

    Raises:
        InputError: no cluster answers at the address of `--flink_master`.
    """
    options = PipelineOptions(list(flags))
    chosen = _runner(options)
    more: dict[str, Any] = {}
    if chosen == "prism":
        more = _of_prism(options.view_as(PrismRunnerOptions))
    elif chosen == "flink" and (master := _cluster(options)):
        more = _of_flink(options, master)
    stated = {flag.partition("=")[0] for flag in flags}
    return [f"--{name}={value}" for name, value in more.items() if f"--{name}" not in stated]


def _runner(options: PipelineOptions) -> str:
    """The runner's name as Beam takes it, in any case: `PrismRunner`, `prismrunner`."""
    return str(options.view_as(StandardOptions).runner).lower().removesuffix("runner")


def _of_prism(options: PrismRunnerOptions) -> dict[str, Any]:
    built = {} if options.prism_location or not PRISM.exists() else {"prism_location": PRISM}
    return {"prism_log_level": "error", **built}


def _cluster(options: PipelineOptions) -> str:
    """The address of a Flink cluster that runs already; empty where Flink is to start one for the job."""
    master = str(options.view_as(FlinkRunnerOptions).flink_master)
    return "" if master.startswith("[") else master.strip().removeprefix("http://").rstrip("/")


def _of_flink(options: PipelineOptions, master: str) -> dict[str, Any]:
    """Of a cluster that runs: all its slots, its own job server where it is ours, and workers beside its processes.

    What one step hands to the next is kept until the job ends, so that of a task manager that is lost only its own
    work is done again, on those that are left. The workers stay between the steps.
    """
    portable = options.view_as(PortableOptions)
    more: dict[str, Any] = {"execution_mode_for_batch": "BATCH_FORCED", "environment_cache_millis": 20_000}
    overview = cluster_overview(master)
    version = ".".join(str(overview["flink-version"]).split(".")[:2])
    if version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS:
        more["flink_version"] = version
    if options.view_as(FlinkRunnerOptions).parallelism < 1:
        more["parallelism"] = overview["slots-total"]
    own = started_here(master)
    if own and not options.view_as(FlinkRunnerOptions).flink_job_server_jar:
        more["job_endpoint"] = own["job_endpoint"]
    if portable.environment_type in (None, "PROCESS"):
        more["environment_type"] = "PROCESS"
        if not portable.environment_options:
            more["environment_config"] = json.dumps({"command": worker_command()})
    return more


def worker_command() -> str:
    """The command by which a cluster starts Python workers: that of the environment that runs this.

    Raises:
        InputError: it is not there.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), WORKER)
    if not os.path.exists(path):
        raise InputError(f"{path}, by which a cluster starts workers, is not there: install Concord (make install)")
    return path


def started_here(master: str) -> Mapping[str, Any]:
    """What `make flink-up` wrote down of the cluster at an address; empty where it started none there."""
    try:
        cluster: dict[str, Any] = json.loads((FLINK_HOME / "cluster.json").read_text())
    except (OSError, ValueError):
        return {}
    return cluster if cluster.get("master") == master else {}


def cluster_overview(master: str) -> dict[str, Any]:
    """What a Flink cluster says of itself: its slots, its version.

    Raises:
        InputError: none answers there, or it has no task manager.
    """
    try:
        with urllib.request.urlopen(f"http://{master}/overview", timeout=_ANSWER_SECONDS) as answer:
            overview: dict[str, Any] = json.load(answer)
            total = int(overview["slots-total"])
    except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"no Flink cluster answers at {master} ({error}); start one by make flink-up, or name another "
            "(FLINK_MASTER=host:port)"
        ) from error
    if not total:
        raise InputError(f"the Flink cluster at {master} has no slots: start a task manager")
    return overview


@contextmanager
def serving(options: PipelineOptions) -> Iterator[runner.PipelineRunner | None]:
    """The runner of other processes that options name, whose job server ends with the job; None for other runners.

    Beam's own keep theirs until Python exits in good order, which a killed or failed command does not.
    """
    name = _runner(options)
    if name not in ("prism", "flink"):
        yield None
        return
    threading.excepthook = _ended
    runner = _Prism() if name == "prism" else _Flink()
    try:
        yield runner
    finally:
        for server in runner.servers:
            server.stop()


def _ended(thread: threading.ExceptHookArgs) -> None:
    """Tell of a thread that an error ended; in Beam's log where its connection is gone, as when a job server ends.

    What that means for a job is raised where the job is waited for.
    """
    if isinstance(thread.exc_value, grpc.RpcError):
        what = (thread.exc_type, thread.exc_value, thread.exc_traceback)
        logging.getLogger("apache_beam").error("a connection ended", exc_info=what)
    else:
        threading.__excepthook__(thread)


class _Prism(PrismRunner):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Any] = []

    def default_job_server(self, options: PipelineOptions) -> Any:
        self.servers.append(StopOnExitJobServer(_PrismServer(options)))
        return self.servers[-1]


class _PrismServer(PrismJobServer):  # type: ignore[misc]
    """Prism, which ends by itself where the command that started it was killed."""

    def prism_arguments(self, job_port: int) -> list[Any]:
        """The arguments of Prism."""
        return [*super().prism_arguments(job_port), _IDLE]


class _Flink(FlinkRunner):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Any] = []

    def default_job_server(self, options: PipelineOptions) -> Any:
        self.servers.append(super().default_job_server(options))
        return self.servers[-1]
