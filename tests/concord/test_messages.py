"""What the command tells of a training: how well it learnt, what it was judged at, and how its runs spread."""

from typing import Any

from concord import messages

COUNTS: dict[str, Any] = {"val_accuracy": 0.8768, "val_loss": 0.4, "epochs": 7, "best_epoch": 5}


def test_the_figure_of_validation_is_told() -> None:
    assert messages.describe_training(COUNTS) == "; validation accuracy 0.877 after 7 epochs"
    assert (
        messages.describe_training({"val_average_precision": 0.5, "epochs": 2})
        == "; validation average precision 0.500 after 2 epochs"
    )
    assert messages.describe_training({"loss": 1.0, "epochs": 2}) == " after 2 epochs"
    assert messages.describe_training({"loss": 1.0, "epochs": 1}) == " after 1 epoch"


def test_what_it_was_judged_at_is_told() -> None:
    judged = {"test": {"images": 12345, "micro_f1": 0.5, "by_class": {}}, "unseen_fold": {"images": 0}}
    told = messages.describe_training({**COUNTS, "evaluation": judged})
    assert told.endswith(" after 7 epochs; test (12,345 images): micro f1 0.500; unseen fold (0 images)")


def test_the_spread_of_a_sweep_is_told_but_not_of_its_losses() -> None:
    figures = {name: {"mean": 0.5, "deviation": 0.1, "least": 0.25, "most": 0.75} for name in ("val_accuracy", "loss")}
    told = messages.describe_training(
        {**COUNTS, "sweep": {"runs": 6, "best": "sweep/004", "main_metrics": ["val_accuracy"], "metrics": figures}}
    )
    assert told.splitlines()[0].endswith("; the best of 6 runs (sweep/004), of which")
    assert told.splitlines()[1:] == ["  val_accuracy: mean 0.500, 0.250 to 0.750"]
