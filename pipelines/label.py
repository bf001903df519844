"""Label images with a trained model: what its scores mean, and the rows that a label set has of them.

concord label --models cnn1,cnn2 --dataset svhn --splits test --root out
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from models import tasks
from pipelines.shards import Scores
from schemas import tables


@dataclass(frozen=True)
class Answers:
    """What the scores of a model mean.

    Attributes:
        classes: names, in the order of the scores.
        thresholds: of several labels, the score at or above which an image has each class.
        keep_scores: whether a label set holds the scores as well.
    """

    task: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    keep_scores: bool = False


def load_model(folder: str, batch: int) -> Any:
    """The network of a model folder, ready to score so many images at once."""
    from models import scoring  # TensorFlow is imported where it is needed: on the workers that label

    return scoring.load(folder, batch)


def label_table(ids: Sequence[str], scores: Scores, answers: Answers) -> pa.Table:
    """The labels that scores stand for, a row each.

    Args:
        ids: of the images.
        scores: (n, k), in [0, 1].
        answers: what they mean.
    """
    reading = tasks.load(answers.task).read(scores, answers.classes, answers.thresholds)
    columns = {
        "image_id": pa.array(ids, pa.string()).take(pa.array(reading.rows)),
        "label": pa.array(reading.labels, pa.string()),
        "confidence": reading.confidences,
    }
    kept = {"scores": pa.array(scores[reading.rows].tolist(), pa.list_(pa.float32()))} if answers.keep_scores else {}
    return tables.label_rows(columns | kept)
