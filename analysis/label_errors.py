"""Labels that may be wrong, ranked by confident learning from scores out of fold.

    concord train --network xception --weights imagenet --folds 5 --dataset fruit --root out
    concord label --models xception --splits train --scores --dataset fruit --root out
    concord label-errors --annotator xception --labels human --split train --dataset fruit --root out

The method is cleanlab's (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068). It needs the scores of a
network that has not seen the image, so they have to be those of a model of folds, where each image is scored by the
network that was trained without it. Scores of all images are in memory at once: 8 bytes per image and class.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import layout, tables
from schemas.errors import IncompleteError, InputError
from schemas.manifests import MULTICLASS, LabelsManifest
from schemas.settings.label_errors import LabelErrorSettings
from schemas.stage import Context, Driver, Plan, Product, State
from schemas.tables import LABEL_ERRORS
from storage import model_cards, parquet, products, stores
from storage.products import ImageSet, ShardFolder

Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

_READERS = 8


@dataclass(frozen=True)
class ErrorPlan:
    """A table of label errors to be written, what it is made from, and in the end what was counted."""

    settings: LabelErrorSettings
    path: str
    images: ImageSet
    scores: ShardFolder
    labels: ShardFolder
    fingerprint: str
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the table is there, made from just this."""
        return stores.stat(self.path) is not None and parquet.read_tags(self.path)[0] == self.fingerprint


def plan_label_errors(settings: LabelErrorSettings, root: str) -> ErrorPlan:
    """The table that settings describe.

    Raises:
        InputError: the dataset has another task, or scores are not out of fold; the message says what to run.
        IncompleteError: the images or a label set are not there.
    """
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    if images.manifest.task != MULTICLASS:
        raise InputError(
            f"label errors are ranked in datasets of one label per image, but {settings.dataset!r} is of task "
            f"{images.manifest.task!r}: compare its label sets with concord agree and concord queue instead"
        )
    _check_out_of_fold(settings, root)
    scores, labels = (
        products.label_set(root, settings.dataset, name, settings.split)
        for name in (settings.annotator, settings.labels)
    )
    sources = {"labels": labels.fingerprint, "scores": scores.fingerprint, "images": images.fingerprint}
    path = layout.label_errors(root, settings.dataset, settings.annotator, settings.split)
    fingerprint = products.fingerprint("label_errors", quality=settings.quality, names=settings.labels, **sources)
    return ErrorPlan(settings, path, images, scores, labels, fingerprint)


def _check_out_of_fold(settings: LabelErrorSettings, root: str) -> None:
    """Make sure that the label set states that each image was scored by a network that had not seen it."""
    dataset, name, split = settings.dataset, settings.annotator, settings.split
    relabel = f"concord label --models {name} --splits {split} --scores --force --dataset {dataset}"
    card = model_cards.find_card(layout.model(root, dataset, name))
    network = card.network if card else "NETWORK"
    retrain = f"concord train --network {network} --name {name} --folds 5 --split {split} --dataset {dataset}, then "
    manifest = products.find_manifest(layout.labels(root, dataset, name, split), LabelsManifest)
    if manifest is not None and manifest.folds_of == split:
        return
    folded = card is not None and card.fold_split == split
    if folded:
        why = (
            "there are none yet" if not manifest else "they were made before the model had folds, or do not state them"
        )
    elif card is not None and card.members:
        why = f"{name!r} divided split {card.fold_split!r} into folds, and has no fold of {split!r}"
    else:
        why = f"{name!r} is no model of folds"
    raise InputError(
        f"scores of {name!r} on split {split!r} of {dataset!r} are not out of fold: {why}; "
        f"run {'' if folded else retrain}{relabel}"
    )


def write_label_errors(plan: ErrorPlan) -> dict[str, Any]:
    """Write the table, and count the images that were ranked, and those that could not be.

    Raises:
        InputError: scores were not kept, cleanlab is not installed, or there is nothing that it can learn from.
        IncompleteError: a shard is missing, or was made from something else than its manifest says.
    """
    shards = max(plan.scores.shards, plan.labels.shards)
    with ThreadPoolExecutor(_READERS) as pool:
        parts = list(pool.map(lambda shard: _read_labelled(plan, shard, shards), range(shards)))
    ids = [image_id for part in parts for image_id in part[0]]
    labels, scores = np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    unpaired = sum((part[3] for part in parts), Counter[str]())
    rows = rank_labels(ids, labels, scores, plan.images.classes, plan.settings.quality)
    sources = {"labels": plan.labels.fingerprint, "scores": plan.scores.fingerprint}
    stores.remove_partial_file(plan.path)
    parquet.write(plan.path, rows, plan.fingerprint, json.dumps(sources))
    counts = {"in": len(ids) + unpaired.total(), "out": len(ids), "unpaired": dict(sorted(unpaired.items()))}
    return {**counts, "candidates": int(pc.sum(rows["is_candidate"]).as_py() or 0)}


def _read_labelled(plan: ErrorPlan, shard: int, shards: int) -> tuple[list[str], Numbers, Scores, Counter[str]]:
    """Ids, labels (as class numbers) and scores of the images of a shard that have both, and how many have not."""
    classes = plan.images.classes
    machine, reviewed = plan.scores.read_part(shard, shards), plan.labels.read_part(shard, shards)
    _check_scores(plan, machine, len(classes))
    shown = reviewed.filter(tables.present(reviewed)).sort_by([("confidence", "descending"), ("label", "ascending")])
    ids = shown["image_id"].combine_chunks()
    there = pc.index_in(machine["image_id"].combine_chunks(), value_set=ids)  # of several labels the most confident
    labels = pc.index_in(shown["label"].combine_chunks().take(there), value_set=pa.array(classes))
    kept = pc.and_(pc.is_valid(there), pc.is_valid(labels))
    machine, labels = machine.filter(kept), labels.filter(kept)
    flat = pc.list_flatten(machine["scores"].combine_chunks()).to_numpy(zero_copy_only=False)
    labelled, paired = pc.count_distinct(ids).as_py(), int(pc.sum(pc.is_valid(there)).as_py() or 0)
    unpaired = {
        "no_label": len(kept) - paired,
        "no_scores": labelled - paired,
        "label_outside_classes": paired - len(labels),
    }
    scores = flat.astype(np.float64).reshape(-1, len(classes))
    counts = Counter({reason: count for reason, count in unpaired.items() if count})
    return machine["image_id"].to_pylist(), labels.to_numpy().astype(np.int64), scores, counts


def _check_scores(plan: ErrorPlan, machine: pa.Table, classes: int) -> None:
    name, dataset, split = plan.settings.annotator, plan.settings.dataset, plan.settings.split
    if machine["scores"].null_count:
        raise InputError(
            f"scores of {name!r} on split {split!r} of {dataset!r} were not kept: run concord label --models {name} "
            f"--splits {split} --scores --dataset {dataset}"
        )
    lengths = pc.unique(pc.list_value_length(machine["scores"])).to_pylist()
    if any(length != classes for length in lengths):
        raise IncompleteError(
            f"{plan.scores.folder} has {lengths} scores per image, but {dataset!r} has {classes} classes: "
            "run concord label again"
        )


def rank_labels(ids: Sequence[str], labels: Numbers, scores: Scores, classes: Sequence[str], quality: str) -> pa.Table:
    """The labels of all images, those first that cleanlab takes for errors, of these the least likely ones first.

    Args:
        ids: of the images.
        labels: (n,), the number of the class that each has.
        scores: (n, classes), in [0, 1], of a network that has not seen the image.
        classes: their names.
        quality: cleanlab's label quality score, `self_confidence` (the score of the label) or `normalized_margin`
            (1 + that score - the highest of the others, halved).

    Raises:
        InputError: cleanlab is not installed, or fewer than two classes occur.
    """
    filtering, ranking = _cleanlab()
    if len(np.unique(labels)) < 2:
        raise InputError("label errors need labels of at least two classes: is this the right label set?")
    wrong = filtering.find_label_issues(labels, scores, n_jobs=1)  # another process would copy TensorFlow's threads
    likely = ranking.get_label_quality_scores(labels, scores, method=quality)
    names = pa.array(classes)
    rows = pa.table(
        {
            "rank": pa.array(range(1, len(ids) + 1), pa.int64()),
            "image_id": pa.array(ids, pa.string()),
            "given": names.take(pa.array(labels)),
            "suggested": names.take(pa.array(scores.argmax(axis=1))),
            "label_quality": np.clip(likely, 0, 1),
            "quality": pa.array([quality] * len(ids), pa.string()),
            "is_candidate": pa.array(np.asarray(wrong, dtype=np.bool_)),
        }
    )
    order = [("is_candidate", "descending"), ("label_quality", "ascending"), ("image_id", "ascending")]
    return rows.sort_by(order).set_column(0, "rank", rows["rank"]).cast(LABEL_ERRORS)


def _cleanlab() -> tuple[Any, Any]:
    """Modules of cleanlab: `filter` and `rank`."""
    try:
        from cleanlab import filter as filtering
        from cleanlab import rank as ranking
    except ImportError as error:
        raise InputError(
            "label-errors needs cleanlab, which is not installed: pip install 'concord[quality]'"
        ) from error
    return filtering, ranking


class LabelErrorDriver(Driver[LabelErrorSettings]):
    """Writes the table."""

    def reads(self, settings: LabelErrorSettings, root: str) -> Iterable[str]:
        """Both label sets, and the model's card."""
        names = (settings.annotator, settings.labels)
        labels = [layout.labels(root, settings.dataset, name, settings.split) for name in names]
        return [*labels, layout.model(root, settings.dataset, settings.annotator)]

    def writes(self, settings: LabelErrorSettings, root: str) -> Iterable[str]:
        """The table."""
        return (layout.label_errors(root, settings.dataset, settings.annotator, settings.split),)

    def plan(self, settings: LabelErrorSettings, context: Context) -> Plan:
        """Whether the table is there, made from just these label sets."""
        work = plan_label_errors(settings, context.root)
        state = State.DONE if work.is_done and not context.force else State.TO_DO
        product = Product(f"{settings.dataset}/{settings.annotator}/{settings.split}", state)
        return Plan(settings, (product,), work)

    def make(self, work: ErrorPlan, context: Context) -> dict[str, int]:
        """Write the table."""
        work.counts.update(write_label_errors(work))
        return {}

    def commit(self, work: ErrorPlan, product: Product) -> dict[str, Any]:
        """What was counted."""
        return work.counts


DRIVER = LabelErrorDriver()
