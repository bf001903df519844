"""Archives of NumPy's arrays (`.npz`), read only where they hold what they say, and no objects of Python.

The format is NumPy's (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

import io
import math
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.sandbox import SMALL

TROUBLES = (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)


def read(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive by their name.

    Raises:
        any of `TROUBLES`: it is none, or holds other things than arrays of numbers and texts.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        asked = sum(one.file_size for one in archive.infolist())
        if asked > max(SMALL, 2 * len(content)):  # NumPy packs nothing
            raise ValueError(f"{asked:,} bytes cannot have come from {len(content):,}")
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
