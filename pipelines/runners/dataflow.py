"""Google Cloud Dataflow: what its jobs need beside the user's own flags, and the package that its workers install."""

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import re
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
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

import schemas
from schemas.errors import InputError
from schemas.stage import Chain
from storage import stores

# What remote workers install: our packages as they run here, as a source distribution.

NAME = "concord"
PACKAGES = ("schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "concord")
_METADATA = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def stage_package(folder: str) -> str:
    """Put the package below a folder that workers reach, unless it is there; its path follows from its content.

    Raises:
        StorageError: it could not be written.
    """
    data = _built()
    digest = hashlib.sha256(data).hexdigest()[:16]
    path = stores.join(folder, "packages", digest, f"{NAME}-{schemas.__version__}.tar.gz")
    if stores.stat(path) is None:
        stores.write_bytes(path, data)
    return path


@functools.cache
def _built() -> bytes:
    """The package, the same for every job of this process."""
    return source_distribution()


def source_distribution() -> bytes:
    """The package, as a `.tar.gz` that pip installs; byte for byte the same for the same code."""
    top = f"{NAME}-{schemas.__version__}"
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {schemas.__version__}\n"
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in sorted({"PKG-INFO": about.encode(), **package_files()}.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def package_files() -> dict[str, bytes]:
    """Every file of the package, by its path within it."""
    contents = {}
    for package in PACKAGES:
        folder = _folder(package)
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder.parent)
            if path.is_file() and "__pycache__" not in inner.parts and not path.name.startswith("."):
                contents[inner.as_posix()] = path.read_bytes()
    home = _folder("concord").parent
    clone = {name: (home / name).read_bytes() for name in _METADATA if (home / name).is_file()}
    return contents | (clone if len(clone) == len(_METADATA) else {"setup.py": _setup(contents).encode()})


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"Concord's package {package} is not there: install Concord anew")
    return Path(spec.submodule_search_locations[0])


def _setup(contents: dict[str, bytes]) -> str:
    """A `setup.py` for code that is installed, whose `pyproject.toml` is not there any more."""
    needed = [text for text in importlib.metadata.requires(NAME) or () if "extra ==" not in text]
    folders = {str(Path(name).parent) for name in contents if name.endswith(".py")}
    data = [name for name in contents if not name.endswith(".py")]
    values = {
        "name": NAME,
        "version": schemas.__version__,
        "packages": sorted(folder.replace("/", ".") for folder in folders),
        "package_data": {
            package: [name.partition("/")[2] for name in data if name.startswith(f"{package}/")] for package in PACKAGES
        },
        "install_requires": needed,
        "entry_points": {"console_scripts": ["concord = concord.__main__:main"]},
    }
    return f"from setuptools import setup\n\nsetup(**{json.dumps(values, indent=4)})\n"


# Google Cloud Dataflow: what its jobs need beside the flags that a user gives.

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
        setup.extra_packages = [*(setup.extra_packages or ()), stage_package(cloud.temp_location)]


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
