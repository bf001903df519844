"""Which images people should look at first: pure functions on the label sets of a shard.

Images come in this order:

1. `machines_differ`: machines gave different labels. A label is as sure as the surest machine that gave it; the score
   is how sure the second surest label is, so that images come first on which two machines contradict each other and
   both are sure. Of two machines that is the confidence of the less sure one, by which `storage/comparisons.py` ranks.
2. `label_error`: people have labelled the image, and their label may be wrong; the score is 1 - label quality.
3. `machines_unsure`: machines agree, but the least sure is less confident than a bound; the score is 1 - its
   confidence.

Equal ones are ranked by image id, and then by label. An image that not every machine labelled is judged by those that
did. What people have labelled is left out, but for label errors.

Of several labels an image, each image and label is a question of its own: machines differ where one gave the label and
another did not. As a machine does not say how sure it is of what it does not say, the score is then the confidence of
the surest one that gave it. What people denied counts as labelled, too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import tables
from schemas.manifests import MULTILABEL
from schemas.tables import LABEL_ERROR, MACHINES_DIFFER, MACHINES_UNSURE, QUEUE, REASONS

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]

_ABSENT = -1
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
    """What machines said, a row a question: an image, or an image and a label.

    Attributes:
        names: of the machines, in the order of the columns.
        ids: of images, sorted, and `texts`: labels, sorted; what numbers stand for.
        images: of each question (q,), and `labels`: what each machine said (q, machines), -1 where it said nothing.
        confidences: how sure each was (q, machines), in [0, 1]; NaN where it said nothing.
    """

    names: tuple[str, ...]
    ids: pa.Array
    texts: pa.Array
    images: Numbers
    labels: Numbers
    confidences: Shares

    @property
    def said(self) -> Flags:
        """Which machines gave a label."""
        return np.asarray(self.labels >= 0)


def rank(
    machines: Mapping[str, pa.Table], people: pa.Table | None, errors: pa.Table | None, rules: Rules
) -> tuple[pa.Table, Counter[str]]:
    """The first questions of a shard, and how many there are in all of each reason.

    Args:
        machines: the labels of each annotator, a shard of its label set.
        people: those of people; None where they were not asked.
        errors: `image_id` and `label_quality` of people's labels that may be wrong.
        rules: how they are ranked.

    Returns:
        the rows of a queue, `rank` counted within them.
    """
    answers = gathered(machines, rules.task)
    if rules.task == MULTILABEL:
        differ, differing = _differ_on_presence(answers)
        truth, labelled = pa.nulls(len(answers.images), pa.string()), _told_of(answers, people)
    else:
        differ, differing = _differ(answers)
        truth, labelled = _given(answers, people)
    least = np.nanmin(answers.confidences, axis=1, initial=1.0)
    wrong, quality = _errors(answers, errors)
    reasons = np.full(len(differ), _ABSENT)
    reasons[~differ & (least < np.float32(rules.unsure_below))] = REASONS.index(MACHINES_UNSURE)
    reasons[differ] = REASONS.index(MACHINES_DIFFER)
    reasons[labelled] = _ABSENT
    reasons[labelled & wrong] = REASONS.index(LABEL_ERROR)
    scores = np.choose(reasons + 1, [np.zeros(len(differ)), differing, 1 - quality, 1 - least])
    asked = np.flatnonzero(reasons != _ABSENT)
    question = answers.labels.max(axis=1, initial=_ABSENT)  # of several labels: the only one that is there
    order = np.lexsort((question[asked], answers.images[asked], -scores[asked], reasons[asked]))
    first = asked[order[: rules.limit]]
    counts = Counter({name: int((reasons == at).sum()) for at, name in enumerate(REASONS)})
    return _rows(answers, first, [REASONS[at] for at in reasons[first]], scores[first], truth, rules), counts


def merged(parts: Sequence[pa.Table], limit: int) -> pa.Table:
    """The first rows of several queues, ranked anew."""
    rows = pa.concat_tables(parts)
    order = pc.index_in(rows["reason"], value_set=pa.array(REASONS))
    ranked = rows.append_column("order", order).sort_by(_ORDER).slice(0, limit).drop_columns("order")
    return ranked.set_column(0, QUEUE.field("rank"), pa.array(range(1, ranked.num_rows + 1), pa.int64())).cast(QUEUE)


def gathered(machines: Mapping[str, pa.Table], task: str) -> Answers:
    """What machines said of each image, or of each image and label; of several labels of one machine the surest."""
    sets = [rows.filter(tables.present(rows)) for rows in machines.values()]
    together = pa.concat_tables([rows.select(["image_id", "label", "confidence"]) for rows in sets])
    ids, texts = _values(together["image_id"]), _values(together["label"])
    images, labels = _numbers(together["image_id"], ids), _numbers(together["label"], texts)
    confidences = together["confidence"].to_numpy().astype(np.float64)
    machine = np.repeat(np.arange(len(sets)), [rows.num_rows for rows in sets])
    keys = images * len(texts) + labels if task == MULTILABEL else images
    found, first, questions = np.unique(keys, return_index=True, return_inverse=True)
    said = np.full((len(found), len(sets)), _ABSENT, dtype=np.int64)
    sure = np.full((len(found), len(sets)), np.nan)
    order = np.lexsort((-labels, confidences))  # what is written last stays: the surest, of equals the first in order
    said[questions[order], machine[order]] = labels[order]
    sure[questions[order], machine[order]] = confidences[order]
    return Answers(tuple(machines), ids, texts, images[first], said, sure)


def _values(column: pa.ChunkedArray) -> pa.Array:
    found = pc.unique(column)
    return found.take(pc.sort_indices(found))


def _numbers(column: pa.ChunkedArray, values: pa.Array) -> Numbers:
    """The place of each text among sorted values, -1 where it is not one of them."""
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=values), _ABSENT).to_numpy(), dtype=np.int64)


def _differ(answers: Answers) -> tuple[Flags, Shares]:
    """Whether labels differ, and how sure the second surest label is; 0 where there is but one."""
    labels, sure = answers.labels, np.nan_to_num(answers.confidences, nan=-1.0)
    surest = sure.argmax(axis=1) if sure.size else np.zeros(len(sure), dtype=np.int64)
    best = np.take_along_axis(labels, surest[:, None], axis=1)
    others = answers.said & (labels != best)
    return np.asarray(others.any(axis=1)), np.where(others, sure, 0).max(axis=1, initial=0)


def _differ_on_presence(answers: Answers) -> tuple[Flags, Shares]:
    """Whether some machines gave the label and others did not, and how sure the surest of them was."""
    return np.asarray(~answers.said.all(axis=1)), np.nan_to_num(answers.confidences, nan=0.0).max(axis=1, initial=0)


def _given(answers: Answers, people: pa.Table | None) -> tuple[pa.Array, Flags]:
    """People's label of each image, null where they gave none, and whether they did."""
    count = len(answers.images)
    if people is None or not people.num_rows:
        return pa.nulls(count, pa.string()), np.zeros(count, dtype=np.bool_)
    shown = people.filter(tables.present(people)).sort_by([("confidence", "descending"), ("label", "ascending")])
    there = pc.index_in(answers.ids, value_set=shown["image_id"].combine_chunks())
    truth = shown["label"].combine_chunks().take(there).take(pa.array(answers.images))
    return truth, np.asarray(pc.is_valid(truth).to_numpy(zero_copy_only=False))


def _told_of(answers: Answers, people: pa.Table | None) -> Flags:
    """Whether people said of an image that it has the label in question, or that it has not."""
    if people is None:
        return np.zeros(len(answers.images), dtype=np.bool_)
    images, labels = _numbers(people["image_id"], answers.ids), _numbers(people["label"], answers.texts)
    known = (images >= 0) & (labels >= 0)
    question = answers.labels.max(axis=1, initial=_ABSENT)
    width = len(answers.texts)
    return np.isin(answers.images * width + question, images[known] * width + labels[known])


def _errors(answers: Answers, errors: pa.Table | None) -> tuple[Flags, Shares]:
    """Whether people's label of each image may be wrong, and its quality; 1 where it may not."""
    if errors is None or not errors.num_rows:
        return np.zeros(len(answers.images), dtype=np.bool_), np.ones(len(answers.images))
    worst = errors.sort_by([("label_quality", "ascending"), ("image_id", "ascending")])
    there = pc.index_in(answers.ids, value_set=worst["image_id"].combine_chunks())
    quality = pc.fill_null(worst["label_quality"].combine_chunks().take(there), 1.0).to_numpy()[answers.images]
    return np.asarray(pc.is_valid(there).to_numpy(zero_copy_only=False))[answers.images], quality


def _rows(
    answers: Answers, chosen: Numbers, reasons: list[str], scores: Shares, truth: pa.Array, rules: Rules
) -> pa.Table:
    """Some questions as rows of a queue."""
    several = rules.task == MULTILABEL
    said = [_answers(answers, row, several) for row in chosen.tolist()]
    question = pa.array(answers.labels[chosen].max(axis=1, initial=_ABSENT))
    columns = {
        "rank": pa.array(range(1, len(chosen) + 1), pa.int64()),
        "image_id": answers.ids.take(pa.array(answers.images[chosen])),
        "split": pa.array([rules.split] * len(chosen), pa.string()),
        "reason": pa.array(reasons, pa.string()),
        "score": np.clip(scores, 0, 1),
        "label": answers.texts.take(question) if several else pa.nulls(len(chosen), pa.string()),
        "answers": pa.array(said, QUEUE.field("answers").type),
        "majority": pa.array([_majority(one) for one in said], pa.string()),
        "reference": truth.take(pa.array(chosen)),
    }
    return pa.table(columns, schema=QUEUE)


def _answers(answers: Answers, row: int, several: bool) -> list[dict[str, Any]]:
    """What each machine said; of several labels, also who did not give the one in question."""
    found = []
    for column, name in enumerate(answers.names):
        label = int(answers.labels[row, column])
        if label >= 0:
            sure = float(answers.confidences[row, column])
            found.append({"annotator": name, "label": answers.texts[label].as_py(), "confidence": sure})
        elif several:
            found.append({"annotator": name, "label": None, "confidence": None})
    return found


def _majority(said: Sequence[Mapping[str, Any]]) -> str | None:
    """The label that more than half of these machines gave."""
    label, count = Counter(one["label"] for one in said).most_common(1)[0]
    return label if 2 * count > len(said) else None
