"""Labelling by task: several labels an image at thresholds of their own, and numbers; images without a label count."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from models import saved_models
from models.inputs import decode_image
from models.networks import logistic
from models.tasks import Head
from models.tensorflow_setup import keras
from schemas import layout
from schemas.manifests import Calibration
from schemas.settings.label import LabelSettings
from schemas.stage import Context
from storage import model_cards, products, small_files
from storage.products import ImageSet
from tests.support import small_dataset
from tests.support.manifests import model_card
from tests.support.stages import label

CLASSES = {"multilabel": ["nw", "ne", "sw", "se"], "sequence": list("0123456789")}
LIMITS = [0.5, 0.75, 0.125, 0.999]
Labelled = tuple[ImageSet, dict[str, list[dict[str, Any]]], dict[str, Any], Any]


def model_of(task: str) -> keras.Model:
    """A network that was never trained, but has its opinions."""
    keras.utils.set_random_seed(7)
    model = logistic.build((12, 12, 1), Head(task, len(CLASSES[task])))
    model.set_weights([weights * (3 if task == "multilabel" else 10) for weights in model.get_weights()])
    if task == "sequence":  # it sees five digits in most images: let that be more of them
        length = model.get_layer("length").kernel
        length.assign(np.roll(np.asarray(length), 1, axis=1))
    return model


def write_model(images: ImageSet, task: str, name: str = "mine", **more: Any) -> keras.Model:
    model = model_of(task)
    card = model_card(name, fingerprint="c" * 16, classes=CLASSES[task], task=task, **more)
    saved_models.save(model, layout.model(images.root, "small", name), card)
    return model


def rows_of(images: ImageSet, name: str = "mine", split: str = "test") -> list[dict[str, Any]]:
    labels = products.label_set(images.root, "small", name, split)
    return [row for shard in range(images.shards) for row in labels.read(shard).to_pylist()]


def scores_of(images: ImageSet, model: keras.Model, split: str = "test") -> dict[str, npt.NDArray[Any]]:
    """The scores of each image in order, by OpenCV and Keras alone."""
    found = {}
    for shard in range(images.shards):
        for image_id in images.index(split).read(shard)["image_id"].to_pylist():
            found[image_id] = np.asarray(model(PIXELS[image_id][None]))[0]
    return found


PIXELS: dict[str, Any] = {}


def dataset(root: Path, task: str, count: int) -> ImageSet:
    """A dataset of noise."""
    pixels = small_dataset.random_pixels(count, (12, 12, 1))
    images = dict(zip((f"{task}-{number:04d}" for number in range(count)), pixels, strict=True))
    PIXELS.update(images)
    return small_dataset.write_images(root, {"test": images}, task, CLASSES[task])


def run(images: ImageSet, **changed: Any) -> Any:
    settings = LabelSettings(dataset="small", models=("mine",), accelerator="", batch_size=5, **changed)
    [result] = label(settings, Context(images.root, ("--direct_num_workers=1",)))
    return result


def test_an_image_gets_every_label_at_or_above_its_threshold(tmp_path: Path) -> None:
    images = dataset(tmp_path, "multilabel", 60)
    model = write_model(images, "multilabel", thresholds=LIMITS)
    result = run(images, scores=True)
    expected, without = [], 0
    for image_id, scores in scores_of(images, model).items():
        given = [(image_id, CLASSES["multilabel"][one], scores[one]) for one in range(4) if scores[one] >= LIMITS[one]]
        without += not given
        expected += [(*row, scores) for row in given]
    found = rows_of(images)
    assert [(row["image_id"], row["label"]) for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose([row["confidence"] for row in found], [row[2] for row in expected], atol=1e-6)
    np.testing.assert_allclose([row["scores"] for row in found], [row[3] for row in expected], atol=1e-6)
    assert result.counts == {"in": 60, "out": 60, "rejected": {}}
    assert result.counters["label.out"] == 60
    manifest = small_files.find_json(f"{layout.labels(images.root, 'small', 'mine', 'test')}/_concord.json")
    assert manifest is not None
    assert manifest["thresholds"] == dict(zip(CLASSES["multilabel"], LIMITS, strict=True))
    assert (manifest["rows"], manifest["counts"]) == (len(expected), result.counts)
    assert without > 3 and max(sum(row["image_id"] == one for row in found) for one in PIXELS) > 1


def test_without_thresholds_a_half_counts_and_scores_are_left_out(tmp_path: Path) -> None:
    images = dataset(tmp_path, "multilabel", 30)
    model = write_model(images, "multilabel")
    run(images)
    expected = {
        (image_id, CLASSES["multilabel"][one])
        for image_id, scores in scores_of(images, model).items()
        for one in np.flatnonzero(scores >= 0.5)
    }
    assert {(row["image_id"], row["label"]) for row in rows_of(images)} == expected
    assert {str(row["scores"]) for row in rows_of(images)} == {"None"}
    manifest = small_files.find_json(f"{layout.labels(images.root, 'small', 'mine', 'test')}/_concord.json")
    assert manifest is not None and not manifest["thresholds"]


def test_a_label_set_without_any_row_is_whole(tmp_path: Path) -> None:
    images = dataset(tmp_path, "multilabel", 20)
    write_model(images, "multilabel", thresholds=[1.5] * 4)
    result = run(images)
    assert result.counts == {"in": 20, "out": 20, "rejected": {}}
    assert rows_of(images) == []
    assert run(images).built is False


def best_reading(scores: npt.NDArray[Any]) -> tuple[float, str]:
    """The most probable number of an image and its probability: length by length, the best digit of each place."""
    places = scores[7:].reshape(5, 10).astype(float)
    readings = []
    for length in range(7):
        digits = [int(place.argmax()) for place in places[: min(length, 5)]]
        probability = float(scores[length]) * math.prod(places[place][digit] for place, digit in enumerate(digits))
        readings.append((probability, "".join(map(str, digits)) + "+" * (length == 6)))
    return max(readings)


def test_numbers_are_read_with_the_probability_of_the_whole(tmp_path: Path) -> None:
    images = dataset(tmp_path, "sequence", 40)
    model = write_model(images, "sequence")
    result = run(images, scores=True)
    found, scores = rows_of(images), scores_of(images, model)
    assert result.counts["out"] == len(found) == 40
    for row, (image_id, one) in zip(found, scores.items(), strict=True):
        probability, text = best_reading(one)
        assert (row["image_id"], row["label"]) == (image_id, text)
        assert row["confidence"] == pytest.approx(probability, abs=1e-6)
        np.testing.assert_allclose(row["scores"], one, atol=1e-6)
    assert len({len(row["label"]) for row in found}) > 2
    assert {"+" in row["label"] for row in found} == {True, False}


@pytest.mark.parametrize("task", CLASSES)
def test_shards_without_images_are_labelled_too(tmp_path: Path, task: str) -> None:
    images = dataset(tmp_path, task, 3)
    more: dict[str, Any] = {"thresholds": [0.0] * 4} if task == "multilabel" else {}
    write_model(images, task, **more)
    result = run(images, scores=True)
    assert result.counts == {"in": 3, "out": 3, "rejected": {}}
    assert len(rows_of(images)) == (3 * 4 if task == "multilabel" else 3)
    assert sum(not images.index("test").read(shard).num_rows for shard in range(8)) >= 5


def test_a_network_for_larger_colour_images_labels_small_grey_ones(tmp_path: Path) -> None:
    images = dataset(tmp_path, "multilabel", 10)
    model = logistic.build((20, 16, 3), Head("multilabel", 4))
    card = model_card("mine", classes=CLASSES["multilabel"], task="multilabel", thresholds=[0.0] * 4)
    saved_models.save(model, layout.model(images.root, "small", "mine"), card)
    assert run(images, scores=True).counts == {"in": 10, "out": 10, "rejected": {}}
    for row in rows_of(images):
        pixels = decode_image(small_dataset.png(PIXELS[row["image_id"]]), (20, 16, 3))
        np.testing.assert_allclose(row["scores"], np.asarray(model(pixels[None]))[0], atol=1e-6)


def test_other_thresholds_label_again(tmp_path: Path) -> None:
    images = dataset(tmp_path, "multilabel", 20)
    write_model(images, "multilabel", thresholds=LIMITS)
    run(images)
    before = len(rows_of(images))
    folder = layout.model(images.root, "small", "mine")
    model_cards.write_card(folder, model_cards.require_card(folder).model_copy(update={"thresholds": (0.0,) * 4}))
    assert run(images).built is True
    assert len(rows_of(images)) == 80 != before


DEGREES = {"multilabel": {"label": 2.0}, "sequence": {"length": 1.5, "digits": 3.0}}


@pytest.mark.parametrize("task", CLASSES)
def test_calibration_adds_a_column_and_changes_nothing_else(tmp_path: Path, task: str) -> None:
    images = dataset(tmp_path, task, 40)
    write_model(images, task)
    run(images, scores=True)
    before = rows_of(images)
    assert {row["confidence_calibrated"] for row in before} == {None}  # a card without `calibration`
    folder = layout.model(images.root, "small", "mine")
    card = model_cards.require_card(folder)
    assert card.calibration is None
    model_cards.write_card(folder, card.model_copy(update={"calibration": Calibration(reason="too few")}))
    assert run(images, scores=True).built is False
    model_cards.write_card(folder, card.model_copy(update={"calibration": Calibration(temperatures=DEGREES[task])}))
    assert run(images, scores=True).built is True
    after = rows_of(images)
    for old, new in zip(before, after, strict=True):
        assert {**new, "confidence_calibrated": None} == old
        assert new["confidence_calibrated"] == pytest.approx(cooled(new, task), rel=1e-4)
    assert run(images, scores=True).built is False
    manifest = small_files.find_json(f"{layout.labels(images.root, 'small', 'mine', 'test')}/_concord.json")
    assert manifest is not None and manifest["calibration"]["temperatures"] == DEGREES[task]
    unchanged = Calibration(temperatures=dict.fromkeys(DEGREES[task], 1.0))
    model_cards.write_card(folder, card.model_copy(update={"calibration": unchanged}))
    assert run(images, scores=True).built is True  # another temperature is another label set


def cooled(row: dict[str, Any], task: str) -> float:
    """The confidence of a row at the temperatures, from its scores, by SciPy alone."""
    scores = np.array(row["scores"], np.float64)
    if task == "multilabel":
        return float(special.expit(special.logit(row["confidence"]) / 2))
    digits = row["label"].rstrip("+")
    lengths = special.softmax(np.log(scores[:7]) / 1.5)
    places = special.softmax(np.log(scores[7:].reshape(5, 10)) / 3, axis=1)
    read = math.prod(float(places[place, int(digit)]) for place, digit in enumerate(digits))
    return float(lengths[len(digits) + row["label"].endswith("+")]) * read
