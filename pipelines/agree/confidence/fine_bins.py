"""A fixed scale of fine bins of float32 confidences, so that thresholds come from counts that merge in any order.

Networks' confidences crowd near 1, where equally wide bins would put most images into one. Here a bin is no wider than
1/128 of its distance to 1 (from 0.5 on) or to 0 (below), as on a logit scale: 128 bins each time that distance halves.
A confidence above 1 - 2**-17 has a bin of its own; those below 2**-9 share one. It takes no logarithm: 1 - c is exact
in float32 for c of [0.5, 1], and a bin is the exponent and the first seven bits of a number, so that every machine
finds the same bin. Thresholds are lower bounds of bins, and the bound belongs to the bin: an image is accepted at
confidence >= threshold.
"""

import numpy as np
import numpy.typing as npt

from pipelines.agree.confidence import Confidences, Whole, checked

NOT_KNOWN = 0  # the bin of images without a confidence, below every threshold
_SHIFT = 16  # of the 23 bits of a float32's fraction, seven are kept
_LOWEST = 118 << 7  # exponent and fraction of 2**-9
_HALF = 126 << 7  # of 0.5
_LEAST = 103 << 7  # of 2**-24, the least distance to 1
_MIDDLE = 2 + _HALF - _LOWEST  # the bin of 0.5
SIZE = _MIDDLE + _HALF - _LEAST + 2  # the last bin is that of 1


def fine_bins(confidence: Confidences) -> Whole:
    """The bin of each confidence, 0 for NaN.

    Raises:
        ValueError: one is not in [0, 1].
    """
    sure = checked(confidence) + np.float32(0)  # -0 becomes 0
    below = 2 + np.maximum((_bits(sure) >> _SHIFT) - _LOWEST, -1)
    distance = _bits(np.float32(1) - sure)
    above = np.where(distance > 0, _MIDDLE + _HALF - 1 - ((distance - 1) >> _SHIFT), SIZE - 1)
    return np.where(np.isnan(sure), NOT_KNOWN, np.where(sure < 0.5, below, above)).astype(np.int64)


def _bits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    return values.view(np.int32)


def lower_bounds() -> npt.NDArray[np.float32]:
    """The least confidence of each bin, (SIZE,); NaN of the first one. Some bins near 1 are too narrow to hold any."""
    lower = (np.arange(_LOWEST, _HALF, dtype=np.int32) << _SHIFT).view(np.float32)
    farthest = (np.arange(_HALF, _LEAST - 1, -1, dtype=np.int32) << _SHIFT).view(np.float32)
    upper = 1 - np.floor(farthest.astype(np.float64) * 2**24) / 2**24  # what float32 can tell apart below 1
    return np.concatenate([[np.nan, 0], lower, upper, [1]]).astype(np.float32)
