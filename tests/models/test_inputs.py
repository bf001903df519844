"""The input pipeline: every labelled image once an epoch, with its own label, in an order that (seed, epoch) draws."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import xxhash

from models import inputs
from models.inputs import UNLABELLED, LabelledShards
from models.quiet import tensorflow as tf
from schemas import products
from schemas.errors import InputError
from schemas.products import ImageSet, ShardFolder, ShardReport

SHAPE = (32, 32, 1)
BATCH = 64
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
    return LabelledShards(paths, inputs.label_shards(images, "train", labels))


def epochs_of(shards: LabelledShards, seed: int, epochs: int, ahead: int = 0) -> list[Seen]:
    """What the first epochs of a stream yield: the hash of each image's pixels, and its class."""
    steps = -(-len(shards) // BATCH)
    batches = inputs.training(shards, SHAPE, BATCH, seed, epochs + ahead).take(steps * epochs)
    found: list[Seen] = []
    for number, (pixels, classes) in enumerate(batches.as_numpy_iterator()):
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
        inputs.label_shards(images, "train", labels)


def test_validation_yields_every_image_once_in_the_order_of_the_shards(
    everything: LabelledShards, images: ImageSet, truth: dict[str, tuple[str, int]]
) -> None:
    seen: Seen = []
    for pixels, classes in inputs.validation(everything, SHAPE, 150).as_numpy_iterator():
        seen += [(key_of(image), int(index)) for image, index in zip(pixels, classes, strict=True)]
    tables = [images.index("train").read(shard) for shard in range(images.shards)]
    assert seen == [truth[image_id] for table in tables for image_id in table["image_id"].to_pylist()]


def test_hold_out_shares_the_labelled_images_by_their_hash(images: ImageSet, everything: LabelledShards) -> None:
    kept, held = inputs.hold_out(images, "train", everything.classes, 0.1)
    for shard, classes in enumerate(everything.classes):
        ids = images.index("train").read(shard)["image_id"].to_pylist()
        drawn = np.array([xxhash.xxh64_intdigest(one.encode(), seed=1) / 2**64 >= 0.9 for one in ids])
        np.testing.assert_array_equal(held[shard], np.where(drawn, classes, UNLABELLED))
        np.testing.assert_array_equal(kept[shard], np.where(drawn, UNLABELLED, classes))
    share = sum((one != UNLABELLED).sum() for one in held)
    assert 20 < share < 60  # of 400, by the binomial law: 40 and three standard deviations of 6


def test_hold_out_leaves_unlabelled_images_out_of_both(images: ImageSet, tmp_path: Path) -> None:
    ids = [one for shard in range(8) for one in images.index("train").read(shard)["image_id"].to_pylist()]
    shards = shards_of(images, label_set(tmp_path, images, set(ids[:100])))
    kept, held = inputs.hold_out(images, "train", shards.classes, 0.5)
    assert len(LabelledShards(shards.paths, kept)) + len(LabelledShards(shards.paths, held)) == 300
