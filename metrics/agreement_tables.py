"""The tables of `agree` that follow from counts: the long `measures`, the `summary` drawn from it, and `confusion`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from metrics.counts import BinaryCounts, LabelCounts, MultilabelCounts, SequenceCounts, mean_confidence
from metrics.measures import Figure, figures_of
from metrics.ratings import BinaryRatings, Ratings
from schemas import tables
from schemas.manifests import MULTICLASS, MULTILABEL, SEQUENCE

PairCounts = LabelCounts | SequenceCounts | MultilabelCounts
Row = dict[str, Any]
_TASKS = {LabelCounts: MULTICLASS, SequenceCounts: SEQUENCE, MultilabelCounts: MULTILABEL}


def pair_tables(counts: PairCounts, keys: Mapping[str, str]) -> dict[str, pa.Table]:
    """The tables of two annotators.

    Args:
        counts: of all shards.
        keys: `dataset`, `split`, `annotator_a`, `annotator_b`.
    """
    whole = [*(figures_of(counts.pooled) if isinstance(counts, MultilabelCounts) else ()), *figures_of(counts)]
    return {
        "confusion": confusion(counts, keys),
        "measures": measures_table(whole, _by_label(counts), keys),
        "summary": summary(whole, {**keys, "task": _TASKS[type(counts)]}),
    }


def group_measures(ratings: Ratings, keys: Mapping[str, str]) -> pa.Table:
    """The measures of three annotators or more together.

    Args:
        ratings: of all shards.
        keys: `dataset` and `split`.
    """
    names = {"annotator_a": ",".join(ratings.annotators), "annotator_b": None}
    return measures_table(figures_of(ratings), ratings.by_label(), {**keys, **names})


def measures_table(
    whole: Iterable[Figure],
    by_label: Iterable[tuple[str, BinaryCounts | BinaryRatings]],
    keys: Mapping[str, str | None],
) -> pa.Table:
    """Rows of schema `MEASURES`: the figures of scope `all`, and those of scope `class` of each label."""
    rows: list[tuple[str, str | None, Figure]] = [(tables.ALL, None, figure) for figure in whole]
    rows += [(tables.CLASS, label, figure) for label, counts in by_label for figure in figures_of(counts)]
    scopes, labels, figures = zip(*rows, strict=True)
    columns: dict[str, Any] = {name: [value] * len(rows) for name, value in keys.items()}
    columns |= {"scope": scopes, "label": labels}
    columns |= {name: [getattr(one, name) for one in figures] for name in tables.MEASURES.names[-6:]}
    return pa.table({name: columns[name] for name in tables.MEASURES.names}, schema=tables.MEASURES)


def summary(figures: Iterable[Figure], keys: Mapping[str, str]) -> pa.Table:
    """The one row of schema `SUMMARY`: the figures of all labels that are needed most, side by side."""
    by_name = {figure.measure: figure for figure in figures}
    row: Row = {**keys, "n_compared": by_name.get("n_decisions", by_name["n"]).value}
    for name, figure in by_name.items():
        row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    shown = [figure for name, figure in by_name.items() if name in tables.SUMMARY.names]
    row["undefined"] = _list_undefined(shown)
    return pa.Table.from_pylist([row], schema=tables.SUMMARY)


def _list_undefined(figures: Iterable[Figure]) -> str | None:
    """Which figures are not defined, by reason; an interval only where its figure is."""
    by_reason: dict[str, list[str]] = {}
    for one in figures:
        if one.undefined_because is not None:
            name = one.measure
            names = [name] if one.value is None else [f"{name}_low", f"{name}_high"]
            by_reason.setdefault(one.undefined_because, []).extend(names)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items()) or None


def confusion(counts: PairCounts, keys: Mapping[str, str]) -> pa.Table:
    """How often a gave one label and b another, with their mean confidence.

    Multilabel: how often both gave a label, a alone did, and b alone did.
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
            n, *totals = one.sums[:, a, b].sum(axis=-1).tolist()
            if n:
                means = [
                    mean_confidence(total, n) if gave else None for gave, total in zip((a, b), totals, strict=True)
                ]
                yield label if a else None, label if b else None, n, *means


def _by_label(counts: PairCounts) -> Iterable[tuple[str, BinaryCounts]]:
    """Each label against the rest; strings have no classes."""
    return () if isinstance(counts, SequenceCounts) else counts.by_label()
