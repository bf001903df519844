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
from schemas import hashing, storage
from schemas.cards import require_card


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


class FoldScorer:
    """The models of all folds as one: an image is scored by the one that did not see it.

    Images of another split than the one they learnt from, which none of them saw, get the mean of their scores.

    Args:
        scorers: one a fold, in order.
        split: the split that was divided into folds.
    """

    failures = Scorer.failures

    def __init__(self, scorers: Sequence[Scorer], split: str) -> None:
        self._scorers, self._split = scorers, split

    def ids(self, payloads: Sequence[bytes]) -> list[str]:
        """The image id that each payload, a serialised example, carries."""
        return self._scorers[0].ids(payloads)

    def scores(self, payloads: Sequence[bytes], split: str) -> npt.NDArray[np.float32]:
        """Scores of every image, (n, classes), of images of a split."""
        if split != self._split:
            found = [scorer.scores(payloads) for scorer in self._scorers]
            return np.asarray(np.stack(found).mean(axis=0), dtype=np.float32)
        folds = hashing.fold_of(self.ids(payloads), len(self._scorers))
        scores = np.zeros((len(payloads), self._scorers[0].classes), np.float32)
        for fold, scorer in enumerate(self._scorers):
            rows = np.flatnonzero(folds == fold)
            scores[rows] = scorer.scores([payloads[int(row)] for row in rows])
        return scores

    def undecodable(self, payloads: Sequence[bytes]) -> dict[int, str]:
        """Which images cannot be decoded, and what the decoder says of each."""
        return self._scorers[0].undecodable(payloads)


def load(folder: str, batch: int, trusted: bool = False) -> Scorer | FoldScorer:
    """The scorer of a model folder, or of the folds in it; of a SavedModel only if it is trusted."""
    card = require_card(folder)
    if "members" not in card:
        return Scorer(saved.load(folder, trusted), batch)
    scorers = [Scorer(saved.load(storage.join(folder, member)), batch) for member in card["members"]]
    return FoldScorer(scorers, card["settings"]["split"])
