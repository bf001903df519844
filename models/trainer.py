"""Train models, in a process of their own: `python -m models.trainer` with one training job as JSON per line of input.

A process with a fixed number of threads, deterministic operations and seeds that follow (seed, epoch) makes training
repeatable on one kind of machine; each model starts as if it were the only one. An empty line ends the jobs. The
process ends when its input closes, so that it never outlives the worker that started it.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

import schemas
from models import building, calibration, fitting, saved_models, tasks, training_data, transfer
from models.fitting import Checkpoint, FitPlan, FitRecord
from models.inputs import EVALUATION_BATCH, Batches, balanced_weights
from models.tasks import Head, Objective, Scores
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_data import Data, Part, Source, score_part
from models.training_job import TrainJob
from schemas.errors import ConcordError, InputError
from schemas.manifests import Calibration, ExcludedImages, ModelCard
from storage import model_cards, products, stores
from storage.products import ImageSet

LISTED = 100  # damaged records that a card names
Report = Callable[[dict[str, Any]], None]


def train(job: TrainJob, report: Report) -> dict[str, Any]:
    """Train a model and write its folder.

    Args:
        job: what to train.
        report: called after each epoch with its metrics.

    Returns:
        what is reported of the model.
    """
    settings = job.settings
    images = products.image_set(job.root, settings.dataset, settings.version)
    shape = building.image_shape(settings, images)
    objective = Objective(images.manifest.task, len(images.classes), settings.label_smoothing)
    started = time.monotonic()
    data = training_data.plan_data(job, images)
    with ExitStack() as stack:
        stack.enter_context(fitting.strategy_scope(settings.gpus))
        keras.utils.set_random_seed(settings.seed)
        model = building.build(settings, shape, Head(objective.task, objective.classes))
        phases = _plan_phases(job, images, model, data, stack)
        try:
            state = _fit(phases, job, objective, report)
            evaluated = _evaluate(phases[-1], images, objective, job)
        except tf.errors.DataLossError as error:  # they were whole when the training began
            raise InputError(f"images of {settings.dataset!r} changed while they were read: run it again") from error
    metrics = _metrics(state, phases[-1].data) | {"seconds": round(time.monotonic() - started, 2)}
    excluded = _excluded(data, phases[-1])
    card = _build_card(job, images, shape, **evaluated, excluded=excluded, history=state.history, metrics=metrics)
    saved_models.save(model, job.folder, card)
    fitting.remove_checkpoint(job.folder)
    return model_cards.summarize(card)


@dataclass(frozen=True)
class Phase:
    """One fit of a training: which network, on which data, and where that comes from."""

    model: keras.Model
    data: Data
    source: Source
    epochs: int
    rate: float


def _plan_phases(job: TrainJob, images: ImageSet, model: keras.Model, data: Data, stack: ExitStack) -> list[Phase]:
    """The fits of a training: of the network, or of its head on features; and of more of it, if it is fine-tuned."""
    settings = job.settings
    first = (settings.epochs, settings.learning_rate)
    last = (settings.fine_tune_epochs, settings.fine_tune_learning_rate)
    phases, source = [], None
    if not job.features or settings.fine_tune_from:
        source = stack.enter_context(training_data.open_images(images, data.splits, tuple(model.input_shape[1:])))
        data = training_data.drop_damaged(data, source.damaged, settings.max_reject_fraction)
    if job.features:
        head = transfer.split_head(model)
        folders = {split: products.shard_folder(folder) for split, folder in job.features.items()}
        training_data.check_features(transfer.split_backbone(model), data.train, images, folders[data.train.split])
        features = training_data.open_features(images, folders, head.input_shape[-1])
        phases.append(Phase(head, training_data.keep_with_features(data, images, folders), features, *first))
    if source:
        fits = [*([] if job.features else [first]), *([last] if settings.fine_tune_from else [])]
        phases += [Phase(model, data, source, *fit) for fit in fits]
    return phases


def _fit(phases: list[Phase], job: TrainJob, objective: Objective, report: Report) -> Checkpoint:
    """Fit each phase after the other; the best epoch's weights stay in the network."""
    settings, state = job.settings, Checkpoint()
    augment = dict(settings.augment)
    for number, phase in enumerate(phases):
        if number:
            transfer.unfreeze(phase.model, settings.fine_tune_from)
        train, validation = phase.data.train.open(phase.source), phase.data.validation.open(phase.source)
        weights = balanced_weights(train, objective) if settings.class_weights else ()
        decode, validation_augment = phase.source.decode, augment if settings.augment_validation else {}
        batches = Batches(decode, objective, settings.batch_size, augment, weights)
        validation_batches = Batches(decode, objective, EVALUATION_BATCH, validation_augment)
        plan = FitPlan(train, validation, batches, validation_batches, phase.epochs, phase.rate, number)
        state = fitting.fit(phase.model, plan, settings, objective, FitRecord(job.folder, job.fingerprint, report))
    return state


def _evaluate(phase: Phase, images: ImageSet, objective: Objective, job: TrainJob) -> dict[str, Any]:
    """Temperatures, thresholds, and the metrics of the splits that the settings name."""
    task, classes = tasks.load(objective.task), images.classes
    validation = score_part(phase.model, phase.data.validation, phase.source, objective)
    chosen: dict[str, Any] = {"calibration": _calibrate(phase.data.validation, validation, images, job)}
    if task.INDEPENDENT:
        train = phase.data.train
        shown = validation if len(validation[0]) else score_part(phase.model, train, phase.source, objective)
        chosen["thresholds"] = task.choose_thresholds(*shown, classes)
    evaluation = {}
    for name, part in phase.data.evaluation.items():
        values, scores = score_part(phase.model, part, phase.source, objective)
        metrics = task.evaluate(values, scores, classes, chosen.get("thresholds")) if len(values) else {}
        evaluation[name] = {"images": len(values), **metrics}
    return {**chosen, "evaluation": evaluation}


def _calibrate(part: Part, scored: tuple[npt.NDArray[Any], Scores], images: ImageSet, job: TrainJob) -> Calibration:
    """The temperatures of a trained model, by the validation images alone; a fold also keeps its scores of them."""
    settings, (values, scores) = job.settings, scored
    if not len(values):
        return Calibration(reason="no images were held out for validation, and those of training are overconfident")
    share = settings.validation_fraction if part.split != settings.validation else None
    if job.fold >= 0 and share is None:
        stores.write_bytes(stores.join(job.folder, calibration.FOLD_FILE), calibration.pack_scores(values, scores))
    choices = tasks.load(images.manifest.task).list_choices(values, scores, images.classes)
    fitted = calibration.fit(choices, len(values))
    return fitted.model_copy(update={"split": part.split, "held_out": share, "labels": settings.labels})


def _metrics(state: Checkpoint, data: Data) -> dict[str, Any]:
    """The metrics of the epoch whose weights were kept; without validation, of the last."""
    epochs = len(state.history["loss"])
    best = int(state.facts.get("best_epoch", epochs))
    metrics: dict[str, Any] = {name: values[best - 1] for name, values in state.history.items()}
    metrics |= {"best_epoch": best, "epochs": epochs}
    return metrics | {"train_images": len(data.train), "validation_images": len(data.validation)}


def _excluded(data: Data, phase: Phase) -> ExcludedImages | None:
    """The labelled images that could not be read; None where all could."""
    images = len(data) - len(phase.data)
    damaged = [str(one) for rows in phase.source.damaged.values() for records in rows.values() for one in records]
    return ExcludedImages(images=images, damaged=damaged[:LISTED]) if images else None


def _build_card(job: TrainJob, images: ImageSet, shape: building.Shape, **results: Any) -> ModelCard:
    settings = job.settings
    return ModelCard(
        stage="train",
        product=f"{settings.dataset}/{job.title}",
        fingerprint=job.fingerprint,
        name=settings.name,
        network=settings.network,
        dataset=settings.dataset,
        images=images.fingerprint,
        training_labels=settings.labels,
        weights_from=settings.weights.rsplit("/", 1)[-1],
        task=images.manifest.task,
        classes=images.classes,
        image_shape=shape,
        settings=settings.identity(),
        fold=job.fold if job.fold >= 0 else None,
        folds=settings.folds,
        versions={"concord": schemas.__version__, "keras": keras.__version__, "tensorflow": tf.__version__},
        **results,
    )


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read jobs, train, and report one JSON object per line; what libraries print goes to standard error."""
    lines, sys.stdout = sys.stdout, sys.stderr

    def report(progress: dict[str, Any]) -> None:
        lines.write(json.dumps(progress) + "\n")
        lines.flush()

    jobs = []
    while line := sys.stdin.readline().strip():
        jobs.append(TrainJob.from_json(line))
    threading.Thread(target=_end_with_input, daemon=True).start()
    tf.config.threading.set_intra_op_parallelism_threads(jobs[0].settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    try:
        for job in jobs:
            keras.utils.clear_session()
            report({"metrics": train(job, report)})
    except ConcordError as error:
        report({"error": str(error), "kind": type(error).__name__})
        sys.exit(1)


if __name__ == "__main__":
    main()
