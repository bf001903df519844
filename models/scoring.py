"""Score TFRecord payloads with a network: reading ahead and decoding overlap with computing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from models import saved
from models.decoding import FEATURES, decode_batch
from models.quiet import keras
from models.quiet import tensorflow as tf


class Scorer:
    """A network, ready to score; it is loaded once a worker and shared by its threads.

    Args:
        model: from uint8 pixels (n, *image_shape) to scores (n, classes).
        batch: images that the network sees at once.
    """

    failures = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)  # what an undecodable image raises

    def __init__(self, model: keras.Model, batch: int) -> None:
        self.image_shape: tuple[int, int, int] = tuple(model.input_shape[1:])
        self.classes = int(model.output_shape[-1])
        self._batch = batch
        self._scores = tf.function(
            lambda pixels: model(pixels, training=False),
            input_signature=[tf.TensorSpec((None, *self.image_shape), tf.uint8)],
        )
        self._decode = tf.function(
            lambda images: decode_batch(images, self.image_shape), input_signature=[tf.TensorSpec([None], tf.string)]
        )
        self._scores(tf.zeros((1, *self.image_shape), tf.uint8))  # trace here, before threads share it

    def ids(self, payloads: Sequence[bytes]) -> list[str]:
        """The image id that each payload, a serialised example, carries."""
        return [one.decode() for one in self._parsed(payloads)["image/id"].numpy().tolist()]

    def scores(self, payloads: Sequence[bytes], split: str = "") -> npt.NDArray[np.float32]:
        """Scores of every image, (n, classes); the split that they are of plays no part.

        Raises:
            tf.errors.InvalidArgumentError: an image cannot be decoded; `undecodable` tells which.
        """
        if not payloads:
            return np.zeros((0, self.classes), np.float32)
        images = self._parsed(payloads)["image"]
        batches = [images[start : start + self._batch] for start in range(0, len(payloads), self._batch)]
        found = []
        # one batch is decoded ahead; tf.data, doing the same, left a core idle in half of the runs
        with ThreadPoolExecutor(1) as ahead:
            decoded = ahead.submit(self._decode, batches[0])
            for following in [*batches[1:], None]:
                pixels = decoded.result()
                if following is not None:
                    decoded = ahead.submit(self._decode, following)
                found.append(self._scores(pixels).numpy())
        return np.concatenate(found)

    def undecodable(self, payloads: Sequence[bytes]) -> dict[int, str]:
        """Which images cannot be decoded, and what the decoder says of each."""
        found = {}
        for row, image in enumerate(self._parsed(payloads)["image"]):
            try:
                self._decode(image[None])
            except self.failures as error:
                found[row] = str(error.message).splitlines()[0]
        return found

    def _parsed(self, payloads: Sequence[bytes]) -> dict[str, Any]:
        parsed: dict[str, Any] = tf.io.parse_example(tf.constant(list(payloads), tf.string), FEATURES)
        return parsed


def load(folder: str, batch: int) -> Scorer:
    """The scorer of a model folder."""
    return Scorer(saved.load(folder), batch)
