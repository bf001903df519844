"""What a run needs of its surroundings: places that answer and can be written, runners, credentials, free space.

Nothing is started or changed; whether the root can be written is tried with one small file, which is removed again.
"""

import os
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PrismRunnerOptions,
    StandardOptions,
    WorkerOptions,
)

from pipelines.runner import LOCAL_RUNNERS
from pipelines.runners import dataflow
from schemas.errors import ConcordError
from schemas.stage import Chain, Product
from storage import stores

ANSWER_SECONDS = 20.0
CONNECT_SECONDS = 5.0
HEAD_ROOM = 1.2  # times what is estimated has to be free
LARGEST_ELEMENT = 256 << 20
PRISM_HOMES = (Path(".prism/prism"), Path("~/.apache_beam/cache/prism/bin"))
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
_CREDENTIALS = {
    "s3": "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE), that may use it",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
}
_READ, _WRITE = ("storage.objects.get", "storage.objects.list"), ("storage.objects.create", "storage.objects.delete")
_OTHER_CLIENTS = ("images_from",)  # read by a client of its own, which signs nothing


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and the remedy; one that is only a warning does not make a run fail."""

    stage: str
    message: str
    fails: bool = True


@dataclass
class Problems:
    """The problems of a run, each once.

    Attributes:
        silent: buckets from which no answer came: a store's client would try for minutes again.
    """

    every: list[Problem] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    def add(self, stage: str, message: str, fails: bool = True) -> None:
        """Take up a problem; only its first line is kept."""
        problem = Problem(stage, message.partition("\n")[0], fails)
        if problem not in self.every:
            self.every.append(problem)


@dataclass(frozen=True)
class Machines:
    """What runs the jobs: the runner, and how many elements it works on at once."""

    runner: str
    workers: int
    local: bool


def check_root(problems: Problems, root: str, write: bool) -> None:
    """Check that the root answers and, where `write` is set, that a small file can be put there."""
    if stores.is_remote(root):
        if _check_store(problems, "root", root, _WRITE if write else _READ) and write:
            probe = stores.join(root, f".concord-plan-{uuid.uuid4().hex}")
            _check_answer(problems, "root", root, lambda: _write_and_remove(probe), "written")
        return
    home = nearest_folder(root)
    if not home.is_dir():
        problems.add("root", f"cannot write {root}: {home} is a file, and no folder; name another root")
    elif write:
        try:
            _write_and_remove(str(home / f".concord-plan-{uuid.uuid4().hex}"))
        except ConcordError as error:
            problems.add("root", f"cannot write into the root {root}: {str(error).partition(': ')[2] or error}")
    elif not os.access(home, os.W_OK):
        problems.add("root", f"cannot write into the root {root}: permission denied; choose another place")


def _write_and_remove(path: str) -> None:
    try:
        stores.write_bytes(path, b"concord plan was here\n")
    finally:
        stores.remove(path)


def nearest_folder(path: str) -> Path:
    """The nearest folder above a local path, or the path itself, that is there."""
    place = Path(path).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def check_inputs(problems: Problems, root: str, chains: Sequence[Chain]) -> None:
    """Check that each bucket that a chain reads from answers, and lets itself be listed."""
    buckets = {
        bucket: (stage, path) for chain in chains for stage, path in _input_paths(chain) if (bucket := _bucket(path))
    }
    for bucket, (stage, path) in buckets.items():
        if bucket != _bucket(root):
            _check_store(problems, stage, path, _READ)


def _input_paths(chain: Chain) -> Iterator[tuple[str, str]]:
    for stage, several in chain.items():
        for settings in several:
            yield from ((stage, path) for name, path in settings.paths() if name not in _OTHER_CLIENTS)


def _bucket(path: str) -> str:
    """The bucket that a path lies in; empty where it is local."""
    scheme, mark, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if mark else ""


def _check_store(problems: Problems, stage: str, path: str, permissions: Sequence[str]) -> bool:
    """Whether a bucket answers, and gives these permissions, as far as its store can say."""
    scheme = path.partition("://")[0]
    name = _ENDPOINTS.get(scheme, "")
    endpoint = os.environ.get(name, "")
    if endpoint and not _connects(endpoint):
        message = f"nothing answers at {endpoint}, which {name} names for {path}: start it, or correct {name}"
        problems.add(stage, message)
        problems.silent.add(_bucket(path))
        return False
    folder = path if "{" not in path else stores.parent(path)
    if not _check_answer(problems, stage, path, lambda: stores.list_stats(stores.parent(folder + "/x")), "listed"):
        return False
    if scheme == "gs" and not endpoint:  # emulators know no permissions
        return _check_answer(problems, stage, path, lambda: _require_permissions(path, permissions), "used")
    return True


def _require_permissions(path: str, permissions: Sequence[str]) -> None:
    """Raise where Google Cloud Storage does not grant all of these on a path's bucket."""
    from google.cloud import storage as cloud_storage

    bucket = cloud_storage.Client().bucket(_bucket(path).partition("://")[2])
    granted = bucket.test_iam_permissions(list(permissions), timeout=ANSWER_SECONDS)
    absent = [one for one in permissions if one not in granted]
    if absent:
        raise PermissionError(f"these permissions are missing: {', '.join(absent)}")


def _connects(endpoint: str) -> bool:
    parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    return answers(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def answers(host: str, port: int) -> bool:
    """Whether something listens at an address."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _check_answer(problems: Problems, stage: str, path: str, request: Callable[[], object], what: str) -> bool:
    """Try a request in a thread of its own, since a store's client may try for minutes."""
    failed: list[str] = []

    def run() -> None:
        try:
            request()
        except Exception as error:  # of whatever kind, it is what the run would meet
            failed.append(str(error).partition("\n")[0])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if thread.is_alive():
        failed.append(f"no answer in {ANSWER_SECONDS:.0f} s; check that it can be reached from here")
        problems.silent.add(_bucket(path))
    scheme = path.partition("://")[0]
    remedy = f" ({_CREDENTIALS[scheme]})" if scheme in _CREDENTIALS else ""
    for reason in failed[:1]:
        problems.add(stage, f"{path} cannot be {what}: {reason}{remedy}")
    return not failed


def check_space(problems: Problems, root: str, products: Sequence[Product], machines: Machines) -> None:
    """Compare what would be written with what is free; where temporary files share the disk, both together."""
    kept = sum(product.written_bytes for product in products)
    scratch = max((product.scratch_bytes for product in products), default=0) * machines.workers * machines.local
    temporary = nearest_folder(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")  # gettempdir would write there
    if scratch and not os.access(temporary, os.W_OK):
        problems.add("space", f"temporary files cannot be written below {temporary}: name another folder with TMPDIR")
    needed = {temporary: scratch}
    if not stores.is_remote(root):
        home = nearest_folder(root)
        same_disk = home.stat().st_dev == temporary.stat().st_dev
        needed = {home: kept + scratch} if same_disk else {home: kept, temporary: scratch}
    for place, size in needed.items():
        whole, _, free = shutil.disk_usage(place)
        if size and whole and free < size * HEAD_ROOM:  # file systems of a size of 0 hold no files
            message = (
                f"about {readable_bytes(size)} will be written below {place}, with head room "
                f"{readable_bytes(size * HEAD_ROOM)}, but only {readable_bytes(free)} are free: free some, or choose "
                "another place (--root; TMPDIR for temporary files)"
            )
            problems.add("space", message)


def check_elements(problems: Problems, stage: str, products: Sequence[Product]) -> None:
    """Warn of elements larger than workers are made for."""
    for product in products:
        if product.element_bytes > LARGEST_ELEMENT:
            sizes = f"{readable_bytes(product.element_bytes)}, more than {readable_bytes(LARGEST_ELEMENT)}"
            message = f"{product.name}: an element has about {sizes}: give more --shards, if this stage makes them"
            problems.add(stage, message, fails=False)


def readable_bytes(size: float) -> str:
    """A number of bytes, with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def find_machines(flags: Sequence[str]) -> Machines:
    """The runner that Beam's flags name, and its workers' cores."""
    options = PipelineOptions(list(flags))
    name = (options.view_as(StandardOptions).runner or "DirectRunner").rpartition(".")[2]
    if name in LOCAL_RUNNERS:
        named = any(flag.startswith("--direct_num_workers") for flag in flags)
        workers = options.view_as(DirectOptions).direct_num_workers if named else 0
        return Machines("Direct", workers or os.cpu_count() or 1, local=True)
    runner = name.removesuffix("Runner").capitalize()
    if runner == "Dataflow":
        worker = options.view_as(WorkerOptions)
        cores = (worker.machine_type or "").rpartition("-")[2]  # n1-standard-8
        count = worker.max_num_workers or worker.num_workers or 1
        return Machines(runner, count * (int(cores) if cores.isdigit() else 1), local=False)
    parallel = options.view_as(FlinkRunnerOptions).parallelism if runner == "Flink" else 0
    return Machines(runner, max(1, parallel if parallel > 0 else os.cpu_count() or 1), local=runner == "Prism")


def check_runner(problems: Problems, flags: Sequence[str], root: str, chains: Sequence[Chain]) -> None:
    """Check what the runner needs: flags, a cluster that answers, a program that is there."""
    options = PipelineOptions(list(flags))
    runner = find_machines(flags).runner
    if runner == "Dataflow":
        _check_dataflow(problems, options, root, chains)
    elif runner in _RUNNERS:
        _RUNNERS[runner](problems, options)


def _check_flink(problems: Problems, options: PipelineOptions) -> None:
    master = str(options.view_as(FlinkRunnerOptions).flink_master).removeprefix("http://").rstrip("/")
    if master.startswith("["):
        if not shutil.which("java"):
            problems.add(
                "runner", f"FlinkRunner starts Flink by itself ({master}), which needs Java 11 or 17: install it"
            )
        return
    host, _, port = master.rpartition(":")
    if not host or not port.isdigit():
        problems.add("runner", f"--flink_master must be HOST:PORT, got {master!r}")
    elif not answers(host, int(port)):
        problems.add(
            "runner", f"no Flink cluster answers at {master}: start it (make flink-up), or correct --flink_master"
        )


def _check_prism(problems: Problems, options: PipelineOptions) -> None:
    location = str(options.view_as(PrismRunnerOptions).prism_location or "")
    if location and "://" not in location:
        if not os.path.isfile(location):
            problems.add("runner", f"--prism_location: there is no file {location}: build Prism there, or name another")
        elif not os.access(location, os.X_OK) and not location.endswith(".zip"):
            problems.add("runner", f"--prism_location: {location} cannot be run: chmod +x {location}")
    elif not location and not any(home.expanduser().exists() for home in PRISM_HOMES):
        message = "Beam will download Prism from GitHub at the first job: give --prism_location where that cannot be"
        problems.add("runner", message, fails=False)


def _check_dataflow(problems: Problems, options: PipelineOptions, root: str, chains: Sequence[Chain]) -> None:
    cloud = options.view_as(GoogleCloudOptions)
    examples = {"project": "ID", "region": "europe-west4", "temp_location": "gs://BUCKET/temp"}
    for key, example in examples.items():
        if not getattr(cloud, key):
            problems.add("runner", f"DataflowRunner needs --{key}: give --{key}={example}")
    for key in ("temp_location", "staging_location"):
        value = getattr(cloud, key)
        if value and not value.startswith("gs://"):
            problems.add("runner", f"--{key} must lie in a bucket (gs://BUCKET/...), got {value!r}")
    if not root.startswith("gs://"):
        problems.add("root", f"Dataflow's workers cannot reach {root!r}: give --root gs://BUCKET/out")
    for where, path in (one for chain in chains for one in dataflow.worker_paths(chain)):
        if not stores.is_remote(path):
            message = f"Dataflow's workers cannot reach {path!r}, which lies on this machine: copy it to gs://"
            problems.add(where.partition(".")[0], message)


_RUNNERS: Mapping[str, Callable[[Problems, PipelineOptions], None]] = {
    "Flink": _check_flink,
    "Prism": _check_prism,
}
