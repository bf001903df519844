"""Task `multiclass`: the label of each image, and how right a network is, against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies
from sklearn import metrics

from models import tasks
from models.tasks import multiclass
from schemas import tables

CLASSES = ["cat", "dog", "eel"]


def labels(*rows: tuple[str, str, float]) -> Any:
    ids, names, confidences = zip(*rows, strict=True) if rows else ((), (), ())
    return tables.label_rows({"image_id": list(ids), "label": list(names), "confidence": list(confidences)})


def test_each_image_gets_its_class_in_the_order_of_the_images() -> None:
    rows = labels(("c", "eel", 1.0), ("a", "dog", 0.2), ("elsewhere", "cat", 1.0))
    found = multiclass.encode_targets(rows, ["a", "b", "c"], CLASSES)
    assert found.values.tolist() == [[1], [-1], [2]]
    assert found.known.tolist() == [True, False, True]


@pytest.mark.parametrize("turn", [1, -1])
def test_of_several_labels_the_most_confident_counts(turn: int) -> None:
    rows = [("a", "eel", 0.5), ("a", "cat", 0.9), ("a", "dog", 0.7), ("b", "dog", 0.3), ("b", "cat", 0.1)]
    assert multiclass.encode_targets(labels(*rows[::turn]), ["b", "a"], CLASSES).values.tolist() == [[1], [0]]


@pytest.mark.parametrize("turn", [1, -1])
def test_of_equally_confident_labels_the_first_class_counts(turn: int) -> None:
    rows = [("a", "eel", 0.5), ("a", "dog", 0.5), ("b", "cat", 1.0), ("b", "eel", 1.0)]
    assert multiclass.encode_targets(labels(*rows[::turn]), ["a", "b"], CLASSES).values.tolist() == [[1], [0]]


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(KeyError, match="fox"):
        multiclass.encode_targets(labels(("a", "fox", 1.0)), ["a"], CLASSES)


def test_the_highest_score_is_read_and_is_the_confidence() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.4, 0.2, 0.4]], np.float32)
    found = multiclass.decode_labels(scores, CLASSES)
    assert found.labels.tolist() == ["dog", "cat", "cat"]
    assert found.rows.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.confidences, np.array([0.5, 0.6, 0.4], np.float32))


@given(strategies.integers(1, 40), strategies.integers(0, 2**32 - 1))
def test_figures_are_those_of_scikit_learn(count: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    truth, scores = drawn.integers(0, 3, count), drawn.random((count, 3), dtype=np.float32)
    said = scores.argmax(axis=1)
    found = multiclass.evaluate(truth[:, None], scores, CLASSES)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    occurring = np.unique(truth)
    recalls = metrics.recall_score(truth, said, labels=occurring, average=None, zero_division=0)
    assert list(found["by_class"]) == [CLASSES[index] for index in occurring]
    for index, recall in zip(occurring, recalls, strict=True):
        stated = found["by_class"][CLASSES[index]]
        assert stated == {"images": int((truth == index).sum()), "accuracy": pytest.approx(recall)}


def test_no_images_have_no_labels() -> None:
    assert multiclass.encode_targets(labels(), [], CLASSES).values.shape == (0, 1)
    assert multiclass.encode_targets(labels(), ["a"], CLASSES).known.tolist() == [False]
    found = multiclass.decode_labels(np.zeros((0, 3), np.float32), CLASSES)
    assert (len(found.rows), len(found.labels), len(found.confidences)) == (0, 0, 0)


@pytest.mark.parametrize(("name", "scores"), [("multiclass", 12), ("multilabel", 12), ("sequence", 7 + 5 * 12)])
def test_a_task_is_found_by_its_name_and_says_how_many_scores_it_takes(name: str, scores: int) -> None:
    assert tasks.load(name).count_scores(12) == scores
