"""Fine-tuning: it goes on from the head's best epoch, trains what it should, and never makes a network worse."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models import building, inputs, saved_models, trainer, training_data
from models.tasks import Head, Objective
from models.tensorflow_setup import keras
from models.training_job import TrainJob
from models.transfer import Transfer
from schemas.errors import InputError
from storage import products
from tests.support import small_dataset, training

pytestmark = pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:Your input ran out of data")  # Keras' own
FOUR = Objective("multiclass", 4)


def tiny_backbone(include_top: bool, weights: str | None, input_tensor: Any) -> keras.Model:
    assert not include_top and weights is None
    x = keras.layers.Conv2D(4, 3, name="early")(input_tensor)
    x = keras.layers.BatchNormalization(name="statistics")(x)
    return keras.Model(
        keras.utils.get_source_inputs(input_tensor), keras.layers.Conv2D(6, 3, activation="relu", name="late")(x)
    )


TINY = Transfer("tiny", tiny_backbone, lambda pixels: pixels / 255.0, flatten=True, hidden=8)


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with colour images, and a small transfer network in the place of `vgg16`."""
    root = tmp_path_factory.mktemp("colour")
    small_dataset.write_learnable(root, sizes={"train": 96, "validation": 48}, channels=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "load_network", lambda _: SimpleNamespace(build=TINY.build, TRANSFER=TINY))
        yield root


def tuned(root: Path, name: str, **changed: Any) -> Any:
    given = {"network": "vgg16", "epochs": 3, "fine_tune_from": "late", "fine_tune_epochs": 2, "dropout": 0.2}
    return training.job(root, name=name, **{**given, "learning_rate": 0.005, **changed})


@pytest.fixture(scope="module")
def whole(colour: Path) -> TrainJob:
    """A head that was trained, and then fine-tuned with more."""
    job: TrainJob = tuned(colour, "whole", fine_tune_learning_rate=0.003)
    training.told_by(job)
    return job


def test_fine_tuning_goes_on_from_the_heads_best_epoch(colour: Path) -> None:
    job = tuned(colour, "still", fine_tune_learning_rate=1e-30, learning_rate=0.5, epochs=4)
    told = training.told_by(job)
    assert [(said["phase"], said["epoch"]) for said in told] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2)]
    best = max(told[:4], key=lambda said: said["val_accuracy"])
    assert best["val_loss"] != told[3]["val_loss"], "the last epoch was the best"
    assert [said["val_loss"] for said in told[4:]] == [pytest.approx(best["val_loss"], rel=1e-5)] * 2
    metrics = training.card(job)["metrics"]
    assert (metrics["best_epoch"], metrics["epochs"]) == (best["epoch"], 6)
    assert metrics["val_loss"] == best["val_loss"]


def test_fine_tuning_that_does_harm_is_not_kept(colour: Path) -> None:
    job = tuned(colour, "harm", fine_tune_learning_rate=30.0, fine_tune_epochs=1)
    told = training.told_by(job)
    best = max(said["val_accuracy"] for said in told if said["phase"] == 0)
    assert told[-1]["phase"] == 1 and told[-1]["val_accuracy"] < best, "it did no harm"
    assert training.card(job)["metrics"]["val_accuracy"] == best
    pixels, classes = colour_part(colour, job)
    scores = np.asarray(saved_models.load(job.folder)(pixels))
    assert np.mean(scores.argmax(axis=1) == classes) == pytest.approx(best)


def colour_part(root: Path, job: Any) -> tuple[Any, Any]:
    images = products.image_set(str(root), "small", "1.0.0")
    found = training_data.plan_data(job, images).validation
    with training_data.open_images(images, [found.split], (12, 12, 3)) as source:
        [(pixels, classes)] = list(
            inputs.validation_batches(found.open(source), inputs.Batches(source.decode, FOUR, 99))
        )
    return pixels.numpy(), classes.numpy()


def test_fine_tuning_trains_the_layers_from_a_place_on_and_no_statistics(whole: TrainJob) -> None:
    keras.utils.set_random_seed(whole.settings.seed)
    before = TINY.build((12, 12, 3), Head("multiclass", 4), dropout=0.2)
    changed = {
        layer.name
        for layer, other in zip(before.layers, saved_models.load(whole.folder).layers, strict=True)
        if any((one != two).any() for one, two in zip(layer.get_weights(), other.get_weights(), strict=True))
    }
    assert training.card(whole)["metrics"]["best_epoch"] > 3, "no epoch of fine-tuning was the best"
    assert changed == {"late", "hidden", "scores"}


def broken_off(job: TrainJob, phase: int, epoch: int) -> list[tuple[int, int]]:
    """Train until an epoch of a phase is told of; the phases and epochs before it."""
    told: list[tuple[int, int]] = []

    def tell(said: dict[str, Any]) -> None:
        if (said["phase"], said["epoch"]) == (phase, epoch):
            raise KeyboardInterrupt
        told.append((said["phase"], said["epoch"]))

    with pytest.raises(KeyboardInterrupt):
        trainer.train(job, tell)
    return told


def test_fine_tuning_that_was_broken_off_is_gone_on_with(colour: Path, whole: TrainJob) -> None:
    job = tuned(colour, "broken", fine_tune_learning_rate=0.003)
    assert broken_off(job, 0, 3) == [(0, 1), (0, 2)]  # the last epoch of the head
    assert broken_off(job, 1, 1) == []
    assert [(said["phase"], said["epoch"]) for said in training.told_by(job)] == [(1, 2)]
    assert training.card(job)["history"] == training.card(whole)["history"]
    for found, expected in zip(training.weights(job), training.weights(whole), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_layer_to_fine_tune_from_that_is_not_there_is_named(colour: Path) -> None:
    with pytest.raises(InputError, match=r"no layer 'latest'; its last ones are .*late, .*hidden"):
        training.told_by(tuned(colour, "nowhere", fine_tune_from="latest", epochs=1))
