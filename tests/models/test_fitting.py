"""Fitting: what is averaged and weighted, against plain loops; and over several devices."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import building, fitting, inputs, training_data
from models.tasks import Head, Objective
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from storage import products
from tests.support import small_dataset, training

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own
SHAPE = (12, 12, 1)
DIGITS = Objective("multiclass", 4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the dataset `small`; each test trains models of its own names."""
    folder = tmp_path_factory.mktemp("fitting")
    small_dataset.write_learnable(folder)
    return folder


def part(root: Path, job: Any, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels and classes of what a job learns from or is judged by, in order."""
    images = products.image_set(str(root), "small", "1.0.0")
    found = getattr(training_data.plan_data(job, images), name)
    with training_data.open_images(images, [found.split], SHAPE) as source:
        batch = inputs.Batches(source.decode, DIGITS, len(found))
        [(pixels, classes)] = list(inputs.validation_batches(found.open(source), batch))
    return pixels.numpy(), classes.numpy()


def fresh(job: Any) -> keras.Model:
    """The network as its training begins."""
    keras.utils.set_random_seed(job.settings.seed)
    return building.build(job.settings, SHAPE, Head("multiclass", 4))


def test_what_is_averaged_is_judged_and_saved(root: Path) -> None:
    job = training.job(root, name="averaged", network="logistic", epochs=2, ema_momentum=0.8, learning_rate=0.01)
    training.told_by(job)
    model = fresh(job)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    averages: list[list[npt.NDArray[Any]]] = []
    for pixels, classes in stream(root, job):
        model.train_on_batch(pixels, classes)
        before = averages[-1] if averages else model.get_weights()
        averages.append([0.8 * old + 0.2 * new for old, new in zip(before, model.get_weights(), strict=True)])
    best = training.card(job)["metrics"]["best_epoch"]
    for found, expected in zip(training.weights(job), averages[5 * best - 1], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    pixels, classes = part(root, job, "validation")
    for epoch, told in enumerate(training.card(job)["history"]["val_loss"], start=1):
        model.set_weights(averages[5 * epoch - 1])
        scores = np.asarray(model(pixels))
        assert told == pytest.approx(-np.log(scores[np.arange(len(classes)), classes]).mean(), rel=1e-4)


def stream(root: Path, job: Any) -> Any:
    """The batches of all epochs of a job."""
    images = products.image_set(str(root), "small", "1.0.0")
    learnt = training_data.plan_data(job, images).train
    with training_data.open_images(images, ["train"], SHAPE) as source:
        batches = inputs.Batches(source.decode, DIGITS, job.settings.batch_size)
        made = inputs.training_batches(learnt.open(source), batches, job.settings.seed, job.settings.epochs)
        yield from made.take(-(-len(learnt) // job.settings.batch_size) * job.settings.epochs)


def test_images_of_rare_classes_count_more(root: Path, tmp_path: Path) -> None:
    lopsided = small_dataset.write_learnable(tmp_path)
    ids = [f"train-{number:04d}" for number in range(160)]
    rows = [{"image_id": one, "label": "nw" if number % 8 else "se"} for number, one in enumerate(ids)]
    small_dataset.write_labels(lopsided, "train", rows)
    once: dict[str, Any] = {"network": "logistic", "epochs": 1, "batch_size": 160}
    plain = training.job(tmp_path, name="plain", **once)
    weighted = training.job(tmp_path, name="weighted", class_weights="balanced", **once)
    pixels, classes = part(tmp_path, plain, "train")
    scores = np.asarray(fresh(plain)(pixels))  # one step an epoch: its loss is that of the network as it began
    losses = -np.log(scores[np.arange(160), classes])
    weights = np.where(classes == 0, 160 / (2 * 140), 160 / (2 * 20))
    training.told_by(weighted)
    training.told_by(plain)
    assert training.card(plain)["history"]["loss"] == [pytest.approx(losses.mean(), rel=1e-4)]
    assert training.card(weighted)["history"]["loss"] == [pytest.approx((losses * weights).mean(), rel=1e-4)]
    assert abs((losses * weights).mean() - losses.mean()) > 0.01


MIRRORED = """
import json, sys
from models.tensorflow_setup import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from models import fitting, trainer
from models.training_job import TrainJob
devices = tf.config.list_logical_devices("CPU")
fitting.tf.config.list_logical_devices = lambda kind: devices
job = TrainJob.from_json(sys.stdin.read())
with fitting.strategy_scope(job.settings.gpus) as scope:
    print(json.dumps({"replicas": tf.distribute.get_strategy().num_replicas_in_sync}))
trainer.train(job, lambda said: None)
"""


def test_a_model_is_trained_on_several_devices_as_on_one(root: Path) -> None:
    both = [training.job(root, name=name, gpus=2, network="logistic", ema_momentum=0.5) for name in ("one", "two")]
    training.told_by(both[0])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", MIRRORED]
    ran = subprocess.run(command, input=both[1].to_json(), capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[0]) == {"replicas": 2}
    one, two = (training.card(job)["history"] for job in both)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-3, atol=1e-5, err_msg=name)
    for found, expected in zip(training.weights(both[1]), training.weights(both[0]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_no_more_gpus_are_taken_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SimpleNamespace(name=f"GPU:{number}") for number in range(3)]
    asked: list[list[str]] = []

    def mirrored(devices: list[str]) -> Any:
        asked.append(devices)
        return SimpleNamespace(scope=nullcontext)

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found if kind == "GPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", mirrored)
    for gpus in (1, 2, 8):
        fitting.strategy_scope(gpus)
    assert asked == [["GPU:0", "GPU:1"], ["GPU:0", "GPU:1", "GPU:2"]]
