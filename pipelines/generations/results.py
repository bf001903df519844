"""The figures of a study of generations: a row a network, and a row for the mean over seeds of those that are alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from metrics import intervals
from metrics.intervals import Interval, PairedCounts, count_paired
from pipelines.generations import students
from pipelines.generations.pseudo_labels import count_pseudo_labels
from pipelines.generations.students import Student
from schemas import layout
from schemas.settings.generations import GenerationsSettings
from schemas.tables import EVERYTHING, GENERATIONS
from storage import products

Row = dict[str, Any]
_KEYS = ("kind", "generation", "cut")
_COUNTS = (
    "n_labels",
    "n_human_labels",
    "human_label_share",
    "labels_saved",
    "validation",
    "pseudo_labels_known",
    "pseudo_label_accuracy",
    "n",
)
_FIGURES = {"accuracy": (0.0, 1.0), "agreement": (0.0, 1.0), "accuracy_drop": (-1.0, 1.0)}  # and where they can lie


def table(settings: GenerationsSettings, root: str, notes: Mapping[str, str]) -> pa.Table:
    """The table of a study whose comparisons are made.

    Args:
        settings: of the study.
        root: where everything lies.
        notes: why networks are excluded, by name.

    Raises:
        IncompleteError: a comparison or a label set is not there.
    """
    rows = [_row(settings, root, student, notes.get(student.annotator)) for student in students.everyone(settings)]
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row[key] for key in _KEYS), []).append(row)
    whole = [one for rows_alike in alike.values() for one in (*rows_alike, mean(rows_alike))]
    keys = {"dataset": settings.dataset, "name": settings.name}
    return pa.Table.from_pylist([{**keys, **row} for row in whole], schema=GENERATIONS)


def _row(settings: GenerationsSettings, root: str, student: Student, note: str | None) -> Row:
    """All that is known of one network."""
    row = {
        "kind": student.kind,
        "generation": student.generation,
        "cut": student.cut,
        "seed": student.seed,
        "seeds": 0 if note else 1,
        "network": student.network,
        "annotator": student.annotator,
        "teacher": student.teacher,
        "label_set": student.label_set,
        "note": note,
    }
    return row if note else row | _learnt_from(settings, root, student) | _evaluate(settings, root, student)


def _learnt_from(settings: GenerationsSettings, root: str, student: Student) -> Row:
    """The labels that it learnt from, whose they were, and their accuracy."""
    least = student.cut or 0.0
    n_labels, validation = (
        count_pseudo_labels(root, settings.dataset, student.label_set, split, least)
        for split in (settings.split, settings.validation)
    )
    images = products.image_set(root, settings.dataset, settings.version).images_in(settings.split)
    n_human = n_labels if student.learns_from_humans else 0
    row: Row = {
        "n_labels": n_labels,
        "n_human_labels": n_human,
        "human_label_share": n_human / images,
        "labels_saved": n_labels - n_human,
    }
    row["validation"] = validation
    if not student.learns_from_humans:
        place = (root, settings.dataset, student.label_set, settings.labels, settings.split)
        known = read_paired(*place, least)
        row |= {
            "pseudo_labels_known": known.known,
            "pseudo_label_accuracy": intervals.paired_share(known.right_a, known.known)[0],
        }
    return row


def _evaluate(settings: GenerationsSettings, root: str, student: Student) -> Row:
    """Its accuracy, its agreement with its teacher, and its drop against the supervised baseline."""
    highest = students.supervised_baseline(settings, student.seed)
    if student.kind == EVERYTHING:
        other = next(one for one in students.initial_teachers(settings) if one.seed == student.seed)
        counts = read_paired(root, settings.dataset, other.annotator, highest, settings.test).swapped()
        drop = intervals.NOTHING
    else:
        counts = read_paired(root, settings.dataset, student.annotator, highest, settings.test)
        drop = intervals.paired_difference(counts)
    followed = intervals.NOTHING
    if not student.learns_from_humans:
        both = read_paired(root, settings.dataset, student.annotator, student.teacher, settings.test)
        followed = intervals.paired_share(both.agree, both.n)
    accuracy = intervals.paired_share(counts.right_a, counts.known)
    figures = zip(_FIGURES, (accuracy, followed, drop), strict=True)
    return {"n": counts.known} | {key: value for name, three in figures for key, value in _named(name, three).items()}


def _named(name: str, interval: Interval) -> Row:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def mean(rows: Sequence[Row]) -> Row:
    """The row that stands for all seeds of a generation and cut: means, and how far they reach by Student's t."""
    there = [row for row in rows if not row["note"]]
    first = rows[0]
    row: Row = {key: first[key] for key in (*_KEYS, "network")} | {"seed": None, "seeds": len(there)}
    if first["cut"] is None:  # all seeds learn the same human labels
        row |= {key: first[key] for key in ("teacher", "label_set")}
    for name in _COUNTS:
        row[name] = intervals.mean_interval([one.get(name) for one in there])[0]
    row["n"] = None if row["n"] is None else round(row["n"])
    for name, limits in _FIGURES.items():
        row |= _named(name, intervals.mean_interval([one.get(name) for one in there], *limits))
    left = len(rows) - len(there)
    return row | {"note": f"excluded: {left} of {len(rows)} seeds" if left else None}


def read_paired(root: str, dataset: str, a: str, b: str, split: str, least: float = 0.0) -> PairedCounts:
    """The counts of a finished comparison, of images on which a is at least so confident.

    Raises:
        IncompleteError: it is not there, or not whole.
    """
    shards = products.shard_folder(layout.pairs(root, dataset, a, b, split))
    return sum((count_paired(shards.read(shard), least) for shard in range(shards.shards)), PairedCounts())
