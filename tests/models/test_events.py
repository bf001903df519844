"""Logs of a training: TensorBoard itself reads them."""

from pathlib import Path

import pytest

from models import fitting

HISTORY = {"loss": [2.5, 1.25], "accuracy": [0.5, 0.75], "val_loss": [3.0, 2.0], "learning_rate": [0.01, 0.005]}


def opened(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a run: its epochs and values, as TensorBoard sees them."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulators.EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_shows_training_and_validation_apart(tmp_path: Path) -> None:
    fitting.write_events(str(tmp_path), HISTORY)
    assert opened(tmp_path / "logs" / "train") == {
        "loss": [(1, 2.5), (2, 1.25)],
        "accuracy": [(1, 0.5), (2, 0.75)],
        "learning_rate": [(1, pytest.approx(0.01)), (2, pytest.approx(0.005))],
    }
    assert opened(tmp_path / "logs" / "validation") == {"loss": [(1, 3.0), (2, 2.0)]}


def test_a_resumed_training_has_one_unbroken_log(tmp_path: Path) -> None:
    for epochs in (1, 2):
        fitting.write_events(str(tmp_path), {name: values[:epochs] for name, values in HISTORY.items()})
    assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 2
    assert opened(tmp_path / "logs" / "train")["loss"] == [(1, 2.5), (2, 1.25)]


def test_without_validation_there_is_no_log_of_it(tmp_path: Path) -> None:
    fitting.write_events(str(tmp_path), {"loss": [1.0]})
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["train"]
