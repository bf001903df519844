"""Score images in batches; a batch that fails is bisected until the rows that fail by themselves are isolated.

A batch that does not fit in memory is bisected likewise, and those after it stay as small: they would not fit either.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from models import saved_models
from models.inputs import FEATURES, decode_batch
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.errors import Reason
from storage import hashing, stores
from storage.model_cards import require_card

Fault = tuple[Reason, str]
Result = TypeVar("Result")
# what TensorFlow's kernels and, as RuntimeError, those of JAX and PyTorch raise; mistakes of ours are none of these
FAILURES = (tf.errors.OpError, RuntimeError, MemoryError)
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_LONGEST = 300


@dataclass
class BisectionResult(Generic[Result]):
    """The results of some rows.

    Attributes:
        parts: the rows that were processed together, and their result, in order.
        faults: the rows that fail even alone, and why.
        out_of_memory: how many batches did not fit in memory.
    """

    parts: list[tuple[range, Result]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    out_of_memory: int = 0


class BatchBisection:
    """Batches of at most `size` rows, fewer once one has not fitted in memory; threads may share one.

    Args:
        size: rows per batch, to begin with.
        reason: why a row is rejected that fails for another reason than memory.
    """

    def __init__(self, size: int, reason: Reason) -> None:
        self.size, self._reason = size, reason

    def run(self, count: int, process: Callable[[range], Result]) -> BisectionResult[Result]:
        """Process the rows up to `count`, one batch after the other."""
        result: BisectionResult[Result] = BisectionResult()
        pending = [range(count)]
        while pending:
            part = pending.pop()
            cut = self.size
            if 0 < len(part) <= cut:
                try:
                    result.parts.append((part, process(part)))
                    continue
                except FAILURES as error:
                    cut = (len(part) + 1) // 2
                    if is_out_of_memory(error):
                        result.out_of_memory += 1
                        self.size = min(self.size, cut)
                    if len(part) == 1:
                        result.faults[part[0]] = self._fault(error)
                        continue
            pending += [part[cut:], part[:cut]] if part else []
        return result

    def _fault(self, error: Exception) -> Fault:
        reason = Reason.OUT_OF_MEMORY if is_out_of_memory(error) else self._reason
        return reason, first_line(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of any backend means that there is not enough memory."""
    known = isinstance(error, tf.errors.ResourceExhaustedError | MemoryError)
    return known or _OUT_OF_MEMORY.search(str(error)) is not None


def first_line(error: Any) -> str:
    """The first line of an error's message."""
    lines = str(getattr(error, "message", "") or error).splitlines()
    return lines[0][:_LONGEST] if lines else type(error).__name__


# Score TFRecord payloads with a network: reading ahead and decoding overlap with computing.

Pixels = Any  # uint8 (n, height, width, channels), a tensor or an array


@dataclass(frozen=True)
class Scored:
    """The scores of some images.

    Attributes:
        scores: (n, classes), NaN for an image that has none.
        faults: the images that cannot be decoded or scored, and why.
        batches: how many images the network saw at once, each time.
        out_of_memory: how many batches did not fit in memory.
    """

    scores: npt.NDArray[np.float32]
    faults: Mapping[int, Fault]
    batches: tuple[int, ...] = ()
    out_of_memory: int = 0


class Scorer:
    """A network, ready to score; it is loaded once a worker and shared by its threads.

    Args:
        model: from uint8 pixels (n, *image_shape) to scores (n, classes).
        batch: images that the network sees at once; fewer once they have not fitted in memory.
    """

    def __init__(self, model: keras.Model, batch: int) -> None:
        self.image_shape: tuple[int, int, int] = tuple(model.input_shape[1:])
        self.classes = int(model.output_shape[-1])
        self._batch, self._bisection = batch, BatchBisection(batch, Reason.MODEL_FAILED)
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
        return [one.decode() for one in self._parse(payloads)["image/id"].numpy().tolist()]

    def score(self, payloads: Sequence[bytes], split: str = "") -> Scored:
        """Scores of every image that has any; their split plays no part.

        Images that cannot be decoded keep their place in their batch, so that the others' scores are the same bit for
        bit; where the network or memory fails, the batch is bisected, and scores are the same within rounding.
        """
        scores = np.full((len(payloads), self.classes), np.nan, np.float32)
        faults: dict[int, Fault] = {}
        sizes: list[int] = []
        out_of_memory = 0
        for first, pixels, undecoded in self._decode_ahead(payloads):
            result = self._bisection.run(len(pixels), partial(self._score_part, pixels))
            for part, part_scores in result.parts:
                scores[first + part.start : first + part.stop] = part_scores
                sizes.append(len(part))
            failed = {**result.faults, **undecoded}
            scores[[first + row for row in failed]] = np.nan
            faults |= {first + row: fault for row, fault in failed.items()}
            out_of_memory += result.out_of_memory
        return Scored(scores, faults, tuple(sizes), out_of_memory)

    def _score_part(self, pixels: Pixels, part: range) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._scores(pixels[part.start : part.stop]).numpy()
        return scores

    def _decode_ahead(self, payloads: Sequence[bytes]) -> Iterator[tuple[int, Pixels, dict[int, Fault]]]:
        """For each batch its first row, its pixels, and those of its images that have none."""
        if not payloads:
            return
        images, step = self._parse(payloads)["image"], self._batch
        # one batch is decoded ahead; tf.data, doing the same, left a core idle in half of the runs
        with ThreadPoolExecutor(1) as ahead:
            decoded = ahead.submit(self._decode_images, images[:step])
            for start in range(0, len(payloads), step):
                pixels, undecoded = decoded.result()
                decoded = ahead.submit(
                    self._decode_images, images[start + step : start + 2 * step]
                )  # of the last: nothing
                yield start, pixels, undecoded

    def _decode_images(self, images: tf.Tensor) -> tuple[Pixels, dict[int, Fault]]:
        """The pixels of encoded images, black where one cannot be decoded, and why it cannot."""
        bisection = BatchBisection(max(len(images), 1), Reason.IMAGE_UNDECODABLE)
        result = bisection.run(len(images), lambda part: self._decode(images[part.start : part.stop]))
        if not result.faults and len(result.parts) == 1:
            return result.parts[0][1], {}
        pixels = np.zeros((len(images), *self.image_shape), np.uint8)
        for part, decoded in result.parts:
            pixels[part.start : part.stop] = decoded.numpy()
        return pixels, result.faults

    def _parse(self, payloads: Sequence[bytes]) -> dict[str, Any]:
        parsed: dict[str, Any] = tf.io.parse_example(tf.constant(list(payloads), tf.string), FEATURES)
        return parsed


class FoldScorer:
    """The models of all folds as one: an image is scored by the one that did not see it.

    Images of another split than the one they learnt from, which none of them saw, get the mean of their scores.

    Args:
        scorers: one per fold, in order.
        split: the split that was divided into folds.
    """

    def __init__(self, scorers: Sequence[Scorer], split: str) -> None:
        self._scorers, self._split = scorers, split

    def ids(self, payloads: Sequence[bytes]) -> list[str]:
        """The image id that each payload, a serialised example, carries."""
        return self._scorers[0].ids(payloads)

    def score(self, payloads: Sequence[bytes], split: str) -> Scored:
        """Scores of every image of a split that has any; see `Scorer.score`."""
        if split != self._split:
            parts = [scorer.score(payloads) for scorer in self._scorers]
            faults = {row: fault for one in parts for row, fault in one.faults.items()}
            scores = np.asarray(np.stack([one.scores for one in parts]).mean(axis=0), dtype=np.float32)
        else:
            folds = hashing.fold_of(self.ids(payloads), len(self._scorers))
            scores = np.zeros((len(payloads), self._scorers[0].classes), np.float32)
            parts, faults = [], {}
            for fold, scorer in enumerate(self._scorers):
                rows = np.flatnonzero(folds == fold).tolist()
                parts.append(scorer.score([payloads[row] for row in rows]))
                scores[rows] = parts[-1].scores
                faults |= {rows[row]: fault for row, fault in parts[-1].faults.items()}
        sizes = tuple(size for one in parts for size in one.batches)
        return Scored(scores, faults, sizes, sum(one.out_of_memory for one in parts))


def load(folder: str, batch: int, trusted: bool = False) -> Scorer | FoldScorer:
    """The scorer of a model folder, or of the folds in it; of a SavedModel only if it is trusted."""
    card = require_card(folder)
    if not card.members:
        return Scorer(saved_models.load(folder, trusted), batch)
    scorers = [Scorer(saved_models.load(stores.join(folder, member)), batch) for member in card.members]
    return FoldScorer(scorers, card.fold_split)
