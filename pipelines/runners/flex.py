"""The flex template of Dataflow: a job of one step, on one worker, which runs a whole chain.

    python deploy/dataflow/launch.py --run_file=gs://bucket/run.toml --root=gs://bucket/out --runner=DataflowRunner \
        --project=ours --region=europe-west4 --temp_location=gs://bucket/temp --template_location=gs://bucket/temp/job

A template makes one job, but a chain is several, each made from what the one before has written. So the template's job
is the driver: its one step is `concord run`, which starts a job for each stage, and waits for it. Where the worker is
lost, Dataflow runs the step again, and it goes on where it was.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from pipelines.runners import dataflow
from schemas.errors import ConcordError, InputError

_log = logging.getLogger("concord")
OURS = ("root", "data", "accelerator", "min_ram")  # parameters that are flags of `concord run`
OF_STAGES = (  # Beam's flags that the jobs of the stages have as well
    *("project", "region", "temp_location", "sdk_container_image", "num_workers", "max_num_workers", "machine_type"),
    *("disk_size_gb", "network", "subnetwork", "service_account_email", "dataflow_endpoint"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the template's job, or start it; the launcher gives the template's parameters as flags."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--run_file", required=True)
    for name in OURS:
        parser.add_argument(f"--{name}", default="", required=name == "root")
    parsed, rest = parser.parse_known_args(arguments)
    for name in ("run_file", "root"):
        if not getattr(parsed, name).startswith("gs://"):
            raise InputError(f"--{name} must lie in a bucket (gs://...), got {getattr(parsed, name)!r}")
    options = PipelineOptions(rest)
    command = chain_command(parsed, options)
    workers = options.view_as(WorkerOptions)
    workers.num_workers, workers.max_num_workers, workers.autoscaling_algorithm = 1, 1, "NONE"
    dataflow.complete(options)
    pipeline = beam.Pipeline(options=options)
    pipeline | "Chain" >> beam.Create([command]) | "Run" >> beam.Map(run_chain)
    pipeline.run()


def chain_command(parsed: argparse.Namespace, options: PipelineOptions) -> tuple[str, ...]:
    """The arguments of `concord` by which the worker runs the chain."""
    ours = [f"--{name.replace('_', '-')}={getattr(parsed, name)}" for name in OURS if getattr(parsed, name)]
    known = options.get_all_options(drop_default=True)
    theirs = [f"--{name}={known[name]}" for name in OF_STAGES if known.get(name)]
    return ("run", parsed.run_file, *ours, "--runner=DataflowRunner", *theirs)


def run_chain(command: Sequence[str]) -> None:
    """Run `concord` in a process of its own, and pass on what it says.

    Raises:
        ConcordError: it failed; its last line.
    """
    last = ""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "concord", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last = line.strip() or last
            _log.warning("%s", line.rstrip())  # as Dataflow shows it by itself
    if process.returncode:
        raise ConcordError(f"concord {command[0]} ended with status {process.returncode}: {last}")
