"""Many annotators: the published example to the digits printed, and random ones by statsmodels and krippendorff."""

import math
import warnings
from typing import Any

import krippendorff
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from metrics import agreement_tables, ratings
from metrics.measures import Undefined
from metrics.measures.chance_corrected import fleiss_kappa, gwet_ac1, krippendorff_alpha
from metrics.ratings import Ratings
from tests.support.measure_rows import by_scope

KEYS = {"dataset": "d", "split": "test"}
FOUR = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
Image = tuple[str | None, ...]
images = st.lists(st.tuples(*[st.sampled_from(["0", "1", "10", None])] * 3), max_size=20)
whole_images = st.lists(st.tuples(*[st.sampled_from(["0", "1", "10"])] * 4), min_size=1, max_size=20)


def counted(some: list[Image], width: int = 3) -> Ratings:
    columns = list(zip(*some, strict=True)) if some else [()] * width
    return ratings.count_ratings(
        pa.table({f"r{number}": pa.array(one, pa.string()) for number, one in enumerate(columns)})
    )


def table(found: Ratings) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    measures = agreement_tables.group_measures(found, KEYS)
    assert {(row["annotator_a"], row["annotator_b"]) for row in measures.to_pylist()} == {
        (",".join(found.annotators), None)
    }
    return by_scope(measures)


def four() -> Ratings:
    columns = [[None if one == "." else one for one in line.split()] for line in FOUR]
    return counted(list(zip(*columns, strict=True)))


def test_the_published_example_of_four_raters() -> None:
    whole, classes = table(four())
    assert (whole["n_rated"], whole["n_pairable"]) == (12, 11)
    assert round(whole["observed_agreement"], 5) == 0.81818
    assert [round(whole[name], 5) for name in ("krippendorff_alpha", "gwet_ac1", "fleiss_kappa")] == [
        0.74342,
        0.77544,
        0.76117,
    ]
    patterns = four().patterns
    found = [estimate(patterns) for estimate in (gwet_ac1, fleiss_kappa)]
    errors = [None if isinstance(one, Undefined) or one.error is None else round(one.error, 5) for one in found]
    assert errors == [0.14295, 0.15302]  # irrCAC, gwet.ac1.raw and fleiss.kappa.raw
    assert list(classes) == ["1", "2", "3", "4", "5"]
    assert all((row["n_rated"], row["n_pairable"]) == (12, 11) for row in classes.values())


@given(whole_images)
@example([("0", "0", "0", "0")])
@example([("0", "1", "10", "0")])
def test_fleiss_kappa_is_statsmodels_where_nothing_is_missing(some: list[Image]) -> None:
    whole, classes = table(counted(some))
    scopes = [(whole, np.array(some)), *((row, np.array(some) == label) for label, row in classes.items())]
    for start, (row, votes) in zip(["", *["one_vs_rest_"] * len(classes)], scopes, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 0 / 0 where one label is all
            expected = inter_rater.fleiss_kappa(inter_rater.aggregate_raters(votes)[0])
        if math.isnan(expected):
            assert row[f"{start}fleiss_kappa"] is None
            assert row[f"{start}fleiss_kappa_why"] == "chance alone agrees on everything"
        else:
            assert row[f"{start}fleiss_kappa"] == pytest.approx(expected, abs=1e-9)


@given(images)
@example([])
@example([("0", None, None)] * 3)
@example([("0", "0", None), (None, "0", "0")])
@example([("0", "1", None), (None, "1", "10"), ("0", None, None)])
def test_alpha_is_krippendorffs_with_missing_ratings(some: list[Image]) -> None:
    whole, classes = table(counted(some))
    rated = [[one for one in image if one is not None] for image in some]
    counts = (sum(len(one) >= 1 for one in rated), sum(len(one) >= 2 for one in rated))
    assert list(classes) == sorted({one for image in rated for one in image})
    for row in (whole, *classes.values()):
        assert (row["n_rated"], row["n_pairable"]) == counts
    scopes = [(whole["krippendorff_alpha"], ["0", "1", "10"])]
    scopes += [(row["one_vs_rest_krippendorff_alpha"], [label]) for label, row in classes.items()]
    for alpha, names in scopes:
        votes = np.array(
            [
                [math.nan if one is None else (names.index(one) if one in names else -1) for one in image]
                for image in some
            ]
        ).reshape(-1, 3)
        paired = votes[(~np.isnan(votes)).sum(axis=1) >= 2]
        if len(np.unique(paired[~np.isnan(paired)])) < 2:
            assert alpha is None
        else:
            expected = krippendorff.alpha(paired.T, level_of_measurement="nominal")
            assert alpha == pytest.approx(expected, abs=1e-9)


@given(images)
@example([("0", "0", None), ("1", None, None)])
def test_figures_and_errors_are_gwets_by_a_loop_over_images(some: list[Image]) -> None:
    found = counted(some)
    scopes = [(found.patterns, found.labels, False), *((one.patterns, [x], True) for x, one in found.by_label())]
    for patterns, names, of_label in scopes:
        for estimate, expected in (
            (gwet_ac1(patterns), _by_loop(some, names, of_label, "ac1")),
            (fleiss_kappa(patterns), _by_loop(some, names, of_label, "fleiss")),
        ):
            if expected is None:
                assert isinstance(estimate, Undefined)
            else:
                assert not isinstance(estimate, Undefined)
                assert float(estimate.value) == pytest.approx(expected[0], abs=1e-9)
                assert (estimate.error is None) == (expected[1] is None)
                assert estimate.error is None or estimate.error == pytest.approx(expected[1], abs=1e-9)


def _by_loop(some: list[Image], names: list[str], of_label: bool, kind: str) -> tuple[float, float | None] | None:
    """Gwet 2014, chapter 2, image by image: as the tables of how many annotators gave each label are read."""
    categories = [*names, "the rest"] if of_label else names
    rated = [[x for x in image if x is not None] for image in some]
    rows = [
        [sum((x if x in names else "the rest") == k for x in image) for k in categories] for image in rated if image
    ]
    n, paired = len(rows), [row for row in rows if sum(row) >= 2]
    if not paired or (kind == "ac1" and len(categories) < 2):
        return None
    share = [sum(row[k] / sum(row) for row in rows) / n for k in range(len(categories))]
    weight = [(1 - one) / (len(share) - 1) for one in share] if kind == "ac1" else share
    chance = sum(one * times for one, times in zip(share, weight, strict=True))
    if abs(1 - chance) < 1e-12:
        return None

    def agree(row: list[int]) -> float:
        return sum(k * (k - 1) for k in row) / (sum(row) * (sum(row) - 1)) if sum(row) >= 2 else 0.0

    value = (sum(map(agree, paired)) / len(paired) - chance) / (1 - chance)
    scores = []
    for row in rows:
        own = n / len(paired) * (agree(row) - chance * (sum(row) >= 2)) / (1 - chance)
        shift = sum(k * w for k, w in zip(row, weight, strict=True)) / sum(row) - chance
        scores.append(own - 2 * (1 - value) * shift / (1 - chance))
    error = math.sqrt(sum((one - value) ** 2 for one in scores) / (n * (n - 1))) if n > 1 else None
    return value, error


@given(images)
@example([("0", "1", "0"), ("0", "0", None), ("1", "10", None), ("1", None, None)])
def test_the_error_of_alpha_is_gwets_by_a_loop_over_images(some: list[Image]) -> None:
    found = counted(some)
    estimate = krippendorff_alpha(found.patterns)
    rows = [[sum(x == k for x in image) for k in found.labels] for image in some]
    rows = [row for row in rows if sum(row) >= 2]
    if isinstance(estimate, Undefined) or len(rows) < 2:
        return
    n, mean = len(rows), sum(map(sum, rows)) / len(rows)
    share = [sum(row[k] for row in rows) / n / mean for k in range(len(found.labels))]
    chance = sum(one**2 for one in share)
    pairs = [sum(k * (k - 1) for k in row) / (mean * (sum(row) - 1)) for row in rows]
    observed = sum(pairs) / n
    alpha = (observed - chance) / (1 - chance)
    scores = []
    for row, agree in zip(rows, pairs, strict=True):
        more = (sum(row) - mean) / mean
        by_chance = sum(k * one for k, one in zip(row, share, strict=True)) / mean - chance * more
        own = (agree - observed * more - chance) / (1 - chance)
        scores.append(own - 2 * (1 - alpha) * (by_chance - chance) / (1 - chance))
    error = math.sqrt(sum((one - alpha) ** 2 for one in scores) / (n * (n - 1)))
    assert estimate.error == pytest.approx(error, abs=1e-9)


@given(images, st.lists(st.integers(0, 3), min_size=20, max_size=20), st.permutations(range(4)))
def test_any_parts_in_any_order_give_the_same_table(some: list[Image], parts: list[int], order: list[int]) -> None:
    whole = counted(some)
    split = [counted([image for image, at in zip(some, parts, strict=False) if at == part]) for part in order]
    merged = Ratings.merged([Ratings.merged(split[:2]), *split[2:]])
    assert merged.rows.equals(whole.rows)
    tables = [agreement_tables.group_measures(one, KEYS) for one in (merged, whole)]
    assert tables[0].equals(tables[1])  # bit for bit


@given(images)
def test_who_gave_a_label_is_of_no_concern(some: list[Image]) -> None:
    turned = counted([image[::-1] for image in some])
    assert turned.rows.equals(counted(some).rows)
    patterns = {tuple(sorted(x for x in image if x)) for image in some} - {()}
    assert turned.rows.num_rows == len(patterns)


def test_ratings_of_others_are_refused() -> None:
    other = ratings.count_ratings(pa.table({"x": ["0"], "y": ["1"]}))
    with pytest.raises(
        ValueError, match=r"only ratings of the same annotators can be merged, got those of r0, r1, r2, r3 and x, y"
    ):
        Ratings.merged([four(), other])


def test_one_image_has_no_interval() -> None:
    whole, _ = table(counted([("0", "1", "0")]))
    assert whole["observed_agreement"] == pytest.approx(1 / 3)
    assert whole["observed_agreement_low"] is whole["gwet_ac1_high"] is None
    assert whole["observed_agreement_why"] == "too few images"
