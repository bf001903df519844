"""What each runner needs, by Beam's flags: a small table of checks, none of which starts anything."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PrismRunnerOptions,
    StandardOptions,
    WorkerOptions,
)

from pipelines.preflight import places
from pipelines.preflight.prospect import Prospect
from pipelines.runner import LOCAL_RUNNERS
from storage import stores

PRISM_HOMES = (Path(".prism/prism"), Path("~/.apache_beam/cache/prism/bin"))


@dataclass(frozen=True)
class Machines:
    """What runs the jobs: the runner, and how many elements it works on at once."""

    runner: str
    workers: int
    local: bool

    @property
    def dataflow(self) -> bool:
        """Whether hours of workers are paid for."""
        return self.runner == "Dataflow"


def machines(flags: tuple[str, ...]) -> Machines:
    """The runner that Beam's flags name, and its workers' cores."""
    options = PipelineOptions(list(flags))
    name = options.view_as(StandardOptions).runner or "DirectRunner"
    name = name.rpartition(".")[2]
    if name in LOCAL_RUNNERS:
        given = any(flag.startswith("--direct_num_workers") for flag in flags)
        said = options.view_as(DirectOptions).direct_num_workers if given else 0
        return Machines("Direct", said or os.cpu_count() or 1, local=True)
    runner = name.removesuffix("Runner").capitalize()
    if runner == "Dataflow":
        worker = options.view_as(WorkerOptions)
        return Machines(runner, (worker.max_num_workers or worker.num_workers or 1) * cores_of(flags), local=False)
    parallel = options.view_as(FlinkRunnerOptions).parallelism if runner == "Flink" else 0
    return Machines(runner, max(1, parallel if parallel > 0 else os.cpu_count() or 1), local=runner == "Prism")


def cores_of(flags: tuple[str, ...]) -> int:
    """Cores of one of Dataflow's workers, as its machine's name tells (n1-standard-8); 1 where none is given."""
    cores = (PipelineOptions(list(flags)).view_as(WorkerOptions).machine_type or "").rpartition("-")[2]
    return int(cores) if cores.isdigit() else 1


def check(prospect: Prospect, flags: tuple[str, ...], inputs: Mapping[str, str]) -> None:
    """Tell what the runner needs and has not.

    Args:
        prospect: takes the problems.
        flags: Beam's.
        inputs: paths that stages read on their workers, each with its stage.
    """
    options = PipelineOptions(list(flags))
    runner = machines(flags).runner
    ask = CHECKS.get(runner)
    if ask:
        ask(prospect, options, inputs)


def _flink(prospect: Prospect, options: PipelineOptions, inputs: Mapping[str, str]) -> None:
    master = str(options.view_as(FlinkRunnerOptions).flink_master).removeprefix("http://").rstrip("/")
    if master.startswith("["):
        if not shutil.which("java"):
            prospect.tell(
                "runner", f"FlinkRunner starts Flink by itself ({master}), which needs Java 11 or 17: install it"
            )
        return
    host, _, port = master.rpartition(":")
    if not host or not port.isdigit():
        prospect.tell("runner", f"--flink_master must be HOST:PORT, got {master!r}")
    elif not places.answers(host, int(port)):
        prospect.tell(
            "runner", f"no Flink cluster answers at {master}: start it (make flink-up), or correct --flink_master"
        )


def _prism(prospect: Prospect, options: PipelineOptions, inputs: Mapping[str, str]) -> None:
    given = str(options.view_as(PrismRunnerOptions).prism_location or "")
    if given and "://" not in given:
        if not os.path.isfile(given):
            prospect.tell("runner", f"--prism_location: there is no file {given}: build Prism there, or name another")
        elif not os.access(given, os.X_OK) and not given.endswith(".zip"):
            prospect.tell("runner", f"--prism_location: {given} cannot be run: chmod +x {given}")
    elif not given and not any(home.expanduser().exists() for home in PRISM_HOMES):
        said = "Beam will download Prism from GitHub at the first job: give --prism_location where that cannot be"
        prospect.tell("runner", said, fails=False)


def _dataflow(prospect: Prospect, options: PipelineOptions, inputs: Mapping[str, str]) -> None:
    cloud = options.view_as(GoogleCloudOptions)
    remedies = {"project": "ID", "region": "europe-west4", "temp_location": "gs://BUCKET/temp"}
    for key, example in remedies.items():
        if not getattr(cloud, key):
            prospect.tell("runner", f"DataflowRunner needs --{key}: give --{key}={example}")
    for key in ("temp_location", "staging_location"):
        value = getattr(cloud, key)
        if value and not value.startswith("gs://"):
            prospect.tell("runner", f"--{key} must lie in a bucket (gs://BUCKET/...), got {value!r}")
    if not prospect.root.startswith("gs://"):
        prospect.tell("root", f"Dataflow's workers cannot reach {prospect.root!r}: give --root gs://BUCKET/out")
    for path, stage in inputs.items():
        if not stores.is_remote(path):
            prospect.tell(
                stage, f"Dataflow's workers cannot reach {path!r}, which lies on this machine: copy it to gs://"
            )


CHECKS: Mapping[str, Callable[[Prospect, PipelineOptions, Mapping[str, str]], None]] = {
    "Flink": _flink,
    "Prism": _prism,
    "Dataflow": _dataflow,
}
