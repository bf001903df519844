"""The aggregated tables of `agree`: the figures of every measure from the counts of two annotators, or of many."""

from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pyarrow as pa

from metrics import measures
from metrics.counts import BinaryCounts, LabelCounts, MultilabelCounts, SequenceCounts, mean_confidence
from metrics.measures import MANY, PAIRED, Undefined
from metrics.ratings import Ratings
from schemas import plugins, tables

PairCounts = LabelCounts | SequenceCounts | MultilabelCounts
Row = dict[str, Any]


def summary_schema() -> pa.Schema:
    """The schema of the summary; one for all tasks, so that a glob reads the files of all."""
    return tables.summary(_fields(PAIRED))


def annotators_schema() -> pa.Schema:
    """The schema of the table of many annotators."""
    return tables.annotators(_fields(MANY))


def summary(counts: PairCounts, keys: Mapping[str, str]) -> pa.Table:
    """The figures of every measure: a row of scope `all`, and one of scope `class` for each label against the rest.

    Of several labels an image, `n` and `n_agree` are of images and whole sets, and the figures of `all` those of all
    image-class decisions together (micro). Strings have no classes.
    """
    takes = _takers(PAIRED)
    whole = [counts.pooled, counts] if isinstance(counts, MultilabelCounts) else [counts]
    rows = [{**keys, "scope": "all", "n": counts.n, "n_agree": counts.n_agree, **_figures(whole, takes)}]
    for label, one in _by_label(counts):
        of = {"scope": "class", "label": label, "n": one.n, "n_agree": one.n_agree}
        rows.append({**keys, **of, **_figures([one], takes)})
    return pa.Table.from_pylist(rows, schema=summary_schema())


def annotators_table(ratings: Ratings, keys: Mapping[str, str]) -> pa.Table:
    """The figures of many annotators: a row of scope `all`, and one of scope `class` for each label against the rest.

    Args:
        ratings: the counts.
        keys: `dataset` and `split`.
    """
    takes = _takers(MANY)
    scopes: list[tuple[str, str | None, Any]]
    scopes = [("all", None, ratings), *(("class", label, one) for label, one in ratings.by_label())]
    rows = [
        {
            **keys,
            "annotators": ",".join(ratings.annotators),
            "scope": scope,
            "label": label,
            "n": found.patterns.n,
            "n_pairable": found.patterns.pairable.n,
            **_figures([found], takes),
        }
        for scope, label, found in scopes
    ]
    return pa.Table.from_pylist(rows, schema=annotators_schema())


def confusion(counts: PairCounts, keys: Mapping[str, str]) -> pa.Table:
    """How often a gave one label and b another, with their mean confidence.

    Of several labels an image: how often both gave a label, a alone did, and b alone did.
    """
    cells = _label_cells(counts) if isinstance(counts, MultilabelCounts) else _cells(counts)
    names = tables.CONFUSION.names[-5:]
    return pa.Table.from_pylist([{**keys, **dict(zip(names, cell, strict=True))} for cell in cells], tables.CONFUSION)


def _cells(counts: LabelCounts) -> Iterator[tuple[Any, ...]]:
    totals = counts.cells.group_by(["label_a", "label_b"]).aggregate(
        [("n", "sum"), ("confidence_a", "sum"), ("confidence_b", "sum")]
    )
    for cell in totals.sort_by([("label_a", "ascending"), ("label_b", "ascending")]).to_pylist():
        n = cell["n_sum"]
        means = [mean_confidence(cell[f"confidence_{annotator}_sum"], n) for annotator in "ab"]
        yield cell["label_a"], cell["label_b"], n, *means


def _label_cells(counts: MultilabelCounts) -> Iterator[tuple[Any, ...]]:
    for label, one in counts.by_label():
        for a, b in ((1, 1), (1, 0), (0, 1)):
            n, sure_a, sure_b = one.sums[:, a, b].sum(axis=-1).tolist()
            if n:
                means = [mean_confidence(sure, n) if gave else None for gave, sure in ((a, sure_a), (b, sure_b))]
                yield label if a else None, label if b else None, n, *means


def _by_label(counts: PairCounts) -> Iterable[tuple[str, BinaryCounts]]:
    return () if isinstance(counts, SequenceCounts) else counts.by_label()


def _takers(kinds: tuple[type, ...]) -> dict[type, list[ModuleType]]:
    """The measures that take each kind of counts."""
    modules = [plugins.load(measures, "measure", name) for name in plugins.names(measures)]
    return {kind: [module for module in modules if kind in module.COUNTS] for kind in kinds}


def _fields(kinds: tuple[type, ...]) -> list[pa.Field]:
    takes = _takers(kinds).values()
    names = sorted({module.__name__ for modules in takes for module in modules})
    of = {module.__name__: module.FIELDS for modules in takes for module in modules}
    return [field for name in names for field in of[name]]


def _figures(found: Iterable[Any], takes: Mapping[type, list[ModuleType]]) -> Row:
    """The figures of a row, from its counts; None where they are not defined, and why in `undefined`."""
    row: Row = {}
    for counts in found:
        for module in takes[type(counts)]:
            row |= module.figures(counts)
    return {
        **{name: None if isinstance(value, Undefined) else value for name, value in row.items()},
        "undefined": _undefined(row),
    }


def _undefined(row: Row) -> str | None:
    """Which figures are not defined, by why; an interval only where its figure is."""
    by_reason: dict[str, list[str]] = {}
    for name, value in row.items():
        figure = name.removesuffix("_low").removesuffix("_high")
        if isinstance(value, Undefined) and (figure == name or not isinstance(row[figure], Undefined)):
            by_reason.setdefault(value.why, []).append(name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items()) or None
