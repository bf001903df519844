"""Reliability bins, ECE and Brier score, against scikit-learn and a loop; counts merge bit for bit in any order."""

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from metrics import calibration
from metrics.calibration import UNKNOWN
from schemas.tables import CALIBRATION

KEYS = {"dataset": "d", "split": "test", "annotator": "cnn1"}
Array = npt.NDArray[Any]
edges = st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.7, 0.8, 1 - 2**-24, 1.0])
sure = st.floats(0, 1, width=32) | edges
images = st.lists(st.tuples(sure, sure | st.none(), st.sampled_from([0, 1, UNKNOWN])), max_size=60)


def arrays(some: list[Any]) -> tuple[Array, Array, Array]:
    columns = list(zip(*some, strict=True)) if some else [(), (), ()]
    calibrated = np.array([np.nan if one is None else one for one in columns[1]], np.float32)
    return np.array(columns[0], np.float32), calibrated, np.array(columns[2], np.int8)


def check(rows: list[dict[str, Any]], said: Array, right: Array, bins: int, suffix: str) -> None:
    """The rows of a table against scikit-learn, of images of known truth."""
    whole, parts = rows[0], rows[1:]
    assert whole[f"n{suffix}"] == len(said) == sum(row[f"n{suffix}"] for row in parts)
    if not len(said):
        assert whole[f"ece{suffix}"] is whole[f"brier{suffix}"] is whole[f"accuracy{suffix}"] is None
        return
    brier = brier_score_loss(right, said.astype(np.float64), pos_label=1)
    assert whole[f"brier{suffix}"] == pytest.approx(brier, abs=1e-9)
    accuracy, mean = calibration_curve(right, said.astype(np.float64), n_bins=bins)
    filled = [row for row in parts if row[f"n{suffix}"]]
    assert [row[f"accuracy{suffix}"] for row in filled] == pytest.approx(accuracy.tolist())
    assert [row[f"mean_confidence{suffix}"] for row in filled] == pytest.approx(mean.tolist(), abs=1e-9)
    weights = [row[f"n{suffix}"] / len(said) for row in filled]
    assert whole[f"ece{suffix}"] == pytest.approx(float(np.dot(weights, np.abs(accuracy - mean))), abs=1e-9)


@given(images, st.integers(1, 20))
def test_figures_are_those_of_scikit_learn(some: list[Any], bins: int) -> None:
    raw, calibrated, correct = arrays(some)
    table = calibration.calibration_table(calibration.count_reliability(raw, calibrated, correct, bins), KEYS)
    rows, known = table.to_pylist(), correct != UNKNOWN
    assert [row["bin"] for row in rows] == [None, *range(bins)]
    assert all(row["ece"] is None for row in rows[1:])
    check(rows, raw[known], correct[known], bins, "")
    both = known & ~np.isnan(calibrated)
    check(rows, calibrated[both], correct[both], bins, "_calibrated")


@given(images, st.integers(0, 2**32 - 1))
def test_counts_merge_bit_for_bit_in_any_order(some: list[Any], seed: int) -> None:
    raw, calibrated, correct = arrays(some)
    whole, drawn = calibration.count_reliability(raw, calibrated, correct), random.Random(seed)
    cuts = sorted(drawn.randint(0, len(some)) for _ in range(3))
    parts = [
        calibration.count_reliability(raw[low:high], calibrated[low:high], correct[low:high])
        for low, high in zip([0, *cuts], [*cuts, len(some)], strict=True)
    ]
    drawn.shuffle(parts)
    found = calibration.merge_reliability(
        [
            calibration.merge_reliability(parts[:2]),
            calibration.merge_reliability(parts[2:]),
            calibration.merge_reliability([]),
        ]
    )
    np.testing.assert_array_equal(found.raw, whole.raw)
    np.testing.assert_array_equal(found.calibrated, whole.calibrated)


def test_a_table_by_hand() -> None:
    counts = calibration.count_reliability(
        np.array([0.5, 0.25, 1, 0.75], np.float32),
        np.full(4, np.nan, np.float32),
        np.array([1, 1, 0, UNKNOWN], np.int8),
        bins=2,
    )
    table = calibration.calibration_table(counts, KEYS)
    assert table.schema.equals(CALIBRATION, check_metadata=True)
    whole, low, high = table.to_pylist()
    assert (low["low"], low["high"], low["n"], low["correct"]) == (0, 0.5, 2, 2)
    assert (high["low"], high["high"], high["n"], high["correct"]) == (0.5, 1, 1, 0)
    assert (low["mean_confidence"], high["mean_confidence"], whole["mean_confidence"]) == (0.375, 1, 1.75 / 3)
    assert whole["ece"] == pytest.approx(2 / 3 * 0.625 + 1 / 3)
    assert whole["brier"] == pytest.approx((0.25 + 0.5625 + 1) / 3)
    assert (whole["accuracy_low"], whole["accuracy_high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # Wilson
    assert (whole["n_calibrated"], whole["ece_calibrated"], whole["accuracy_calibrated"]) == (0, None, None)
    assert {name: whole[name] for name in KEYS} == KEYS


def test_sums_do_not_round_at_scale() -> None:
    """A float would lose the last digits of these sums."""
    counts = calibration.count_reliability(
        np.array([1 / 3], np.float32), np.array([1 - 2**-24], np.float32), np.array([1], np.int8)
    )
    whole = calibration.merge_reliability([counts])
    for _ in range(21):
        whole = calibration.merge_reliability([whole, whole])
    assert (whole.raw == counts.raw * 2**21).all() and whole.raw[2].sum() > 2**50
    assert (whole.calibrated == counts.calibrated * 2**21).all()


def test_what_is_no_confidence_is_refused() -> None:
    wrong = np.array([0.5, 1.25], np.float32)
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1\.25 in row 1"):
        calibration.count_reliability(wrong, wrong, np.array([1, 1], np.int8))
    one, other = (calibration.count_reliability(*arrays([(0.5, 0.5, 1)]), bins=bins) for bins in (3, 4))
    with pytest.raises(ValueError, match="different bins"):
        calibration.merge_reliability([one, other])


def test_columns_of_a_table_become_arrays() -> None:
    found = calibration.marks(pa.chunked_array([pa.array([True, None]), pa.array([False])]))
    assert found.tolist() == [1, UNKNOWN, 0] and found.dtype == np.int8
    said = calibration.confidences(pa.chunked_array([pa.array([0.5, None], pa.float32())]))
    assert said[0] == 0.5 and np.isnan(said[1]) and said.dtype == np.float32
    assert len(calibration.confidences(pa.chunked_array([], pa.float32()))) == 0
    assert np.isnan(calibration.confidences(pa.chunked_array([pa.nulls(2, pa.float32())]))).all()
