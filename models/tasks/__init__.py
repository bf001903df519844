"""Tasks: what a dataset's labels are, one file per task, loaded by its name.

Each module states

- `INDEPENDENT`: whether an image may have any set of the classes, each by a threshold of its own, and whether it may be
  unknown if an image has a class; such a module also has `choose_thresholds(targets, scores, classes)`;
- `MONITORED`: the metric that decides which epoch was the best; higher is better;

and has, in NumPy and Arrow alone,

- `count_scores(classes)`: how many scores a network gives an image;
- `encode_targets(labels, ids, classes, complete)`: what a network should learn of each image, from a label set's rows;
- `decode_labels(scores, classes, thresholds)`: the labels that scores stand for;
- `evaluate(targets, scores, classes, thresholds)`: metrics of scores;
- `list_choices(targets, scores, classes)`: what temperatures are fitted on, by their name (models/calibration.py);
- `calibrate(scores, labels, classes, temperatures)`: the confidences of labels at those temperatures;
- `mark_label(scores, classes)`: which scores make up the most probable label of each image: 1 there, 0 elsewhere;

and with Keras, imported within the function so that a pipeline can use the others without it,

- `build_head(features, classes)`: the last layer of every network, from features (n, k) to scores in float32;
- `unpack_targets(values, classes)`: batches of encoded targets, as TensorFlow tensors, to what the loss takes;
- `build_loss(classes, smoothing)`: the loss, a function of targets and scores;
- `build_metrics(classes)`: what is reported after each epoch, `MONITORED` among it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import plugins

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The last layer of a network, in plain Keras 3: the scores of a task."""

    task: str
    classes: int

    def __call__(self, features: Any) -> Any:
        """Features (n, k) to scores (n, `count_scores(classes)`), in float32."""
        return load(self.task).build_head(features, self.classes)


@dataclass(frozen=True)
class Objective:
    """What a network is fitted to.

    Attributes:
        smoothing: share of each label that is spread over all classes.
    """

    task: str
    classes: int
    smoothing: float = 0.0

    @property
    def monitored(self) -> str:
        """The metric that decides which epoch was the best."""
        return str(load(self.task).MONITORED)

    def unpack_targets(self, values: Any) -> Any:
        """Encoded targets (n, k), a TensorFlow tensor, as the loss takes them."""
        return load(self.task).unpack_targets(values, self.classes)

    def build_loss(self) -> Any:
        """The loss, a function of targets and scores."""
        return load(self.task).build_loss(self.classes, self.smoothing)

    def build_metrics(self) -> list[Any]:
        """What is reported after each epoch."""
        return list(load(self.task).build_metrics(self.classes))


@dataclass(frozen=True)
class Targets:
    """What is to be learnt of each image of a shard.

    Attributes:
        values: (n, k) integers, encoded as the task does.
        known: (n,) whether the image has a label at all.
    """

    values: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DecodedLabels:
    """Labels that scores stand for, one row per label.

    Attributes:
        rows: (m,) which of the images, in order.
        labels: (m,) label.
        confidences: (m,) in [0, 1].
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.object_]
    confidences: npt.NDArray[np.float32]


def load(name: str) -> ModuleType:
    """The module of a task."""
    import models.tasks

    return plugins.load(models.tasks, "task", name)


def image_positions(labels: pa.Table, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """The position of each row's image among the images of its shard; -1: it is none of them."""
    position_of = {image_id: position for position, image_id in enumerate(ids)}
    return np.array([position_of.get(image_id, -1) for image_id in labels["image_id"].to_pylist()], dtype=np.int64)


def class_indices(labels: pa.Table, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The index of each row's class.

    Raises:
        KeyError: a label is none of the classes.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    return np.array([index_of[label] for label in labels["label"].to_pylist()], dtype=np.int64)


def dense_scores(features: Any, units: int, activation: str, name: str = "scores") -> Any:
    """A dense layer on features (n, k), in float32 whatever the network's precision."""
    from keras import layers

    return layers.Dense(units, activation=activation, dtype="float32", name=name)(features)


def cross_entropy(indices: Any, probabilities: Any, smoothing: float) -> Any:
    """Cross-entropy of probabilities (..., k) with class indices (...), a share of each spread over all classes."""
    from keras import ops

    smallest = 1e-37  # no less, for its inverse is a gradient; no more, else a confident error would have none
    target = ops.one_hot(indices, probabilities.shape[-1], dtype=probabilities.dtype)
    target = target * (1 - smoothing) + smoothing / probabilities.shape[-1]
    return -ops.sum(target * ops.log(ops.clip(probabilities, smallest, 1.0)), axis=-1)
