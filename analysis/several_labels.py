"""Images of several labels each: who gave which label, label by label, as the tables of a comparison tell."""

from collections.abc import Iterable, Sequence
from typing import Any

from analysis.tables import Pair, Row
from schemas.tables import CLASS


def given_alone(confusion: Iterable[Row], classes: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Each label with how many images got it of both, of `a` alone, and of `b` alone; in the order of classes."""
    counts: dict[str, list[int]] = {}
    for row in confusion:
        a, b = row["label_a"], row["label_b"]
        at = 0 if a == b else 1 if b is None else 2
        counts.setdefault(a if a is not None else b, [0, 0, 0])[at] += row["n"]
    order = {name: number for number, name in enumerate(classes)}
    return sorted(counts.items(), key=lambda entry: (order.get(entry[0], len(order)), entry[0]))


def against_truth(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each label, of each annotator and split, from its comparison with most truths."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for pair in pairs:
        if not pair.several:
            continue
        by_label: dict[str, Row] = {}
        for row in pair.measures(CLASS):
            by_label.setdefault(row["label"], {})[row["measure"]] = row["value"]
        found = {label: figures for label, figures in by_label.items() if figures["n_reference"]}
        for side, annotator in (("a", pair.a), ("b", pair.b)):
            rows: list[Row] = [
                {"label": label, "images": int(figures["n_reference"])}
                | {name: figures[f"{name}_{side}"] for name in ("precision", "recall", "f1")}
                for label, figures in found.items()
            ]
            key, known = (pair.split, annotator), sum(row["images"] for row in rows)
            if rows and (key not in best or known > best[key]["known"]):
                told = {"split": pair.split, "annotator": annotator, "truth": pair.truth}
                best[key] = {**told, "rows": rows, "known": known}
    return [best[key] for key in sorted(best)]
