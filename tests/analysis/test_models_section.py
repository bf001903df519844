"""How well networks do, as the report shows it: figures, classes, and the spread of a sweep, from their cards."""

from typing import Any

from analysis.report.models import build_evaluations
from tests.support.manifests import model_card

BY_CLASS = {"happy": {"images": 60, "accuracy": 0.75}, "sad": {"images": 40, "accuracy": 0.5}}
SPREAD = {"mean": 0.6, "deviation": 0.1, "least": 0.5, "most": 0.7}
FACTS: dict[str, Any] = {
    "training_labels": "human",
    "settings": {"augment": {"flip": 0.5, "rotation": 20.0}, "augment_validation": True},
    "evaluation": {"unseen_fold": {"images": 100, "accuracy": 0.65, "by_class": BY_CLASS}},
}
SWEEP = {
    "runs": 3,
    "best": "sweep/001",
    "main_metrics": ["unseen_fold_accuracy"],
    "metrics": {"unseen_fold_accuracy": SPREAD, "unseen_fold_class_sad_accuracy": {**SPREAD, "mean": 0.45}},
}


def test_a_model_that_was_not_judged_is_left_out() -> None:
    assert build_evaluations([model_card("cnn1"), model_card("ann1", evaluation={})]) == []


def test_figures_and_classes_of_each_split() -> None:
    [found] = build_evaluations([model_card("cnn2", **FACTS)])
    assert (found["name"], found["labels"], found["sweep"]) == ("cnn2", "human", None)
    assert found["augment"] == "flip 0.5, rotation 20, validation images too"
    [split] = found["splits"]
    assert (split["split"], split["images"], split["figures"]) == ("unseen fold", 100, [("accuracy", 0.65)])
    [part] = split["parts"]
    assert part["what"] == "class"
    assert [(row["label"], row["value"], row["images"], row["mean"]) for row in part["rows"]] == [
        ("happy", 0.75, 60, None),
        ("sad", 0.5, 40, None),
    ]


def test_a_sweep_shows_its_spread_and_the_mean_of_each_class() -> None:
    [found] = build_evaluations([model_card("cnn2", **FACTS, sweep=SWEEP)])
    assert found["sweep"] == {
        "runs": 3,
        "best": "sweep/001",
        "rows": [{"figure": "unseen fold accuracy", **SPREAD}],
    }
    assert [row["mean"] for row in found["splits"][0]["parts"][0]["rows"]] == [None, 0.45]


def test_several_labels_are_shown_by_their_f1() -> None:
    figures = {"images": 10, "micro_f1": 0.8, "hamming_loss": 0.1, "by_class": {"a": {"images": 4, "f1": 0.5}}}
    [found] = build_evaluations([model_card("cnn2", evaluation={"test": figures})])
    [split] = found["splits"]
    assert split["figures"] == [("micro F1", 0.8), ("Hamming loss", 0.1)]
    assert [(row["figure"], row["value"]) for row in split["parts"][0]["rows"]] == [("F1", 0.5)]
