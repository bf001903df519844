"""Combine several trainings into one model: of a sweep its best run, of folds all of them together."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models import calibration, tasks
from models.training_job import TrainJob
from schemas import layout
from schemas.errors import InputError
from schemas.manifests import Calibration, ModelCard, Spread, Sweep
from schemas.settings.train import TrainSettings
from storage import model_cards, parquet, products, stores

_MONITORED = ("val_accuracy", "val_average_precision")
_NOT_SWEPT = ("dataset", "name", "version", "sweep", "folds")


def write_ensemble(settings: TrainSettings, fingerprint: str, jobs: Sequence[TrainJob], folder: str) -> None:
    """Write the card of a model of several trainings, once they are all complete.

    Raises:
        InputError: there is no validation by which the best run of a sweep could be chosen.
    """
    cards = {job.member: model_cards.require_card(job.folder) for job in jobs}
    if settings.folds:
        card = build_fold_card(fingerprint, cards).model_copy(update={"calibration": calibrate_folds(jobs, cards)})
    else:
        card = write_best_run(settings, fingerprint, cards, folder, jobs[0].root)
    model_cards.write_card(folder, card)


def write_best_run(
    settings: TrainSettings, fingerprint: str, cards: Mapping[str, ModelCard], folder: str, root: str
) -> ModelCard:
    """Write the table of a sweep, and copy the files of its best run; returns the card of the model."""
    values = {run: validation_metric(card) for run, card in cards.items()}
    if None in values.values():
        raise InputError(f"the sweep of {settings.name!r} has no validation to choose by: add a validation split")
    best = max(values, key=lambda run: values[run] or 0.0)
    table, path = build_sweep_table(cards, best), stores.join(folder, layout.SWEEP_TABLE)
    parquet.write(path, table, fingerprint)
    winner = cards[best]
    for name in winner.files:
        stores.write_bytes(stores.join(folder, name), stores.read_bytes(stores.join(folder, best, name)))
    evaluated = [f"{split}_{name}" for split, metrics in winner.evaluation.items() for name in metrics]
    metrics = measure_spreads(table)
    main = [name for name in (*_MONITORED, *evaluated) if name in metrics]
    return winner.model_copy(
        update={
            "product": f"{settings.dataset}/{settings.name}",
            "fingerprint": fingerprint,
            "tables": (products.single_table_file(root, "sweep", path),),
            "sweep": Sweep(runs=len(cards), best=best, main_metrics=main, metrics=metrics),
        }
    )


def validation_metric(card: ModelCard) -> float | None:
    """The validation metric by which the runs of a sweep are compared; None where there was no validation."""
    return next((float(card.metrics[name]) for name in _MONITORED if name in card.metrics), None)


def build_fold_card(fingerprint: str, cards: Mapping[str, ModelCard]) -> ModelCard:
    """The card of a model of folds: what its members share, and the means of their metrics."""
    members = list(cards.values())
    first = members[0]
    shortest = min(len(card.history["loss"]) for card in members)
    history = {
        name: [statistics.fmean(card.history[name][epoch] for card in members) for epoch in range(shortest)]
        for name in first.history
    }
    metrics = {name: statistics.fmean(card.metrics[name] for card in members) for name in first.metrics}
    thresholds = [card.thresholds for card in members if card.thresholds is not None]
    return first.model_copy(
        update={
            "product": f"{first.dataset}/{first.name}",
            "fingerprint": fingerprint,
            "fold": None,
            "folds": len(cards),
            "members": {member: card.fingerprint for member, card in cards.items()},
            "weights_from": "",
            "weights_sha256": products.fingerprint("folds", weights=[card.weights_sha256 for card in members]),
            "parameters": sum(card.parameters for card in members),
            "files": {},
            "thresholds": tuple(map(statistics.fmean, zip(*thresholds, strict=True))) if thresholds else None,
            "evaluation": {
                split: pool_metrics([card.evaluation[split] for card in members]) for split in first.evaluation
            },
            "history": history,
            "metrics": {**metrics, "epochs": round(metrics["epochs"]), "best_epoch": round(metrics["best_epoch"])},
            "excluded": None,
        }
    )


def calibrate_folds(jobs: Sequence[TrainJob], cards: Mapping[str, ModelCard]) -> Calibration:
    """The temperatures of the mean of all folds' scores, by the validation images; and those of each fold.

    The mean is less confident than its members, so that it is calibrated by itself (Rahaman and Thiery 2021,
    "Uncertainty quantification and deep ensembles", https://arxiv.org/abs/2007.08792).
    """
    folds = tuple(card.calibration or Calibration() for card in cards.values())
    paths = [stores.join(job.folder, calibration.FOLD_FILE) for job in jobs]
    shared = all(fold.temperatures is not None and fold.held_out is None for fold in folds)
    if not shared or not all(map(stores.stat, paths)):
        reason = "the mean of folds is calibrated on a validation split, which they must share"
        return Calibration(reason=reason, folds=folds)
    scored = [calibration.unpack_scores(stores.read_bytes(path)) for path in paths]
    card = next(iter(cards.values()))
    mean = np.asarray(np.stack([scores for _, scores in scored]).mean(axis=0), dtype=np.float32)
    fitted = calibration.fit(tasks.load(card.task).list_choices(scored[0][0], mean, card.classes), len(mean))
    return fitted.model_copy(update={"split": folds[0].split, "labels": folds[0].labels, "folds": folds})


def pool_metrics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each metric over the images of all folds."""
    total = sum(part["images"] for part in parts)
    names = dict.fromkeys(name for part in parts for name, value in part.items() if isinstance(value, float))
    means = {name: sum(part.get(name, 0.0) * part["images"] for part in parts) / max(total, 1) for name in names}
    return {"images": total, **means}


def build_sweep_table(cards: Mapping[str, ModelCard], best: str) -> pa.Table:
    """One row per run of a sweep: the settings in which runs differ, and every metric of validation and evaluation."""
    settings = [card.settings for card in cards.values()]
    swept = [key for key in settings[0] if key not in _NOT_SWEPT and len({str(one[key]) for one in settings}) > 1]
    rows = []
    for run, card in cards.items():
        evaluated = {
            f"{split}_{name}": value
            for split, metrics in card.evaluation.items()
            for name, value in flatten_metrics(metrics).items()
        }
        tried = {key: card.settings[key] for key in swept}
        plain = {key: value if isinstance(value, float | int | str) else str(value) for key, value in tried.items()}
        # the settings win: a training reports the learning rate of an epoch by the same name
        rows.append({"run": run, "best": run == best} | {**plain, **card.metrics, **evaluated} | plain)
    return pa.Table.from_pylist(rows)


def flatten_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a split, and of its classes, lengths and places: `class_happy_accuracy`, `place_1_accuracy`."""
    plain = {name: value for name, value in metrics.items() if isinstance(value, float | int)}
    parts = {
        f"{name.removeprefix('by_')}_{label}_{metric}": value
        for name, labels in metrics.items()
        if isinstance(labels, Mapping)
        for label, of_label in labels.items()
        for metric, value in of_label.items()
        if metric != "images"
    }
    return plain | parts


def measure_spreads(table: pa.Table) -> dict[str, Spread]:
    """The spread of each metric over the runs of a sweep."""
    spreads = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        if name.endswith(("accuracy", "f1", "precision", "loss")) and None not in values:
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            spreads[name] = Spread(
                mean=statistics.fmean(values), deviation=deviation, least=min(values), most=max(values)
            )
    return spreads
