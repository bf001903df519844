"""95 % intervals: Wilson's of shares, Newcombe's of paired differences, Student's of means over runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Z = 1.959963984540054  # of a normal distribution, the 97.5 % quantile
WILSON = "Wilson"


def wilson_intervals(
    successes: npt.NDArray[np.float64], trials: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Share and its Wilson score interval (https://doi.org/10.1080/01621459.1927.10502953); NaN for none tried."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / trials
        spread = Z * np.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
        middle, scale = share + Z**2 / (2 * trials), 1 + Z**2 / trials
        return share, np.clip((middle - spread) / scale, 0, share), np.clip((middle + spread) / scale, share, 1)


def wilson_interval(successes: float, trials: float) -> tuple[float, float, float]:
    """A share and its Wilson interval; NaN for none tried."""
    share, low, high = (
        float(one[0]) for one in wilson_intervals(np.array([float(successes)]), np.array([float(trials)]))
    )
    return share, low, high


# How often two annotators are right, counted from their comparison, and intervals of shares and differences.

Interval = tuple[float | None, float | None, float | None]
NOTHING: Interval = (None, None, None)


@dataclass(frozen=True)
class PairedCounts:
    """How often annotators a and b agree, and of images with a reference label, how often each is right, and both.

    Sums of it are sums of its numbers.
    """

    n: int = 0
    agree: int = 0
    known: int = 0
    right_a: int = 0
    right_b: int = 0
    both: int = 0

    def __add__(self, other: "PairedCounts") -> "PairedCounts":
        return PairedCounts(*(x + y for x, y in zip(vars(self).values(), vars(other).values(), strict=True)))

    def swapped(self) -> "PairedCounts":
        """The same, with a and b in each other's place."""
        return PairedCounts(self.n, self.agree, self.known, self.right_b, self.right_a, self.both)


def count_paired(pairs: pa.Table, least: float = 0.0) -> PairedCounts:
    """The counts of rows of a comparison."""
    rows = pairs.filter(pc.greater_equal(pairs["confidence_a"], pa.scalar(least, pa.float32())))
    known = rows.filter(pc.is_valid(rows["reference"]))
    both = pc.and_(known["correct_a"], known["correct_b"])
    counted = (rows["agree"], known["correct_a"], known["correct_b"], both)
    agree, right_a, right_b, right = (int(pc.sum(one).as_py() or 0) for one in counted)
    return PairedCounts(rows.num_rows, agree, known.num_rows, right_a, right_b, right)


def paired_share(successes: int, trials: int) -> Interval:
    """A share and its 95 % interval (Wilson 1927); nothing where nothing was tried."""
    if not trials:
        return NOTHING
    value, low, high = wilson_interval(successes, trials)
    return value, low, high


def paired_difference(joint: PairedCounts) -> Interval:
    """How much more often b is right than a, and its 95 % interval; nothing where there is no reference.

    R. G. Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17:2635-2650, method 10: Wilson's intervals of both shares, put together by the
    correlation phi of the two, corrected for continuity.
    """
    value_a, low_a, high_a = paired_share(joint.right_a, joint.known)
    value_b, low_b, high_b = paired_share(joint.right_b, joint.known)
    if value_a is None or low_a is None or high_a is None or value_b is None or low_b is None or high_b is None:
        return NOTHING
    phi = error_correlation(joint)
    below = _combined(value_b - low_b, high_a - value_a, phi)
    above = _combined(high_b - value_b, value_a - low_a, phi)
    difference = (joint.right_b - joint.right_a) / joint.known
    return difference, difference - below, difference + above


def _combined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def error_correlation(joint: PairedCounts) -> float:
    """The phi of who is right, its positive numerator lessened by half the images; 0 where one is always or never."""
    only_a, only_b = joint.right_a - joint.both, joint.right_b - joint.both
    neither = joint.known - joint.both - only_a - only_b
    margins = joint.right_a * (joint.known - joint.right_a) * joint.right_b * (joint.known - joint.right_b)
    if not margins:
        return 0.0
    product = joint.both * neither - only_a * only_b
    corrected = product if product < 0 else max(product - joint.known / 2, 0.0)
    return corrected / math.sqrt(margins)


def mean_interval(values: Sequence[float | None], least: float = -math.inf, most: float = math.inf) -> Interval:
    """The mean of what is known, and its 95 % interval by Student's t; no interval of a single value.

    The interval is cut off where no value can lie, below `least` and above `most`.
    """
    from scipy import stats

    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return NOTHING
    middle = float(known.mean())
    if len(known) < 2:
        return middle, None, None
    reach = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return middle, max(middle - reach, least), min(middle + reach, most)
