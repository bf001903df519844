"""The trainer: the best epoch's weights are kept, and its process ends with the worker that started it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models import saved, trainer
from models.job import TrainJob
from models.quiet import keras
from schemas import layout, storage
from schemas.errors import InputError
from schemas.train_settings import TrainSettings

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own


@pytest.fixture
def root(converted: str, tmp_path: Path) -> str:
    return str(shutil.copytree(converted, tmp_path / "root"))


def job(root: str, **changed: Any) -> TrainJob:
    settings = {"dataset": "drawn", "network": "cnn1", "epochs": 1, "seed": 4, **changed}
    return TrainJob(root, TrainSettings(**settings), "f" * 16)


def silent(figures: dict[str, Any]) -> None:
    assert figures["model"]


def test_a_job_survives_its_line_of_json() -> None:
    one = job("gs://bucket/root", name="first", validation_fraction=0.25)
    assert "\n" not in one.to_json()
    assert TrainJob.from_json(one.to_json()) == one
    assert one.folder == layout.model("gs://bucket/root", "drawn", "first")


def judged(root: str, sample_h5: str) -> tuple[float, float]:
    """Loss and accuracy of the saved model on the validation split, read from the sample itself."""
    with h5py.File(sample_h5) as file:
        pixels = np.clip(np.rint(file["X_val"][:]), 0, 255).astype(np.uint8)[..., None]
        labels = file["y_val"][:].astype(np.int64)
    scores = saved.load(layout.model(root, "drawn", "cnn1")).predict(pixels, verbose=0)
    loss = float(np.mean(-np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-37))))
    return loss, float(np.mean(scores.argmax(axis=1) == labels))


def test_the_best_epoch_is_kept_not_the_last(root: str, sample_h5: str) -> None:
    told: list[dict[str, Any]] = []
    metrics = trainer.train(job(root, epochs=40, patience=2, learning_rate=0.02, batch_size=64), told.append)
    history = json.loads((Path(root) / "models/drawn/cnn1/model.json").read_text())["history"]
    best = int(np.argmax(history["val_accuracy"]))
    assert metrics["best_epoch"] == best + 1
    assert metrics["epochs"] == len(told) == best + 1 + 2 < 40, "it did not stop early"
    assert [said["epoch"] for said in told] == list(range(1, len(told) + 1))
    loss, accuracy = judged(root, sample_h5)
    assert accuracy == pytest.approx(history["val_accuracy"][best], abs=1e-6)
    assert loss == pytest.approx(history["val_loss"][best], rel=1e-3)
    assert loss != pytest.approx(history["val_loss"][-1], rel=1e-2)
    assert metrics["val_accuracy"] == history["val_accuracy"][best]
    assert (metrics["train_images"], metrics["validation_images"]) == (400, 80)


def test_a_share_is_held_out_where_there_is_no_validation_split(root: str) -> None:
    metrics = trainer.train(job(root, validation="dev", validation_fraction=0.25), silent)
    assert metrics["train_images"] + metrics["validation_images"] == 400
    assert 70 < metrics["validation_images"] < 130
    card = json.loads((Path(root) / "models/drawn/cnn1/model.json").read_text())
    assert (card["classes"], card["image_shape"]) == (list("0123456789"), [32, 32, 1])
    assert (card["network"], card["training_labels"], card["dataset"]) == ("cnn1", "human", "drawn")
    assert card["versions"]["keras"] == keras.__version__


def test_with_nothing_held_out_the_last_epoch_counts(root: str) -> None:
    told: list[dict[str, Any]] = []
    wanted = job(root, validation="dev", validation_fraction=0.0, epochs=3, patience=1)
    metrics = trainer.train(wanted, told.append)
    assert [said["epoch"] for said in told] == [1, 2, 3]
    assert (metrics["best_epoch"], metrics["epochs"]) == (3, 3)
    assert (metrics["train_images"], metrics["validation_images"]) == (400, 0)
    assert not [name for name in metrics if name.startswith("val_")]
    assert metrics["loss"] == told[-1]["loss"] != told[0]["loss"]


def test_everything_held_out_is_an_error(root: str) -> None:
    with pytest.raises(InputError, match=r"'human' labels no image of split 'train' of 'drawn'"):
        trainer.train(job(root, validation="dev", validation_fraction=1.0), silent)


def start(one: TrainJob) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "models.trainer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(trainer.__file__).parents[1],
    )
    assert process.stdin
    process.stdin.write(one.to_json() + "\n")
    process.stdin.flush()
    return process


def test_the_process_ends_when_its_input_closes(root: str) -> None:
    endless = job(root, epochs=100_000, patience=100_000)
    with start(endless) as process:
        assert process.stdout and process.stdin
        assert json.loads(process.stdout.readline())["epoch"] == 1
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=20) == 1
    assert storage.stat(storage.join(endless.folder, "model.json")) is None


def test_what_libraries_print_does_not_stand_among_what_the_process_says(root: str) -> None:
    program = (
        "from models import trainer; trainer.train = lambda job, tell: print('Downloading data') or {}; trainer.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], input=job(root).to_json() + "\n", capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, '{"metrics": {}}\n')
    assert "Downloading data" in ran.stderr


def test_the_process_says_what_is_wrong(root: str) -> None:
    with start(job(root, split="night")) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
    assert process.returncode == 1
    assert said["kind"] == "InputError"
    assert "no split 'night'; its splits are" in said["error"]
