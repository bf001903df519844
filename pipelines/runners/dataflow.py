"""Google Cloud Dataflow: what its jobs need beside the flags that a user gives.

concord run run.toml --root gs://bucket/out --runner=DataflowRunner --project=ours --region=europe-west4 \
    --temp_location=gs://bucket/temp --sdk_container_image=REGISTRY/concord-gpu
"""

import logging
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.pipeline import PipelineVisitor
from apache_beam.transforms.resources import AcceleratorHint

from pipelines.runners import worker_package
from schemas.errors import InputError
from schemas.stage import Chain
from storage import stores

_log = logging.getLogger("concord")
SHARED = "no_use_multiple_sdk_containers"
_TOO_LONG = 200  # characters of a job's name; the service takes 1,024


def is_requested(flags: Sequence[str]) -> bool:
    """Whether Beam's flags name this runner."""
    return is_runner(PipelineOptions(list(flags)).view_as(StandardOptions).runner)


def is_runner(name: str | None) -> bool:
    """Whether this is a name of Dataflow's runner, as Beam reads it."""
    return (name or "").lower().removesuffix("runner") == "dataflow"


def check_places(root: str, chain: Chain) -> None:
    """Make sure that workers reach the root and everything that a chain reads on them.

    Raises:
        InputError: something is local.
    """
    if not stores.is_remote(root):
        named = root.strip("./") or "out"
        raise InputError(f"Dataflow's workers cannot reach the folder {root!r}: give --root gs://BUCKET/{named}")
    for where, path in worker_paths(chain):
        if not stores.is_remote(path):
            raise InputError(
                f"Dataflow's workers cannot reach {path!r} ({where}), which lies on this machine: "
                f"gcloud storage cp -r {path} gs://BUCKET/ copies it into a bucket; name it there"
            )


def worker_paths(chain: Chain) -> Iterator[tuple[str, str]]:
    """Every path that workers read, and which setting names it."""
    for stage, several in chain.items():
        for settings in several:
            yield from ((f"{stage}.{name}", path) for name, path in settings.worker_paths())


def defaults(options: PipelineOptions) -> None:
    """Complete the options of a stage's job, as `complete` does.

    Raises:
        InputError: the flags do not say whose project it is, where it runs and in which bucket it is staged, or would
            make no job.
        StorageError: the package could not be put there.
    """
    cloud = options.view_as(GoogleCloudOptions)
    kept = {"template_location": cloud.template_location, "dry_run": options.view_as(TestOptions).dry_run}
    for key in (key for key, value in kept.items() if value):
        raise InputError(
            f"--{key} makes no job, and each stage is made from what the one before has written: run the chain, or "
            "launch it as a flex template (see docs/running.md)"
        )
    cloud.job_name = job_name(cloud.job_name or "concord")
    complete(options)


def complete(options: PipelineOptions) -> None:
    """Say where a job is staged, and what its workers install; see `defaults`."""
    cloud, setup = options.view_as(GoogleCloudOptions), options.view_as(SetupOptions)
    absent = [f"--{key}" for key in ("project", "region", "temp_location") if not getattr(cloud, key)]
    if absent:
        raise InputError(
            f"DataflowRunner needs {', '.join(absent)}: give --project=ID --region=europe-west4 "
            "--temp_location=gs://BUCKET/temp, or make run-pipeline with PROJECT=, REGION= and BUCKET="
        )
    for key in ("temp_location", "staging_location"):
        if not (getattr(cloud, key) or "gs://").startswith("gs://"):
            raise InputError(f"--{key} must lie in a bucket (gs://BUCKET/{key}), got {getattr(cloud, key)!r}")
    cloud.staging_location = cloud.staging_location or stores.join(cloud.temp_location, "staging")
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")  # this machine's paths
    if setup.setup_file is None:
        setup.extra_packages = [*(setup.extra_packages or ()), worker_package.stage(cloud.temp_location)]


def share_gpus(pipeline: beam.Pipeline) -> None:
    """Let a worker with a GPU be one process, where a step requires one and no flag states how many.

    Otherwise there is a container per core, of which none sees the others' locks on the GPU
    (`pipelines.train.transforms`), and each has a model of its own in its memory.
    """
    debug = pipeline.options.view_as(DebugOptions)
    shared = is_runner(pipeline.options.view_as(StandardOptions).runner) and _wants_gpu(pipeline)
    if shared and not {SHARED, SHARED.removeprefix("no_")} & set(debug.experiments or ()):
        debug.add_experiment(SHARED)


@contextmanager
def watched(result: Any) -> Iterator[None]:
    """Say where a job can be watched while it is waited for; one whose driver is interrupted is cancelled.

    Other runners' results are let through.
    """
    if not getattr(result, "has_job", False):  # an attribute of Dataflow's alone
        yield
        return
    cloud, job = result._options.view_as(GoogleCloudOptions), result.job_id()
    where = f"{cloud.region}/{job}?project={cloud.project}"
    _log.info("%s: https://console.cloud.google.com/dataflow/jobs/%s", cloud.job_name, where)
    try:
        yield
    except KeyboardInterrupt:
        _log.info("%s: being cancelled; what it has written is kept", cloud.job_name)
        result.cancel()
        raise


def _wants_gpu(pipeline: beam.Pipeline) -> bool:
    hints: list[bool] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def enter_composite_transform(self, node: Any) -> None:
            hints.append(AcceleratorHint.urn in node.resource_hints)

        def visit_transform(self, node: Any) -> None:
            self.enter_composite_transform(node)

    pipeline.visit(Visitor())
    return any(hints)


def job_name(title: str) -> str:
    """A name that the service takes, and that no other job has: `concord-label-svhn-20261120-140421-9f3c07aa`."""
    plain = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:_TOO_LONG].rstrip("-")
    name = plain if plain[:1].isalpha() else f"concord-{plain}".rstrip("-")
    return f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
