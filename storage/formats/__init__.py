"""Files of others that are read by code of ours: what they hold, and nothing of what it is for."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Labels that files hold as numbers.


def class_indices(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Labels as class indices; -1 for what is no whole number."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels.astype(np.int64)
    whole = np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**31)
    return np.where(whole, labels, -1).astype(np.int64)


def svhn_digits(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """SVHN's labels as digits, in both of its formats: 10 means 0, and 0 itself does not occur."""
    indices = class_indices(labels)
    return np.select([indices == 10, indices == 0], [0, -1], indices)
