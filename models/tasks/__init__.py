"""Tasks: what a dataset's labels are, a file each, found by its name. NumPy and Arrow only; no network is needed.

Each module has

- `scores(classes)`: how many scores a network gives an image of so many classes;
- `targets(labels, ids, classes)`: what a network should learn of each image, from the rows of a label set;
- `read(scores, classes, thresholds)`: the labels that scores stand for;
- `figures(targets, scores, classes, thresholds)`: how right they are;
- `choices(targets, scores, classes)`: what temperatures are fitted on, by the name of each (see models/calibration.py);
- `calibrated(scores, reading, classes, temperatures)`: the confidences of labels at those temperatures.
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
class Targets:
    """What is to be learnt of each image of a shard.

    Attributes:
        values: (n, k) integers; what they mean is the task's own.
        known: (n,) whether the image has a label at all.
    """

    values: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Reading:
    """Labels that scores stand for, a row each.

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


def places(labels: pa.Table, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where the image of each row of a label set stands among the images of its shard; -1: it is none of them."""
    place_of = {image_id: place for place, image_id in enumerate(ids)}
    return np.array([place_of.get(image_id, -1) for image_id in labels["image_id"].to_pylist()], dtype=np.int64)


def class_rows(labels: pa.Table, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The index of each row's class.

    Raises:
        KeyError: a label is none of the classes.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    return np.array([index_of[label] for label in labels["label"].to_pylist()], dtype=np.int64)
