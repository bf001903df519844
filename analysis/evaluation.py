"""How well each model did where it was judged, as its card tells: by split, class by class, and over a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.tables import Row

FIGURES = {
    "accuracy": "accuracy",
    "length_accuracy": "length right",
    "digit_accuracy": "digits right",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "all labels right",
}
_PARTS = {"by_class": "class", "by_length": "digits of the number", "by_place": "place of the digit"}


def of_models(cards: Sequence[Row]) -> list[dict[str, Any]]:
    """What to show of each model that was judged, in the order of the cards."""
    return [
        {
            "name": card["name"],
            "labels": card.get("training_labels"),
            "augment": _augmentation(card.get("settings", {})),
            "splits": [_split(name, figures, card.get("sweep")) for name, figures in card["evaluation"].items()],
            "sweep": _sweep(card.get("sweep")),
        }
        for card in cards
        if card.get("evaluation")
    ]


def _split(name: str, figures: Mapping[str, Any], sweep: Mapping[str, Any] | None) -> dict[str, Any]:
    """The figures of one split, and the tables of its classes, lengths or places."""
    return {
        "split": name.replace("_", " "),
        "images": figures["images"],
        "figures": [(shown, figures[key]) for key, shown in FIGURES.items() if key in figures],
        "parts": [
            {
                "what": what,
                "rows": [_part(f"{name}_{key[3:]}", label, found, sweep) for label, found in figures[key].items()],
            }
            for key, what in _PARTS.items()
            if key in figures
        ],
    }


def _part(where: str, label: str, found: Mapping[str, Any], sweep: Mapping[str, Any] | None) -> dict[str, Any]:
    """The figure of one class, length or place, and its mean over the runs of a sweep."""
    figure = "f1" if "f1" in found else "accuracy"
    over = (sweep or {}).get("figures", {}).get(f"{where}_{label}_{figure}")
    value = {"value": found[figure], "mean": over["mean"] if over else None}
    return {"label": label, "images": found["images"], "figure": FIGURES.get(figure, "F1"), **value}


def _augmentation(settings: Mapping[str, Any]) -> str:
    """Which random changes training images had, in words; empty where there were none."""
    amounts = settings.get("augment") or {}
    where = ", validation images too" if settings.get("augment_validation") else ""
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items()) + (where if amounts else "")


def _sweep(sweep: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Mean and spread of each judged figure over the runs of a sweep."""
    if not sweep:
        return None
    rows = [{"figure": name.replace("_", " "), **sweep["figures"][name]} for name in sweep.get("judged", ())]
    return {"runs": sweep["runs"], "best": sweep["best"], "rows": rows}
