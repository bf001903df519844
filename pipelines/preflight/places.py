"""Whether folders, buckets and disks are fit: what can be listed, read and written, and how much space is left."""

import dataclasses
import os
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.preflight.prospect import Prospect, Step, store_of
from schemas.errors import ConcordError
from schemas.run_files import RunFile
from storage import stores as storage

ANSWER_SECONDS = 20.0
CONNECT_SECONDS = 5.0
HEAD_ROOM = 1.2  # times what is estimated has to be free
LARGEST_ELEMENT = 256 << 20
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
_STORES = tuple(_ENDPOINTS)
_OTHER_CLIENTS = {"images_from"}  # read by a client of its own, which signs nothing
_CREDENTIALS = {
    "s3": "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE), that may use it",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
}


def check_root(prospect: Prospect, write: bool) -> None:
    """See that the root answers and, if asked to, can be written: a small file is put there, and removed again."""
    root = prospect.root
    if storage.is_remote(root):
        prospect.reachable = _check_store(prospect, "root", root)
        if prospect.reachable and write:
            probe = storage.join(root, f".concord-plan-{uuid.uuid4().hex}")
            _answered(prospect, "root", root, lambda: _write(probe), "written")
        return
    home = standing(root)
    if not home.is_dir():
        prospect.tell("root", f"cannot write {root}: {home} is a file, and no folder; name another root")
    elif write:
        try:
            _write(str(home / f".concord-plan-{uuid.uuid4().hex}"))
        except ConcordError as error:
            said = str(error).partition(": ")[2] or str(error)
            prospect.tell("root", f"cannot write into the root {root}: {said}")
    elif not os.access(home, os.W_OK):
        prospect.tell("root", f"cannot write into the root {root}: permission denied; choose another place")


def _write(path: str) -> None:
    try:
        storage.write_bytes(path, b"concord plan was here\n")
    finally:
        storage.remove(path)


def standing(path: str) -> Path:
    """The nearest folder above a local path, or the path itself, that is there."""
    place = Path(path).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def check_inputs(prospect: Prospect, chains: Sequence[RunFile]) -> None:
    """See that each bucket that a chain reads from answers, and lets itself be listed."""
    stores = {store: (stage, path) for chain in chains for stage, path in _paths(chain) if (store := store_of(path))}
    for store, (stage, path) in stores.items():
        if store == store_of(prospect.root):
            if not prospect.reachable:
                prospect.barred.add(store)
        elif not _check_store(prospect, stage, path):
            prospect.barred.add(store)


def _paths(chain: RunFile) -> Iterator[tuple[str, str]]:
    """Every path that a chain names, with its stage."""
    for entry in dataclasses.fields(chain):
        found = getattr(chain, entry.name)
        for settings in found if isinstance(found, tuple) else [found] if found else []:
            yield from ((entry.name, path) for key, path in settings.paths() if key not in _OTHER_CLIENTS)


def _check_store(prospect: Prospect, stage: str, path: str) -> bool:
    """Whether a bucket answers; what is wrong with it is told."""
    scheme = path.partition("://")[0]
    endpoint = os.environ.get(_ENDPOINTS.get(scheme, ""), "")
    if scheme in _STORES and endpoint and not _connects(endpoint):
        name = _ENDPOINTS[scheme]
        prospect.tell(
            stage, f"nothing answers at {endpoint}, which {name} names for {path}: start it, or correct {name}"
        )
        return False
    folder = path if "{" not in path else storage.parent(path)
    return _answered(prospect, stage, path, lambda: storage.list_stats(storage.parent(folder + "/x")), "listed")


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


def _answered(prospect: Prospect, stage: str, path: str, ask: Callable[[], object], what: str) -> bool:
    """Ask a store in a thread of its own, since its client may try for minutes; tell what went wrong."""
    failed: list[str] = []
    scheme = path.partition("://")[0]

    def run() -> None:
        try:
            ask()
        except Exception as error:  # of whatever kind, it is what the run would meet
            failed.append(str(error).partition("\n")[0])

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if asking.is_alive():
        failed.append(f"no answer in {ANSWER_SECONDS:.0f} s; see that it can be reached from here")
    remedy = f" ({_CREDENTIALS[scheme]})" if scheme in _CREDENTIALS else ""
    for said in failed[:1]:
        prospect.tell(stage, f"{path} cannot be {what}: {said}{remedy}")
    return not failed


def check_space(prospect: Prospect, workers: int, local: bool) -> None:
    """Compare what would be written with what is free; where temporary files share the disk, both together."""
    kept, passing = needed(prospect.steps)
    scratch = max((step.scratch_bytes for step in prospect.steps), default=0) * workers if local else 0
    temporary = standing(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")  # gettempdir would write to find it
    if scratch and not os.access(temporary, os.W_OK):
        prospect.tell("space", f"temporary files cannot be written below {temporary}: name another folder with TMPDIR")
    wanted = {temporary: scratch}
    if not storage.is_remote(prospect.root):
        home = standing(prospect.root)
        if home.stat().st_dev == temporary.stat().st_dev:
            wanted = {home: kept + passing + scratch}
        else:
            wanted[home] = kept + passing
    for place, size in wanted.items():
        whole, _, free = shutil.disk_usage(place)
        if size and whole and free < size * HEAD_ROOM:  # file systems of a size of 0 hold no files
            prospect.tell(
                "space",
                f"about {told(size)} will be written below {place}, with head room {told(size * HEAD_ROOM)}, but only "
                f"{told(free)} are free: free some, or choose another place (--root; TMPDIR for temporary files)",
            )


def needed(steps: Sequence[Step]) -> tuple[int, int]:
    """Bytes that steps write and keep, and the most that they write and remove again, at any one time."""
    passing: dict[str, int] = {}
    for step in steps:
        passing[step.stage] = passing.get(step.stage, 0) + step.passing_bytes
    return sum(step.kept_bytes for step in steps), max(passing.values(), default=0)


def check_memory(prospect: Prospect, workers: int, local: bool) -> None:
    """Warn of elements larger than workers are made for, and of workers that this machine has no room for."""
    for step in prospect.steps:
        if step.element_bytes > LARGEST_ELEMENT:
            said = f"{step.product}: an element is about {told(step.element_bytes)}, more than {told(LARGEST_ELEMENT)}"
            prospect.tell(step.stage, f"{said}: give more --shards, if this stage makes them", fails=False)
    most = max((step.worker_bytes for step in prospect.steps), default=0) * workers
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if local and most > there:
        said = f"{workers} workers may take about {told(most)} of memory, and this machine has {told(there)}"
        prospect.tell("memory", f"{said}: give fewer, with --direct_num_workers", fails=False)


def told(size: float) -> str:
    """A number of bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
