"""Coverage: bins of every float32, thresholds and shares by brute force, and the sentence that people read."""

import random
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metrics import coverage
from metrics.calibration import SIZE, UNKNOWN, fine_bins, lower_bounds
from schemas.tables import COVERAGE, COVERAGE_CURVE

KEYS = {"dataset": "d", "split": "test", "annotator_a": "cnn1", "annotator_b": "cnn2", "confidence": "raw"}
CHOSEN = {**KEYS, "threshold_split": "validation"}
Array = npt.NDArray[Any]
BOUNDS = lower_bounds()
near_one = st.integers(0, 40).map(lambda steps: 1 - steps * 2.0**-24)
sure = st.floats(0, 1, width=32) | near_one | st.sampled_from([0.0, 0.5, 0.9, 0.99, 2**-9, 1.0]) | st.none()
mark = st.sampled_from([1, 1, 1, 0, UNKNOWN])
images = st.lists(st.tuples(sure, sure, st.booleans(), mark, mark), max_size=50)


def arrays(some: list[Any]) -> tuple[Array, ...]:
    a, b, agree, right_a, right_b = zip(*some, strict=True) if some else ((), (), (), (), ())
    said = [np.array([np.nan if one is None else one for one in column], np.float32) for column in (a, b)]
    right_b = tuple(x if same else y for same, x, y in zip(agree, right_a, right_b, strict=True))
    return (*said, np.array(agree, np.bool_), np.array(right_a, np.int8), np.array(right_b, np.int8))


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The interval, by SciPy."""
    found = stats.binomtest(part, whole).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


# The scale


def test_each_float_lies_above_its_bound_and_below_the_next() -> None:
    """Every float32 from 0.5 to 1, and a sweep of those below."""
    upper = (1 - np.arange(2**23 + 1) / 2**24).astype(np.float32)
    lower = np.linspace(0, 0.5, 2**20, dtype=np.float32)
    tiny = np.array([0, -0.0, 1e-45, 1e-38, 2**-9, np.nextafter(np.float32(2**-9), np.float32(0))], np.float32)
    for values in (upper, lower, tiny):
        place = fine_bins(values)
        assert (BOUNDS[place] <= values).all()
        assert (BOUNDS[np.minimum(place + 1, SIZE - 1)] > values)[place < SIZE - 1].all() and place.min() > 0
        order = np.argsort(values, kind="stable")
        assert (np.diff(place[order]) >= 0).all()


def test_bins_are_narrow_where_confidences_crowd() -> None:
    assert (np.diff(BOUNDS[1:]) >= 0).all() and BOUNDS[1] == 0 and BOUNDS[-1] == 1 and len(BOUNDS) == SIZE < 4096
    middle = BOUNDS[1:-1].astype(np.float64)
    width = np.diff(BOUNDS[1:].astype(np.float64))
    nearer = np.minimum(np.maximum(middle, 2**-9), 1 - middle)
    assert (width <= nearer / 128 + 2**-24)[1:].all()
    for value in (0.5, 0.75, 0.99609375, 1 - 2**-24, 1, 2**-9, 0.25):  # a bound belongs to its bin
        assert BOUNDS[fine_bins(np.array([value], np.float32))[0]] == value
    own = (1 - np.arange(129) / 2**24).astype(np.float32)
    assert len(set(fine_bins(own).tolist())) == 129


def test_no_confidence_is_below_every_threshold_and_a_wrong_one_refused() -> None:
    assert fine_bins(np.array([np.nan, 0], np.float32)).tolist() == [0, 1]
    assert np.isnan(BOUNDS[0])
    with pytest.raises(ValueError, match=r"\[0, 1\], got -0\.5 in row 1"):
        fine_bins(np.array([0, -0.5], np.float32))


# Thresholds


def brute_threshold(said: Array, right: Array, target: str, least: int) -> float | None:
    """The lowest bound of the bin of an image of known truth at which accepted images are accurate enough."""
    tried = sorted({float(BOUNDS[place]) for place in fine_bins(said[(right != UNKNOWN) & ~np.isnan(said)])})
    for bound in tried:
        taken = [int(mark) for one, mark in zip(said, right, strict=True) if one >= bound and mark != UNKNOWN]
        if len(taken) >= least and Fraction(sum(taken), len(taken)) >= Fraction(target):
            return bound
    return None


def check(row: dict[str, Any], said: Array, right: Array, agree: Array) -> None:
    """What a row of a table says of a threshold, against a loop over images."""
    bound = row["threshold"]
    least = -1 if row["rule"] == "agree" else 2 if bound is None else bound
    taken = agree & ((said >= least) | (least < 0))  # with no confidence too, where none is asked for
    known = taken & (right != UNKNOWN)
    correct = int((known & (right == 1)).sum())
    assert (row["n"], row["accepted"]) == (len(said), int(taken.sum()))
    assert (row["known"], row["correct"]) == (int(known.sum()), correct)
    for name, part, whole in (("coverage", row["accepted"], row["n"]), ("accuracy", correct, row["known"])):
        found = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        if not whole:
            assert found == [None] * 3
        else:
            assert found == pytest.approx([part / whole, *wilson(part, whole)], abs=1e-9)


def agreed(columns: Any) -> coverage.CoverageCounts:
    """The counts of columns as `arrays` makes them."""
    return coverage.count_agreed(*columns[:4])


@given(images, images, st.integers(1, 8))
def test_thresholds_and_coverage_are_those_of_brute_force(held: list[Any], test: list[Any], least: int) -> None:
    chosen, judged = arrays(held), arrays(test)
    targets = ("0.5", "0.75", "0.9", "1")
    asked = ([float(one) for one in targets], least)
    alone = [
        coverage.coverage_table(
            coverage.count_coverage(chosen[side], chosen[side + 3]),
            coverage.count_coverage(judged[side], judged[side + 3]),
            keys,
            *asked,
        )
        for side, keys in enumerate([{**CHOSEN, "annotator_a": name, "annotator_b": None} for name in ("cnn1", "cnn2")])
    ]
    table = pa.concat_tables([*alone, coverage.coverage_table(agreed(chosen), agreed(judged), CHOSEN, *asked)])
    assert table.schema.equals(COVERAGE, check_metadata=True)
    rows = table.to_pylist()
    rules = ["one"] * 4 + ["one"] * 4 + ["agree"] + ["agree_and_confident"] * 4
    assert [row["rule"] for row in rows] == rules
    assert [(row["annotator_a"], row["annotator_b"]) for row in rows[3:5]] == [("cnn1", None), ("cnn2", None)]
    always = [np.ones(len(part[0]), np.bool_) for part in (chosen, judged)]
    ways = {"cnn1": (0, 3, always), "cnn2": (1, 4, always), "both": (None, 3, [chosen[2], judged[2]])}
    for row in rows:
        side, right, there = ways["both" if row["annotator_b"] else row["annotator_a"]]
        said = [np.minimum(part[0], part[1]) if side is None else part[side] for part in (chosen, judged)]
        if row["target"] is not None:
            target = targets[[0.5, 0.75, 0.9, 1.0].index(row["target"])]
            mine = there[0]
            assert row["threshold"] == brute_threshold(said[0][mine], chosen[right][mine], target, least)
        check(row, said[1], judged[right], there[1])


def test_equal_confidences_are_accepted_together() -> None:
    said = np.array([0.9] * 10 + [0.8] * 10, np.float32)
    right = np.array([1] * 9 + [0] + [1] * 10, np.int8)
    counts = coverage.count_coverage(said, right)
    first = coverage.threshold_bin(counts, 0.95, 5)
    assert first == fine_bins(said[-1:])[0]  # 19 of 20; the ten surest alone are 9 of 10
    assert coverage.threshold_bin(counts, 0.96, 5) is None


def test_a_target_is_reached_exactly() -> None:
    """49 of 50 is 0.98, whatever 0.98 is in binary."""
    counts = coverage.count_coverage(np.full(50, 0.7, np.float32), np.array([1] * 49 + [0], np.int8))
    assert coverage.threshold_bin(counts, 0.98) is not None
    assert coverage.threshold_bin(counts, 0.98, least=51) is None
    assert coverage.threshold_bin(counts, 0.9801) is None
    for wrong in (0, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"\(0, 1\], got"):
            coverage.threshold_bin(counts, wrong)


def test_few_images_choose_no_threshold() -> None:
    counts = coverage.count_coverage(np.full(29, 0.7, np.float32), np.ones(29, np.int8))
    assert coverage.LEAST == 30 and coverage.threshold_bin(counts, 0.9) is None
    assert coverage.threshold_bin(coverage.merge_coverage([]), 0.9, least=0) is None


@given(images, st.integers(0, 2**32 - 1))
def test_counts_merge_bit_for_bit_in_any_order(some: list[Any], seed: int) -> None:
    columns, drawn = arrays(some), random.Random(seed)
    cuts = sorted(drawn.randint(0, len(some)) for _ in range(2))
    bounds = list(zip([0, *cuts], [*cuts, len(some)], strict=True))
    parts = [agreed([column[low:high] for column in columns]) for low, high in bounds]
    drawn.shuffle(parts)
    found = coverage.merge_coverage([coverage.merge_coverage([]), coverage.merge_coverage(parts[:2]), *parts[2:]])
    np.testing.assert_array_equal(found.bins, agreed(columns).bins)
    assert found.images.tolist() == [len(some)]


# The curve


@given(images, st.integers(1, 12))
def test_each_point_of_the_curve_is_that_of_brute_force(some: list[Any], points: int) -> None:
    columns = arrays(some)
    alone = [coverage.count_coverage(columns[side], columns[side + 3]) for side in range(2)]
    keys = [{**KEYS, "annotator_a": name, "annotator_b": None} for name in ("cnn1", "cnn2")]
    parts = [coverage.curve_table(one, of, points) for one, of in zip(alone, keys, strict=True)]
    table = pa.concat_tables([*parts, coverage.curve_table(agreed(columns), KEYS, points)])
    assert table.schema.equals(COVERAGE_CURVE, check_metadata=True)
    always = np.ones(len(some), np.bool_)
    ways = {"cnn1": (columns[0], 3, always), "cnn2": (columns[1], 4, always)}
    for row in table.to_pylist():
        said, right, there = (
            ways[row["annotator_a"]] if row["annotator_b"] is None else (np.minimum(*columns[:2]), 3, columns[2])
        )
        check(row, said, columns[right], there)


def test_the_curve_goes_from_the_surest_to_all() -> None:
    said = np.random.default_rng(3).beta(8, 0.5, 5000).astype(np.float32)
    rows = coverage.curve_rows(coverage.count_coverage(said, np.ones(5000, np.int8)), {})
    shares = [row["coverage"] for row in rows]
    assert len(rows) == 100 and shares[-1] == 1 and sorted(shares) == shares
    expected = np.arange(1, 101) / 100
    assert ((np.array(shares) >= expected) & (np.array(shares) < expected + 0.02)).all()
    thresholds = [row["threshold"] for row in rows]
    assert sorted(thresholds, reverse=True) == thresholds


def table(held: int, test: int, truth: int = 1) -> pa.Table:
    """Two annotators that agree on all but a fifth; surely right, or unsure and right every other time."""
    parts = []
    for count, right in ((held, 1), (test, truth)):
        said = np.where(np.arange(count) % 5 < 3, 0.95, 0.6).astype(np.float32)
        marks = np.where((said > 0.9) | (np.arange(count) % 2 == 0), right, min(right, 0)).astype(np.int8)
        parts.append(coverage.count_agreed(said, said, np.arange(count) % 5 < 4, marks))
    return coverage.coverage_table(parts[0], parts[1], CHOSEN)


def test_nothing_to_judge_is_told_so() -> None:
    found = table(200, 0)
    assert {row["coverage"] for row in found.to_pylist()} == {None}
