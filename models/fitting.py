"""The state of an unfinished training: what it needs to go on as if it had never been killed.

Weights, the states of random layers, the optimiser's variables, the best weights so far, and the history; in one file,
whole or not at all, after each epoch. No pickle is read.
"""

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models import inputs
from models.inputs import Batches, LabelledShards
from models.objectives import Objective
from models.tensorflow_setup import keras
from models.tensorflow_setup import tensorflow as tf
from schemas.settings.train import TrainSettings
from storage import small_files, stores, tfrecord
from storage.model_cards import CHECKPOINT_FILE

Arrays = list[npt.NDArray[Any]]


@dataclass
class Checkpoint:
    """How far a training has come.

    Attributes:
        phase: which fit it is in; a later fit (fine-tuning) has a higher number.
        variables: of the network, random layers' states among them.
        optimizer: the optimiser's variables.
        best: weights of the best epoch; empty before there is one.
        history: for each figure its value in each epoch, of all phases.
        facts: small numbers: the best figure, its epoch, how many epochs have gone since.
    """

    phase: int = 0
    variables: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)


def save_checkpoint(folder: str, fingerprint: str, state: Checkpoint) -> None:
    """Write the state; it replaces an earlier one."""
    groups = {"variables": state.variables, "optimizer": state.optimizer, "best": state.best}
    arrays = {f"{group}{number}": array for group, found in groups.items() for number, array in enumerate(found)}
    counts = {group: len(found) for group, found in groups.items()}
    said = {"fingerprint": fingerprint, "phase": state.phase, "history": state.history, "facts": state.facts}
    content = io.BytesIO()
    np.savez(content, said=np.array(json.dumps({**said, "counts": counts})), **arrays)  # type: ignore[arg-type]
    stores.write_bytes(stores.join(folder, CHECKPOINT_FILE), content.getvalue())


def find_checkpoint(folder: str, fingerprint: str) -> Checkpoint | None:
    """The state of an unfinished training of just this model, or None where there is none, or one that is damaged."""
    path = stores.join(folder, CHECKPOINT_FILE)
    if stores.stat(path) is None:
        return None
    try:
        content = small_files.read_npz(stores.read_bytes(path))
        said = json.loads(str(content["said"]))
        if said["fingerprint"] != fingerprint:
            return None
        groups = {
            group: [content[f"{group}{number}"] for number in range(count)] for group, count in said["counts"].items()
        }
        return Checkpoint(said["phase"], **groups, history=said["history"], facts=said["facts"])
    except (*small_files.NPZ_ERRORS, AttributeError, RecursionError):  # cut off, damaged or foreign
        return None


def remove_checkpoint(folder: str) -> None:
    """Forget the state; the model is done."""
    stores.remove(stores.join(folder, CHECKPOINT_FILE))


# The learning rate over the steps of a training.


class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rises in a straight line over the first steps, then stays, or falls to nothing along half a cosine.

    (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts)
    """

    def __init__(self, rate: float, warm_up: int, steps: int, cosine: bool) -> None:
        self.rate, self.warm_up, self.steps, self.cosine = rate, warm_up, steps, cosine

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step, from 0 on."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        rising = ops.minimum(1.0, (step + 1) / max(self.warm_up, 1)) if self.warm_up else 1.0
        if not self.cosine:
            return self.rate * rising
        gone = ops.clip((step - self.warm_up) / max(self.steps - self.warm_up, 1), 0.0, 1.0)
        return self.rate * rising * (1 + ops.cos(math.pi * gone)) / 2

    def get_config(self) -> dict[str, Any]:
        """What it was made with."""
        return {"rate": self.rate, "warm_up": self.warm_up, "steps": self.steps, "cosine": self.cosine}


def optimizer(settings: TrainSettings, rate: float, steps: int, epochs: int) -> Any:
    """Adam, or AdamW where weights decay, with the schedule of the settings.

    Args:
        settings: of the training.
        rate: the highest learning rate.
        steps: of an epoch.
        epochs: how many are planned.
    """
    schedule = WarmedUp(rate, round(settings.warm_up * steps), steps * epochs, settings.schedule == "cosine")
    plain = settings.schedule == "constant" and not settings.warm_up
    averaged = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    if not settings.weight_decay:
        return keras.optimizers.Adam(rate if plain else schedule, **averaged)
    made = keras.optimizers.AdamW(rate if plain else schedule, weight_decay=settings.weight_decay, **averaged)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


# What TensorBoard shows of a training: event files, a scalar a figure and epoch, for training and validation apart.

FOLDER = "logs"
_HELD = "val_"


def write_events(folder: str, history: Mapping[str, list[float]]) -> None:
    """Write the event files of a model folder; `val_` figures go to `logs/validation`, the others to `logs/train`."""
    for run, held in (("train", False), ("validation", True)):
        figures = {name.removeprefix(_HELD): told for name, told in history.items() if name.startswith(_HELD) == held}
        if figures:
            path = stores.join(folder, FOLDER, run, "events.out.tfevents.0.concord")
            stores.write_bytes(path, event_file(figures))


def event_file(figures: Mapping[str, list[float]]) -> bytes:
    """An event file of scalars: for each figure its value in each epoch, from 1 on."""
    now = time.time()
    events = [tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2")]
    for name, values in figures.items():
        for epoch, value in enumerate(values, start=1):
            scalar = tf.compat.v1.Summary.Value(tag=name, simple_value=value)
            summary = tf.compat.v1.Summary(value=[scalar])
            events.append(tf.compat.v1.Event(wall_time=now, step=epoch, summary=summary))
    return b"".join(tfrecord.frame_record(event.SerializeToString()) for event in events)


# Fit a network: epochs, early stopping, the best epoch's weights, and going on where a killed training stopped.

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class FitPlan:
    """What one fit learns from, and how.

    Attributes:
        validation: what decides which epoch was the best; empty: the last one counts.
        rate: the highest learning rate.
        phase: 0, and 1 for fine-tuning.
    """

    train: LabelledShards
    validation: LabelledShards
    batches: Batches
    judged: Batches
    epochs: int
    rate: float
    phase: int = 0

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.train) // self.batches.size)


@dataclass(frozen=True)
class FitRecord:
    """Where the progress of a training goes.

    Attributes:
        folder: of the model.
        fingerprint: of the model.
        tell: called after each epoch with its figures.
    """

    folder: str
    fingerprint: str
    tell: Callable[[dict[str, Any]], None]


def strategy(gpus: int) -> AbstractContextManager[Any]:
    """The scope in which a model is built and fitted: over several GPUs where there are, and are to be used."""
    found = tf.config.list_logical_devices("GPU")[:gpus]
    if len(found) < 2:
        return nullcontext()
    scope: AbstractContextManager[Any] = tf.distribute.MirroredStrategy([device.name for device in found]).scope()
    return scope


def fit(
    model: keras.Model, lesson: FitPlan, settings: TrainSettings, objective: Objective, record: FitRecord
) -> Checkpoint:
    """Fit a network, from where an earlier try stopped; it is left with the weights of its best epoch.

    Args:
        model: what is fitted; its saved form is not touched, since a model of its own is compiled around its layers.
        lesson: what it learns from.
        settings: of the training.
        objective: of its task.
        record: where progress goes.

    Returns:
        how it went.
    """
    fitted = _compiled(model, lesson, settings, objective)
    watch = _begun(fitted, lesson, objective, settings, record)
    if not watch.ended():
        held = lesson.validation if len(lesson.validation) else None
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.ema_momentum else []
        first = watch.epochs_done()
        fitted.fit(
            inputs.training(lesson.train, lesson.batches, settings.seed, lesson.epochs, first),
            steps_per_epoch=lesson.steps,
            initial_epoch=first,
            epochs=lesson.epochs,
            validation_data=inputs.validation(held, lesson.judged) if held else None,
            callbacks=[watch, *averaged],
            verbose=0,
        )
    elif settings.ema_momentum and watch.state.phase == lesson.phase:  # as Keras leaves a fit
        fitted.optimizer.finalize_variable_values(fitted.trainable_variables)
    if watch.state.best and watch.state.phase == lesson.phase:
        model.set_weights(watch.state.best)
    return watch.state


def _compiled(model: keras.Model, lesson: FitPlan, settings: TrainSettings, objective: Objective) -> keras.Model:
    """A model of the same layers, ready to be fitted."""
    fitted = keras.Model(model.inputs, model.outputs)
    fitted.compile(
        optimizer=optimizer(settings, lesson.rate, lesson.steps, lesson.epochs),
        loss=objective.loss(),
        metrics=objective.metrics(),
        jit_compile=False,  # XLA made these networks several times slower on a CPU
    )
    fitted.optimizer.build(fitted.trainable_variables)
    return fitted


def _begun(
    fitted: keras.Model, lesson: FitPlan, objective: Objective, settings: TrainSettings, record: FitRecord
) -> "ResumeCallback":
    """A watch over a fit that begins, or goes on where it was."""
    found = find_checkpoint(record.folder, record.fingerprint)
    watch = ResumeCallback(found or Checkpoint(), lesson, objective.watched, settings, record)
    if found is None or found.phase < lesson.phase:
        watch.begin(fitted)
        return watch
    if found.phase == lesson.phase:
        for variable, value in zip(fitted.variables, found.variables, strict=True):
            variable.assign(value)
        for variable, value in zip(fitted.optimizer.variables, found.optimizer, strict=True):
            variable.assign(value)
    return watch


def _numpy(variable: Any) -> Any:
    """A copy of a variable, also of one that several devices hold."""
    return np.array(keras.ops.convert_to_numpy(variable))


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best epoch's weights, stops when there is none better for long, and writes down how far it is."""

    def __init__(
        self, state: Checkpoint, lesson: FitPlan, watched: str, settings: TrainSettings, record: FitRecord
    ) -> None:
        super().__init__()
        self.state, self._lesson, self._settings, self._record = state, lesson, settings, record
        self._key = f"val_{watched}"
        self._judged: Arrays = []

    def begin(self, fitted: keras.Model) -> None:
        """Begin a phase; where there was one before, what it reached has to be bettered."""
        self.state.phase = self._lesson.phase
        self.state.facts |= {"begun": float(self._done()), "waited": 0.0}
        if self.state.best:
            self.state.best = [np.array(weights) for weights in fitted.get_weights()]

    def epochs_done(self) -> int:
        """Epochs of this phase that are done."""
        return self._done() - int(self.state.facts["begun"])

    def ended(self) -> bool:
        """Whether nothing is left to do in this phase."""
        later = self.state.phase > self._lesson.phase
        return later or self.epochs_done() >= self._lesson.epochs or self._patience_is_out()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Keep the weights that were just judged; averaged ones are in place only now."""
        self._judged = [np.array(weights) for weights in self.model.get_weights()]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch, write the state down, and tell."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(_numpy(self.model.optimizer.learning_rate))
        for name, value in {**figures, "learning_rate": rate}.items():
            self.state.history.setdefault(name, []).append(value)
        self._compare(figures)
        self.state.variables = [_numpy(variable) for variable in self.model.variables]
        self.state.optimizer = [_numpy(variable) for variable in self.model.optimizer.variables]
        save_checkpoint(self._record.folder, self._record.fingerprint, self.state)
        write_events(self._record.folder, self.state.history)
        told = {"model": self._settings.name, "epoch": epoch + 1, "epochs": self._lesson.epochs, **figures}
        self._record.tell({**told, "phase": self._lesson.phase})
        if self._patience_is_out():
            self.model.stop_training = True

    def _compare(self, figures: dict[str, float]) -> None:
        facts = self.state.facts
        if self._key not in figures:
            return
        if not self.state.best or figures[self._key] > facts["figure"]:
            self.state.best = self._judged
            facts |= {"figure": figures[self._key], "best_epoch": float(self._done()), "waited": 0.0}
        else:
            facts["waited"] += 1

    def _patience_is_out(self) -> bool:
        return self.state.facts["waited"] >= self._settings.patience

    def _done(self) -> int:
        return len(self.state.history.get("loss", ()))
