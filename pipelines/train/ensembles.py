"""Make one model of several trainings: of a sweep its best run, of folds all of them together."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models import calibration, tasks
from models.training_job import TrainJob
from schemas import layout
from schemas.errors import InputError
from schemas.settings.train import TrainSettings
from storage import model_cards, parquet, products, stores

_WATCHED = ("val_accuracy", "val_average_precision")
_NOT_SWEPT = ("dataset", "name", "version", "sweep", "folds")


def gather(settings: TrainSettings, fingerprint: str, jobs: Sequence[TrainJob], folder: str) -> None:
    """Declare a model of several members whole, once they all are.

    Raises:
        InputError: there is no validation by which the best of a sweep could be told.
    """
    found = {job.member: model_cards.require_card(job.folder) for job in jobs}
    if settings.folds:
        model_cards.write_card(folder, {**fold_card(fingerprint, found), "calibration": fold_calibration(jobs, found)})
        return
    figures = {member: watched(card) for member, card in found.items()}
    if None in figures.values():
        raise InputError(f"the sweep of {settings.name!r} has no validation to choose by: give it a validation split")
    best = max(figures, key=lambda member: figures[member] or 0.0)
    table = sweep_table(found, best)
    parquet.write(stores.join(folder, layout.SWEEP_TABLE), table, fingerprint)
    winner = found[best]
    for name in winner["files"]:
        stores.write_bytes(stores.join(folder, name), stores.read_bytes(stores.join(folder, best, name)))
    judged = [f"{split}_{name}" for split, said in winner.get("evaluation", {}).items() for name in said]
    figures_of = spreads(table)
    known = [name for name in (*_WATCHED, *judged) if name in figures_of]
    spread = {"runs": len(found), "best": best, "judged": known, "figures": figures_of}
    model_cards.write_card(folder, {**winner, "fingerprint": fingerprint, "sweep": spread})


def watched(card: Mapping[str, Any]) -> float | None:
    """The validation figure by which a model is judged; None where there was no validation."""
    values: list[float] = [card["metrics"][name] for name in _WATCHED if name in card["metrics"]]
    return values[0] if values else None


def fold_card(fingerprint: str, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The card of a model of folds: what its members share, and the means of their figures."""
    first, members = next(iter(found.values())), list(found.values())
    shared = {
        key: first[key]
        for key in ("name", "network", "dataset", "images", "training_labels", "task", "classes", "image_shape")
    }
    shortest = min(len(card["history"]["loss"]) for card in members)
    history = {
        name: [statistics.fmean(card["history"][name][epoch] for card in members) for epoch in range(shortest)]
        for name in first["history"]
    }
    metrics = {name: statistics.fmean(card["metrics"][name] for card in members) for name in first["metrics"]}
    thresholds = {"thresholds": _mean_lists([card["thresholds"] for card in members])} if "thresholds" in first else {}
    return {
        "fingerprint": fingerprint,
        **shared,
        **thresholds,
        "settings": first["settings"],
        "folds": len(found),
        "members": {member: card["fingerprint"] for member, card in found.items()},
        "weights_sha256": products.fingerprint("folds", weights=[card["weights_sha256"] for card in members]),
        "parameters": sum(card["parameters"] for card in members),
        "evaluation": {
            split: _pooled([card["evaluation"][split] for card in members]) for split in first["evaluation"]
        },
        "history": history,
        "metrics": {**metrics, "epochs": round(metrics["epochs"]), "best_epoch": round(metrics["best_epoch"])},
        "files": {},
        "versions": first["versions"],
    }


def fold_calibration(jobs: Sequence[TrainJob], found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The temperatures of the mean of all folds' scores, by the validation images; and those of each fold.

    The mean is less sure than its members, so that it is calibrated for itself (Rahaman and Thiery 2021, "Uncertainty
    quantification and deep ensembles", https://arxiv.org/abs/2007.08792).
    """
    each = [
        card.get("calibration") or calibration.no_temperatures("trained before there was any")
        for card in found.values()
    ]
    paths = [stores.join(job.folder, calibration.FOLD_FILE) for job in jobs]
    if any(fold["temperatures"] is None or "held_out" in fold for fold in each) or not all(map(stores.stat, paths)):
        absent = calibration.no_temperatures(
            "the mean of folds is calibrated on a validation split, which they must share"
        )
        return {**absent, "folds": each}
    held = [calibration.unpack_scores(stores.read_bytes(path)) for path in paths]
    card = next(iter(found.values()))
    mean = np.asarray(np.stack([scores for _, scores in held]).mean(axis=0), dtype=np.float32)
    fitted = calibration.fit(tasks.load(card["task"]).list_choices(held[0][0], mean, card["classes"]), len(mean))
    return {**fitted, "split": each[0]["split"], "labels": each[0]["labels"], "folds": each}


def _pooled(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over the images of all folds."""
    total = sum(found["images"] for found in figures)
    names = dict.fromkeys(name for found in figures for name, value in found.items() if isinstance(value, float))
    return {
        "images": total,
        **{name: sum(found.get(name, 0.0) * found["images"] for found in figures) / max(total, 1) for name in names},
    }


def _mean_lists(lists: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in zip(*lists, strict=True)]


def sweep_table(found: Mapping[str, Mapping[str, Any]], best: str) -> pa.Table:
    """A row a run of a sweep: the settings in which runs differ, and every figure of validation and evaluation."""
    settings = [card["settings"] for card in found.values()]
    swept = [key for key in settings[0] if key not in _NOT_SWEPT and len({str(one[key]) for one in settings}) > 1]
    rows = []
    for member, card in found.items():
        figures = {name: value for name, value in card["metrics"].items() if isinstance(value, float | int)}
        judged = {
            f"{split}_{name}": value
            for split, said in card.get("evaluation", {}).items()
            for name, value in _flat(said).items()
        }
        tried = {key: card["settings"][key] for key in swept}
        plain = {key: value if isinstance(value, float | int | str) else str(value) for key, value in tried.items()}
        # what was tried counts: a training tells the learning rate of an epoch by the same name
        rows.append({"run": member, "best": member == best} | {**plain, **figures, **judged} | plain)
    return pa.Table.from_pylist(rows)


def _flat(said: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a split, and of its classes, lengths and places: `class_happy_accuracy`, `place_1_accuracy`."""
    plain = {name: value for name, value in said.items() if isinstance(value, float | int)}
    parts = {
        f"{name.removeprefix('by_')}_{label}_{figure}": value
        for name, found in said.items()
        if isinstance(found, Mapping)
        for label, figures in found.items()
        for figure, value in figures.items()
        if figure != "images"
    }
    return plain | parts


def spreads(table: pa.Table) -> dict[str, dict[str, float]]:
    """Mean, standard deviation (n - 1), least and most of each figure over the runs of a sweep."""
    found = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        if name.endswith(("accuracy", "f1", "precision", "loss")) and None not in values:
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            spread = {"mean": statistics.fmean(values), "deviation": deviation}
            found[name] = {**spread, "least": min(values), "most": max(values)}
    return found
