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
from schemas.generation_settings import GenerationsSettings
from schemas.tables import EVERYTHING, GENERATIONS
from storage import products

Row = dict[str, Any]
_KEYS = ("kind", "generation", "cut")
_COUNTS = (
    "taught",
    "n_human_labels",
    "human_label_share",
    "labels_saved",
    "validation",
    "taught_known",
    "taught_right",
    "n",
)
_FIGURES = {"accuracy": (0.0, 1.0), "agreement": (0.0, 1.0), "accuracy_drop": (-1.0, 1.0)}  # and where they can lie


def table(settings: GenerationsSettings, root: str, notes: Mapping[str, str]) -> pa.Table:
    """The table of a study whose comparisons are made.

    Args:
        settings: of the study.
        root: where everything lies.
        notes: why networks were left out, by name.

    Raises:
        IncompleteError: a comparison or a label set is not there.
    """
    rows = [_row(settings, root, heir, notes.get(heir.annotator)) for heir in students.everyone(settings)]
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row[key] for key in _KEYS), []).append(row)
    whole = [one for found in alike.values() for one in (*found, mean(found))]
    keys = {"dataset": settings.dataset, "name": settings.name}
    return pa.Table.from_pylist([{**keys, **row} for row in whole], schema=GENERATIONS)


def _row(settings: GenerationsSettings, root: str, heir: Student, note: str | None) -> Row:
    """All that is known of one network."""
    row = {
        "kind": heir.kind,
        "generation": heir.generation,
        "cut": heir.cut,
        "seed": heir.seed,
        "seeds": 0 if note else 1,
        "network": heir.network,
        "annotator": heir.annotator,
        "teacher": heir.teacher,
        "label_set": heir.label_set,
        "note": note,
    }
    return row if note else row | _taught(settings, root, heir) | _judged(settings, root, heir)


def _taught(settings: GenerationsSettings, root: str, heir: Student) -> Row:
    """What it learnt from, who had to give it, and how right it was."""
    least = heir.cut or 0.0
    taught, validation = (
        count_pseudo_labels(root, settings.dataset, heir.label_set, split, least)
        for split in (settings.split, settings.validation)
    )
    images = products.image_set(root, settings.dataset, settings.version).images_in(settings.split)
    people = taught if heir.is_taught_by_people else 0
    row: Row = {"taught": taught, "n_human_labels": people, "human_label_share": people / images}
    row |= {"labels_saved": taught - people, "validation": validation}
    if not heir.is_taught_by_people:
        place = (root, settings.dataset, heir.label_set, settings.labels, settings.split)
        known = read_paired(*place, least)
        row |= {"taught_known": known.known, "taught_right": intervals.paired_share(known.right_a, known.known)[0]}
    return row


def _judged(settings: GenerationsSettings, root: str, heir: Student) -> Row:
    """How right it is, how far it follows its teacher, and what was lost against people's labels of everything."""
    highest = students.supervised_baseline(settings, heir.seed)
    if heir.kind == EVERYTHING:
        other = next(one for one in students.initial_teachers(settings) if one.seed == heir.seed)
        found = read_paired(root, settings.dataset, other.annotator, highest, settings.test).swapped()
        lost = intervals.NOTHING
    else:
        found = read_paired(root, settings.dataset, heir.annotator, highest, settings.test)
        lost = intervals.paired_difference(found)
    followed = intervals.NOTHING
    if not heir.is_taught_by_people:
        both = read_paired(root, settings.dataset, heir.annotator, heir.teacher, settings.test)
        followed = intervals.paired_share(both.agree, both.n)
    accuracy = intervals.paired_share(found.right_a, found.known)
    figures = zip(_FIGURES, (accuracy, followed, lost), strict=True)
    return {"n": found.known} | {key: value for name, three in figures for key, value in _named(name, three).items()}


def _named(name: str, found: Interval) -> Row:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def mean(rows: Sequence[Row]) -> Row:
    """The row that stands for all seeds of a generation and cut: means, and how far they reach by Student's t."""
    there = [row for row in rows if not row["note"]]
    first = rows[0]
    row: Row = {key: first[key] for key in (*_KEYS, "network")} | {"seed": None, "seeds": len(there)}
    if first["cut"] is None:  # people teach all seeds the same
        row |= {key: first[key] for key in ("teacher", "label_set")}
    for name in _COUNTS:
        row[name] = intervals.mean_interval([one.get(name) for one in there])[0]
    row["n"] = None if row["n"] is None else round(row["n"])
    for name, limits in _FIGURES.items():
        row |= _named(name, intervals.mean_interval([one.get(name) for one in there], *limits))
    left = len(rows) - len(there)
    return row | {"note": f"left out: {left} of {len(rows)} seeds" if left else None}


def read_paired(root: str, dataset: str, a: str, b: str, split: str, least: float = 0.0) -> PairedCounts:
    """The counts of a finished comparison, of images on which a is at least so confident.

    Raises:
        IncompleteError: it is not there, or not whole.
    """
    shards = products.shard_folder(layout.pairs(root, dataset, a, b, split))
    return sum((count_paired(shards.read(shard), least) for shard in range(shards.shards)), PairedCounts())
