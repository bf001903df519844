"""The one module that opens files: local paths, `gs://` and `s3://` alike.

A file appears whole or not at all: locally it is written under a hidden name beside its path and renamed, in an object
store it is put at once. Partial files of killed processes are removed by the next writer. Credentials and endpoints
come from the usual environment (`AWS_*`, `GOOGLE_APPLICATION_CREDENTIALS`, `AWS_ENDPOINT_URL`,
`STORAGE_EMULATOR_HOST`).
"""

import contextlib
import datetime
import errno
import fnmatch
import functools
import glob as glob_module
import io
import itertools
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from pyarrow import fs

from schemas import layout
from schemas.errors import InputError, StorageError

absolute, join, parent = layout.absolute, layout.join, layout.parent
check_address, is_remote = layout.check_address, layout.is_remote
S3_RETRIES = 11  # pauses that double from 25 ms: some 50 seconds, and 3 more for each missing answer
GOOGLE_RETRY_TIME = datetime.timedelta(seconds=60)
PARTIAL = ".partial"
_WILDCARD = re.compile(r"[*?\[]")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileStat:
    """Size in bytes and modification time in nanoseconds."""

    size: int
    modified: int


@functools.lru_cache(maxsize=8)
def _remote(scheme: str) -> fs.FileSystem:
    if scheme == "s3":
        retries = fs.AwsDefaultS3RetryStrategy(max_attempts=S3_RETRIES)
        return fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), retry_strategy=retries)
    if scheme == "gs":
        return _google(os.environ.get("STORAGE_EMULATOR_HOST", ""))
    raise InputError(f"cannot open {scheme}://...: paths may be local, gs:// or s3://")


def _google(emulator: str) -> fs.FileSystem:
    """Google's object store, or an emulator of it, which takes no credentials."""
    if not emulator:
        return fs.GcsFileSystem(retry_time_limit=GOOGLE_RETRY_TIME)
    scheme, _, host = emulator.rstrip("/").rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True, scheme=scheme or "http", endpoint_override=host, retry_time_limit=GOOGLE_RETRY_TIME
    )


def _locate(path: str) -> tuple[fs.FileSystem, str]:
    scheme, _, key = path.partition("://")
    check_address(path)
    return _remote(scheme), key


def arrow_path(path: str) -> tuple[fs.FileSystem, str]:
    """Arrow's file system that a path lies in, and the path within it, for libraries that open files themselves."""
    return _locate(path) if is_remote(path) else (fs.LocalFileSystem(), os.path.abspath(path))


@contextlib.contextmanager
def explain_errors(action: str, path: str) -> Iterator[None]:
    """Turn an operating system's error into a StorageError with a hint on what to do."""
    try:
        yield
    except FileNotFoundError as error:
        missing = "its folder cannot be created; choose another place" if action == "write" else "no such file"
        raise StorageError(f"cannot {action} {path}: {missing}") from error
    except OSError as error:
        hint = error_hint(str(error), 0 if is_remote(path) else error.errno)
        raise StorageError(f"cannot {action} {path}: {hint}") from error


def map_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int = 16) -> list[Result]:
    """The function's result for each item, in order; for many small reads, because object stores answer slowly."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def read_bytes(path: str) -> bytes:
    """The whole content of a file."""
    with explain_errors("read", path), open_input(path) as file:
        return bytes(file.read())


def open_input(path: str) -> IO[bytes]:
    """A seekable binary file to read in pieces."""
    with explain_errors("read", path):
        if not is_remote(path):
            return open(path, "rb")
        filesystem, key = _locate(path)
        return io.BufferedReader(_Readable(filesystem.open_input_file(key), path), buffer_size=1 << 20)


class _Readable(io.RawIOBase):
    """Arrow's input file with the one method (`readinto`) that Python's readers require."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return int(self._file.tell())

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with explain_errors("read", self._path):
            try:
                return int(self._file.readinto(buffer))
            except ValueError as error:  # all that Google's client reports after its retries
                raise OSError("UNAVAILABLE: the store closed the file") from error


def write_bytes(path: str, data: bytes | memoryview) -> None:
    """Write a file, complete or not at all; StorageError if it cannot be written."""
    write_parts(path, (data,))


def write_parts(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file from consecutive parts; see `write_bytes`."""
    with explain_errors("write", path):
        if is_remote(path):
            whole = b"".join(parts)  # a stream that is closed early would put a truncated file
            filesystem, key = _locate(path)
            with filesystem.open_output_stream(
                key, compression=None
            ) as stream:  # otherwise Arrow compresses what ends in .gz
                stream.write(whole)
            return
        with replace_atomically(path) as scratch, open(scratch, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replace_atomically(path: str) -> Iterator[str]:
    """A scratch path beside a local `path`, renamed to it if the block succeeds and removed if not."""
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    scratch = os.path.join(folder, f".{name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


@contextlib.contextmanager
def local_output(path: str) -> Iterator[str]:
    """A local path for a library that can write to no other; moved to `path` if the block succeeds."""
    with explain_errors("write", path):
        if not is_remote(path):
            with replace_atomically(path) as scratch:
                yield scratch
            return
        with scratch_folder() as folder:
            copy = os.path.join(folder, path.rsplit("/", 1)[-1])
            yield copy
            write_bytes(path, Path(copy).read_bytes())


def stat(path: str) -> FileStat | None:
    """Size and modification time of a file, or None if there is none."""
    with explain_errors("look at", path):
        if is_remote(path):
            filesystem, key = _locate(path)
            info = filesystem.get_file_info(key)
            return _remote_stat(info) if info.type == fs.FileType.File else None
        return _local_stat(os.stat(path)) if os.path.isfile(path) else None


def _remote_stat(info: fs.FileInfo) -> FileStat:
    return FileStat(info.size, info.mtime_ns or 0)


def _local_stat(status: os.stat_result) -> FileStat:
    return FileStat(status.st_size, status.st_mtime_ns)


def _remote_infos(folder: str, recursive: bool = False) -> tuple[list[fs.FileInfo], int]:
    """What lies in a folder of an object store, and the length of what the paths have before the names within it."""
    filesystem, key = _locate(folder)
    selector = fs.FileSelector(key, allow_not_found=True, recursive=recursive)
    return filesystem.get_file_info(selector), len(key.rstrip("/")) + 1


def _remote_files(folder: str, recursive: bool) -> dict[str, FileStat]:
    infos, start = _remote_infos(folder, recursive)
    return {info.path[start:]: _remote_stat(info) for info in infos if info.type == fs.FileType.File}


def list_files(folder: str) -> dict[str, int]:
    """Name and size in bytes of each file directly in a folder; empty if there is no such folder."""
    return {name: status.size for name, status in list_stats(folder).items()}


def list_stats(folder: str) -> dict[str, FileStat]:
    """Name, size and time of each file directly in a folder; empty if there is no such folder."""
    with explain_errors("list", folder):
        if is_remote(folder):
            return _remote_files(folder, recursive=False)
        if not os.path.isdir(folder):
            return {}
        with os.scandir(folder) as entries:
            return {entry.name: _local_stat(entry.stat()) for entry in entries if entry.is_file()}


def list_tree(folder: str) -> dict[str, FileStat]:
    """Path within the folder, size and time of every file in a folder and in those below it."""
    with explain_errors("list", folder):
        if is_remote(folder):
            return _remote_files(folder, recursive=True)
        return dict(_walk(folder)) if os.path.isdir(folder) else {}


def _walk(folder: str) -> Iterator[tuple[str, FileStat]]:
    """Every file below a folder, linked folders included, each folder once; a broken link has size and time 0."""
    seen: set[str] = set()
    for parent_folder, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(parent_folder, name)) not in seen]
        seen.update(os.path.realpath(os.path.join(parent_folder, name)) for name in folders)
        for name in names:
            path = Path(parent_folder, name)
            status = _local_stat(path.stat()) if path.exists() else FileStat(0, 0)
            yield path.relative_to(folder).as_posix(), status


def _raise(error: OSError) -> None:
    raise error


def is_folder(path: str) -> bool:
    """Whether this is a local folder, or the prefix of any object's name."""
    return bool(list_folders(path) or list_files(path)) if is_remote(path) else os.path.isdir(path)


def list_folders(folder: str) -> list[str]:
    """Names of the folders directly in a folder, sorted; empty if there is no such folder."""
    with explain_errors("list", folder):
        if is_remote(folder):
            infos, start = _remote_infos(
                folder, recursive=folder.startswith("gs://")
            )  # where folders are only prefixes
            paths = [info.path[start:] + "/" * (info.type == fs.FileType.Directory) for info in infos]
            return sorted({path.partition("/")[0] for path in paths if "/" in path})
        if not os.path.isdir(folder):
            return []
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())


def partitions(leaf: str, depth: int) -> list[tuple[str, ...]]:
    """The values of the last `depth` folders (`key=value`, or a plain name) on the way to any leaf like this one."""
    folders: list[tuple[str, tuple[str, ...]]] = [(leaf.rsplit("/", depth)[0], ())]
    for _ in range(depth):
        folders = [
            (join(folder, name), (*values, name.rpartition("=")[2]))
            for folder, values in folders
            for name in list_folders(folder)
            if name.rpartition("=")[2] not in ("", ".", "..")  # object stores allow such names
        ]
    return [values for _, values in folders]


def is_pattern(path: str) -> bool:
    """Whether a path may name several files, by `*`, `?` or `[`."""
    return _WILDCARD.search(path) is not None


def glob(pattern: str) -> list[str]:
    """The files that match a pattern, sorted: `*`, `?` and `[...]` match within a folder, `**` across folders."""
    wildcard = _WILDCARD.search(pattern)
    base = pattern[: wildcard.start()].rpartition("/")[0] if wildcard else ""
    if wildcard and is_remote(pattern) and not is_remote(base):
        raise InputError(f"{pattern} names no bucket: * ? and [ may stand only after it")
    if stat(pattern):  # a file of exactly this name
        return [pattern]
    if not wildcard or not is_remote(pattern):
        paths = glob_module.glob(pattern, recursive=True) if wildcard else []
        return sorted(path for path in paths if os.path.isfile(path))
    parts = pattern[len(base) + 1 :].split("/")
    return sorted(f"{base}/{name}" for name in list_tree(base) if _matches(name.split("/"), parts))


def _matches(names: list[str], patterns: list[str]) -> bool:
    """Whether the parts of a path match those of a pattern."""
    if not names or not patterns:
        return not names and all(pattern == "**" for pattern in patterns)
    visible = patterns[0].startswith(".") or not names[0].startswith(".")
    if patterns[0] == "**":
        return (visible and _matches(names[1:], patterns)) or _matches(names, patterns[1:])
    return visible and fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def remove(path: str) -> None:
    """Remove a file, if it exists."""
    with explain_errors("remove", path):
        if is_remote(path):
            filesystem, key = _locate(path)
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_file(key)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def check_no_link(folder: str) -> None:
    """Raise StorageError if a folder whose files are to be removed, or a `key=value` folder above it, is a link.

    Label sets are passed from user to user, and a link among their folders may lead anywhere; users may link a root
    itself, and what lies directly in it, as they like.
    """
    while not is_remote(folder) and "=" in os.path.basename(folder):
        if os.path.islink(folder):
            raise StorageError(
                f"{folder} is a link, and nothing is written or removed beyond links: replace it by a folder"
            )
        folder = os.path.dirname(folder)


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """A worker's own temporary folder, removed when the block ends."""
    folder = tempfile.mkdtemp(prefix="concord-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def local_copies(paths: list[str]) -> Iterator[list[str]]:
    """Local paths of the files: their own if they are all local, otherwise copies in a scratch folder."""
    if not any(map(is_remote, paths)):
        yield paths
        return
    with scratch_folder() as folder:
        copies = [Path(folder, str(number), path.rsplit("/", 1)[-1]) for number, path in enumerate(paths)]
        for path, copy in zip(paths, copies, strict=True):
            copy.parent.mkdir()
            copy.write_bytes(read_bytes(path))
        yield list(map(str, copies))


def remove_partial_files(folder: str, beginning: str = "", below: bool = False) -> None:
    """Remove partial files of the names that begin so in a local folder; with `below`, also in the folders in it."""
    for parent_folder, _, names in [] if is_remote(folder) else os.walk(folder):
        for name in names if below or parent_folder == folder else ():
            if name.startswith(f".{beginning}") and name.endswith(PARTIAL):
                remove(join(parent_folder, name))


def remove_partial_file(path: str) -> None:
    """Remove the partial files of one file."""
    remove_partial_files(parent(path) or ".", f"{path.rpartition('/')[2]}.")


# --- Error hints ---------------------------------------------------------------------------------

_HINTS = {
    errno.ENOSPC: "no space left there; free some, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another place",
    errno.EFBIG: "the file would be larger than this system allows; raise the file-size limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place, or correct its permissions",
    errno.EPERM: "permission denied; choose another place, or correct its permissions",
    errno.ENOTDIR: "there is a file where a folder is needed; move it, or choose another place",
}
_STORE_HINTS = (  # by what Arrow's clients report of object stores
    (
        re.compile(r"HTTP status 40[13]|ACCESS_DENIED|PERMISSION_DENIED|UNAUTHENTICATED|_ACCESS_KEY|SIGNATURE"),
        "set credentials that allow it (AWS_*, GOOGLE_APPLICATION_CREDENTIALS)",
    ),
    (
        re.compile(r"HTTP status (429|5\d\d)|NETWORK_CONNECTION|SLOW_DOWN|THROTTL|TIMEOUT|UNAVAILABLE|Retry policy"),
        "the store kept failing for about a minute; check that it can be reached, and run the same command again",
    ),
)
_INNER = re.compile(r" error_info=\{.*\}")  # internals that Google's client reports


def error_hint(message: str, number: int | None) -> str:
    """What to do about an error of the operating system, by its number; otherwise the message, and a hint if known."""
    if number in _HINTS:
        return _HINTS[number]
    line = _INNER.sub("", " ".join(message.split()))
    hints = (hint for pattern, hint in _STORE_HINTS if pattern.search(line))
    return "; ".join([line.rstrip("."), *itertools.islice(hints, 1)])


def find_input_files(flag: str, patterns: Sequence[str]) -> list[str]:
    """The files that a flag's patterns match, in order; InputError if one matches none, or two match the same."""
    files: list[str] = []
    for pattern in patterns:
        matches = glob(pattern)
        if not matches:
            raise InputError(f"--{flag}: no file {pattern}")
        files += matches
    if len(set(files)) < len(files):
        duplicate = next(path for path in files if files.count(path) > 1)
        raise InputError(f"--{flag} names {duplicate} twice: its rows would all be duplicates")
    return files
