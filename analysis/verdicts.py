"""What people confirmed: figures, plots and tables of a machine's labels that people looked at."""

from collections.abc import Sequence
from typing import Any

from analysis import verdict_plots
from analysis.confirmation import SIDES, Confirmation, Row, shown_names
from analysis.verdict_plots import Drawn

MOST_FREQUENT = 20  # classes shown
ENOUGH = 30  # verdicts, from which on a class's precision is worth ranking
ENOUGH_FOR_A_CELL = 10  # and on the precision of a class at a confidence
EXTREMES = 10  # classes at either end of the ranking


def section(confirmation: Confirmation) -> dict[str, Any]:
    """All that the section shows."""
    overall, deciles, classes = confirmation.overall, confirmation.figures("decile"), named(confirmation)
    frequent, best, worst = most_frequent(classes), *extremes(classes)
    shown = {row["label"]: row for row in (*frequent, *best, *worst)}
    images = {
        row["labels"]: row["images"] for row in confirmation.labels_per_image() if row["annotator"] == "confirmed"
    }
    return {
        "dataset": confirmation.dataset,
        "counts": confirmation.counts,
        "settings": confirmation.manifest.get("settings", {}),
        "overall": overall,
        "deciles": from_here_up(deciles),
        "fates": fates(confirmation.counts),
        "verdicts": verdicts(confirmation.counts),
        "sources": confirmation.sources(),
        "classes": by_frequency(list(shown.values())),
        "of_classes": len(classes),
        "enough": {"least": ENOUGH, "classes": len(ranked(classes))},
        "grid": grid(frequent, confirmation.figures("class_decile", [row["label"] for row in frequent])),
        "per_image": per_image(confirmation.labels_per_image()),
        "mean_labels": sum(n * labels for labels, n in images.items()) / sum(images.values()) if images else None,
        "confidence_plots": _drawn(
            verdict_plots.precision_by_confidence(deciles), verdict_plots.confidence_histogram(deciles)
        ),
        "class_plots": [
            _drawn(verdict_plots.label_counts(frequent)),
            _drawn(*_precision_plots(best, worst, overall)),
        ],
        "image_plots": _drawn(verdict_plots.labels_per_image(images)),
    }


def _drawn(*plots: Drawn | None) -> list[Drawn]:
    return [plot for plot in plots if plot is not None]


def _precision_plots(best: Sequence[Row], worst: Sequence[Row], overall: Row) -> list[Drawn | None]:
    if not worst:
        title = "Precision of each class"
        return [verdict_plots.class_precision(best, overall["precision"], "classes", title)]
    return [
        verdict_plots.class_precision(best, overall["precision"], "best", "Classes whose precision is surely high"),
        verdict_plots.class_precision(worst, overall["precision"], "worst", "Classes whose precision is surely low"),
    ]


def named(confirmation: Confirmation) -> list[Row]:
    """Counts and precision of each class, with the `name` by which to call it."""
    rows = confirmation.figures("class")
    names = shown_names(rows)
    return [{**row, "name": names[row["label"]]} for row in rows]


def by_frequency(classes: Sequence[Row]) -> list[Row]:
    """Classes, the most often confirmed first."""
    return sorted(classes, key=lambda row: (-row["confirmed"], -row["verified"], row["label"]))


def most_frequent(classes: Sequence[Row]) -> list[Row]:
    """The classes that people confirmed most often, of those that they looked at."""
    return by_frequency([row for row in classes if row["verified"]])[:MOST_FREQUENT]


def ranked(classes: Sequence[Row]) -> list[Row]:
    """The classes with enough verdicts to be ranked."""
    return [row for row in classes if row["verified"] >= ENOUGH]


def extremes(classes: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The classes whose precision is surely high, and surely low, among those with enough verdicts.

    Surely high is a high lower end of the interval, surely low a low upper end: a class with few verdicts is neither.
    Few enough classes are all in the first list, by their precision, and the second is empty.
    """
    rows = ranked(classes)
    if len(rows) <= 2 * EXTREMES:
        return sorted(rows, key=lambda row: (-row["precision"], -row["verified"], row["label"])), []
    high = sorted(rows, key=lambda row: (-row["precision_low"], row["label"]))[:EXTREMES]
    return high, sorted(rows, key=lambda row: (row["precision_high"], row["label"]))[:EXTREMES]


def from_here_up(deciles: Sequence[Row]) -> list[Row]:
    """Tenths of confidence, each with the machine rows and the precision of this tenth and all above."""
    rows = []
    for row in deciles:
        above = [other for other in deciles if other["decile"] >= row["decile"]]
        summed = {key: sum(other[key] for other in above) for key in ("machine_rows", "confirmed", "verified")}
        precision = summed["confirmed"] / summed["verified"] if summed["verified"] else None
        rows.append({**row, "up_rows": summed["machine_rows"], "up_precision": precision})
    return rows


def grid(classes: Sequence[Row], cells: Sequence[Row]) -> dict[str, Any]:
    """The cells of each class, one for each tenth of confidence in which any has a verdict; None where it has none."""
    found = {(row["label"], row["decile"]): row for row in cells if row["verified"]}
    deciles = sorted({decile for _, decile in found})
    rows = [(row, [found.get((row["label"], decile)) for decile in deciles]) for row in classes]
    return {"deciles": deciles, "rows": rows, "least": ENOUGH_FOR_A_CELL}


def per_image(rows: Sequence[Row]) -> dict[str, Any]:
    """How many images have so many labels: a row for each number of labels, a column for each annotator."""
    found = {(row["labels"], row["annotator"]): row["images"] for row in rows}
    annotators = sorted({annotator for _, annotator in found})
    numbers = sorted({labels for labels, _ in found})
    return {
        "annotators": annotators,
        "rows": [(labels, [found.get((labels, annotator), 0) for annotator in annotators]) for labels in numbers],
    }


def fates(counts: Row) -> list[Row]:
    """Where the rows of both sides went, a row for each fate; they sum up to the rows read.

    Returns:
        rows of `name`, `why`, `numbers` of machine and human, and `parts`: (name, numbers) of what a fate is made of.
    """

    def fate(key: str, name: str, why: str) -> Row:
        found = [counts[side][key] for side in SIDES]
        parts = []
        if key in ("malformed", "narrowed"):
            kinds = sorted({kind for side in found for kind in side})
            parts = [(kind.replace("_", " "), [side.get(kind, 0) for side in found]) for kind in kinds]
            found = [sum(side.values()) for side in found]
        return {"name": name, "why": why, "numbers": found, "parts": parts}

    return [
        fate("malformed", "malformed", "no image, label and confidence can be read from it"),
        fate("narrowed", "narrowed away", "not among the classes, images or confidences asked for"),
        fate("unmatched", "unmatched", "the other side has no row of this image and label"),
        fate("duplicate", "duplicate", "repeats a matched image and label"),
        fate("matched", "matched", "an image and label that both sides have"),
    ]


def verdicts(counts: Row) -> list[tuple[str, str, int]]:
    """What became of the matched images and labels: name, explanation and number; they sum up to the matched."""
    found = [
        ("confirmed", "people see it too", counts["confirmed"]),
        ("rejected", "people do not", counts["rejected"]),
        ("dropped", "people differ, and --on-conflict=drop leaves it open", counts["dropped"]),
    ]
    return [entry for entry in found if entry[2] or entry[0] != "dropped"]
