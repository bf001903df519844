"""Measures: exact counts that merge in any order, and figures that scikit-learn and published tables confirm."""

import math
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score

from metrics import agreement_tables, measures, ratings
from metrics.counts import LabelCounts, ReferenceCounts, SequenceCounts, count_label_sets, count_labels
from metrics.cross_tables import CONFIDENCE_UNIT, distinct
from metrics.measures import Figure, accuracy, chance_corrected
from metrics.pairing import pair_by_image
from schemas import plugins, tables

MEASURES = plugins.names(measures)
LABELS = ["0", "1", "7", "ten"]
Row = tuple[str, str, str | None, float, float]


def pairs_of(rows: list[Row]) -> pa.Table:
    """Rows of label a, label b, truth (None for none), confidence a, confidence b, as a table of pairs."""
    ids = [f"image-{row}" for row in range(len(rows))]
    a, b, truth, confidence_a, confidence_b = zip(*rows, strict=True) if rows else ([], [], [], [], [])
    known = [one is not None for one in truth]
    columns = {
        "image_id": pa.array(ids, pa.string()),
        "label_a": pa.array(a, pa.string()),
        "confidence_a": pa.array(confidence_a, pa.float32()),
        "confidence_calibrated_a": pa.nulls(len(rows), pa.float32()),
        "confidence_calibrated_b": pa.nulls(len(rows), pa.float32()),
        "label_b": pa.array(b, pa.string()),
        "confidence_b": pa.array(confidence_b, pa.float32()),
        "agree": pa.array([x == y for x, y in zip(a, b, strict=True)], pa.bool_()),
        "reference": pa.array(truth, pa.string()),
        "correct_a": pa.array([x == t if k else None for x, t, k in zip(a, truth, known, strict=True)], pa.bool_()),
        "correct_b": pa.array([x == t if k else None for x, t, k in zip(b, truth, known, strict=True)], pa.bool_()),
    }
    return pa.table(columns, schema=tables.PAIRS)


def counts_of(matrix: list[list[int]]) -> LabelCounts:
    """The counts of a published table: rows are the labels of a, columns those of b."""
    cells = [
        (str(i), str(j), None, 1.0, 0.5) for i, line in enumerate(matrix) for j, n in enumerate(line) for _ in range(n)
    ]
    return count_labels(pairs_of(cells))  # type: ignore[arg-type]


confidence = st.floats(0, 1, width=32)
rows = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.sampled_from([*LABELS, "only b"]),  # a class that one annotator alone uses
        st.sampled_from([*LABELS, None]),
        confidence,
        confidence,
    ),
    max_size=30,
)


def kinds_of(some: list[Row]) -> list[Any]:
    """The same rows as counts of every kind."""
    pairs = pairs_of(some)
    whole = count_labels(pairs)
    place = pairs.column_names.index
    only = pairs.set_column(place("label_b"), "label_b", pc.if_else(pairs["agree"], pairs["label_b"], None))
    told = ReferenceCounts(images=len(some), every_label=len(some))
    unknown = pa.nulls(len(some), pa.string())
    judged = only.set_column(place("reference"), "reference", unknown)
    sets = count_label_sets(judged.set_column(place("correct_a"), "correct_a", pairs["agree"]), len(some), told)
    votes = ratings.count_ratings(pairs.select(["label_a", "label_b", "reference"]))
    found: list[Any] = [whole, SequenceCounts(whole.cells), sets, sets.pooled, votes]
    return [*found, *(one for _, one in whole.by_label()), *(one for _, one in votes.by_label())]


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("some", [[], [("1", "7", None, 0.5, 1.0)], [("1", "1", "7", 0.0, 1.0)]])
def test_a_measure_gives_only_what_it_describes_each_once(name: str, some: list[Row]) -> None:
    module = plugins.load(measures, "measure", name)
    taken = [counts for counts in kinds_of(some) if type(counts) in module.COUNTS]
    assert taken or not some
    for counts in taken:
        figures = list(module.figures(counts))
        names = [figure.measure for figure in figures]
        assert len(set(names)) == len(names) and set(names) <= set(module.MEASURES)
        for figure in figures:
            assert (figure.value is None) <= (figure.undefined_because is not None), figure
            assert (figure.low is None) == (figure.high is None) == (figure.method is None), figure


def test_every_measure_that_is_described_occurs() -> None:
    some: list[Row] = [("1", "7", "1", 0.5, 1.0), ("1", "1", "7", 0.0, 1.0)]
    found = {figure.measure for counts in kinds_of(some) for figure in measures.figures_of(counts)}
    assert found == set(measures.descriptions())
    assert sum(len(module.MEASURES) for module in measures.modules()) == len(found), "two files describe one measure"


def test_names_of_one_label_mean_nothing_else() -> None:
    some: list[Row] = [("1", "7", "1", 0.5, 1.0), ("1", "1", "7", 0.0, 1.0)]
    _, *others = kinds = kinds_of(some)
    of_class = [one for one in kinds if type(one) in measures.CLASS]
    of_all = [one for one in kinds if type(one) not in measures.CLASS]
    names = [{figure.measure for one in part for figure in measures.figures_of(one)} for part in (of_class, of_all)]
    assert others and names[0] & names[1] == {"n", "n_reference", "n_rated", "n_pairable"}  # of both the same images


SOME: list[Row] = [("1", "1", "1", 0.5, 1.0), ("1", "7", "1", 0.5, 0.5), ("7", "7", "0", 0.25, 1.0)]


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "sequence"])
def test_no_column_of_the_summary_is_empty_for_a_task(task: str) -> None:
    whole, sequence, *_ = kinds_of(SOME)
    rows = {"label_a": ["1", None, "7"], "label_b": ["1", "7", None], "reference": ["1", None, "7"]}
    pairs = pairs_of(SOME)
    for name, column in {**rows, "correct_a": [True, True, True]}.items():
        pairs = pairs.set_column(pairs.column_names.index(name), name, pa.array(column))
    sets = count_label_sets(pairs, 3, ReferenceCounts(3, 3))
    counts = {"multiclass": whole, "multilabel": sets, "sequence": sequence}[task]
    keys = {"dataset": "d", "split": "test", "annotator_a": "x", "annotator_b": "y"}
    (row,) = agreement_tables.pair_tables(counts, keys)["summary"].to_pylist()
    assert row["task"] == task
    assert {name for name, value in row.items() if value is None} == {"undefined"}
    assert len(row) <= 40


def figures_of(module: Any, counts: Any) -> dict[str, Figure]:
    return {figure.measure: figure for figure in module.figures(counts)}


def test_kappa_by_hand() -> None:
    # 2x2: observed 35/50; a says yes 25 times, b 30 times: expected (25*30 + 25*20)/2500 = 0.5; kappa 0.2/0.5
    figures = figures_of(chance_corrected, counts_of([[20, 5], [10, 15]]))
    assert (figures["chance_agreement"].value, figures["cohen_kappa"].value) == (0.5, 0.4)


def test_kappa_is_not_defined_where_chance_agrees_on_everything() -> None:
    figures = figures_of(chance_corrected, counts_of([[9]]))
    assert figures["chance_agreement"].value == 1.0
    why = "chance alone agrees on everything"
    assert figures["cohen_kappa"] == Figure("cohen_kappa", None, undefined_because=why)


def test_no_images_have_no_figures() -> None:
    nothing = count_labels(pairs_of([]))
    assert (nothing.n, nothing.n_agree) == (0, 0)
    found = figures_of(chance_corrected, nothing).values()
    assert {(one.value, one.undefined_because) for one in found} == {(None, "no image was labelled by two")}
    assert list(accuracy.figures(nothing)) == [Figure("n_reference", 0)]


def test_total_disagreement_of_disjoint_labels_is_no_worse_than_chance() -> None:
    counts = count_labels(pairs_of([("0", "1", None, 1, 1), ("0", "7", None, 1, 1)]))
    assert figures_of(chance_corrected, counts)["cohen_kappa"].value == 0


@given(rows)
def test_kappa_is_scikit_learns(some: list[Row]) -> None:
    if not some:
        return
    kappa = figures_of(chance_corrected, count_labels(pairs_of(some)))["cohen_kappa"].value
    a, b = [row[0] for row in some], [row[1] for row in some]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where kappa is not defined
        expected = cohen_kappa_score(a, b)
    if math.isnan(expected):
        assert kappa is None
    else:
        assert kappa == pytest.approx(expected, abs=1e-12)


@given(rows)
def test_accuracy_is_scikit_learns_where_there_is_a_truth(some: list[Row]) -> None:
    figures = figures_of(accuracy, count_labels(pairs_of(some)))
    known = [row for row in some if row[2] is not None]
    assert figures["n_reference"].value == len(known)
    truth = [row[2] for row in known]
    for name, column in (("accuracy_a", 0), ("accuracy_b", 1)):
        if known:
            assert figures[name].value == pytest.approx(accuracy_score(truth, [row[column] for row in known]))
        else:
            assert name not in figures


@given(rows, st.lists(st.integers(0, 4), min_size=30, max_size=30), st.permutations(range(5)))
def test_counts_merge_to_the_same_in_any_order_and_partition(
    some: list[Row], parts: list[int], order: list[int]
) -> None:
    whole = count_labels(pairs_of(some))
    split = [[row for row, part in zip(some, parts, strict=False) if part == number] for number in order]
    merged = LabelCounts.merged(count_labels(pairs_of(part)) for part in split)
    assert merged.cells.equals(whole.cells)
    nested = LabelCounts.merged(
        [
            LabelCounts.merged(count_labels(pairs_of(part)) for part in split[:2]),
            *(count_labels(pairs_of(part)) for part in split[2:]),
        ]
    )
    assert nested.cells.equals(whole.cells)


def test_nothing_merges_to_nothing() -> None:
    assert LabelCounts.merged([]).n == 0


@given(rows)
def test_the_fixed_point_sums_are_exact(some: list[Row]) -> None:
    cells = count_labels(pairs_of(some)).cells.to_pylist()
    for cell in cells:
        same = [row for row in some if row[:3] == (cell["label_a"], cell["label_b"], cell["reference"])]
        assert cell["n"] == len(same)
        for name, column in (("confidence_a", 3), ("confidence_b", 4)):
            exact = sum(round(Fraction(np.float32(row[column]).item()) * CONFIDENCE_UNIT) for row in same)
            assert cell[name] == exact
    assert sum(cell["n"] for cell in cells) == len(some)


def test_sums_that_floats_would_round_are_exact() -> None:
    # a float32 sum of a thousand tenths is 99.999; and 2**-32 beside 1 is lost
    tenth = count_labels(pairs_of([("0", "0", None, 0.1, 1.0)] * 1000)).cells
    assert tenth["confidence_a"].to_pylist() == [1000 * round(Fraction(np.float32(0.1).item()) * 2**32)]
    tiny = count_labels(pairs_of([("0", "0", None, 1.0, 2.0**-32), ("0", "0", None, 1.0, 0.0)])).cells
    assert (tiny["confidence_a"].to_pylist(), tiny["confidence_b"].to_pylist()) == ([2**33], [1])


@given(rows)
def test_marginals_add_up(some: list[Row]) -> None:
    counts = count_labels(pairs_of(some))
    for annotator, column in (("a", 0), ("b", 1)):
        found = counts.marginal(annotator)
        assert dict(found) == {
            label: n for label in {row[column] for row in some} if (n := sum(row[column] == label for row in some))
        }
    assert counts.n_agree == sum(row[0] == row[1] for row in some)


def labels_of(ids: list[str], labels: list[str], confidences: list[float]) -> pa.Table:
    columns: dict[str, Any] = {"image_id": ids, "label": labels, "confidence": pa.array(confidences, pa.float32())}
    columns |= {name: pa.nulls(len(ids), tables.LABELS.field(name).type) for name in tables.LABELS.names[3:]}
    return pa.table(columns, schema=tables.LABELS)


@given(st.data())
def test_pairs_are_the_inner_join_in_order(data: Any) -> None:
    ids = [f"id-{number}" for number in range(8)]
    chosen = [data.draw(st.lists(st.sampled_from(ids), unique=True)) for _ in range(3)]
    a, b, truth = (
        {one: (data.draw(st.sampled_from(LABELS)), number / 64 + place / 8) for number, one in enumerate(some)}
        for place, some in enumerate(chosen)
    )
    as_tables = [
        labels_of(list(one), *map(list, zip(*one.values(), strict=True))) if one else labels_of([], [], [])
        for one in (a, b, truth)
    ]
    found = pair_by_image(as_tables[0], as_tables[1], as_tables[2]).to_pylist()
    expected = []
    for image_id, (label, sure) in a.items():
        if image_id in b:
            other, other_sure = b[image_id]
            true = truth[image_id][0] if image_id in truth else None
            correct = [None if true is None else one == true for one in (label, other)]
            expected.append([image_id, label, sure, None, other, other_sure, None, label == other, true, *correct])
    assert [list(row.values()) for row in found] == expected


def test_pairs_of_chunked_label_sets() -> None:
    a = pa.concat_tables([labels_of(["x", "y"], ["0", "1"], [0.5, 1]), labels_of(["z"], ["7"], [0.25])])
    b = pa.concat_tables([labels_of(["z"], ["7"], [1]), labels_of([], [], []), labels_of(["x"], ["1"], [1])])
    assert pair_by_image(a, b, b)["image_id"].to_pylist() == ["x", "z"]
    assert pair_by_image(a, b, b)["correct_a"].to_pylist() == [False, True]
    assert pair_by_image(a, b, None)["reference"].null_count == pair_by_image(a, b, None)["correct_b"].null_count == 2


@pytest.mark.parametrize("size", [1, 50, 2**20 + 1])
def test_distinct_codes_are_those_that_sorting_finds(size: int) -> None:
    codes = np.random.default_rng(size).integers(0, size, 300)
    for some in (codes, codes[:0], codes[:1]):
        found, expected = distinct(some, size), np.unique(some, return_inverse=True)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
