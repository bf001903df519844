"""The input pipeline of training: TFRecord shards and one label set, read side by side.

The order of the steps: shards in an order drawn from (seed, epoch); their payloads with their labels, unlabelled
images dropped; payloads shuffled, while they are still small; then batched, decoded in parallel, and prefetched. All
epochs are one stream, so that epoch *e* is the same whether or not the epochs before it ran in this process.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.decoding import decode_batch, images_of
from models.quiet import tensorflow as tf
from schemas import hashing, storage, tfrecord
from schemas.errors import InputError
from schemas.products import ImageSet, ShardFolder

SHUFFLE_BUFFER = 65_536
UNLABELLED = -1


@dataclass(frozen=True)
class LabelledShards:
    """Shards to learn from: local paths of TFRecords, and for each the class index of every record (-1: none)."""

    paths: tuple[str, ...]
    classes: tuple[npt.NDArray[np.int64], ...]

    def __len__(self) -> int:
        return int(sum((classes != UNLABELLED).sum() for classes in self.classes))


def label_shards(images: ImageSet, split: str, labels: ShardFolder) -> tuple[npt.NDArray[np.int64], ...]:
    """For each shard of a split, the class index that the label set gives each of its records.

    Raises:
        InputError: the label set names a class that the dataset does not have.
    """
    index_of = {name: index for index, name in enumerate(images.classes)}
    shards = []
    for shard in range(images.shards):
        table = labels.read(shard)
        unknown = sorted(set(table["label"].to_pylist()) - set(index_of))
        if unknown:
            raise InputError(f"{labels.path(shard)} has label {unknown[0]!r}, which is none of the dataset's classes")
        found = dict(zip(table["image_id"].to_pylist(), table["label"].to_pylist(), strict=True))
        ids = images.index(split).read(shard)["image_id"].to_pylist()
        shards.append(np.array([index_of[found[i]] if i in found else UNLABELLED for i in ids], dtype=np.int64))
    return tuple(shards)


def damaged_record(images: ImageSet, split: str) -> str | None:
    """Where the first record of a split lies whose checksum does not fit, in words; None where all do."""
    for shard in range(images.shards):
        content = storage.read_bytes(images.tfrecord(split, shard))
        index = images.index(split).read(shard)
        places = zip(
            index["image_id"].to_pylist(), index["offset"].to_pylist(), index["length"].to_pylist(), strict=True
        )
        for row, (image_id, offset, length) in enumerate(places):
            if tfrecord.payload_at(content, offset, length) is None:
                return f"{images.tfrecord(split, shard)}, record {row} ({image_id})"
    return None


def hold_out(
    images: ImageSet, split: str, shards: tuple[npt.NDArray[np.int64], ...], fraction: float
) -> tuple[tuple[npt.NDArray[np.int64], ...], tuple[npt.NDArray[np.int64], ...]]:
    """Two views of the same shards: those to train on, and a share to validate on, drawn by hashed id."""
    kept, held = [], []
    for shard, classes in enumerate(shards):
        ids = images.index(split).read(shard)["image_id"].to_pylist()
        drawn = hashing.split_of(ids, {"train": 1 - fraction, "held": fraction}) == "held"
        kept.append(np.where(drawn, UNLABELLED, classes))
        held.append(np.where(drawn, classes, UNLABELLED))
    return tuple(kept), tuple(held)


def training(
    shards: LabelledShards, image_shape: tuple[int, int, int], batch: int, seed: int, epochs: int
) -> tf.data.Dataset:
    """Batches of (pixels uint8, class index) for all epochs, each in an order that follows from (seed, epoch)."""

    def epoch_of(epoch: tf.Tensor) -> tf.data.Dataset:
        # two seeds drawn from (seed, epoch): one orders the shards, one the records within the buffer
        drawn = tf.random.stateless_uniform([2], [seed, epoch], maxval=2**31 - 1, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(shards.paths)), [drawn[0], epoch])
        rows = tf.data.Dataset.from_tensor_slices(order).flat_map(lambda shard: _records(shards, shard))
        shuffled = rows.shuffle(min(len(shards), SHUFFLE_BUFFER), seed=drawn[1], reshuffle_each_iteration=False)
        return _decoded(shuffled.batch(batch), image_shape)

    # Keras looks one batch past the last epoch, and warns where there is none
    return tf.data.Dataset.range(epochs + 1).flat_map(epoch_of).prefetch(2)


def validation(shards: LabelledShards, image_shape: tuple[int, int, int], batch: int) -> tf.data.Dataset:
    """Batches of (pixels uint8, class index), once, in order."""
    rows = tf.data.Dataset.range(len(shards.paths)).flat_map(lambda shard: _records(shards, shard))
    return _decoded(rows.batch(batch), image_shape).prefetch(2)


def _records(shards: LabelledShards, shard: tf.Tensor) -> tf.data.Dataset:
    paths = tf.constant(list(shards.paths))
    classes = tf.RaggedTensor.from_row_lengths(np.concatenate(shards.classes), _lengths(shards.classes))
    labels = tf.data.Dataset.from_tensor_slices(classes[tf.cast(shard, tf.int64)])
    rows = tf.data.Dataset.zip((tf.data.TFRecordDataset(paths[shard]), labels))
    return rows.filter(lambda _, label: label != UNLABELLED)


def _lengths(classes: Sequence[npt.NDArray[np.int64]]) -> list[int]:
    return [len(shard) for shard in classes]


def _decoded(batches: tf.data.Dataset, image_shape: tuple[int, int, int]) -> tf.data.Dataset:
    return batches.map(
        lambda payloads, labels: (decode_batch(images_of(payloads), image_shape), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
