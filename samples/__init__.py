"""Samples: a file or folder of code per sample that the project can draw by itself, found by its name.

Each module has three functions:

- `write(settings, output) -> dict[str, int]` draws the sample at `output`, a path that may be local, gs:// or s3://,
  and returns counts of what it drew. What lies there from an earlier drawing is replaced; each file appears whole or
  not at all. The same settings give the same bytes.
- `is_there(settings, output) -> bool` tells whether all files of such a sample lie at `output`, without reading them:
  the note that `pipelines/draw.py` writes beside them, last of all, states what they were drawn from.
- `estimate(settings) -> Estimate`: roughly what drawing it takes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Estimate:
    """What drawing a sample takes, roughly: bytes written, and seconds of one CPU core."""

    written_bytes: int
    core_seconds: float


def contact_sheet(crops: npt.ArrayLike, columns: int = 20) -> npt.NDArray[np.uint8]:
    """Lays (n, h, w) or (n, h, w, 3) crops out in rows of `columns`, the last padded with white."""
    images = np.clip(np.rint(np.asarray(crops)), 0, 255).astype(np.uint8)
    if images.ndim not in (3, 4) or columns < 1:
        wanted = "crops of shape (n, h, w) or (n, h, w, 3) in 1 column or more"
        raise ValueError(f"a contact sheet takes {wanted}, got shape {images.shape} in {columns}")
    count, height, width, *channels = images.shape
    rows = -(-count // columns)
    cells = np.full((rows * columns, height, width, *channels), 255, np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, *channels))
