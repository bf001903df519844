"""The trainer: the best epoch's weights are kept, and its process ends with the worker that started it."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics

from models import saved_models, trainer
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_job import TrainJob
from schemas import layout
from schemas.errors import InputError
from schemas.settings.train import TrainSettings
from storage import model_cards, products, stores
from tests.support import small_dataset, training
from tests.support.training import start

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
    scores = saved_models.load(layout.model(root, "drawn", "cnn1")).predict(pixels, verbose=0)
    loss = float(np.mean(-np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-37))))
    return loss, float(np.mean(scores.argmax(axis=1) == labels))


def test_the_best_epoch_is_kept_not_the_last(root: str, sample_h5: str) -> None:
    told: list[dict[str, Any]] = []
    found = trainer.train(job(root, epochs=40, patience=2, learning_rate=0.02, batch_size=64), told.append)
    history = json.loads((Path(root) / "models/drawn/cnn1/model.json").read_text())["history"]
    best = int(np.argmax(history["val_accuracy"]))
    assert found["best_epoch"] == best + 1
    assert found["epochs"] == len(told) == best + 1 + 2 < 40, "it did not stop early"
    assert [said["epoch"] for said in told] == list(range(1, len(told) + 1))
    loss, accuracy = judged(root, sample_h5)
    assert accuracy == pytest.approx(history["val_accuracy"][best], abs=1e-6)
    assert loss == pytest.approx(history["val_loss"][best], rel=1e-3)
    assert loss != pytest.approx(history["val_loss"][-1], rel=1e-2)
    assert found["val_accuracy"] == history["val_accuracy"][best]
    assert (found["train_images"], found["validation_images"]) == (400, 80)


def test_a_share_is_held_out_where_there_is_no_validation_split(root: str) -> None:
    found = trainer.train(job(root, validation="dev", validation_fraction=0.25), silent)
    assert found["train_images"] + found["validation_images"] == 400
    assert 70 < found["validation_images"] < 130
    card = json.loads((Path(root) / "models/drawn/cnn1/model.json").read_text())
    assert (card["classes"], card["image_shape"]) == (list("0123456789"), [32, 32, 1])
    assert (card["network"], card["training_labels"], card["dataset"]) == ("cnn1", "human", "drawn")
    assert card["versions"]["keras"] == keras.__version__


def test_with_nothing_held_out_the_last_epoch_counts(root: str) -> None:
    told: list[dict[str, Any]] = []
    wanted = job(root, validation="dev", validation_fraction=0.0, epochs=3, patience=1)
    found = trainer.train(wanted, told.append)
    assert [said["epoch"] for said in told] == [1, 2, 3]
    assert (found["best_epoch"], found["epochs"]) == (3, 3)
    assert (found["train_images"], found["validation_images"]) == (400, 0)
    assert not [name for name in found if name.startswith("val_")]
    assert found["loss"] == told[-1]["loss"] != told[0]["loss"]


def calibration_of(root: str, name: str = "cnn1") -> dict[str, Any]:
    found = model_cards.require_card(layout.model(root, "drawn", name)).calibration
    return {} if found is None else found.model_dump()


def test_a_trained_model_has_the_temperature_of_its_validation_images(root: str, sample_h5: str) -> None:
    trainer.train(job(root, epochs=6, batch_size=16, learning_rate=0.01), silent)
    found = calibration_of(root)
    with h5py.File(sample_h5) as file:
        pixels = np.clip(np.rint(file["X_val"][:]), 0, 255).astype(np.uint8)[..., None]
        labels = file["y_val"][:].astype(np.int64)
    scores = saved_models.load(layout.model(root, "drawn", "cnn1")).predict(pixels, verbose=0).astype(np.float64)

    def loss(degree: float) -> float:
        scaled = special.log_softmax(np.log(np.maximum(scores, np.finfo(np.float32).tiny)) / degree, axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    least = optimize.minimize_scalar(lambda log: loss(np.exp(log)), bounds=(-2.9, 2.9), method="bounded")
    degree = found["temperatures"]["label"]
    assert (found["images"], found["split"], found["labels"]) == (80, "validation", "human")
    assert degree == pytest.approx(np.exp(least.x), rel=1e-2) and abs(degree - 1) > 0.01
    assert found["nll_before"]["label"] == pytest.approx(loss(1), rel=1e-4)
    assert found["nll_after"]["label"] == pytest.approx(loss(degree), rel=1e-4)
    assert found["nll_after"]["label"] < found["nll_before"]["label"]


def test_no_temperature_comes_from_images_of_training(root: str) -> None:
    trainer.train(job(root, validation="dev", validation_fraction=0.0), silent)
    found = calibration_of(root)
    assert found["temperatures"] is None and "no images were held out" in found["reason"]
    told = trainer.train(job(root, name="held", validation="dev", validation_fraction=0.25), silent)
    found = calibration_of(root, "held")
    assert (found["split"], found["held_out"], found["images"]) == ("train", 0.25, told["validation_images"])
    trainer.train(job(root, name="few", validation="dev", validation_fraction=0.02), silent)
    found = calibration_of(root, "few")
    assert found["temperatures"] is None and "fewer than 30" in found["reason"]


def test_everything_held_out_is_an_error(root: str) -> None:
    with pytest.raises(InputError, match=r"'human' labels no image of split 'train' of 'drawn'"):
        trainer.train(job(root, validation="dev", validation_fraction=1.0), silent)


def test_the_process_ends_when_its_input_closes(root: str) -> None:
    endless = job(root, epochs=100_000, patience=100_000)
    with start(endless) as process:
        assert process.stdout and process.stdin
        assert json.loads(process.stdout.readline())["epoch"] == 1
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=20) == 1
    assert stores.stat(stores.join(endless.folder, "model.json")) is None


def test_what_libraries_print_does_not_stand_among_what_the_process_says(root: str) -> None:
    pretended = "trainer.train = lambda job, report: print('Downloading data') or {'loss': 1}"
    program = ("-c", f"from models import trainer; {pretended}; trainer.main()")
    with start(job(root), program=program) as process:
        assert process.stdout and process.stderr
        assert [json.loads(line) for line in process.stdout] == [{"metrics": {"loss": 1}}]
        assert "Downloading data" in process.stderr.read()
    assert process.returncode == 0


def test_the_process_says_what_is_wrong(root: str) -> None:
    with start(job(root, split="night")) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
    assert process.returncode == 1
    assert said["kind"] == "InputError"
    assert "no split 'night'; its splits are" in said["error"]


def test_several_labels_get_thresholds_and_are_judged_at_them(tmp_path: Path) -> None:
    images = small_dataset.write_learnable(tmp_path, "multilabel")
    one = training.job(
        tmp_path, network="logistic", epochs=3, learning_rate=0.01, evaluate=("test",), missing_labels="absent"
    )
    told = training.told_by(one)
    found = training.card(one)
    truth, scores = judged_labels(tmp_path, images.classes, one)
    said = scores >= np.array(found["thresholds"], np.float32)
    stated = found["evaluation"]["test"]
    assert stated["images"] == 48
    assert stated["micro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    assert stated["macro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert stated["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, said))
    assert len(set(found["thresholds"])) == 4 and 0.5 not in found["thresholds"]
    calibrated = found["calibration"]
    assert list(calibrated["temperatures"]) == ["label"] and calibrated["images"] == 64
    assert calibrated["nll_after"]["label"] <= calibrated["nll_before"]["label"]
    best = max(range(3), key=lambda epoch: float(told[epoch]["val_average_precision"]))
    assert found["metrics"]["best_epoch"] == best + 1


def judged_labels(root: Path, classes: list[str], one: TrainJob) -> tuple[Any, Any]:
    """Truth and scores of the test split, read from the records and label rows themselves."""
    labels = products.label_set(str(root), "small", "human", "test")
    images = products.image_set(str(root), "small", "1.0.0")
    truth, encoded = [], []
    for shard in range(8):
        rows = labels.read(shard).to_pylist()
        for payload in tf.data.TFRecordDataset(images.tfrecord("test", shard)):
            feature = tf.train.Example.FromString(payload.numpy()).features.feature
            image_id = feature["image/id"].bytes_list.value[0].decode()
            given = {row["label"] for row in rows if row["image_id"] == image_id and row["confidence"] > 0}
            truth.append([name in given for name in classes])
            encoded.append(tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy())
    return np.array(truth), np.asarray(saved_models.load(one.folder)(np.stack(encoded)))


def test_numbers_are_learnt_and_judged_by_length_and_place(tmp_path: Path) -> None:
    small_dataset.write_learnable(tmp_path, "sequence")
    one = training.job(tmp_path, network="ann1", epochs=2, evaluate=("test", "validation"))
    told = training.told_by(one)
    found = training.card(one)
    assert found["task"] == "sequence" and found["thresholds"] is None
    assert told[1]["loss"] < told[0]["loss"]
    stated = found["evaluation"]["validation"]
    assert stated["images"] == 64 == sum(of["images"] for of in stated["by_length"].values())
    assert stated["accuracy"] == pytest.approx(found["metrics"]["val_accuracy"])
    calibrated = found["calibration"]
    assert set(calibrated["temperatures"]) == {"length", "digits"} and calibrated["images"] == 64
    for name in ("length", "digits"):
        assert calibrated["nll_after"][name] <= calibrated["nll_before"][name]


def test_a_split_without_labels_is_judged_as_empty(tmp_path: Path) -> None:
    images = small_dataset.write_learnable(tmp_path)
    small_dataset.write_labels(images, "test", [{"image_id": "elsewhere", "label": "nw"}])
    one = training.job(tmp_path, network="logistic", epochs=1, evaluate=("test",))
    training.told_by(one)
    assert training.card(one)["evaluation"] == {"test": {"images": 0}}
