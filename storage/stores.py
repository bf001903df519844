"""The one place that opens files: local paths, `gs://` and `s3://` alike.

A file appears whole or not at all: locally it is written beside its place and renamed, in an object store it is put
at once. Credentials and endpoints come from the usual environment (`AWS_*`, `GOOGLE_APPLICATION_CREDENTIALS`,
`AWS_ENDPOINT_URL`, `STORAGE_EMULATOR_HOST`).
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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pyarrow import fs

from schemas.errors import InputError, StorageError
from schemas.layout import absolute as absolute
from schemas.layout import check_address as check_address
from schemas.layout import is_remote as is_remote
from schemas.layout import join as join
from schemas.layout import parent as parent

S3_RETRIES = 11  # pauses that double from 25 ms: some 50 seconds, and 3 more for each answer that does not come
GOOGLE_PATIENCE = datetime.timedelta(seconds=60)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FileStat:
    """Size in bytes and modification time in nanoseconds."""

    size: int
    modified: int


@functools.lru_cache(maxsize=8)
def _remote(scheme: str) -> fs.FileSystem:
    if scheme == "s3":
        patient = fs.AwsDefaultS3RetryStrategy(max_attempts=S3_RETRIES)
        return fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"), retry_strategy=patient)
    if scheme == "gs":
        return _google(os.environ.get("STORAGE_EMULATOR_HOST", ""))
    raise InputError(f"cannot open {scheme}://...: paths may be local, gs:// or s3://")


def _google(emulator: str) -> fs.FileSystem:
    """Google's object store, or an emulator of it, which knows no credentials."""
    if not emulator:
        return fs.GcsFileSystem(retry_time_limit=GOOGLE_PATIENCE)
    scheme, _, host = emulator.rstrip("/").rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True, scheme=scheme or "http", endpoint_override=host, retry_time_limit=GOOGLE_PATIENCE
    )


def _locate(path: str) -> tuple[fs.FileSystem, str]:
    scheme, _, key = path.partition("://")
    check_address(path)
    return _remote(scheme), key


def arrow_place(path: str) -> tuple[fs.FileSystem, str]:
    """Arrow's file system that a path lies in, and the path within it, for readers that open many files themselves."""
    return _locate(path) if is_remote(path) else (fs.LocalFileSystem(), os.path.abspath(path))


@contextlib.contextmanager
def explained(action: str, path: str) -> Iterator[None]:
    """Turn an operating system's error into one that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        missing = "its folder cannot be made; choose another place" if action == "write" else "no such file"
        raise StorageError(f"cannot {action} {path}: {missing}") from error
    except OSError as error:
        raise StorageError(
            f"cannot {action} {path}: {error_hint(str(error), 0 if is_remote(path) else error.errno)}"
        ) from error


def read_bytes(path: str) -> bytes:
    """The whole content of a file."""
    with explained("read", path), open_input(path) as file:
        return bytes(file.read())


def open_input(path: str) -> IO[bytes]:
    """A seekable binary file, to be read in pieces."""
    with explained("read", path):
        if not is_remote(path):
            return open(path, "rb")
        filesystem, key = _locate(path)
        return io.BufferedReader(_Readable(filesystem.open_input_file(key), path), buffer_size=1 << 20)


class _Readable(io.RawIOBase):
    """Arrow's input file with the one method (`readinto`) that Python's readers ask for."""

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
        with explained("read", self._path):
            try:
                return int(self._file.readinto(buffer))
            except ValueError as error:  # Google's client has closed the file, after all its tries, and says no more
                raise OSError("UNAVAILABLE: the store closed the file") from error


def write_bytes(path: str, data: bytes | memoryview) -> None:
    """Write a whole file, which appears complete or not at all.

    Raises:
        StorageError: it could not be written; nothing is left of it.
    """
    write_parts(path, (data,))


def write_parts(path: str, parts: Iterable[bytes | memoryview]) -> None:
    """Write a whole file from its parts, one after the other; see `write_bytes`."""
    with explained("write", path):
        if is_remote(path):
            whole = b"".join(parts)  # a stream that is closed halfway would put the half in place
            filesystem, key = _locate(path)
            with filesystem.open_output_stream(key, compression=None) as stream:  # else Arrow packs what ends in .gz
                stream.write(whole)
            return
        with whole_file(path) as scratch, open(scratch, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A scratch path beside a local `path`, renamed to it if the block ends well and removed if not."""
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    scratch = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.partial")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


@contextlib.contextmanager
def local_output(path: str) -> Iterator[str]:
    """A local path to write a file to with a library that needs one; put in its place if the block ends well."""
    with explained("write", path):
        if not is_remote(path):
            with whole_file(path) as scratch:
                yield scratch
            return
        with scratch_folder() as folder:
            copy = os.path.join(folder, path.rsplit("/", 1)[-1])
            yield copy
            write_bytes(path, Path(copy).read_bytes())


def stat(path: str) -> FileStat | None:
    """Size and modification time of a file, or None where there is none."""
    with explained("look at", path):
        if is_remote(path):
            filesystem, key = _locate(path)
            info = filesystem.get_file_info(key)
            return FileStat(info.size, info.mtime_ns or 0) if info.type == fs.FileType.File else None
        if not os.path.isfile(path):
            return None
        status = os.stat(path)
        return FileStat(status.st_size, status.st_mtime_ns)


def list_files(folder: str) -> dict[str, int]:
    """Name and size in bytes of each file directly in a folder; empty where there is no such folder."""
    return {name: status.size for name, status in list_stats(folder).items()}


def list_stats(folder: str) -> dict[str, FileStat]:
    """Name, size and time of each file directly in a folder; empty where there is no such folder."""
    with explained("list", folder):
        if is_remote(folder):
            filesystem, key = _locate(folder)
            found = filesystem.get_file_info(fs.FileSelector(key, allow_not_found=True))
            files = [info for info in found if info.type == fs.FileType.File]
            return {info.base_name: FileStat(info.size, info.mtime_ns or 0) for info in files}
        if not os.path.isdir(folder):
            return {}
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
            return {name: FileStat(status.st_size, status.st_mtime_ns) for name, status in found}


def list_tree(folder: str) -> dict[str, FileStat]:
    """Path within the folder, size and time of every file in a folder and in those below it."""
    with explained("list", folder):
        if is_remote(folder):
            filesystem, key = _locate(folder)
            found = filesystem.get_file_info(fs.FileSelector(key, allow_not_found=True, recursive=True))
            files = [info for info in found if info.type == fs.FileType.File]
            start = len(key.rstrip("/")) + 1
            return {info.path[start:]: FileStat(info.size, info.mtime_ns or 0) for info in files}
        return dict(_walk(folder)) if os.path.isdir(folder) else {}


def _walk(folder: str) -> Iterator[tuple[str, FileStat]]:
    """Every file below a folder, linked folders included, each folder once; a link to nothing has size and time 0."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(place, name)) not in seen]
        seen.update(os.path.realpath(os.path.join(place, name)) for name in folders)
        for name in names:
            path = Path(place, name)
            status = path.stat() if path.exists() else None
            found = FileStat(status.st_size, status.st_mtime_ns) if status else FileStat(0, 0)
            yield path.relative_to(folder).as_posix(), found


def _raise(error: OSError) -> None:
    raise error


def is_folder(path: str) -> bool:
    """Whether there is a local folder here, or anything in an object store whose name begins so."""
    return bool(list_folders(path) or list_files(path)) if is_remote(path) else os.path.isdir(path)


def list_folders(folder: str) -> list[str]:
    """Names of the folders directly in a folder, sorted; empty where there is no such folder."""
    with explained("list", folder):
        if is_remote(folder):
            filesystem, key = _locate(folder)
            deep = folder.startswith("gs://")  # there, a folder is but what its files' names begin with
            found = filesystem.get_file_info(fs.FileSelector(key, allow_not_found=True, recursive=deep))
            start = len(key.rstrip("/")) + 1
            paths = [info.path[start:] + "/" * (info.type == fs.FileType.Directory) for info in found]
            return sorted({path.partition("/")[0] for path in paths if "/" in path})
        if not os.path.isdir(folder):
            return []
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())


def partitions(leaf: str, depth: int) -> list[tuple[str, ...]]:
    """The values of the last `depth` folders (`key=value`, or a plain name) on the way to any leaf like this one."""
    found: list[tuple[str, tuple[str, ...]]] = [(leaf.rsplit("/", depth)[0], ())]
    for _ in range(depth):
        found = [
            (join(folder, name), (*values, name.rpartition("=")[2]))
            for folder, values in found
            for name in list_folders(folder)
            if name.rpartition("=")[2] not in ("", ".", "..")  # which object stores allow
        ]
    return [values for _, values in found]


def is_pattern(path: str) -> bool:
    """Whether a path may name several files, by `*`, `?` or `[`."""
    return _MAGIC.search(path) is not None


def glob(pattern: str) -> list[str]:
    """The files that a pattern names, sorted, as a shell finds them: `*`, `?` and `[...]` stay in a folder, `**` not.

    Raises:
        InputError: the bucket is a pattern, too.
    """
    magic = _MAGIC.search(pattern)
    base = pattern[: magic.start()].rpartition("/")[0] if magic else ""
    if magic and is_remote(pattern) and not is_remote(base):
        raise InputError(f"{pattern} names no bucket: * ? and [ may stand only after it")
    if stat(pattern):  # a file of just this name
        return [pattern]
    if not magic or not is_remote(pattern):
        found = glob_module.glob(pattern, recursive=True) if magic else []
        return sorted(path for path in found if os.path.isfile(path))
    start = len(base) + 1
    return sorted(path for path in _files_below(base) if _matches(path[start:].split("/"), pattern[start:].split("/")))


def _files_below(folder: str) -> list[str]:
    with explained("list", folder):
        filesystem, key = _locate(folder)
        found = filesystem.get_file_info(fs.FileSelector(key, allow_not_found=True, recursive=True))
    return [f"{folder[: -len(key)]}{info.path}" for info in found if info.type == fs.FileType.File]


def _matches(names: list[str], patterns: list[str]) -> bool:
    """Whether the parts of a path fit those of a pattern."""
    if not names or not patterns:
        return not names and all(pattern == "**" for pattern in patterns)
    shown = patterns[0].startswith(".") or not names[0].startswith(".")
    if patterns[0] == "**":
        return (shown and _matches(names[1:], patterns)) or _matches(names, patterns[1:])
    return shown and fnmatch.fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def remove(path: str) -> None:
    """Remove a file; one that is not there is no error."""
    with explained("remove", path):
        if is_remote(path):
            filesystem, key = _locate(path)
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_file(key)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def check_no_link(folder: str) -> None:
    """Raise StorageError where a folder that is to be swept is a link, or one of the `key=value` folders above it.

    Folders of label sets go from hand to hand, and a link among them may lead anywhere; of a root itself, and of what
    lies directly in it, people may make links as they like.
    """
    while not is_remote(folder) and "=" in os.path.basename(folder):
        if os.path.islink(folder):
            raise StorageError(f"{folder} is a link, and nothing is written or removed beyond one: put a folder there")
        folder = os.path.dirname(folder)


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """A worker's own temporary folder, gone when the block ends."""
    folder = tempfile.mkdtemp(prefix="concord-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def local_copies(paths: list[str]) -> Iterator[list[str]]:
    """Local paths of the files: themselves where they are local, else copies in a scratch folder."""
    if not any(is_remote(path) for path in paths):
        yield paths
        return
    with scratch_folder() as folder:
        copies = []
        for number, path in enumerate(paths):
            copy = os.path.join(folder, str(number), path.rsplit("/", 1)[-1])
            os.makedirs(os.path.dirname(copy))
            Path(copy).write_bytes(read_bytes(path))
            copies.append(copy)
        yield copies


# Halves of files, which killed processes leave beside the whole ones: hidden, and removed by who writes there next.

PARTIAL = ".partial"


def remove_partial_files(folder: str, beginning: str = "", below: bool = False) -> None:
    """Remove halves of the files in a folder, or of those whose names begin so; `below`, also in the folders in it."""
    for place, _, names in [] if is_remote(folder) else os.walk(folder):
        for name in names if below or place == folder else ():
            if name.startswith(f".{beginning}") and name.endswith(PARTIAL):
                remove(join(place, name))


def remove_partial_file(path: str) -> None:
    """Remove halves of one file."""
    remove_partial_files(parent(path) or ".", f"{path.rpartition('/')[2]}.")


# What to do about files that cannot be read or written, by what operating systems and object stores say.

_REMEDIES = {
    errno.ENOSPC: "no space left there; free some, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another place",
    errno.EFBIG: "the file would be larger than this system allows; raise the file-size limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place, or mend its permissions",
    errno.EPERM: "permission denied; choose another place, or mend its permissions",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or choose another place",
}
# What object stores say of themselves, in the words of Arrow's clients, and what to do.
_STORE_REMEDIES = (
    (
        re.compile(r"HTTP status 40[13]|ACCESS_DENIED|PERMISSION_DENIED|UNAUTHENTICATED|_ACCESS_KEY|SIGNATURE"),
        "give credentials that may do this (AWS_*, GOOGLE_APPLICATION_CREDENTIALS)",
    ),
    (
        re.compile(r"HTTP status (429|5\d\d)|NETWORK_CONNECTION|SLOW_DOWN|THROTTL|TIMEOUT|UNAVAILABLE|Retry policy"),
        "the store kept failing for about a minute; see whether it can be reached, and run the same command again",
    ),
)
_INNER = re.compile(r" error_info=\{.*\}")  # what Google's client says of its own workings


def error_hint(said: str, number: int | None) -> str:
    """What an error says, or what to do about it, or both.

    Args:
        said: the error's own words.
        number: of an error of the operating system, of which the remedy says enough; 0 or None for other errors.
    """
    if number in _REMEDIES:
        return _REMEDIES[number]
    line = _INNER.sub("", " ".join(said.split()))
    known = (remedy for pattern, remedy in _STORE_REMEDIES if pattern.search(line))
    return "; ".join([line.rstrip("."), *itertools.islice(known, 1)])


# The input files that a flag names.


def find_input_files(flag: str, patterns: Sequence[str]) -> list[str]:
    """The files that some patterns name, in order.

    Raises:
        InputError: a pattern names no file, or a file is named twice.
    """
    matches = {pattern: glob(pattern) for pattern in patterns}
    for pattern in patterns:
        if not matches[pattern]:
            raise InputError(f"--{flag}: no file {pattern}")
    found = [path for pattern in patterns for path in matches[pattern]]
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise InputError(f"--{flag} names {twice} twice: its rows would all be duplicates")
    return found
