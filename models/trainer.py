"""Train models, in a process of their own: `python -m models.trainer` with a job as JSON on each line of its input.

A process with a fixed number of threads, deterministic operations and seeds that follow (seed, epoch) makes training
repeatable on one kind of machine; each model begins as if it were the only one. An empty line ends the jobs. The
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
from models.fitting import EVALUATION_BATCH, Checkpoint, FitPlan, FitRecord
from models.heads import Head
from models.inputs import Batches, balanced_weights
from models.objectives import Objective
from models.tasks import Scores
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from models.training_data import Data, Part, Source, scored
from models.training_job import TrainJob
from schemas.errors import ConcordError, InputError
from schemas.manifests import MULTILABEL
from storage import products, stores
from storage.products import ImageSet

LISTED = 100  # damaged records that a card names
Tell = Callable[[dict[str, Any]], None]


def train(job: TrainJob, tell: Tell) -> dict[str, Any]:
    """Train a model and write its folder.

    Args:
        job: what to train.
        tell: called after each epoch with its figures.

    Returns:
        the metrics of the best epoch.
    """
    settings = job.settings
    images = products.image_set(job.root, settings.dataset, settings.version)
    shape = building.image_shape(settings, images)
    objective = Objective(images.manifest.task, len(images.classes), settings.label_smoothing)
    began = time.monotonic()
    found = training_data.plan_data(job, images)
    with ExitStack() as stack:
        stack.enter_context(fitting.strategy(settings.gpus))
        keras.utils.set_random_seed(settings.seed)
        model = building.build(settings, shape, Head(objective.task, objective.classes))
        stages = _stages(job, images, model, found, stack)
        try:
            state = _fit(stages, job, objective, tell)
            judged = _judge(stages[-1], images, objective, job)
        except tf.errors.DataLossError as error:  # they were whole when the training began
            raise InputError(f"images of {settings.dataset!r} changed while they were read: run it again") from error
    metrics = _metrics(state, stages[-1].data) | {"seconds": round(time.monotonic() - began, 2)}
    left_out = _left_out(found, stages[-1])
    card = {**_card(job, images, shape), **judged, **left_out, "history": state.history, "metrics": metrics}
    saved_models.save(model, job.folder, card)
    fitting.remove_checkpoint(job.folder)
    return {**metrics, **left_out, "evaluation": judged.get("evaluation", {})}


@dataclass(frozen=True)
class Stage:
    """One fit of a training: which network, on which data, and where that comes from."""

    model: keras.Model
    data: Data
    source: Source
    epochs: int
    rate: float


def _stages(job: TrainJob, images: ImageSet, model: keras.Model, found: Data, stack: ExitStack) -> list[Stage]:
    """The fits of a training: of the network, or of its head on features; and of more of it, if it is fine-tuned."""
    settings = job.settings
    first = (settings.epochs, settings.learning_rate)
    last = (settings.fine_tune_epochs, settings.fine_tune_learning_rate)
    stages, source = [], None
    if not job.features or settings.fine_tune_from:
        source = stack.enter_context(training_data.image_source(images, found.splits, tuple(model.input_shape[1:])))
        found = training_data.without_damaged(found, source.damaged, settings.max_reject_fraction)
    if job.features:
        head = transfer.head_of(model)
        folders = {split: products.shard_folder(folder) for split, folder in job.features.items()}
        training_data.check_features(transfer.backbone_of(model), found.train, images, folders[found.train.split])
        seen = training_data.feature_source(images, folders, head.input_shape[-1])
        stages.append(Stage(head, training_data.with_features(found, images, folders), seen, *first))
    if source:
        phases = [*([] if job.features else [first]), *([last] if settings.fine_tune_from else [])]
        stages += [Stage(model, found, source, *phase) for phase in phases]
    return stages


def _fit(stages: list[Stage], job: TrainJob, objective: Objective, tell: Tell) -> Checkpoint:
    """Fit each stage after the other; the best epoch's weights stay in the network."""
    settings, state = job.settings, Checkpoint()
    augment = dict(settings.augment)
    for phase, stage in enumerate(stages):
        if phase:
            transfer.unfreeze(stage.model, settings.fine_tune_from)
        train, held = stage.data.train.of(stage.source), stage.data.validation.of(stage.source)
        weights = balanced_weights(train, objective) if settings.class_weights else ()
        decode = stage.source.decode
        batches = Batches(decode, objective, settings.batch_size, augment, weights)
        judged = Batches(decode, objective, EVALUATION_BATCH, augment if settings.augment_validation else {})
        lesson = FitPlan(train, held, batches, judged, stage.epochs, stage.rate, phase)
        state = fitting.fit(stage.model, lesson, settings, objective, FitRecord(job.folder, job.fingerprint, tell))
    return state


def _judge(stage: Stage, images: ImageSet, objective: Objective, job: TrainJob) -> dict[str, Any]:
    """How sure and how right the trained model is: temperatures, thresholds, and figures of the splits asked for."""
    task, classes = tasks.load(objective.task), images.classes
    held = scored(stage.model, stage.data.validation, stage.source, objective)
    chosen: dict[str, Any] = {"calibration": _calibration(stage.data.validation, held, objective.task, images, job)}
    if objective.task == MULTILABEL:
        shown = held if len(held[0]) else scored(stage.model, stage.data.train, stage.source, objective)
        chosen["thresholds"] = task.choose_thresholds(*shown, classes)
    figures = {}
    for name, part in stage.data.judged.items():
        values, scores = scored(stage.model, part, stage.source, objective)
        found = task.figures(values, scores, classes, chosen.get("thresholds")) if len(values) else {}
        figures[name] = {"images": len(values), **found}
    return {**chosen, "evaluation": figures} if figures else chosen


def _calibration(
    part: Part, held: tuple[npt.NDArray[Any], Scores], task: str, images: ImageSet, job: TrainJob
) -> dict[str, Any]:
    """The temperatures of a trained model, by the validation images alone; a fold also keeps what it said of them."""
    settings, (values, scores) = job.settings, held
    if not len(values):
        return calibration.none("no images were held out for validation, and those of training do not tell")
    share = {"held_out": settings.validation_fraction} if part.split != settings.validation else {}
    if job.fold >= 0 and not share:
        stores.write_bytes(stores.join(job.folder, calibration.HELD_FILE), calibration.packed(values, scores))
    found = calibration.fit(tasks.load(task).choices(values, scores, images.classes), len(values))
    return {**found, "split": part.split, **share, "labels": settings.labels}


def _metrics(state: Checkpoint, found: Data) -> dict[str, Any]:
    """The figures of the epoch whose weights were kept; without validation, of the last."""
    epochs = len(state.history["loss"])
    best = int(state.facts.get("best_epoch", epochs))
    metrics: dict[str, Any] = {name: values[best - 1] for name, values in state.history.items()}
    metrics |= {"best_epoch": best, "epochs": epochs}
    return metrics | {"train_images": len(found.train), "validation_images": len(found.validation)}


def _left_out(found: Data, stage: Stage) -> dict[str, Any]:
    """How many labelled images could not be read, and where the first of them lie; empty where all could."""
    images = len(found) - len(stage.data)
    places = [str(one) for rows in stage.source.damaged.values() for damaged in rows.values() for one in damaged]
    return {"left_out": {"images": images, "damaged": places[:LISTED]}} if images else {}


def _card(job: TrainJob, images: ImageSet, shape: building.Shape) -> dict[str, Any]:
    settings = job.settings
    return {
        "fingerprint": job.fingerprint,
        "name": settings.name,
        "network": settings.network,
        "dataset": settings.dataset,
        "images": images.fingerprint,
        "training_labels": settings.labels,
        "weights_from": settings.weights.rsplit("/", 1)[-1],
        "task": images.manifest.task,
        "classes": images.classes,
        "image_shape": list(shape),
        "settings": settings.identity(),
        **({"fold": job.fold, "folds": settings.folds} if job.fold >= 0 else {}),
        "versions": {"concord": schemas.__version__, "keras": keras.__version__, "tensorflow": tf.__version__},
    }


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read jobs, do them, and say how it goes, a JSON object a line; what libraries print goes to standard error."""
    lines, sys.stdout = sys.stdout, sys.stderr

    def tell(figures: dict[str, Any]) -> None:
        lines.write(json.dumps(figures) + "\n")
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
            tell({"metrics": train(job, tell)})
    except ConcordError as error:
        tell({"error": str(error), "kind": type(error).__name__})
        sys.exit(1)


if __name__ == "__main__":
    main()
