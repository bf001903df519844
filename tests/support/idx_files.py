"""MNIST's idx files, drawn for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt


def idx(values: npt.NDArray[np.uint8], magic: int = 0) -> bytes:
    """An idx file of unsigned bytes, put together by its description."""
    header = struct.pack(f">I{values.ndim}I", magic or 0x0800 + values.ndim, *values.shape)
    return header + values.tobytes()


def digits(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """So many digits and their labels, 0 to 9 in turn: digit d is d + 1 bars; no row's ink is the next one's."""
    labels = (np.arange(count) % 10).astype(np.uint8)
    pixels = np.zeros((count, 28, 28), np.uint8)
    for row, label in enumerate(labels.tolist()):
        for bar in range(label + 1):
            pixels[row, 4 + 2 * bar, 5:23] = 255 - row % 100
    return pixels, labels


def write_digits(folder: Path, count: int = 50, packed: bool = True) -> tuple[str, str]:
    """Files of images and of labels; their paths."""
    paths = folder / "images-idx3-ubyte", folder / "labels-idx1-ubyte"
    for path, values in zip(paths, digits(count), strict=True):
        path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    return str(paths[0]), str(paths[1])
