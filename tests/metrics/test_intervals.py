"""Counts of comparisons and the intervals of what follows, against published figures, SciPy and the bootstrap."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metrics import intervals
from metrics.intervals import PairedCounts
from schemas import tables


def joint(both: int, only_a: int, only_b: int, neither: int) -> PairedCounts:
    known = both + only_a + only_b + neither
    return PairedCounts(known, 0, known, both + only_a, both + only_b, both)


def test_published_difference() -> None:
    """Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850-2875: 21 children before and after."""
    before_and_after = joint(1, 7, 1, 12)  # theirs is before minus after, ours b minus a
    value, low, high = intervals.paired_difference(before_and_after)
    assert value == pytest.approx(-6 / 21)
    assert (low, high) == pytest.approx((-0.507, -0.026), abs=0.0005)


def test_the_interval_is_near_the_bootstraps() -> None:
    counts = np.array([700, 60, 110, 130])
    draws = np.random.default_rng(1).multinomial(1000, counts / 1000, 20_000)
    expected = np.quantile((draws[:, 2] - draws[:, 1]) / 1000, [0.025, 0.975])
    value, low, high = intervals.paired_difference(joint(*counts.tolist()))
    assert value == 0.05
    assert (low, high) == pytest.approx(expected, abs=0.003)


@given(*[st.integers(0, 60)] * 4)
def test_the_interval_holds_the_difference_and_turns_with_it(both: int, a: int, b: int, neither: int) -> None:
    value, low, high = intervals.paired_difference(joint(both, a, b, neither))
    turned = intervals.paired_difference(joint(both, b, a, neither))
    if both + a + b + neither == 0:
        assert (value, low, high) == (None, None, None)
        return
    assert value is not None and low is not None and high is not None
    assert -1 - 1e-9 <= low <= value <= high <= 1 + 1e-9
    assert turned == pytest.approx((-value, -high, -low))


@given(st.integers(0, 40), st.integers(1, 40))
def test_a_share_has_wilsons_interval(right: int, wrong: int) -> None:
    expected = stats.binomtest(right, right + wrong).proportion_ci(method="wilson")
    assert intervals.paired_share(right, right + wrong) == pytest.approx(
        (right / (right + wrong), expected.low, expected.high)
    )
    assert intervals.paired_share(0, 0) == (None, None, None)


def test_rows_are_counted_where_a_is_sure_enough_and_the_truth_is_known() -> None:
    said = [
        ("x", 0.9, "x", "x"),
        ("x", 0.7, "y", "y"),
        ("y", 0.69, "y", "y"),
        ("y", 0.8, "y", None),
        ("x", 1.0, "y", "x"),
    ]
    found = [
        {
            "image_id": str(number),
            "label_a": a,
            "confidence_a": sure,
            "label_b": b,
            "confidence_b": 0.1,
            "agree": a == b,
            "reference": truth,
            "correct_a": None if truth is None else a == truth,
            "correct_b": None if truth is None else b == truth,
        }
        for number, (a, sure, b, truth) in enumerate(said)
    ]
    pairs = pa.Table.from_pylist(found, schema=tables.PAIRS)
    assert intervals.count_paired(pairs, 0.7) == PairedCounts(n=4, agree=2, known=3, right_a=2, right_b=2, both=1)
    assert intervals.count_paired(pairs) == PairedCounts(n=5, agree=3, known=4, right_a=3, right_b=3, both=2)
    assert intervals.count_paired(pairs, 0.7) + PairedCounts() == intervals.count_paired(pairs, 0.7)
    assert intervals.count_paired(pairs.slice(4)).swapped() == PairedCounts(1, 0, 1, 0, 1, 0)
    assert intervals.count_paired(pairs.slice(0, 0)) == PairedCounts()
