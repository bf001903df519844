"""Figures of each class against scikit-learn on the rows themselves, and matrices against a plain count."""

import random
from collections import Counter

import pytest
from sklearn.metrics import classification_report

from metrics import classification

CLASSES = ("cat & dog", "<script>alert(1)</script>", "plain", "never")


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn_on_expanded_rows(seed: int) -> None:
    chance = random.Random(seed)
    names = ["accuracy", "macro avg", *"abcdef"]  # names that its report uses itself are labels as good as any
    rows = [(chance.choice(names[2:]), chance.choice(names)) for _ in range(200)]
    rows += [("f", "f")] * 5 + [("macro avg", "a")]
    codes = {name: f"label {number}" for number, name in enumerate(names)}
    expected = classification_report(
        [codes[truth] for truth, _ in rows], [codes[label] for _, label in rows], output_dict=True, zero_division=0.0
    )
    found = classification.classification(Counter(rows), names)
    assert [scores.label for scores in found.classes] == names
    for scores in (*found.classes, *found.averages):
        key = codes.get(scores.label, f"{scores.label} avg")
        oracle = expected[key]
        assert (scores.precision, scores.recall, scores.f1) == pytest.approx(
            (oracle["precision"], oracle["recall"], oracle["f1-score"])
        )
        assert scores.support == oracle["support"]
    assert found.accuracy == pytest.approx(expected["accuracy"])
    assert found.support == len(rows)


def test_images_without_a_reference_are_excluded() -> None:
    rows = [("x", "x", "y", 3), ("y", "x", "y", 2), (None, "y", "x", 5), ("x", "x", "x", 1)]
    cells = [{"reference": true, "label_a": a, "label_b": b, "n": n} for true, a, b, n in rows]
    assert classification.against_reference(cells, "a") == {("x", "x"): 4, ("y", "x"): 2}
    assert classification.against_reference(cells, "b") == {("x", "y"): 3, ("y", "y"): 2, ("x", "x"): 1}


def test_matrix_counts_every_combination_in_class_order() -> None:
    found = classification.matrix(Counter({("y", "x"): 3, ("y", "y"): 1, ("x", "zz"): 2}), "a", "b", ["y", "x", "w"])
    assert found.labels == ("y", "x", "w", "zz")
    assert found.rows[0] == ((1, 0.25), (3, 0.75), (0, 0.0), (0, 0.0))
    assert found.rows[1] == ((0, 0.0), (0, 0.0), (0, 0.0), (2, 1.0))
    assert found.rows[2] == ((0, 0.0),) * 4
    assert found.n == 6


def test_too_large_a_matrix_lists_the_most_frequent_differences() -> None:
    classes = [f"c{number:03d}" for number in range(600)]
    counts = Counter({(name, name): 9 for name in classes})
    counts |= Counter({(classes[number], classes[number + 1]): number for number in range(1, 599)})
    found = classification.matrix(counts, "a", "b", classes)
    assert (found.labels, found.rows) == ((), ())
    assert found.frequent[:2] == (("c598", "c599", 598), ("c597", "c598", 597))
    assert len(found.frequent) == 40


def test_few_labels_of_many_classes_still_make_a_matrix() -> None:
    classes = [f"c{number:03d}" for number in range(600)]
    assert classification.matrix(Counter({("c003", "c001"): 2}), "a", "b", classes).labels == ("c001", "c003")


def test_ordered_puts_unknown_labels_last() -> None:
    assert classification.ordered(["q", "never", "a", "cat & dog"], CLASSES) == ["cat & dog", "never", "a", "q"]
