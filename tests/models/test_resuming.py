"""A training that was killed goes on as if it had not been: the same weights, history, best epoch, to the last bit."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import fitting, saved_models, trainer
from models.training_job import TrainJob
from storage.model_cards import CARD_FILE, CHECKPOINT_FILE
from tests.support import small_dataset, training

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own
EVERYTHING: dict[str, Any] = {
    **{"network": "cnn2", "epochs": 4, "patience": 2, "dropout": 0.3, "ema_momentum": 0.9, "weight_decay": 0.001},
    **{"schedule": "cosine", "warm_up": 1.5, "learning_rate": 0.003, "batch_size": 16, "label_smoothing": 0.1},
    "augment": {"flip": 0.5, "shift": 0.1, "rotation": 10.0, "brightness": 0.1},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resuming")
    small_dataset.write_learnable(root)
    return root


def finish(job: TrainJob) -> list[int]:
    """Run a training in its process to the end; the epochs that it told of."""
    with training.start(job) as process:
        assert process.stdout
        said = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0, said
    assert "metrics" in said.pop()
    return [one["epoch"] for one in said]


def kill_after(job: TrainJob, epochs: int) -> None:
    """Start a training in its process, and kill it in the epoch after so many."""
    with training.start(job) as process:
        assert process.stdout
        for _ in range(epochs):
            assert '"epoch"' in process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def same(one: TrainJob, other: TrainJob) -> None:
    """Two models are the same in all but the time that they took."""
    cards = [training.card(job) for job in (one, other)]
    for card in cards:
        card["metrics"].pop("seconds")
        card.pop("files")
    assert cards[0] == cards[1]
    for found, expected in zip(training.weights(one), training.weights(other), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_killed_in_an_epoch_it_ends_as_it_would_have(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "killed")
    shutil.copytree(images, tmp_path / "whole")
    killed, whole = (training.job(tmp_path / name, **EVERYTHING) for name in ("killed", "whole"))
    kill_after(killed, 2)
    assert Path(killed.folder, CHECKPOINT_FILE).exists()
    assert not Path(killed.folder, CARD_FILE).exists()
    resumed, expected = finish(killed), finish(whole)
    assert expected == list(range(1, len(expected) + 1))
    assert resumed == expected[len(expected) - len(resumed) :] and resumed[0] in (3, 4), "it began anew"
    same(killed, whole)
    assert not Path(killed.folder, CHECKPOINT_FILE).exists()
    card = training.card(whole)
    assert card["metrics"]["best_epoch"] <= card["metrics"]["epochs"] == len(expected)
    assert len(set(card["history"]["learning_rate"])) == len(expected)


class KilledError(Exception):
    """What stands for a kill within this process."""


def interrupted(job: TrainJob, phase: int, epoch: int) -> None:
    """A training in this process, broken off after an epoch of a phase."""

    def tell(said: dict[str, Any]) -> None:
        if (said["phase"], said["epoch"]) == (phase, epoch):
            raise KilledError

    with pytest.raises(KilledError):
        trainer.train(job, tell)


def two_roots(images: Path, folder: Path, **settings: Any) -> tuple[TrainJob, TrainJob]:
    """The same job in two copies of a root."""
    roots = [shutil.copytree(images, folder / name) for name in ("broken", "whole")]
    one, other = (training.job(root, **settings) for root in roots)
    return one, other


@pytest.mark.parametrize("held", ["with validation", "without validation"])
def test_killed_between_its_last_epoch_and_saving_it_has_only_to_save(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    given = {} if held == "with validation" else {"validation": "none", "validation_fraction": 0.0}
    broken, whole = two_roots(images, tmp_path, epochs=3, ema_momentum=0.9, network="logistic", **given)

    def full_disk(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(saved_models, "save", full_disk)
        training.told_by(broken)
    assert training.told_by(broken) == []
    assert len(training.told_by(whole)) == 3
    same(broken, whole)


def test_a_training_that_stopped_early_stays_stopped(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = two_roots(images, tmp_path, epochs=30, patience=1, network="logistic", learning_rate=0.05)
    told = training.told_by(whole)
    assert 2 < len(told) < 30
    interrupted(broken, 0, len(told))
    assert training.told_by(broken) == []
    same(broken, whole)


def test_a_training_whose_patience_wears_thin_does_not_forget_it(images: Path, tmp_path: Path) -> None:
    broken, whole = two_roots(images, tmp_path, epochs=30, patience=2, network="logistic", learning_rate=0.05)
    told = training.told_by(whole)
    interrupted(broken, 0, len(told) - 1)  # one epoch without a better figure has gone by
    assert [said["epoch"] for said in training.told_by(broken)] == [len(told)]
    same(broken, whole)


@pytest.mark.parametrize("broken_by", ["another training", "a cut"])
def test_a_state_that_does_not_fit_is_not_gone_on_from(images: Path, tmp_path: Path, broken_by: str) -> None:
    broken = training.job(shutil.copytree(images, tmp_path / "root"), network="logistic")
    interrupted(broken, 0, 1)
    path = Path(broken.folder, CHECKPOINT_FILE)
    if broken_by == "a cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        state = fitting.find_checkpoint(broken.folder, broken.fingerprint)
        assert state is not None
        fitting.save_checkpoint(broken.folder, "0" * 16, state)
    assert [said["epoch"] for said in training.told_by(broken)] == [1, 2]
