"""The input pipeline: every labelled image once an epoch, with its own label, in an order that (seed, epoch) draws."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.utils.class_weight import compute_class_weight

from models import inputs, training_data
from models.inputs import Batches, LabelledShards
from models.tasks import Objective
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import InputError
from storage import products
from storage.products import ImageSet, ShardFolder, ShardReport

SHAPE = (32, 32, 1)
BATCH = 64
DIGITS = Objective("multiclass", 10)
Seen = list[tuple[str, int]]


@pytest.fixture(scope="module")
def images(converted: str) -> ImageSet:
    return products.image_set(converted, "drawn", "1.0.0")


@pytest.fixture(scope="module")
def truth(images: ImageSet) -> dict[str, tuple[str, int]]:
    """Image id to (hash of its pixels, class index), read by TensorFlow and OpenCV from the records themselves."""
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "image/id")}
    features["label"] = tf.io.FixedLenFeature([], tf.int64)
    found = {}
    for shard in range(images.shards):
        for payload in tf.data.TFRecordDataset(images.tfrecord("train", shard)):
            example = tf.io.parse_single_example(payload, features)
            encoded = np.frombuffer(example["image"].numpy(), np.uint8)
            image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
            assert image is not None
            found[example["image/id"].numpy().decode()] = (key_of(image.astype(np.uint8)), int(example["label"]))
    assert len({key for key, _ in found.values()}) == len(found) == 400, "pixels do not identify the images"
    return found


def key_of(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def label_set(folder: Path, images: ImageSet, dropped: set[str], **changed: str) -> ShardFolder:
    """People's labels of the train split, without some images, with some labels changed, and one foreign image."""
    people = products.label_set(images.root, "drawn", "human", "train")
    written = ShardFolder(str(folder), images.shards, "f" * 16)
    for shard in range(images.shards):
        rows = people.read(shard).to_pylist()
        rows = [{**row, "label": changed.get(row["image_id"], row["label"])} for row in rows]
        rows = [row for row in rows if row["image_id"] not in dropped] + [{**rows[0], "image_id": f"foreign-{shard}"}]
        table = pa.Table.from_pylist(rows[::-1], schema=people.read(shard).schema)  # in another order than the index
        written.write(shard, table, ShardReport())
    return written


def shards_of(images: ImageSet, labels: ShardFolder) -> LabelledShards:
    paths = tuple(images.tfrecord("train", shard) for shard in range(images.shards))
    return LabelledShards(inputs.read_records(paths), training_data.encode_targets(images, "train", labels))


def batches(size: int = BATCH, **changed: Any) -> Batches:
    return Batches(inputs.image_decoder(SHAPE), DIGITS, size, **changed)


def epochs_of(shards: LabelledShards, seed: int, epochs: int, ahead: int = 0, first: int = 0) -> list[Seen]:
    """What some epochs of a stream yield: the hash of each image's pixels, and its class."""
    steps = -(-len(shards) // BATCH)
    stream = inputs.training_batches(shards, batches(), seed, epochs + ahead, first).take(steps * (epochs - first))
    found: list[Seen] = []
    for number, (pixels, classes) in enumerate(stream.as_numpy_iterator()):
        assert pixels.dtype == np.uint8
        if number % steps == 0:
            found.append([])
        found[-1] += [(key_of(image), int(index)) for image, index in zip(pixels, classes, strict=True)]
    return found


@pytest.fixture(scope="module")
def everything(images: ImageSet) -> LabelledShards:
    return shards_of(images, products.label_set(images.root, "drawn", "human", "train"))


def test_each_epoch_yields_every_image_once_with_its_label(
    everything: LabelledShards, truth: dict[str, tuple[str, int]]
) -> None:
    epochs = epochs_of(everything, seed=1, epochs=3)
    assert len({label for _, label in truth.values()}) == 10
    assert [sorted(epoch) for epoch in epochs] == [sorted(truth.values())] * 3


def test_the_order_follows_from_seed_and_epoch(everything: LabelledShards) -> None:
    first, second, third = epochs_of(everything, seed=1, epochs=3)
    assert first != second != third != first
    assert epochs_of(everything, seed=2, epochs=1)[0] not in (first, second, third)
    # another stream, of another length, has the same epochs
    assert epochs_of(everything, seed=1, epochs=2, ahead=5) == [first, second]
    # and so has one that begins later, as a resumed training does
    assert epochs_of(everything, seed=1, epochs=3, first=1) == [second, third]


def test_a_stream_goes_one_epoch_past_the_last(everything: LabelledShards) -> None:
    stream = inputs.training_batches(everything, batches(100), 1, epochs=2, first=1)
    assert sum(1 for _ in stream) == 2 * 4


def test_shuffling_crosses_shards(
    everything: LabelledShards, images: ImageSet, truth: dict[str, tuple[str, int]]
) -> None:
    shard_of = {}
    for shard in range(images.shards):
        for image_id in images.index("train").read(shard)["image_id"].to_pylist():
            shard_of[truth[image_id][0]] = shard
    first = [shard_of[key] for key, _ in epochs_of(everything, seed=1, epochs=1)[0][:BATCH]]
    assert set(first) == set(range(8)), "the first batch comes from some shards only"


def test_images_without_a_label_are_dropped(
    images: ImageSet, truth: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    dropped = set(sorted(truth)[::3])
    shards = shards_of(images, label_set(tmp_path, images, dropped))
    assert len(shards) == len(truth) - len(dropped)
    kept = sorted(value for image_id, value in truth.items() if image_id not in dropped)
    assert [sorted(epoch) for epoch in epochs_of(shards, seed=5, epochs=2)] == [kept, kept]


def test_the_label_set_decides_not_the_record(
    images: ImageSet, truth: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    image_id, (key, label) = next(iter(truth.items()))
    other = (label + 3) % 10
    shards = shards_of(images, label_set(tmp_path, images, set(), **{image_id: str(other)}))
    assert dict(epochs_of(shards, seed=1, epochs=1)[0])[key] == other


def test_a_label_of_no_class_is_refused(images: ImageSet, truth: dict[str, tuple[str, int]], tmp_path: Path) -> None:
    labels = label_set(tmp_path, images, set(), **{next(iter(truth)): "ten"})
    with pytest.raises(InputError, match=r"part-0000\d-of-00008\.parquet has label 'ten', which is none of"):
        training_data.encode_targets(images, "train", labels)


def test_validation_yields_every_image_once_in_the_order_of_the_shards(
    everything: LabelledShards, images: ImageSet, truth: dict[str, tuple[str, int]]
) -> None:
    seen: Seen = []
    for pixels, classes in inputs.validation_batches(everything, batches(150)).as_numpy_iterator():
        seen += [(key_of(image), int(index)) for image, index in zip(pixels, classes, strict=True)]
    tables = [images.index("train").read(shard) for shard in range(images.shards)]
    expected = [truth[image_id] for table in tables for image_id in table["image_id"].to_pylist()]
    assert seen == expected
    assert everything.values()[:, 0].tolist() == [label for _, label in expected]


def test_changes_follow_from_seed_and_epoch_and_leave_the_order_alone(everything: LabelledShards) -> None:
    plain = list(inputs.training_batches(everything, batches(), 1, 2).take(14))
    changing = batches(augment={"shift": 0.2, "brightness": 0.2})
    first = list(inputs.training_batches(everything, changing, 1, 2).take(14))
    resumed = list(inputs.training_batches(everything, changing, 1, 2, first=1).take(7))
    for (pixels, _), (same, _) in zip(first[7:], resumed, strict=True):
        np.testing.assert_array_equal(pixels, same)
    for (pixels, classes), (before, same_classes) in zip(first, plain, strict=True):
        np.testing.assert_array_equal(classes, same_classes)
        changed = (pixels.numpy() != before.numpy()).any(axis=(1, 2, 3))
        assert changed.mean() > 0.9


def test_batches_change_each_in_their_own_way(everything: LabelledShards) -> None:
    plain = inputs.training_batches(everything, batches(), 1, 1).take(2)
    brighter = inputs.training_batches(everything, batches(augment={"brightness": 0.2}), 1, 1).take(2)
    moved = [
        np.median(pixels.numpy().astype(int) - before.numpy(), axis=(1, 2, 3))
        for (pixels, _), (before, _) in zip(brighter, plain, strict=True)
    ]
    assert np.abs(moved[0] - moved[1]).mean() > 5, "the first image of each batch changes like the other"


def test_validation_images_change_alike_in_every_epoch(everything: LabelledShards) -> None:
    changing = batches(augment={"rotation": 20})
    first, again = (list(inputs.validation_batches(everything, changing)) for _ in range(2))
    plain = list(inputs.validation_batches(everything, batches()))
    for (pixels, _), (same, _), (before, _) in zip(first, again, plain, strict=True):
        np.testing.assert_array_equal(pixels, same)
        assert (pixels.numpy() != before.numpy()).any()


def test_balanced_weights_are_those_of_scikit_learn(
    images: ImageSet, truth: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    dropped = {image_id for image_id, (_, label) in truth.items() if label == 7 or (label == 3 and image_id[-1] != "1")}
    shards = shards_of(images, label_set(tmp_path, images, dropped))
    classes = shards.values()[:, 0]
    occurring = np.unique(classes)
    expected = np.zeros(10)
    expected[occurring] = compute_class_weight("balanced", classes=occurring, y=classes)
    found = inputs.balanced_weights(shards, DIGITS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert expected[7] == 0 and expected[3] > 2 * expected[1]
    for _, targets, weights in inputs.training_batches(shards, batches(class_weights=found), 1, 1).take(3):
        np.testing.assert_allclose(weights, expected[targets.numpy()], rtol=1e-6)
    assert inputs.balanced_weights(shards, Objective("sequence", 10)) == ()
