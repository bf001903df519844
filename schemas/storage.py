"""The one place that opens files: local paths, `gs://` and `s3://` alike.

A file appears whole or not at all: locally it is written beside its place and renamed, in an object store it is put
at once. Credentials and endpoints come from the usual environment (`AWS_*`, `GOOGLE_APPLICATION_CREDENTIALS`,
`AWS_ENDPOINT_URL`, `STORAGE_EMULATOR_HOST`).
"""

import contextlib
import datetime
import fnmatch
import functools
import glob as glob_module
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pyarrow import fs

from schemas import remedies
from schemas.errors import InputError, StorageError

S3_RETRIES = 11  # pauses that double from 25 ms: some 50 seconds, and 3 more for each answer that does not come
GOOGLE_PATIENCE = datetime.timedelta(seconds=60)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FileStat:
    """Size in bytes and modification time in nanoseconds."""

    size: int
    modified: int


def is_remote(path: str) -> bool:
    """Whether the path lies in an object store."""
    return "://" in path


def absolute(path: str) -> str:
    """The same place by a path that means it from any working directory; one in an object store already does."""
    return path if is_remote(path) else os.path.abspath(path)


def join(*parts: str) -> str:
    """Join path parts with `/`, also under `gs://` and `s3://`."""
    return "/".join([parts[0].rstrip("/"), *(part.strip("/") for part in parts[1:])])


def parent(path: str) -> str:
    """The folder that a path lies in."""
    return path.rstrip("/").rpartition("/")[0]


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


def check_address(path: str) -> None:
    """Raise InputError where an address holds a user or a password: it would be kept in manifests and rejects."""
    if "@" in path.partition("://")[2].partition("/")[0]:
        raise InputError(
            f"{path} holds credentials, which would be kept with the results: give them by the environment"
        )


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
            f"cannot {action} {path}: {remedies.of(str(error), 0 if is_remote(path) else error.errno)}"
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
