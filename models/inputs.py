"""The input pipeline of training: shards of payloads and the targets of each, read side by side.

A payload is a TFRecord's example, or an image's features. The order of the steps: shards in an order drawn from
(seed, epoch); their payloads with their targets, unlabelled images dropped; payloads shuffled, while they are still
small; then batched, decoded in parallel, augmented, and prefetched. All epochs are one stream, so that epoch
*e* is the same whether or not the epochs before it ran in this process.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.augmentation import augment
from models.tasks import Objective, Targets
from models.tensorflow_setup import tensorflow as tf
from schemas.manifests import MULTICLASS

SHUFFLE_BUFFER = 65_536
EVALUATION_BATCH = 256
_NO_EPOCH = 2**31 - 1  # stands for the epoch in the augmentation of validation images, the same in every one


@dataclass(frozen=True)
class LabelledShards:
    """Shards to learn from.

    Attributes:
        payloads: from the number of a shard to a dataset of its payloads, in order.
        targets: of the payloads of each shard.
    """

    payloads: Callable[[tf.Tensor], tf.data.Dataset]
    targets: tuple[Targets, ...]

    def __len__(self) -> int:
        return int(sum(one.known.sum() for one in self.targets))

    def values(self) -> npt.NDArray[np.int64]:
        """The targets of all labelled images, in order."""
        return np.concatenate([one.values[one.known] for one in self.targets])


@dataclass(frozen=True)
class Batches:
    """How payloads become batches for a network.

    Attributes:
        decode: payloads (n,) to what the network takes.
        size: images per batch.
        augment: amounts of the random changes, if any.
        class_weights: how much an image of each class counts; multiclass alone.
    """

    decode: Callable[[tf.Tensor], tf.Tensor]
    objective: Objective
    size: int
    augment: Mapping[str, float] = field(default_factory=dict)
    class_weights: tuple[float, ...] = ()

    def build(self, rows: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        """Batches of what the network takes, its targets, and weights where classes have any."""

        def build_batch(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            payloads, values = batch
            images, targets = self.decode(payloads), self.objective.unpack_targets(values)
            if self.augment:
                images = augment(images, self.augment, tf.stack([seed, number]))
            if not self.class_weights:
                return images, targets
            return images, targets, tf.gather(tf.constant(self.class_weights, tf.float32), targets)

        batches = rows.batch(self.size).enumerate()
        return batches.map(build_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def image_decoder(image_shape: tuple[int, int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """From serialised examples (n,) to uint8 pixels (n, *image_shape)."""
    return lambda payloads: decode_batch(encoded_images(payloads), image_shape)


def read_records(paths: tuple[str, ...]) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """The payloads of TFRecord shards, by number; local paths."""
    return lambda shard: tf.data.TFRecordDataset(tf.constant(paths)[shard])


def training_batches(
    shards: LabelledShards, batches: Batches, seed: int, epochs: int, first: int = 0
) -> tf.data.Dataset:
    """Batches for all epochs from `first` on, each in an order, and with changes, that follow from (seed, epoch)."""

    def build_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # three seeds from (seed, epoch): of the order of shards, of that within the buffer, of the augmentation
        seeds = tf.random.stateless_uniform([3], [seed, epoch], maxval=2**31 - 1, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(shards.targets)), [seeds[0], epoch])
        rows = tf.data.Dataset.from_tensor_slices(order).flat_map(lambda shard: _read_rows(shards, shard))
        shuffled = rows.shuffle(min(len(shards), SHUFFLE_BUFFER), seed=seeds[1], reshuffle_each_iteration=False)
        return batches.build(shuffled, seeds[2])

    # Keras reads one batch past the last epoch, and warns where there is none
    return tf.data.Dataset.range(first, epochs + 1).flat_map(build_epoch).prefetch(2)


def validation_batches(shards: LabelledShards, batches: Batches) -> tf.data.Dataset:
    """Batches of everything, once, in order."""
    rows = tf.data.Dataset.range(len(shards.targets)).flat_map(lambda shard: _read_rows(shards, shard))
    return batches.build(rows, tf.constant(_NO_EPOCH, tf.int64)).prefetch(2)


def _read_rows(shards: LabelledShards, shard: tf.Tensor) -> tf.data.Dataset:
    lengths = [len(one.known) for one in shards.targets]

    def select_shard(parts: list[npt.NDArray[np.generic]]) -> tf.data.Dataset:
        ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(parts), lengths)
        return tf.data.Dataset.from_tensor_slices(ragged[tf.cast(shard, tf.int64)])

    values = select_shard([one.values for one in shards.targets])
    known = select_shard([one.known for one in shards.targets])
    rows = tf.data.Dataset.zip((shards.payloads(shard), values, known))
    return rows.filter(lambda payload, value, known: known).map(lambda payload, value, known: (payload, value))


def balanced_weights(shards: LabelledShards, objective: Objective) -> tuple[float, ...]:
    """How much an image of each class counts so that all classes count alike; classes without images not at all.

    n / (classes * images of the class), as in
    https://scikit-learn.org/stable/modules/generated/sklearn.utils.class_weight.compute_class_weight.html
    """
    if objective.task != MULTICLASS:
        return ()
    counts = np.bincount(shards.values()[:, 0], minlength=objective.classes)
    occurring = int((counts > 0).sum())
    return tuple(float(counts.sum() / (occurring * count)) if count else 0.0 for count in counts)


# From TFRecord payloads to pixels, in TensorFlow: the one way in, for training and labelling alike.

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "image/id": tf.io.FixedLenFeature([], tf.string),
}


def decode_image(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Encoded image bytes, a scalar, to uint8 pixels of the shape that a network takes.

    A colour image for a grey network is converted to grey, and a grey one for a colour network repeated; an image of
    another size is scaled to it, each side by itself (bilinear, smoothed where it shrinks).
    """
    pixels = tf.io.decode_image(encoded, channels=image_shape[2], expand_animations=False)
    fits = tf.reduce_all(tf.shape(pixels)[:2] == image_shape[:2])
    return tf.ensure_shape(tf.cond(fits, lambda: pixels, lambda: scale_image(pixels, image_shape)), image_shape)


def scale_image(pixels: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """uint8 pixels (height, width, channels) at another size, rounded to whole levels."""
    whole = tf.ensure_shape(pixels, (None, None, image_shape[2]))
    return tf.saturate_cast(tf.round(tf.image.resize(whole, image_shape[:2], antialias=True)), tf.uint8)


def decode_batch(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Encoded images (n,) to uint8 pixels (n, *image_shape); one that cannot be decoded fails them all.

    A loop within one graph costs half of what one `tf.data` element per image does.
    """
    one = tf.TensorSpec(image_shape, tf.uint8)
    return tf.map_fn(lambda image: decode_image(image, image_shape), encoded, fn_output_signature=one)


def encoded_images(payloads: tf.Tensor) -> tf.Tensor:
    """The encoded images (n,) of serialised examples (n,)."""
    return tf.io.parse_example(payloads, FEATURES)["image"]
