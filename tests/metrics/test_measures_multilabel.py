"""Sets of labels: matrices of yes and no, judged by scikit-learn, against the same as rows of pairs."""

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, hamming_loss, precision_recall_fscore_support

from metrics import agreement_tables
from metrics.counts import MultilabelCounts, ReferenceCounts, count_label_sets
from tests.support.measure_rows import by_scope

KEYS = {"dataset": "d", "split": "test", "annotator_a": "x", "annotator_b": "y"}
LABELS = ["/m/01", "/m/02", "cat"]
NO, YES, UNKNOWN = 0, 1, 2
Image = list[tuple[int, int, int]]  # of each label: whether a gave it, whether b did, what the truth tells
Matrix = npt.NDArray[np.int64]
decision = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 2))
images = st.lists(st.lists(decision, min_size=3, max_size=3), max_size=15)


def counted(some: list[Image], start: int = 0, complete: bool = False) -> MultilabelCounts:
    """As `pairs` has them: a row where a, b or the truth gave the label; what else the truth tells comes beside."""
    rows = []
    for number, image in enumerate(some):
        for label, (a, b, truth) in zip(LABELS, image, strict=True):
            if a or b or truth == YES:
                gave = {"label_a": label if a else None, "label_b": label if b else None}
                sure = {"confidence_a": 0.75 if a else None, "confidence_b": 0.25 if b else None}
                known = {name: None if truth == UNKNOWN else (one == truth) for name, one in (("a", a), ("b", b))}
                right = {f"correct_{name}": value for name, value in known.items()}
                true = {"reference": label if truth == YES else None}
                rows.append({"image_id": f"{start + number:04d}", **gave, **sure, **true, **right})
    schema = pa.schema(
        [("image_id", pa.string()), *((name, pa.string()) for name in ("label_a", "label_b", "reference"))]
        + [(f"confidence_{name}", pa.float32()) for name in "ab"]
        + [(f"correct_{name}", pa.bool_()) for name in "ab"]
    )
    told_of = {label: sum(image[k][2] != UNKNOWN for image in some) for k, label in enumerate(LABELS)}
    anything = sum(any(one[2] != UNKNOWN for one in image) for image in some)
    told = (
        ReferenceCounts(anything, len(some), {})
        if complete
        else ReferenceCounts(anything, 0, {k: n for k, n in told_of.items() if n})
    )
    return count_label_sets(pa.Table.from_pylist(rows, schema=schema), len(some), told)


def table(counts: MultilabelCounts) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    return by_scope(agreement_tables.pair_tables(counts, KEYS)["measures"])


def matrices(some: list[Image]) -> tuple[Matrix, Matrix, Matrix, list[str]]:
    """What a, b and the truth say of each image and of each label that occurs, or of which anything is told."""
    array = np.array(some, dtype=np.int64).reshape(-1, len(LABELS), 3)
    occurs = [k for k in range(len(LABELS)) if array[:, k, :2].any() or (array[:, k, 2] != UNKNOWN).any()]
    return array[:, occurs, 0], array[:, occurs, 1], array[:, occurs, 2], [LABELS[k] for k in occurs]


def same(found: float | None, expected: float) -> None:
    if math.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-12)


@given(images)
@example([])
@example([[(0, 0, NO)] * 3])
@example([[(1, 1, YES)] * 3] * 4)
@example([[(1, 0, UNKNOWN)] * 3] * 2)
def test_agreement_is_scikit_learns(some: list[Image]) -> None:
    whole, classes = table(counted(some))
    a, b, _, names = matrices(some)
    assert list(classes) == names
    assert (whole["n"], whole["n_decisions"]) == (len(some), a.size)
    if not a.size:
        assert whole["hamming_loss"] is whole["observed_agreement"] is None
        return
    assert whole["n_agree"] == (a == b).all(axis=1).sum()
    assert whole["subset_agreement"] == pytest.approx(accuracy_score(a, b))
    assert whole["hamming_loss"] == pytest.approx(hamming_loss(a, b))
    assert whole["observed_agreement"] == pytest.approx(1 - hamming_loss(a, b))
    same(whole["micro_positive_agreement"], f1_score(a.ravel(), b.ravel(), zero_division=np.nan))
    same(whole["micro_negative_agreement"], f1_score(1 - a.ravel(), 1 - b.ravel(), zero_division=np.nan))
    kappas = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, row in enumerate(classes.values()):
            kappas.append(cohen_kappa_score(a[:, k], b[:, k]))
            same(row["one_vs_rest_cohen_kappa"], kappas[-1])
            assert (row["n"], row["n_same_decision"]) == (len(some), (a[:, k] == b[:, k]).sum())
        same(whole["cohen_kappa"], cohen_kappa_score(a.ravel(), b.ravel()))
        same(whole["macro_cohen_kappa"], np.nanmean(kappas))


@given(images)
@example([[(0, 0, YES)] * 3])
@example([[(0, 0, NO)] * 3] * 2 + [[(1, 1, NO)] * 3])
def test_figures_against_the_truth_are_scikit_learns_over_what_is_known(some: list[Image]) -> None:
    whole, classes = table(counted(some))
    *given_by, truth, _ = matrices(some)
    known = truth != UNKNOWN
    assert (whole["n_reference"], whole["n_reference_images"]) == (known.sum(), known.any(axis=1).sum())
    for annotator, said in zip("ab", given_by, strict=True):
        names = [f"{figure}_{annotator}" for figure in ("precision", "recall", "f1")]
        if not known.any():
            missing = {f"micro_{names[0]}", f"hamming_loss_{annotator}", f"macro_{names[2]}"}
            assert not missing & set(whole)
            continue
        same(whole[f"hamming_loss_{annotator}"], hamming_loss(truth[known], said[known]))
        right = ((said == truth) | ~known).all(axis=1)[known.any(axis=1)]
        assert whole[f"subset_accuracy_{annotator}"] == pytest.approx(right.mean())
        micro = _scores(truth[known], said[known])
        each = [_scores(truth[known[:, k], k], said[known[:, k], k]) for k in range(truth.shape[1])]
        for place, name in enumerate(names):
            same(whole[f"micro_{name}"], micro[place])
            for row, scores in zip(classes.values(), each, strict=True):
                same(row.get(name), scores[place])
            counted_in = [scores[place] for scores in each if not math.isnan(scores[2])]
            expected = np.nan_to_num(counted_in).mean() if counted_in else math.nan
            same(whole[f"macro_{name}"], expected)


def _scores(truth: Matrix, said: Matrix) -> list[float]:
    """Precision, recall and F1 of yes and no; NaN where they are not defined."""
    if not truth.size:
        return [math.nan] * 3
    found = precision_recall_fscore_support(truth, said, average="binary", zero_division=np.nan)
    f1 = found[2] if truth.any() or said.any() else math.nan
    return [float(found[0]), float(found[1]), float(f1)]


@given(images)
def test_a_complete_truth_knows_of_every_label(some: list[Image]) -> None:
    full = [[(a, b, min(truth, YES)) for a, b, truth in image] for image in some]
    occurring = [k for k in range(len(LABELS)) if any(any(image[k]) for image in full)]
    found, classes = table(counted(full, complete=True))
    assert list(classes) == [LABELS[k] for k in occurring]  # of what nobody ever gave there is nothing to tell
    assert found["n_reference"] == found["n_decisions"] == len(occurring) * len(full)
    assert found["n_reference_images"] == len(full)
    expected = table(counted(full))[0]
    for name in ("micro_precision_a", "micro_recall_b", "macro_f1_a", "subset_accuracy_b"):
        assert found.get(name) == expected.get(name)


@given(images, st.lists(st.integers(0, 2), min_size=15, max_size=15), st.permutations(range(3)), st.booleans())
def test_any_parts_in_any_order_give_the_same_tables(
    some: list[Image], parts: list[int], order: list[int], complete: bool
) -> None:
    if complete:
        some = [[(a, b, min(truth, YES)) for a, b, truth in image] for image in some]
    whole = counted(some, complete=complete)
    split = [
        counted([image for image, at in zip(some, parts, strict=False) if at == part], 100 * part, complete)
        for part in order
    ]
    merged = MultilabelCounts.merged([MultilabelCounts.merged(split[:2]), split[2]])
    assert agreement_tables.pair_tables(merged, KEYS) == agreement_tables.pair_tables(whole, KEYS)  # bit for bit


def test_the_confusion_of_sets_by_hand() -> None:
    counts = counted([[(1, 1, YES), (1, 0, NO), (0, 1, YES)], [(1, 0, UNKNOWN), (0, 0, YES), (0, 1, NO)]])
    rows = [tuple(row.values())[4:] for row in agreement_tables.confusion(counts, KEYS).to_pylist()]
    assert rows == [
        ("/m/01", "/m/01", 1, 0.75, 0.25),
        ("/m/01", None, 1, 0.75, None),
        ("/m/02", None, 1, 0.75, None),
        (None, "cat", 2, None, 0.25),
    ]
    whole, classes = table(counts)
    assert (whole["n"], whole["n_agree"], whole["hamming_loss"]) == (2, 0, 4 / 6)
    assert (classes["/m/02"]["recall_a"], classes["/m/02"]["precision_a"]) == (0.0, 0.0)
    assert classes["cat"]["precision_b"] == 0.5
    assert classes["/m/02"]["mean_confidence_a_only_a"] == 0.75


def test_more_rows_than_images_and_rows_without_a_label_are_refused() -> None:
    counts = counted([[(1, 1, YES)] * 3] * 3)
    with pytest.raises(
        ValueError, match=r"label '/m/01' has more rows than there are images \(2, 3 with a known reference\)"
    ):
        list(MultilabelCounts(counts.sums, 2, 2, counts.known).by_label())
    nothing = pa.table({name: pa.array([None], pa.string()) for name in ("label_a", "label_b", "reference")})
    with pytest.raises(ValueError, match=r"row 0 of the pairs has no label at all \(image 'x'\)"):
        count_label_sets(nothing.append_column("image_id", pa.array(["x"])), 1)
