"""What there is to learn: the targets that a label set gives each image of a split, and which images are left out."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import tasks
from models.tasks import Targets
from schemas import tables
from schemas.errors import InputError
from schemas.manifests import MULTILABEL
from storage import hashing
from storage.products import ImageSet, ShardFolder


def shard_targets(
    images: ImageSet, split: str, labels: ShardFolder, min_confidence: float = 0.0, unknown: str = "auto"
) -> tuple[Targets, ...]:
    """For each shard of a split, what a label set says is to be learnt of each of its images.

    Args:
        images: the dataset.
        split: of it.
        labels: the label set; it may have fewer shards than the images.
        min_confidence: labels less confident than this are not learnt.
        unknown: what several labels' classes are that no row of an image speaks of: absent, ignored, or auto.

    Raises:
        InputError: the label set names a class that the dataset does not have.
    """
    task = tasks.load(images.manifest.task)
    if images.manifest.task == MULTILABEL:
        absent = unknown == "absent" or (unknown == "auto" and is_complete(labels))
        task_targets = partial(task.targets, complete=absent)
    else:
        task_targets = task.targets
    found = []
    for shard in range(images.shards):
        rows = labels.read_part(shard, images.shards)
        ids = images.index(split).read(shard)["image_id"].to_pylist()
        try:
            found.append(_targets(task_targets, rows, ids, images, min_confidence))
        except KeyError as error:
            path = labels.path(shard * labels.shards // images.shards)
            raise InputError(f"{path} has label {error.args[0]!r}, which is none of the dataset's classes") from error
    return tuple(found)


def is_complete(labels: ShardFolder) -> bool:
    """Whether a label set tells only what images have: then what it does not tell of, they have not."""
    return all(pc.all(tables.present(labels.read(shard))).as_py() in (True, None) for shard in range(labels.shards))


def _targets(task_targets: Any, rows: pa.Table, ids: list[str], images: ImageSet, min_confidence: float) -> Targets:
    least = pa.scalar(min_confidence, pa.float32())  # as confidences are kept: 0.7 is no less than 0.7
    sure = rows.filter(pc.or_(pc.invert(tables.present(rows)), pc.greater_equal(rows["confidence"], least)))
    if images.manifest.task != MULTILABEL:  # a rejected label tells that an image is something else, not what
        sure = sure.filter(tables.present(sure))
    targets: Targets = task_targets(sure, ids, images.classes)
    return targets


def without(images: ImageSet, split: str, targets: tuple[Targets, ...], fraction: float) -> Any:
    """Two views of the same shards: those to train on, and a share to validate on, drawn by hashed id."""
    return _parted(images, split, targets, lambda ids: hashing.is_held_out(ids, fraction))


def without_fold(images: ImageSet, split: str, targets: tuple[Targets, ...], fold: int, folds: int) -> Any:
    """Two views of the same shards: those to train on, and the fold that the model is not to see."""
    return _parted(images, split, targets, lambda ids: hashing.fold_of(ids, folds) == fold)


def _parted(
    images: ImageSet, split: str, targets: tuple[Targets, ...], out: Any
) -> tuple[tuple[Targets, ...], tuple[Targets, ...]]:
    kept, held = [], []
    for shard, one in enumerate(targets):
        left_out = np.asarray(out(images.index(split).read(shard)["image_id"].to_pylist()), dtype=np.bool_)
        kept.append(replace(one, known=one.known & ~left_out))
        held.append(replace(one, known=one.known & left_out))
    return tuple(kept), tuple(held)
