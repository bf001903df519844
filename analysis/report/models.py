"""The models: how well each did when its training was over, class by class and over a sweep, and how it learned."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.report.plots import plot_learning_curve
from analysis.tables import Row, Sources
from schemas.manifests import ModelCard, Sweep

TITLE, ORDER = "Evaluation and learning curves", 80
FIGURES = {
    "accuracy": "accuracy",
    "length_accuracy": "length accuracy",
    "digit_accuracy": "digit accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
}
_PARTS = {"by_class": "class", "by_length": "digits of the number", "by_place": "position of the digit"}


def build_section(sources: Sources) -> Row | None:
    """Evaluation and learning curves of each model that has them."""
    evaluations, curves = build_evaluations(sources.models), _build_curves(sources.models)
    return {"evaluations": evaluations, "curves": curves} if evaluations or curves else None


def _build_curves(cards: Sequence[ModelCard]) -> list[Row]:
    entries = []
    for card in cards:
        if history := card.history:
            metrics, best = card.metrics, int(card.metrics.get("best_epoch", 0)) or None
            plots = [plot_learning_curve(history, name, best) for name in ("accuracy", "loss") if name in history]
            entries.append({"name": card.name, "best": best, "metrics": metrics, "plots": plots})
    return entries


def build_evaluations(cards: Sequence[ModelCard]) -> list[Row]:
    """What to show of each model that was evaluated, in the order of the cards."""
    return [
        {
            "name": card.name,
            "labels": card.training_labels,
            "augment": _describe_augmentation(card.settings),
            "splits": [_build_split(name, metrics, card.sweep) for name, metrics in card.evaluation.items()],
            "sweep": _build_sweep(card.sweep),
        }
        for card in cards
        if card.evaluation
    ]


def _build_split(name: str, figures: Mapping[str, Any], sweep: Sweep | None) -> Row:
    """The figures of one split, and the tables of its classes, lengths or positions."""
    parts = [
        {
            "what": what,
            "rows": [_build_part(f"{name}_{key[3:]}", label, one, sweep) for label, one in figures[key].items()],
        }
        for key, what in _PARTS.items()
        if key in figures
    ]
    shown = [(title, figures[key]) for key, title in FIGURES.items() if key in figures]
    return {"split": name.replace("_", " "), "images": figures["images"], "figures": shown, "parts": parts}


def _build_part(prefix: str, label: str, figures: Mapping[str, Any], sweep: Sweep | None) -> Row:
    """The figure of one class, length or position, and its mean over the runs of a sweep."""
    figure = "f1" if "f1" in figures else "accuracy"
    runs = sweep.metrics.get(f"{prefix}_{label}_{figure}") if sweep else None
    value = {"value": figures[figure], "mean": runs.mean if runs else None}
    return {"label": label, "images": figures["images"], "figure": FIGURES.get(figure, "F1"), **value}


def _describe_augmentation(settings: Mapping[str, Any]) -> str:
    """Which random changes training images had, in words; empty where there were none."""
    amounts = settings.get("augment") or {}
    where = ", validation images too" if settings.get("augment_validation") else ""
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items()) + (where if amounts else "")


def _build_sweep(sweep: Sweep | None) -> Row | None:
    """Mean and spread of each figure over the runs of a sweep."""
    if not sweep:
        return None
    rows = [{"figure": name.replace("_", " "), **sweep.metrics[name].model_dump()} for name in sweep.main_metrics]
    return {"runs": sweep.runs, "best": sweep.best, "rows": rows}
