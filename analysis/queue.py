"""The queue: a ranked table of the images that humans should review.

    concord queue --annotators cnn1,cnn2,xception --reference human --dataset svhn --split test --root out

Images come in this order:

1. `machines_differ`: machines gave different labels. The confidence of a label is that of the most confident machine
   that gave it; the score is the confidence of the second most confident label, so that images come first on which two
   machines contradict each other confidently. Of two machines that is the lower confidence, by which
   `storage/products.py` ranks.
2. `label_error`: humans have labelled the image, and their label may be wrong; the score is 1 - label quality.
3. `machines_unsure`: machines agree, but the lowest confidence is below a bound; the score is 1 - that confidence.

Equal ones are ranked by image id, and then by label. An image that not every machine labelled is ranked by those that
did. What humans have labelled is excluded, but for label errors.

For multilabel data each image and label is a question of its own: machines differ where one gave the label and another
did not. As there is no confidence in a label that a machine did not give, the score is then the highest confidence of
those that gave it. What humans denied counts as labelled, too.

Shard *k* of every label set has the same images. Shards are read side by side, a few at once, and of each only its
first rows are kept, so that memory does not grow with the number of images.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analysis import exports
from schemas import layout, tables
from schemas.errors import IncompleteError
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings.queue import QueueSettings
from schemas.stage import Context, Driver, Plan, Product, State
from schemas.tables import LABEL_ERROR, MACHINES_DIFFER, MACHINES_UNSURE, QUEUE, REASONS
from storage import parquet, products, stores
from storage.products import ImageSet, ShardFolder

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]

_ABSENT = -1
_READERS = 8  # shards in memory at once, at most
_log = logging.getLogger("concord")
_ORDER = [("order", "ascending"), ("score", "descending"), ("image_id", "ascending"), ("label", "ascending")]


@dataclass(frozen=True)
class Rules:
    """How questions are ranked.

    Attributes:
        task: of the dataset.
        split: of the images.
        unsure_below: confidence below which a machine is unsure.
        limit: most rows.
    """

    task: str
    split: str
    unsure_below: float
    limit: int


@dataclass(frozen=True)
class Answers:
    """The labels of machines, one row per question: an image, or an image and a label.

    Attributes:
        names: of the machines, in the order of the columns.
        ids: of images, sorted, and `texts`: labels, sorted; what numbers stand for.
        images: of each question (q,), and `labels`: that of each machine (q, machines), -1 where it gave none.
        confidences: of each label (q, machines), in [0, 1]; NaN where there is none.
    """

    names: tuple[str, ...]
    ids: pa.Array
    texts: pa.Array
    images: Numbers
    labels: Numbers
    confidences: Shares

    @property
    def answered(self) -> Flags:
        """Which machines gave a label."""
        return np.asarray(self.labels >= 0)


def rank(
    machines: Mapping[str, pa.Table], humans: pa.Table | None, errors: pa.Table | None, rules: Rules
) -> tuple[pa.Table, Counter[str]]:
    """The first questions of a shard, and how many there are in all of each reason.

    Args:
        machines: the labels of each annotator, a shard of its label set.
        humans: those of humans; None without any.
        errors: `image_id` and `label_quality` of human labels that may be wrong.
        rules: how they are ranked.

    Returns:
        the rows of a queue, `rank` counted within them.
    """
    answers = gather_answers(machines, rules.task)
    if rules.task == MULTILABEL:
        differ, differing = _differ_on_presence(answers)
        reference, labelled = pa.nulls(len(answers.images), pa.string()), _are_labelled(answers, humans)
    else:
        differ, differing = _differ(answers)
        reference, labelled = _find_human_labels(answers, humans)
    least = np.nanmin(answers.confidences, axis=1, initial=1.0)
    wrong, quality = _find_errors(answers, errors)
    reasons = np.full(len(differ), _ABSENT)
    reasons[~differ & (least < np.float32(rules.unsure_below))] = REASONS.index(MACHINES_UNSURE)
    reasons[differ] = REASONS.index(MACHINES_DIFFER)
    reasons[labelled] = _ABSENT
    reasons[labelled & wrong] = REASONS.index(LABEL_ERROR)
    scores = np.choose(reasons + 1, [np.zeros(len(differ)), differing, 1 - quality, 1 - least])
    chosen = np.flatnonzero(reasons != _ABSENT)
    question = answers.labels.max(axis=1, initial=_ABSENT)  # of multilabel data the only one
    order = np.lexsort((question[chosen], answers.images[chosen], -scores[chosen], reasons[chosen]))
    first = chosen[order[: rules.limit]]
    counts = Counter({name: int((reasons == at).sum()) for at, name in enumerate(REASONS)})
    return _rows(answers, first, [REASONS[at] for at in reasons[first]], scores[first], reference, rules), counts


def merge_queues(parts: Sequence[pa.Table], limit: int) -> pa.Table:
    """The first rows of several queues, ranked anew."""
    rows = pa.concat_tables(parts)
    order = pc.index_in(rows["reason"], value_set=pa.array(REASONS))
    ranked = rows.append_column("order", order).sort_by(_ORDER).slice(0, limit).drop_columns("order")
    return ranked.set_column(0, QUEUE.field("rank"), pa.array(range(1, ranked.num_rows + 1), pa.int64())).cast(QUEUE)


def gather_answers(machines: Mapping[str, pa.Table], task: str) -> Answers:
    """The labels of each image, or of each image and label; of several of one machine the most confident."""
    sets = [rows.filter(tables.present(rows)) for rows in machines.values()]
    together = pa.concat_tables([rows.select(["image_id", "label", "confidence"]) for rows in sets])
    ids, texts = _sorted_values(together["image_id"]), _sorted_values(together["label"])
    images, labels = _index_in(together["image_id"], ids), _index_in(together["label"], texts)
    confidences = together["confidence"].to_numpy().astype(np.float64)
    machine = np.repeat(np.arange(len(sets)), [rows.num_rows for rows in sets])
    keys = images * len(texts) + labels if task == MULTILABEL else images
    questions, first, row_of = np.unique(keys, return_index=True, return_inverse=True)
    answers = np.full((len(questions), len(sets)), _ABSENT, dtype=np.int64)
    confidence = np.full((len(questions), len(sets)), np.nan)
    order = np.lexsort(
        (-labels, confidences)
    )  # the last one written stays: the most confident, of equals the first in order
    answers[row_of[order], machine[order]] = labels[order]
    confidence[row_of[order], machine[order]] = confidences[order]
    return Answers(tuple(machines), ids, texts, images[first], answers, confidence)


def _sorted_values(column: pa.ChunkedArray) -> pa.Array:
    values = pc.unique(column)
    return values.take(pc.sort_indices(values))


def _index_in(column: pa.ChunkedArray, values: pa.Array) -> Numbers:
    """The position of each text among sorted values, -1 where it is not one of them."""
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=values), _ABSENT).to_numpy(), dtype=np.int64)


def _differ(answers: Answers) -> tuple[Flags, Shares]:
    """Whether labels differ, and the confidence of the second most confident one; 0 where there is but one."""
    labels, confidences = answers.labels, np.nan_to_num(answers.confidences, nan=-1.0)
    most = confidences.argmax(axis=1) if confidences.size else np.zeros(len(confidences), dtype=np.int64)
    best = np.take_along_axis(labels, most[:, None], axis=1)
    others = answers.answered & (labels != best)
    return np.asarray(others.any(axis=1)), np.where(others, confidences, 0).max(axis=1, initial=0)


def _differ_on_presence(answers: Answers) -> tuple[Flags, Shares]:
    """Whether some machines gave the label and others did not, and the highest confidence of those that did."""
    return np.asarray(~answers.answered.all(axis=1)), np.nan_to_num(answers.confidences, nan=0.0).max(axis=1, initial=0)


def _find_human_labels(answers: Answers, humans: pa.Table | None) -> tuple[pa.Array, Flags]:
    """The human label of each image, null without one, and whether there is one."""
    count = len(answers.images)
    if humans is None or not humans.num_rows:
        return pa.nulls(count, pa.string()), np.zeros(count, dtype=np.bool_)
    shown = humans.filter(tables.present(humans)).sort_by([("confidence", "descending"), ("label", "ascending")])
    there = pc.index_in(answers.ids, value_set=shown["image_id"].combine_chunks())
    reference = shown["label"].combine_chunks().take(there).take(pa.array(answers.images))
    return reference, np.asarray(pc.is_valid(reference).to_numpy(zero_copy_only=False))


def _are_labelled(answers: Answers, humans: pa.Table | None) -> Flags:
    """Whether humans gave or denied an image the label in question."""
    if humans is None:
        return np.zeros(len(answers.images), dtype=np.bool_)
    images, labels = _index_in(humans["image_id"], answers.ids), _index_in(humans["label"], answers.texts)
    known = (images >= 0) & (labels >= 0)
    question = answers.labels.max(axis=1, initial=_ABSENT)
    width = len(answers.texts)
    return np.isin(answers.images * width + question, images[known] * width + labels[known])


def _find_errors(answers: Answers, errors: pa.Table | None) -> tuple[Flags, Shares]:
    """Whether the human label of each image may be wrong, and its quality; 1 where it may not."""
    if errors is None or not errors.num_rows:
        return np.zeros(len(answers.images), dtype=np.bool_), np.ones(len(answers.images))
    worst = errors.sort_by([("label_quality", "ascending"), ("image_id", "ascending")])
    there = pc.index_in(answers.ids, value_set=worst["image_id"].combine_chunks())
    quality = pc.fill_null(worst["label_quality"].combine_chunks().take(there), 1.0).to_numpy()[answers.images]
    return np.asarray(pc.is_valid(there).to_numpy(zero_copy_only=False))[answers.images], quality


def _rows(
    answers: Answers, chosen: Numbers, reasons: list[str], scores: Shares, reference: pa.Array, rules: Rules
) -> pa.Table:
    """Some questions as rows of a queue."""
    multilabel = rules.task == MULTILABEL
    answered = [_answers_of(answers, row, multilabel) for row in chosen.tolist()]
    question = pa.array(answers.labels[chosen].max(axis=1, initial=_ABSENT))
    columns = {
        "rank": pa.array(range(1, len(chosen) + 1), pa.int64()),
        "image_id": answers.ids.take(pa.array(answers.images[chosen])),
        "split": pa.array([rules.split] * len(chosen), pa.string()),
        "reason": pa.array(reasons, pa.string()),
        "score": np.clip(scores, 0, 1),
        "label": answers.texts.take(question) if multilabel else pa.nulls(len(chosen), pa.string()),
        "answers": pa.array(answered, QUEUE.field("answers").type),
        "majority": pa.array([_majority(one) for one in answered], pa.string()),
        "reference": reference.take(pa.array(chosen)),
    }
    return pa.table(columns, schema=QUEUE)


def _answers_of(answers: Answers, row: int, multilabel: bool) -> list[dict[str, Any]]:
    """The label of each machine; for multilabel data also who did not give the one in question."""
    rows = []
    for column, name in enumerate(answers.names):
        label = int(answers.labels[row, column])
        if label >= 0:
            confidence = float(answers.confidences[row, column])
            rows.append({"annotator": name, "label": answers.texts[label].as_py(), "confidence": confidence})
        elif multilabel:
            rows.append({"annotator": name, "label": None, "confidence": None})
    return rows


def _majority(answers: Sequence[Mapping[str, Any]]) -> str | None:
    """The label that more than half of these machines gave."""
    label, count = Counter(one["label"] for one in answers).most_common(1)[0]
    return label if 2 * count > len(answers) else None


@dataclass(frozen=True)
class QueuePlan:
    """A queue to be written, and what it is made from.

    Attributes:
        machines: the label set of each annotator.
        humans: that of humans; None without one.
        errors: tables of label errors that are of just these label sets.
        shards: of the finest of the label sets.
    """

    path: str
    rules: Rules
    machines: dict[str, ShardFolder]
    humans: ShardFolder | None
    errors: tuple[str, ...]
    shards: int
    fingerprint: str

    @property
    def is_done(self) -> bool:
        """Whether the table is there, made from just this."""
        return stores.stat(self.path) is not None and parquet.read_tags(self.path)[0] == self.fingerprint


def plan_queue(settings: QueueSettings, root: str) -> QueuePlan:
    """The queue that settings describe.

    Raises:
        IncompleteError: the images or a label set are not there, or label sets are of different images.
    """
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
    sets = {name: products.label_set(root, settings.dataset, name, settings.split) for name in names}
    _check_images(images, settings.split, names)
    machines = {name: sets[name] for name in settings.annotators}
    humans = sets.get(settings.reference)
    errors = _find_error_tables(settings, root, machines, humans) if images.manifest.task == MULTICLASS else ()
    sources = {"labels": [labels.fingerprint for labels in sets.values()], "names": names, "images": images.fingerprint}
    error_tables = [parquet.read_tags(path)[0] for path in errors]
    rules = {"split": settings.split, "unsure_below": settings.unsure_below, "limit": settings.limit}
    return QueuePlan(
        path=layout.queue(root, settings.dataset, settings.split),
        rules=Rules(images.manifest.task, settings.split, settings.unsure_below, settings.limit),
        machines=machines,
        humans=humans,
        errors=errors,
        shards=max(labels.shards for labels in sets.values()),
        fingerprint=products.fingerprint("queue", dataset=settings.dataset, errors=error_tables, **sources, **rules),
    )


def _check_images(images: ImageSet, split: str, names: Iterable[str]) -> None:
    """Make sure that no label set is known to be of another conversion of the dataset."""
    for name in names:
        if products.label_manifest(images.root, images.dataset, name, split).images != images.fingerprint:
            raise IncompleteError(
                f"the labels of {name!r} for split {split!r} of {images.dataset!r} were made from another conversion "
                "of the dataset: run concord label again"
            )


def _find_error_tables(
    settings: QueueSettings, root: str, machines: dict[str, ShardFolder], humans: ShardFolder | None
) -> tuple[str, ...]:
    """The tables of label errors in just these human labels, by just these machines' scores."""
    paths = []
    for name, labels in machines.items():
        path = layout.label_errors(root, settings.dataset, name, settings.split)
        if humans is not None and stores.stat(path) is not None:
            sources = json.loads(parquet.read_tags(path)[1] or "{}")
            if sources == {"labels": humans.fingerprint, "scores": labels.fingerprint}:
                paths.append(path)
            else:
                _log.info("queue: %s is of other labels or scores, and excluded: run concord label-errors again", path)
    return tuple(paths)


def write_queue(plan: QueuePlan) -> dict[str, Any]:
    """Write the table, and count its rows and all that could have been rows, by reason.

    Raises:
        IncompleteError: a shard is missing, or was made from something else than its manifest says.
    """
    errors = _read_candidates(plan.errors)
    first, counts = QUEUE.empty_table(), Counter[str]()
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, plan.shards, _READERS):  # no further ahead than can be held
            some = range(start, min(start + _READERS, plan.shards))
            for rows, by_reason in pool.map(lambda shard: _rank_shard(plan, errors, shard), some):
                first = merge_queues([first, rows], plan.rules.limit)
                counts += by_reason
    stores.remove_partial_file(plan.path)
    parquet.write(plan.path, first, plan.fingerprint)
    return {"queued": first.num_rows, "found": {reason: counts[reason] for reason in REASONS}}


def _rank_shard(plan: QueuePlan, errors: pa.Table | None, shard: int) -> tuple[pa.Table, Counter[str]]:
    machines = {name: labels.read_part(shard, plan.shards) for name, labels in plan.machines.items()}
    humans = plan.humans.read_part(shard, plan.shards) if plan.humans else None
    return rank(machines, humans, errors, plan.rules)


def _read_candidates(paths: tuple[str, ...]) -> pa.Table | None:
    """Image and quality of the labels that are error candidates."""
    if not paths:
        return None
    parts = [parquet.read(path).filter(pc.field("is_candidate")) for path in paths]
    return pa.concat_tables([rows.select(["image_id", "label_quality"]) for rows in parts])


@dataclass(frozen=True)
class QueueWork:
    """What is still to be written: a function by product, and what it counted."""

    writers: dict[str, Callable[[], dict[str, Any]]]
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)


class QueueDriver(Driver[QueueSettings]):
    """Writes the table and, for a review tool, its export."""

    def reads(self, settings: QueueSettings, root: str) -> Iterable[str]:
        """The label sets, and the tables of label errors."""
        names = [*settings.annotators, *([settings.reference] if settings.reference else [])]
        errors = [layout.label_errors(root, settings.dataset, name, settings.split) for name in settings.annotators]
        return [*(layout.labels(root, settings.dataset, name, settings.split) for name in names), *errors]

    def writes(self, settings: QueueSettings, root: str) -> Iterable[str]:
        """The table, and the export."""
        table = layout.queue(root, settings.dataset, settings.split)
        return (table, exports.export_folder(settings, root)) if settings.export else (table,)

    def plan(self, settings: QueueSettings, context: Context) -> Plan:
        """Whether the table and the export are there, of just these label sets."""
        queue, root = plan_queue(settings, context.root), context.root
        name = f"{settings.dataset}/{settings.split}"
        done = {name: queue.is_done}
        writers: dict[str, Callable[[], dict[str, Any]]] = {name: lambda: write_queue(queue)}
        if settings.export:
            export = f"{name}/{settings.export}"
            done[export] = exports.is_current(settings, root, queue.fingerprint)
            writers[export] = lambda: exports.write_export(settings, root, queue.fingerprint)
        states = {one: State.DONE if done[one] and not context.force else State.TO_DO for one in done}
        missing = {one: writers[one] for one, state in states.items() if state is State.TO_DO}
        return Plan(settings, tuple(Product(one, state) for one, state in states.items()), QueueWork(missing))

    def make(self, work: QueueWork, context: Context) -> dict[str, int]:
        """Write what is missing."""
        for name, write in work.writers.items():
            work.counts[name] = write()
        return {}

    def commit(self, work: QueueWork, product: Product) -> dict[str, Any]:
        """What was counted."""
        return work.counts[product.name]


DRIVER = QueueDriver()
