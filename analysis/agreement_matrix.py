"""How far every two annotators of a split agree, people among them, as a matrix; and all of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.compared import Comparison, Judged
from analysis.formatting import count, decimal, interval, percent
from metrics.measures import chance_corrected
from schemas.tables import ALL

_NAMES = {
    "observed_agreement": "same label",
    "accuracy_a": "accuracy",
    "cohen_kappa": "Cohen's kappa",
    "gwet_ac1": "AC1",
    "krippendorff_alpha": "alpha",
    "fleiss_kappa": "Fleiss' kappa",
}
Ends = tuple[float | None, float | None, float | None]  # a figure, and where its interval begins and ends


@dataclass(frozen=True)
class Agreed:
    """How far two annotators agree; ends of intervals and what is not known are None.

    Attributes:
        n: images, or of several labels an image decisions.
        figures: share on which they agree, and Cohen's kappa, each with the ends of its interval.
    """

    n: int
    observed: tuple[float, float | None, float | None]
    kappa: Ends

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
        """How dark its cell is: kappa, or where there is none the share; none below 0."""
        return max(self.observed[0] if self.kappa[0] is None else self.kappa[0], 0.0)


@dataclass(frozen=True)
class Matrix:
    """Every two annotators of a split.

    Attributes:
        rows: how far the annotator of the row and that of the column agree; None where they are not compared.
    """

    split: str
    names: tuple[str, ...]
    rows: tuple[tuple[Agreed | None, ...], ...]


def of_comparisons(comparisons: Sequence[Comparison], judged: Judged) -> list[Matrix]:
    """A matrix of each split on which three annotators or more can be held against each other, the truth among them."""
    found: dict[str, dict[frozenset[str], Agreed]] = {}
    names: dict[str, dict[str, None]] = {}
    for entry in comparisons:
        pair = entry.pair
        names.setdefault(pair.split, {}).update(dict.fromkeys((pair.a, pair.b)))
        if entry.summary["n"]:
            found.setdefault(pair.split, {})[frozenset((pair.a, pair.b))] = _two(entry)
    for (split, annotator), (truth, counts) in judged.items():
        key = frozenset((truth, annotator))
        if truth != annotator and key not in found.setdefault(split, {}):
            kappa = chance_corrected.kappa_of_counts(counts)
            found[split][key] = with_truth(comparisons, split, annotator, (kappa.value, kappa.low, kappa.high))
            names[split][truth] = None
    return [_matrix(split, tuple(shown), found.get(split, {})) for split, shown in names.items() if len(shown) > 2]


def _two(entry: Comparison) -> Agreed:
    figures = entry.summary
    observed, kappa = ((figures[name], *_ends(figures, name)) for name in ("observed_agreement", "cohen_kappa"))
    return Agreed(figures["n_compared"], observed, kappa)


def with_truth(comparisons: Sequence[Comparison], split: str, annotator: str, kappa: Ends) -> Agreed:
    """How far an annotator agrees with the truth: its accuracy, from the comparison with most images of known truth."""
    sides = [
        (entry.summary, side)
        for entry in comparisons
        for side, name in (("a", entry.pair.a), ("b", entry.pair.b))
        if (entry.pair.split, name) == (split, annotator) and entry.summary["n_reference"]
    ]
    figures, side = max(sides, key=lambda one: one[0]["n_reference"])
    name = f"accuracy_{side}"
    return Agreed(figures["n_reference"], (figures[name], *_ends(figures, name)), kappa)


def _ends(figures: Mapping[str, float | None], name: str) -> tuple[float | None, float | None]:
    return figures.get(f"{name}_low"), figures.get(f"{name}_high")


def _matrix(split: str, names: tuple[str, ...], found: Mapping[frozenset[str], Agreed]) -> Matrix:
    rows = tuple(tuple(found.get(frozenset((row, column))) for column in names) for row in names)
    return Matrix(split, names, rows)


def methods_of_two(comparisons: Sequence[Comparison]) -> str:
    """How the intervals of two annotators' figures were made, in words; empty where no table says so."""
    rows = [row for entry in comparisons for row in entry.pair.measures(ALL)]
    known = {row["measure"]: row["method"] for row in rows if row["method"] is not None}
    return said(
        {name: known[name] for name in ("observed_agreement", "accuracy_a", "cohen_kappa", "gwet_ac1") if name in known}
    )


def said(known: Mapping[str, str]) -> str:
    """Methods of intervals in words, each with the figures that it is of."""
    figures: dict[str, list[str]] = {}
    for name, called in _NAMES.items():
        if name in known:
            figures.setdefault(known[name], []).append(called)
    return "; ".join(f"of {' and '.join(of)}: {method}" for method, of in figures.items())
