"""MNIST's idx files (http://yann.lecun.com/exdb/mnist/): big-endian, with a magic number first; gzipped or not."""

import gzip
import io
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.errors import InputError
from storage import stores
from storage.sandbox import check_bytes

IMAGES, LABELS = 0x00000803, 0x00000801  # magic numbers: unsigned bytes in three dimensions, and in one
_GZIP = b"\x1f\x8b"
_MAX_HEADER = 16  # bytes before the values
_KINDS = {IMAGES: "images (idx3-ubyte)", LABELS: "labels (idx1-ubyte)"}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """Handwritten digits: `pixels` (n, height, width), 0 for background and 255 for ink; `labels` (n,), 0-9."""

    pixels: Bytes
    labels: Bytes


def read_digits(paths: tuple[str, ...]) -> Digits:
    """The digits of a file of images and one of labels, in either order; InputError if they do not belong together."""
    files = {magic: (path, values) for path in paths for magic, values in [read_idx(path)]}
    if set(files) != {IMAGES, LABELS}:
        raise InputError(f"one file of images and one of labels are needed, got {', '.join(paths)}")
    (images, pixels), (path, labels) = files[IMAGES], files[LABELS]
    if len(pixels) != len(labels):
        raise InputError(f"{images} holds {len(pixels)} images but {path} holds {len(labels)} labels: give one set's")
    if not pixels.size:
        raise InputError(f"{images} holds {len(pixels)} images of {pixels.shape[1]}x{pixels.shape[2]}: copy it again")
    if labels.max() > 9:
        row = int(np.argmax(labels > 9))
        raise InputError(f"{path}: label {labels[row]} at row {row} is no digit 0 to 9")
    return Digits(pixels, labels)


def read_idx(path: str) -> tuple[int, Bytes]:
    """Magic number and content of a file; InputError if it is no such file, or its length is not that of its header."""
    content = stores.read_bytes(path)
    stored, packed = len(content), content.startswith(_GZIP)
    head = _plain(path, content, _MAX_HEADER)
    magic = int.from_bytes(head[:4], "big")
    if magic not in _KINDS or len(head) < 4:
        known = " or ".join(f"{number:08x} for {kind}" for number, kind in _KINDS.items())
        raise InputError(f"{path} is no idx file: it begins with {head[:4].hex() or 'nothing'}, not {known}")
    dimensions = 3 if magic == IMAGES else 1
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", head[4:start]) if len(head) >= start else ()
    size = start + math.prod(shape)
    check_bytes(path, "its header", size, stored)
    content = _plain(path, content, size + 1)
    if not shape or len(content) != size:
        expected = f"{size:,} for {_KINDS[magic]} of shape {shape}" if shape else f"at least {start}"
        more = " or more" if packed and len(content) > size else ""
        raise InputError(f"{path} holds {len(content):,} bytes{more}, but must hold {expected}: copy it again")
    return magic, np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _plain(path: str, content: bytes, limit: int) -> bytes:
    """The first bytes of a file, at most so many, unzipped if it is gzipped."""
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(limit)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is no whole gzip file ({error}): copy it again") from error
