"""What a network is fitted to, for each task: targets as the loss takes them, the loss, and the figure to watch."""

from dataclasses import dataclass
from typing import Any

from models.tasks.sequence import LENGTHS, PLACES
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.manifests import MULTICLASS, MULTILABEL

UNKNOWN = -1.0  # as a target: it is not known whether an image has the class
_BITS = (128, 64, 32, 16, 8, 4, 2, 1)
_TINY = 1e-37  # no less, for its inverse is a gradient; no more, else what is surely wrong would have none


@dataclass(frozen=True)
class Objective:
    """The loss of a task, and the figures by which an epoch is judged.

    Attributes:
        watched: the figure that decides which epoch was the best; the higher, the better.
    """

    task: str
    classes: int
    smoothing: float = 0.0

    @property
    def watched(self) -> str:
        """The name of the figure to watch."""
        return "average_precision" if self.task == MULTILABEL else "accuracy"

    def targets(self, values: tf.Tensor) -> tf.Tensor:
        """Targets (n, k), as `models.tasks` packs them, as the loss takes them."""
        if self.task == MULTICLASS:
            return values[:, 0]
        if self.task == MULTILABEL:
            half = -(-self.classes // 8)
            truth = self._bits(values[:, :half])
            return truth if values.shape[1] == half else tf.where(self._bits(values[:, half:]) > 0, truth, UNKNOWN)
        return values

    def _bits(self, values: tf.Tensor) -> tf.Tensor:
        bits = values[:, :, None] // tf.constant(_BITS, tf.uint8) % tf.constant(2, tf.uint8)
        return tf.cast(tf.reshape(bits, (-1, values.shape[1] * 8))[:, : self.classes], tf.float32)

    def loss(self) -> Any:
        """Cross-entropy: of the class, of each class by itself, or of the length and every digit that there is."""
        if self.task == MULTICLASS:
            return self._class_loss
        if self.task == MULTILABEL:
            return self._labels_loss
        return self._number_loss

    def metrics(self) -> list[Any]:
        """What is told after each epoch, `watched` among it."""
        if self.task == MULTICLASS:
            return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if self.task == MULTILABEL:
            return [KnownPrecision(curve="PR", name="average_precision")]
        return [keras.metrics.MeanMetricWrapper(self._number_accuracy, name="accuracy")]

    def _class_loss(self, truth: Any, scores: Any) -> Any:
        return _cross_entropy(keras.ops.reshape(truth, (-1,)), scores, self.smoothing)

    def _labels_loss(self, truth: Any, scores: Any) -> Any:
        """The mean over the classes of which it is known whether an image has them."""
        ops = keras.ops
        known = ops.cast(truth >= 0, scores.dtype)
        wanted = ops.cast(ops.maximum(truth, 0), scores.dtype) * (1 - self.smoothing) + self.smoothing / 2
        losses = ops.binary_crossentropy(wanted, scores) * known
        return ops.sum(losses, axis=1) / ops.maximum(ops.sum(known, axis=1), 1)

    def _number_loss(self, truth: Any, scores: Any) -> Any:
        """The sum over length and digits; a place without a digit costs nothing."""
        truth = keras.ops.cast(truth, "int32")
        lengths, digits = self._split(scores)
        losses = _cross_entropy(truth[:, 0], lengths, self.smoothing)
        there = keras.ops.cast(truth[:, 1:] >= 0, scores.dtype)
        of_digits = _cross_entropy(keras.ops.maximum(truth[:, 1:], 0), digits, self.smoothing)
        return losses + keras.ops.sum(of_digits * there, axis=1)

    def _number_accuracy(self, truth: Any, scores: Any) -> Any:
        """Whether the most probable reading is the whole number."""
        ops = keras.ops
        truth = ops.cast(truth, "int32")
        lengths, digits = self._split(scores)
        upto = ops.cumprod(ops.max(digits, axis=2), axis=1)
        whole = ops.concatenate([ops.ones_like(upto[:, :1]), upto, upto[:, -1:]], axis=1)
        right = ops.equal(ops.cast(ops.argmax(lengths * whole, axis=1), "int32"), truth[:, 0])
        same = ops.logical_or(ops.equal(ops.cast(ops.argmax(digits, axis=2), "int32"), truth[:, 1:]), truth[:, 1:] < 0)
        return ops.cast(ops.logical_and(right, ops.all(same, axis=1)), "float32")

    def _split(self, scores: Any) -> tuple[Any, Any]:
        return scores[:, :LENGTHS], keras.ops.reshape(scores[:, LENGTHS:], (-1, PLACES, self.classes))


class KnownPrecision(keras.metrics.AUC):  # type: ignore[misc]
    """The area under the curve of precision and recall, over what is known."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: truth (n, classes), below 0 where it is not known, and scores."""
        known = keras.ops.cast(y_true >= 0, "float32")
        super().update_state(keras.ops.maximum(y_true, 0), y_pred, sample_weight=known)


def _cross_entropy(indices: Any, probabilities: Any, smoothing: float) -> Any:
    """Cross-entropy of probabilities (..., k) with class indices (...), a share of each spread over all classes."""
    ops = keras.ops
    wanted = ops.one_hot(indices, probabilities.shape[-1], dtype=probabilities.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / probabilities.shape[-1]
    return -ops.sum(wanted * ops.log(ops.clip(probabilities, _TINY, 1.0)), axis=-1)
