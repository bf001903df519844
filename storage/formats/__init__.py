"""File formats of other projects, each read by a module that knows nothing of what the content is used for.

`csv_ranges` and `csv_lines` read large CSV files side by side and find damaged rows, `csv_tables` small ones; `images`
prepares photographs by what `image_headers` reads of them; `idx` (MNIST), `matlab` and `digit_struct` (SVHN) are
formats of single data sets. Every reader limits what a hostile file can cost. Labels that files store as numbers are
interpreted here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


def class_indices(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Labels as class indices; -1 for anything but a whole number."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    whole = np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**31)
    return np.where(whole, labels, -1).astype(np.int64)


def svhn_digits(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """SVHN's labels as digits, in both of its formats: 10 means 0, and 0 itself does not occur."""
    indices = class_indices(labels)
    return np.select([indices == 10, indices == 0], [0, -1], indices)
