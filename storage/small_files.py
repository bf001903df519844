"""Small files that are read whole, up to a limit: JSON objects, and archives of NumPy arrays (`.npz`).

JSON files (manifests, model cards, notes) are written whole or not at all, indented, with sorted keys. Archives are
read only where they hold what their headers state, and no Python objects; the format is NumPy's
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import StorageError, one_line
from storage import stores
from storage.sandbox import SMALL

MAX_JSON_BYTES = 64 << 20  # the names of 20,000 classes take one or two
NPZ_ERRORS = (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)
_REBUILD = "remove it, and run the stage that writes it again"


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Write an object; keys sorted, so that the same content gives the same bytes."""
    stores.write_bytes(path, json.dumps(content, indent=2, sort_keys=True, default=str).encode())


def find_json(path: str) -> dict[str, Any] | None:
    """The object in a file, or None if there is no file; StorageError if it has none, or more than `MAX_JSON_BYTES`."""
    status = stores.stat(path)
    if status is None:
        return None
    if status.size > MAX_JSON_BYTES:
        raise StorageError(f"{path} has {status.size:,} bytes, more than {MAX_JSON_BYTES:,}: Concord did not write it")
    try:
        content = json.loads(stores.read_bytes(path))
    except (ValueError, RecursionError) as error:  # lists in lists in lists
        raise StorageError(f"{path} is damaged ({one_line(error)}): {_REBUILD}") from error
    if not isinstance(content, dict):
        raise StorageError(f"{path} contains no JSON object: {_REBUILD}")
    return content


def check_types(path: str, content: Any, types: Mapping[str, type], required: Sequence[str] = ()) -> None:
    """Raise StorageError if a file lacks a required entry, or an entry is of another type than stated."""
    if not isinstance(content, dict):
        raise StorageError(f"{path} has {str(content)[:40]!r} instead of an object: {_REBUILD}")
    for key in required:
        if content.get(key) is None:
            raise StorageError(f"{path} has no entry {key!r}: {_REBUILD}")
    for key, kind in types.items():
        value = content.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise StorageError(f"{path} has {key!r} as {ascii(value)[:40]}: {_REBUILD}")


def read_npz(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive by name; one of `NPZ_ERRORS` if it has anything but arrays of numbers and texts."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > max(SMALL, 2 * len(content)):  # NumPy does not compress
            raise ValueError(f"{unpacked:,} bytes cannot come from {len(content):,}")
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}


def _array(content: bytes) -> npt.NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, kind = headers[version](file)
    values = content[file.tell() :]
    if kind.hasobject or fortran or math.prod(shape) * kind.itemsize != len(values):
        raise ValueError(f"an array of shape {shape} and type {kind} in {len(values):,} bytes")
    return np.frombuffer(values, kind).reshape(shape)
