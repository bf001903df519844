"""Label images with a trained model: what its scores mean, and the rows that a label set has of them.

concord label --models cnn1,cnn2 --dataset svhn --splits test --root out
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models import calibration, tasks
from pipelines.scoring.shards import Scores
from schemas import hashing, tables


@dataclass(frozen=True)
class Answers:
    """What the scores of a model mean.

    Attributes:
        classes: names, in the order of the scores.
        thresholds: of several labels, the score at or above which an image has each class.
        keep_scores: whether a label set holds the scores as well.
        temperatures: by which confidence is calibrated, as `models.calibration` names them: none, those of all images,
            or those of each fold, where an image has those of the fold that did not see it.
    """

    task: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    keep_scores: bool = False
    temperatures: tuple[Mapping[str, float] | None, ...] = ()


def load_model(folder: str, batch: int, trusted: bool = False) -> Any:
    """The network of a model folder, ready to score so many images at once; a SavedModel only if it is trusted."""
    from models import scoring  # TensorFlow is imported where it is needed: on the workers that label

    return scoring.load(folder, batch, trusted)


def label_table(ids: Sequence[str], scores: Scores, answers: Answers) -> pa.Table:
    """The labels that scores stand for, a row each.

    Args:
        ids: of the images.
        scores: (n, k), in [0, 1].
        answers: what they mean.
    """
    task = tasks.load(answers.task)
    reading = task.read(scores, answers.classes, answers.thresholds)
    columns: dict[str, Any] = {
        "image_id": pa.array(ids, pa.string()).take(pa.array(reading.rows)),
        "label": pa.array(reading.labels, pa.string()),
        "confidence": reading.confidences,
    }
    if any(answers.temperatures):
        alike = len(answers.temperatures) == 1
        folds = np.zeros(len(ids), np.int64) if alike else hashing.fold_of(ids, len(answers.temperatures))
        found = calibration.of_images(answers.temperatures, folds)
        calibrated = task.calibrated(scores, reading, answers.classes, found)
        columns["confidence_calibrated"] = pa.array(np.clip(calibrated, 0, 1), from_pandas=True)  # NaN is null
    kept = {"scores": pa.array(scores[reading.rows].tolist(), pa.list_(pa.float32()))} if answers.keep_scores else {}
    return tables.label_rows(columns | kept)
