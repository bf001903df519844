"""How much annotators agree: every two of a split, the reference among them, as a matrix; and the whole group."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.formatting import count, decimal, interval, markdown_table, percent, plain_interval
from analysis.tables import Comparison, Digest, Pair, Row, Sources, count_against_reference
from metrics.measures import chance_corrected
from schemas.tables import ALL

TITLE, ORDER = "Agreement", 10

_NAMES = {
    "observed_agreement": "same label",
    "accuracy_a": "accuracy",
    "cohen_kappa": "Cohen's kappa",
    "gwet_ac1": "AC1",
    "krippendorff_alpha": "alpha",
    "fleiss_kappa": "Fleiss' kappa",
}
FigureWithInterval = tuple[float | None, float | None, float | None]  # a figure, and the ends of its interval


def build_section(sources: Sources) -> Row | None:
    """Figures of each pair and of the group; with a reference also accuracy, in all and where the two agree."""
    entries = [
        {"pair": entry.pair, "summary": entry.summary, "agreed": count_correct_where_agreed(entry.digest)}
        for entry in sources.comparisons
    ]
    if not entries and not sources.unfinished:
        return None
    return {
        "entries": entries,
        "matrices": build_matrices(sources.comparisons),
        "groups": sources.groups,
        "group_methods": "; ".join(dict.fromkeys(describe_methods(one.methods) for one in sources.groups)),
        "methods": _describe_pair_methods(sources.pairs),
        "unfinished": sources.unfinished,
    }


def list_headlines(sources: Sources) -> list[str]:
    """How much each pair of annotators agrees, in a line each."""
    return [" ".join(_headline(pair, pair.summary())) for pair in sources.pairs]


def _headline(pair: Pair, summary: Row) -> Iterator[str]:
    n, known = summary["n"], summary["n_reference"]
    if not n:
        yield f"{pair.a} and {pair.b} have no {pair.split} image in common"
        return
    multilabel = pair.is_multilabel  # then decisions are what is agreed on
    of = f"{count(summary['n_compared'])} decisions on {count(n)}" if multilabel else count(n)
    yield f"{pair.a} and {pair.b} agree on {percent(summary['observed_agreement'])} of {of} {pair.split} images"
    yield f"({_chance_corrected(summary)})" + (";" if known else "")
    if known:
        among = "" if multilabel or known == n else f" on {count(known)} images"
        name, shown = ("micro_f1", "micro F1") if multilabel else ("accuracy", "accuracy")
        yield f"{shown} against {pair.reference_labels}{among}:"
        yield f"{pair.a} {decimal(summary[f'{name}_a'])}, {pair.b} {decimal(summary[f'{name}_b'])}"


def _chance_corrected(summary: Row) -> str:
    """Cohen's kappa with its interval, and beside it AC1, for kappa misleads where one label is nearly all."""
    kappa = "not defined" if summary["cohen_kappa"] is None else decimal(summary["cohen_kappa"], 2)
    if summary.get("cohen_kappa_low") is not None:
        kappa += f", 95 % interval {plain_interval(summary['cohen_kappa_low'], summary['cohen_kappa_high'], 2)}"
    ac1 = summary.get("gwet_ac1")
    return f"Cohen's kappa {kappa}" + ("" if ac1 is None else f"; AC1 {decimal(ac1, 2)}")


def write_markdown(sources: Sources) -> str:
    """The figures of every pair as a table; empty without any."""
    rows = []
    for entry in sources.comparisons:
        pair, figures = entry.pair, entry.summary
        accuracies = [decimal(figures[f"accuracy_{side}"]) for side in "ab" if figures["n_reference"]]
        around = plain_interval(figures.get("cohen_kappa_low"), figures.get("cohen_kappa_high"), 2)
        kappa, ac1 = (decimal(figures.get(name), 2) for name in ("cohen_kappa", "gwet_ac1"))
        agree = (percent(figures["observed_agreement"]), kappa, around, ac1)
        rows.append((f"{pair.a}, {pair.b}", pair.split, count(figures["n"]), *agree, ", ".join(accuracies)))
    names = ("annotators", "split", "images", "agree", "kappa", "95 % interval", "AC1", "accuracy")
    return markdown_table(names, rows) if rows else ""


def count_correct_where_agreed(digest: Digest) -> tuple[int, int]:
    """Of the images on which both agree and that have a reference label: how many are correct, and how many."""
    agreed = [cell for cell in digest.cells if cell["label_a"] == cell["label_b"] and cell["reference"] is not None]
    correct = sum(cell["n"] for cell in agreed if cell["label_a"] == cell["reference"])
    return correct, sum(cell["n"] for cell in agreed)


@dataclass(frozen=True)
class PairAgreement:
    """How much two annotators agree; ends of intervals and what is not known are None.

    Attributes:
        n: images, or for multilabel data decisions.
        observed: share on which they agree, with the ends of its interval.
        kappa: Cohen's, likewise.
    """

    n: int
    observed: tuple[float, float | None, float | None]
    kappa: FigureWithInterval

    @property
    def title(self) -> str:
        """The figures with their intervals, in words."""
        observed, low, high = self.observed
        kappa, kappa_low, kappa_high = self.kappa
        parts = [f"agree on {percent(observed)} of {count(self.n)}"]
        parts += [f"95 % interval {interval(low, high)}"] if low is not None else []
        parts += [f"kappa {decimal(kappa)}"] if kappa is not None else []
        parts += [f"95 % interval {interval(kappa_low, kappa_high)}"] if kappa_low is not None else []
        return "; ".join(parts)

    @property
    def shade(self) -> float:
        """How dark its cell is: kappa, or where there is none the share; at least 0."""
        return max(self.observed[0] if self.kappa[0] is None else self.kappa[0], 0.0)


@dataclass(frozen=True)
class Matrix:
    """Every two annotators of a split.

    Attributes:
        rows: the agreement of the annotators of row and column; None where they are not compared.
    """

    split: str
    names: tuple[str, ...]
    rows: tuple[tuple[PairAgreement | None, ...], ...]


def build_matrices(comparisons: Sequence[Comparison]) -> list[Matrix]:
    """A matrix for each split on which three annotators or more can be compared, the reference among them."""
    cells: dict[str, dict[frozenset[str], PairAgreement]] = {}
    names: dict[str, dict[str, None]] = {}
    for entry in comparisons:
        pair = entry.pair
        names.setdefault(pair.split, {}).update(dict.fromkeys((pair.a, pair.b)))
        cells.setdefault(pair.split, {})
        if entry.summary["n"]:
            cells[pair.split][frozenset((pair.a, pair.b))] = _agreement_of(entry)
    for (split, annotator), (reference, counts) in count_against_reference(comparisons).items():
        key = frozenset((reference, annotator))
        if reference != annotator and key not in cells[split]:
            cells[split][key] = _agreement_with_reference(comparisons, split, annotator, counts)
            names[split][reference] = None
    return [
        Matrix(split, tuple(shown), tuple(tuple(cells[split].get(frozenset((x, y))) for y in shown) for x in shown))
        for split, shown in names.items()
        if len(shown) > 2
    ]


def _agreement_of(entry: Comparison) -> PairAgreement:
    figures = entry.summary
    observed, kappa = ((figures[name], *_interval_of(figures, name)) for name in ("observed_agreement", "cohen_kappa"))
    return PairAgreement(figures["n_compared"], observed, kappa)


def _agreement_with_reference(
    comparisons: Sequence[Comparison], split: str, annotator: str, counts: Mapping[tuple[str, str], int]
) -> PairAgreement:
    """An annotator's accuracy, from its comparison with most reference labels, and kappa from counts of both labels."""
    sides = [
        (entry.summary, side)
        for entry in comparisons
        for side, name in (("a", entry.pair.a), ("b", entry.pair.b))
        if (entry.pair.split, name) == (split, annotator) and entry.summary["n_reference"]
    ]
    figures, side = max(sides, key=lambda one: one[0]["n_reference"])
    name, kappa = f"accuracy_{side}", chance_corrected.kappa_of_counts(counts)
    accuracy = (figures[name], *_interval_of(figures, name))
    return PairAgreement(figures["n_reference"], accuracy, (kappa.value, kappa.low, kappa.high))


def _interval_of(figures: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    return figures.get(f"{name}_low"), figures.get(f"{name}_high")


def _describe_pair_methods(pairs: Sequence[Pair]) -> str:
    """How the intervals of the pairs' figures were made; empty where no table states it."""
    rows = [row for pair in pairs for row in pair.measures(ALL)]
    methods = {row["measure"]: row["method"] for row in rows if row["method"] is not None}
    shown = ("observed_agreement", "accuracy_a", "cohen_kappa", "gwet_ac1")
    return describe_methods({name: methods[name] for name in shown if name in methods})


def describe_methods(methods: Mapping[str, str]) -> str:
    """Methods of intervals in words, each with the figures that it is for."""
    figures: dict[str, list[str]] = {}
    for name, shown in _NAMES.items():
        if name in methods:
            figures.setdefault(methods[name], []).append(shown)
    return "; ".join(f"of {' and '.join(names)}: {method}" for method, names in figures.items())
