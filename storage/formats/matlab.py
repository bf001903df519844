"""Arrays of real numbers in MATLAB 5 files, read only if they can be what their headers state.

The format is MathWorks' ("MAT-File Format", https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf):
elements, each preceded by its type and number of bytes; a variable is an element of flags, dimensions, name and values,
or one of the same packed by zlib. SciPy's reader takes gigabytes, or crashes, on damaged files.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from schemas.errors import InputError
from storage.sandbox import check_bytes

_HEADER_BYTES = 128
_MATRIX, _PACKED = 14, 15  # types of elements
_MAX_HEAD = 4096  # bytes of a variable before its values
_PART_BYTES = 1 << 20  # unpacked at a time
_COMPLEX = 0x0800  # a flag
_TEXT, _NUMBERS = 4, range(6, 16)  # classes of variables
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # by type


@dataclass(frozen=True)
class _Variable:
    """The header of a variable.

    Attributes:
        flags: its class, with flags above it.
        values: bytes of its values, and their offset in its element (unpacked).
        extent: offset and bytes of its element's content in the file.
    """

    name: str
    flags: int
    shape: tuple[int, ...]
    type: int
    values: tuple[int, int]
    extent: tuple[int, int]
    packed: bool
    order: str


def read(path: str, file: IO[bytes], names: Collection[str]) -> Mapping[str, npt.NDArray[Any]]:
    """The variables of these names, as the file stores their numbers.

    Raises:
        InputError: it is no such file, lacks one of them, or one has no real numbers, or an impossible size.
    """
    variables = {one.name: one for one in _variables(path, file)}
    for name in names:
        if name not in variables:
            known = ", ".join(ascii(one)[1:-1][:64] for one in list(variables)[:20])
            raise InputError(f"{path} has no variable {name!r}; it has: {known or 'none'}")
    return {name: _values(path, file, variables[name]) for name in names}


def _damaged(path: str, why: str) -> InputError:
    return InputError(f"{path} is not a readable MATLAB file ({why}); copy it again")


def _variables(path: str, file: IO[bytes]) -> Iterator[_Variable]:
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
    if not order:
        raise _damaged(path, "it does not have the header of MATLAB 5")
    if head[125 if order == "<" else 124] == 2:
        raise InputError(f"{path} is a MATLAB v7.3 (HDF5) file; save it with -v7, or read it as svhn_h5")
    at = _HEADER_BYTES
    while at + 8 <= end:
        file.seek(at)
        kind, size = struct.unpack(order + "II", file.read(8))
        if at + 8 + size > end or kind not in (_MATRIX, _PACKED):
            raise _damaged(path, f"an element of type {kind} and {size:,} bytes at byte {at:,}")
        content = file.read(min(size, _MAX_HEAD))
        try:
            if kind == _PACKED:
                content = zlib.decompressobj().decompress(content, _MAX_HEAD)
            yield _variable(content, 8 * (kind == _PACKED), (at + 8, size), order)
        except (zlib.error, struct.error, ValueError) as error:
            raise _damaged(path, f"the variable at byte {at:,}: {error}") from error
        at += 8 + size


def _variable(content: bytes, at: int, extent: tuple[int, int], order: str) -> _Variable:
    """A variable, by the beginning of its element; `at` is 8 if that is packed, with a tag of its own."""
    packed = at > 0
    flags, at = _part(content, at, order)
    dimensions, at = _part(content, at, order)
    name, at = _part(content, at, order)
    kind, size = struct.unpack_from(order + "II", content.ljust(at + 8, b"\0"), at)
    small = kind >> 16  # up to four bytes are stored in place of their number
    values = (small, at + 4) if small else (size, at + 8)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
    if not 1 <= len(shape) <= 32 or min(shape) < 0:
        raise ValueError(f"{len(shape)} dimensions, {shape[:8]}")
    (bits,) = struct.unpack_from(order + "I", flags)
    return _Variable(name.decode("latin-1"), bits, shape, kind & 0xFFFF, values, extent, packed, order)


def _part(content: bytes, at: int, order: str) -> tuple[bytes, int]:
    """The content of an element within a variable, and where the next one begins."""
    kind, size = struct.unpack_from(order + "II", content, at)
    start, size, after = (at + 4, kind >> 16, at + 8) if kind >> 16 else (at + 8, size, at + 8 + -(-size // 8) * 8)
    if start + size > len(content):
        raise ValueError(f"a part of {size:,} bytes")
    return content[start : start + size], after


def _values(path: str, file: IO[bytes], one: _Variable) -> npt.NDArray[Any]:
    kind = one.flags & 0xFF
    if kind not in _NUMBERS or one.flags & _COMPLEX or one.type not in _STORED:
        actual = "text" if kind == _TEXT else f"no real numbers (class {one.flags & 0xFFFF:#x}, type {one.type})"
        raise InputError(f"{path}: {one.name} holds {actual}, but must hold an array of numbers; correct the file")
    size, start = one.values
    stored = one.extent[1]
    check_bytes(path, one.name, size, stored, *(() if one.packed else (1,)))
    dtype = np.dtype(one.order + _STORED[one.type])
    if math.prod(one.shape) * dtype.itemsize != size:
        raise _damaged(path, f"{one.name} has shape {one.shape[:8]} of {dtype}, but {size:,} bytes")
    file.seek(one.extent[0])
    content = bytearray(size)
    filled = -start  # what precedes the values is dropped
    for part in _unpack(path, file, one):
        part_of_values = part[max(0, -filled) : max(0, size - filled)]
        content[max(0, filled) : max(0, filled) + len(part_of_values)] = part_of_values
        filled += len(part)
        if filled >= size:
            break
    if filled < size:
        raise _damaged(path, f"{one.name} ends after {max(filled, 0):,} of {size:,} bytes")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(one.shape, order="F")


def _unpack(path: str, file: IO[bytes], one: _Variable) -> Iterator[bytes]:
    """A variable's element, in parts."""
    left, packer = one.extent[1], zlib.decompressobj()
    while left > 0 and (part := file.read(min(left, _PART_BYTES))):
        left -= len(part)
        try:
            while part:
                yield packer.decompress(part, _PART_BYTES) if one.packed else part
                part = packer.unconsumed_tail
        except zlib.error as error:
            raise _damaged(path, f"{one.name}: {error}") from error
