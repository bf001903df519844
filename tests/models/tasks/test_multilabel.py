"""Task `multilabel`: sets of labels as bits, thresholds against brute force, figures against scikit-learn."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, strategies
from hypothesis.extra import numpy as arrays
from sklearn import metrics

from models.tasks import multilabel
from schemas import tables

CLASSES = [f"/m/{number:02d}" for number in range(11)]  # two bytes of bits, the second not full


def labels(*rows: tuple[str, str, float, str | None]) -> Any:
    names = ("image_id", "label", "confidence", "verdict")
    return tables.label_rows({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def sets(found: Any) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in np.unpackbits(found.values, axis=1)]


def test_an_image_has_the_labels_that_its_rows_say_it_has() -> None:
    rows = labels(
        *(("b", "/m/10", 1.0, None), ("b", "/m/00", 0.6, None), ("b", "/m/08", 0.0, None)),  # people's no
        *(("c", "/m/07", 0.0, None), ("elsewhere", "/m/01", 1.0, None)),
        *(("d", "/m/03", 0.9, "rejected"), ("d", "/m/04", 0.0, "confirmed")),  # the verdict counts, not the confidence
    )
    found = multilabel.encode_targets(rows, ["a", "b", "c", "d"], CLASSES)
    assert found.values.shape == (4, 2)
    assert sets(found) == [[], [0, 10], [], [4]]
    assert found.known.tolist() == [False, True, True, True]  # of c it is known that it has none


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(KeyError, match="/m/99"):
        multilabel.encode_targets(labels(("a", "/m/99", 1.0, None)), ["a"], CLASSES)


@given(arrays.arrays(np.bool_, strategies.tuples(strategies.integers(0, 5), strategies.just(11))))
def test_bits_are_unpacked_as_they_were_packed(truth: npt.NDArray[np.bool_]) -> None:
    packed = np.packbits(truth, axis=1)
    np.testing.assert_array_equal(multilabel.unpack_labels(packed, 11), truth)


def test_every_class_at_or_above_its_threshold_is_read() -> None:
    scores = np.array([[0.5, 0.49, 0.9], [0.1, 0.2, 0.3], [0.7, 0.2, 0.89]], np.float32)
    found = multilabel.decode_labels(scores, CLASSES[:3])
    assert list(zip(found.rows.tolist(), found.labels, strict=True)) == [
        *((0, "/m/00"), (0, "/m/02")),
        *((2, "/m/00"), (2, "/m/02")),
    ]
    np.testing.assert_array_equal(found.confidences, np.array([0.5, 0.9, 0.7, 0.89], np.float32))
    own = multilabel.decode_labels(scores, CLASSES[:3], [0.6, 0.2, 0.9])
    assert list(zip(own.rows.tolist(), own.labels, strict=True)) == [
        *((0, "/m/01"), (0, "/m/02")),
        *((1, "/m/01"), (2, "/m/00"), (2, "/m/01")),
    ]


SCORES = strategies.one_of(  # coarse ones, which are often equal, and neighbours among the 32-bit numbers
    strategies.integers(0, 8).map(lambda eighths: np.float32(eighths / 8)),
    strategies.sampled_from([np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))]),
    strategies.floats(0, 1, width=32).map(np.float32),
)


def f1(truth: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_]) -> float:
    return float(metrics.f1_score(truth, said, zero_division=0.0))


@given(strategies.lists(strategies.tuples(strategies.booleans(), SCORES), min_size=1, max_size=12))
def test_no_threshold_has_a_higher_f1_than_the_one_chosen(rows: list[tuple[bool, np.float32]]) -> None:
    truth, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.float32)
    [chosen] = multilabel.choose_thresholds(np.packbits(truth[:, None], axis=1), scores[:, None], ["a"])
    if not truth.any():
        assert chosen == 0.5
        return
    said = np.zeros(len(rows), np.bool_)
    said[multilabel.decode_labels(scores[:, None], ["a"], [chosen]).rows] = True
    every = {limit: f1(truth, scores >= limit) for limit in np.unique(scores)}
    assert f1(truth, said) == pytest.approx(max(every.values()))
    # of equally good ones, the one that takes the fewest images
    assert said.sum() == min((scores >= limit).sum() for limit in every if every[limit] >= max(every.values()) - 1e-12)


def test_a_threshold_lies_halfway_to_the_score_below() -> None:
    truth = np.packbits(np.array([[1], [1], [0], [1]]), axis=1)
    scores = np.array([[0.9], [0.5], [0.25], [0.125]], np.float32)
    assert multilabel.choose_thresholds(truth, scores, ["a"]) == [0.125 / 2]  # 6/7 is more than 4/5
    assert multilabel.choose_thresholds(truth[:3], scores[:3], ["a"]) == [0.375]


def test_each_class_has_a_threshold_of_its_own() -> None:
    truth = np.array([[1, 0, 0], [0, 1, 0]])
    scores = np.array([[0.9, 0.3, 0.4], [0.1, 0.2, 0.4]], np.float32)
    found = multilabel.choose_thresholds(np.packbits(truth, axis=1), scores, CLASSES[:3])
    np.testing.assert_allclose(found, [0.5, 0.1, 0.5], rtol=1e-6)


@given(strategies.integers(1, 30), strategies.integers(0, 2**32 - 1), strategies.booleans())
def test_figures_are_those_of_scikit_learn(count: int, seed: int, own: bool) -> None:
    drawn = np.random.default_rng(seed)
    truth, scores = drawn.random((count, 11)) < 0.25, drawn.random((count, 11), dtype=np.float32)
    limits = drawn.random(11).astype(np.float32).tolist() if own else None
    said = scores >= np.float32(limits if limits else 0.5)
    found = multilabel.evaluate(np.packbits(truth, axis=1), scores, CLASSES, limits)
    occurs = np.flatnonzero(truth.any(axis=0))
    wanted = {"y_true": truth, "y_pred": said, "zero_division": 0.0}
    macro = metrics.f1_score(**wanted, average="macro", labels=occurs) if len(occurs) else 0.0
    assert found["macro_f1"] == pytest.approx(macro)
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(**wanted, average="micro"))
    assert found["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, said))
    assert found["subset_accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    by_class = metrics.f1_score(**wanted, average=None)
    assert found["by_class"] == {
        CLASSES[index]: {"images": int(truth[:, index].sum()), "f1": pytest.approx(by_class[index])} for index in occurs
    }


def test_of_a_set_that_is_not_complete_only_what_it_says_is_known() -> None:
    rows = labels(("b", "/m/10", 1.0, None), ("b", "/m/08", 0.0, None), ("c", "/m/07", 0.9, "rejected"))
    denied = pa.concat_tables([rows, labels(("c", "/m/99", 0.0, None))])  # what is denied need not be a class
    found = multilabel.encode_targets(denied, ["a", "b", "c"], CLASSES, complete=False)
    assert found.values.shape == (3, 4)
    assert [np.flatnonzero(row).tolist() for row in multilabel.unpack_labels(found.values, 11)] == [[], [10], []]
    assert [np.flatnonzero(row).tolist() for row in multilabel.unpack_known(found.values, 11)] == [[], [8, 10], [7]]
    assert found.known.tolist() == [False, True, True]
    assert multilabel.unpack_known(found.values[:, :2], 11).all()


@given(strategies.integers(1, 30), strategies.integers(0, 2**32 - 1))
def test_what_is_not_known_counts_neither_for_nor_against(count: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    known, scores = drawn.random((count, 11)) < 0.5, drawn.random((count, 11), dtype=np.float32)
    truth = (drawn.random((count, 11)) < 0.4) & known
    values = np.concatenate([np.packbits(truth, axis=1), np.packbits(known, axis=1)], axis=1)
    found, said = multilabel.evaluate(values, scores, CLASSES), scores >= 0.5
    flat = {"y_true": truth[known], "y_pred": said[known], "zero_division": 0.0}
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(**flat) if known.any() else 0.0)
    assert found["hamming_loss"] == pytest.approx((truth != said)[known].sum() / max(known.sum(), 1))
    whole = [(truth[row] == said[row])[known[row]].all() for row in range(count)]
    assert found["subset_accuracy"] == pytest.approx(np.mean(whole))
    for index, name in enumerate(CLASSES):
        rows = known[:, index]
        packed = np.packbits(truth[rows][:, [index]], axis=1)
        [alone] = multilabel.choose_thresholds(packed, scores[rows][:, [index]], [name])
        assert multilabel.choose_thresholds(values, scores, CLASSES)[index] == alone


def test_no_images_have_no_labels() -> None:
    nothing = tables.label_rows({"image_id": [], "label": [], "confidence": []})
    assert multilabel.encode_targets(nothing, [], CLASSES).values.shape == (0, 2)
    assert multilabel.encode_targets(nothing, ["a"], CLASSES).known.tolist() == [False]
    scores = np.zeros((0, 11), np.float32)
    assert len(multilabel.decode_labels(scores, CLASSES).rows) == 0
    assert multilabel.choose_thresholds(np.zeros((0, 2), np.uint8), scores, CLASSES) == [0.5] * 11
