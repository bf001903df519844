"""Samples that the project draws itself: one module or folder per sample, known by its name.

`house_numbers` is one file; of `scenes`, read `__init__` (the folder that it writes), then `images` (what a scene
shows) and `annotators` (who labels it, and with which errors). A sample has three functions:

- `write(settings, output) -> dict[str, int]` draws the sample at `output`, a local, gs:// or s3:// path, and returns
  counts of its content. An earlier drawing is replaced; each file appears whole or not at all. The same settings give
  the same bytes.
- `exists(settings, output) -> bool`: whether all files of such a sample are at `output`, without reading them; the note
  that `pipelines/draw.py` writes beside them, last of all, states what they were drawn from.
- `estimate(settings) -> Estimate`: roughly what drawing it costs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Estimate:
    """What drawing a sample costs, roughly: bytes written, and seconds of one CPU core."""

    written_bytes: int
    core_seconds: float


def contact_sheet(crops: npt.ArrayLike, columns: int = 20) -> npt.NDArray[np.uint8]:
    """(n, h, w) or (n, h, w, 3) crops side by side in rows of `columns`, the last padded with white."""
    images = np.clip(np.rint(np.asarray(crops)), 0, 255).astype(np.uint8)
    if images.ndim not in (3, 4) or columns < 1:
        raise ValueError(
            "a contact sheet takes crops of shape (n, h, w) or (n, h, w, 3) in 1 column or more, "
            f"got shape {images.shape} in {columns}"
        )
    count, height, width, *channels = images.shape
    rows = -(-count // columns)
    cells = np.full((rows * columns, height, width, *channels), 255, np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, *channels))
