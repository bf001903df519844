"""Fit a network: checkpoints, the learning rate, TensorBoard's logs, early stopping, and resuming.

A checkpoint is what an unfinished training needs to resume as if it had never been killed: weights, the states of
random layers, the optimiser's variables, the best weights so far, and the history; in one file, whole or not at all,
after each epoch. No pickle is read.
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
from models.tasks import Objective
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
        history: for each metric its value in each epoch, of all phases.
        facts: small numbers: the best value, its epoch, how many epochs have passed since.
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
    named = {f"{group}{number}": array for group, arrays in groups.items() for number, array in enumerate(arrays)}
    counts = {group: len(arrays) for group, arrays in groups.items()}
    header = {"fingerprint": fingerprint, "phase": state.phase, "history": state.history, "facts": state.facts}
    content = io.BytesIO()
    np.savez(content, header=np.array(json.dumps({**header, "counts": counts})), **named)  # type: ignore[arg-type]
    stores.write_bytes(stores.join(folder, CHECKPOINT_FILE), content.getvalue())


def find_checkpoint(folder: str, fingerprint: str) -> Checkpoint | None:
    """The state of an unfinished training of just this model, or None where there is none, or one that is damaged."""
    path = stores.join(folder, CHECKPOINT_FILE)
    if stores.stat(path) is None:
        return None
    try:
        content = small_files.read_npz(stores.read_bytes(path))
        header = json.loads(str(content["header"]))
        if header["fingerprint"] != fingerprint:
            return None
        groups = {
            group: [content[f"{group}{number}"] for number in range(count)] for group, count in header["counts"].items()
        }
        return Checkpoint(header["phase"], **groups, history=header["history"], facts=header["facts"])
    except (*small_files.NPZ_ERRORS, AttributeError, RecursionError):  # cut off, damaged, or another program's
        return None


def remove_checkpoint(folder: str) -> None:
    """Remove the checkpoint; the model is complete."""
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
        passed = ops.clip((step - self.warm_up) / max(self.steps - self.warm_up, 1), 0.0, 1.0)
        return self.rate * rising * (1 + ops.cos(math.pi * passed)) / 2

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {"rate": self.rate, "warm_up": self.warm_up, "steps": self.steps, "cosine": self.cosine}


def build_optimizer(settings: TrainSettings, rate: float, steps: int, epochs: int) -> Any:
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
    decaying = keras.optimizers.AdamW(rate if plain else schedule, weight_decay=settings.weight_decay, **averaged)
    decaying.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return decaying


# What TensorBoard shows of a training: event files of one scalar per metric and epoch, apart for validation.

FOLDER = "logs"
_VALIDATION = "val_"


def write_events(folder: str, history: Mapping[str, list[float]]) -> None:
    """Write the event files of a model folder; `val_` metrics go to `logs/validation`, the others to `logs/train`."""
    for run, validation in (("train", False), ("validation", True)):
        metrics = {
            name.removeprefix(_VALIDATION): values
            for name, values in history.items()
            if name.startswith(_VALIDATION) == validation
        }
        if metrics:
            path = stores.join(folder, FOLDER, run, "events.out.tfevents.0.concord")
            stores.write_bytes(path, encode_events(metrics))


def encode_events(metrics: Mapping[str, list[float]]) -> bytes:
    """An event file of scalars: for each metric its value in each epoch, from 1 on."""
    now = time.time()
    events = [tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2")]
    for name, values in metrics.items():
        for epoch, value in enumerate(values, start=1):
            scalar = tf.compat.v1.Summary.Value(tag=name, simple_value=value)
            summary = tf.compat.v1.Summary(value=[scalar])
            events.append(tf.compat.v1.Event(wall_time=now, step=epoch, summary=summary))
    return b"".join(tfrecord.frame_record(event.SerializeToString()) for event in events)


# Fit a network: epochs, early stopping, the best epoch's weights, and resuming where a killed training stopped.


@dataclass(frozen=True)
class FitPlan:
    """What one fit learns from, and how.

    Attributes:
        validation: what decides which epoch was the best; empty: the last one counts.
        batches: of the training images.
        validation_batches: of the validation images.
        rate: the highest learning rate.
        phase: 0, and 1 for fine-tuning.
    """

    train: LabelledShards
    validation: LabelledShards
    batches: Batches
    validation_batches: Batches
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
        report: called after each epoch with its metrics.
    """

    folder: str
    fingerprint: str
    report: Callable[[dict[str, Any]], None]


def strategy_scope(gpus: int) -> AbstractContextManager[Any]:
    """The scope in which a model is built and fitted: over as many GPUs as there are, up to `gpus`."""
    devices = tf.config.list_logical_devices("GPU")[:gpus]
    if len(devices) < 2:
        return nullcontext()
    scope: AbstractContextManager[Any] = tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    return scope


def fit(
    model: keras.Model, plan: FitPlan, settings: TrainSettings, objective: Objective, record: FitRecord
) -> Checkpoint:
    """Fit a network, from where an earlier run stopped; it ends with the weights of its best epoch.

    Args:
        model: what is fitted; its saved form is not touched, since a model of its own is compiled around its layers.
        plan: what it learns from.
        settings: of the training.
        objective: of its task.
        record: where progress goes.

    Returns:
        the state after the last epoch.
    """
    fitted = _compile(model, plan, settings, objective)
    callback = _start_or_resume(fitted, plan, objective, settings, record)
    if not callback.has_ended():
        weight_averages = [keras.callbacks.SwapEMAWeights()] if settings.ema_momentum else []
        first = callback.epochs_done()
        validates = len(plan.validation) > 0
        fitted.fit(
            inputs.training_batches(plan.train, plan.batches, settings.seed, plan.epochs, first),
            steps_per_epoch=plan.steps,
            initial_epoch=first,
            epochs=plan.epochs,
            validation_data=inputs.validation_batches(plan.validation, plan.validation_batches) if validates else None,
            callbacks=[callback, *weight_averages],
            verbose=0,
        )
    elif settings.ema_momentum and callback.state.phase == plan.phase:  # as Keras leaves a fit
        fitted.optimizer.finalize_variable_values(fitted.trainable_variables)
    if callback.state.best and callback.state.phase == plan.phase:
        model.set_weights(callback.state.best)
    return callback.state


def _compile(model: keras.Model, plan: FitPlan, settings: TrainSettings, objective: Objective) -> keras.Model:
    """A model of the same layers, ready to be fitted."""
    fitted = keras.Model(model.inputs, model.outputs)
    fitted.compile(
        optimizer=build_optimizer(settings, plan.rate, plan.steps, plan.epochs),
        loss=objective.build_loss(),
        metrics=objective.build_metrics(),
        jit_compile=False,  # XLA made these networks several times slower on a CPU
    )
    fitted.optimizer.build(fitted.trainable_variables)
    return fitted


def _start_or_resume(
    fitted: keras.Model, plan: FitPlan, objective: Objective, settings: TrainSettings, record: FitRecord
) -> "ResumeCallback":
    """The callback of a fit that starts, or resumes from its checkpoint."""
    saved = find_checkpoint(record.folder, record.fingerprint)
    callback = ResumeCallback(saved or Checkpoint(), plan, objective.monitored, settings, record)
    if saved is None or saved.phase < plan.phase:
        callback.start_phase(fitted)
        return callback
    if saved.phase == plan.phase:
        for variable, value in zip(fitted.variables, saved.variables, strict=True):
            variable.assign(value)
        for variable, value in zip(fitted.optimizer.variables, saved.optimizer, strict=True):
            variable.assign(value)
    return callback


def _to_numpy(variable: Any) -> Any:
    """A copy of a variable, also of one that is mirrored on several devices."""
    return np.array(keras.ops.convert_to_numpy(variable))


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best epoch's weights, stops after some epochs without a better one, and saves checkpoints."""

    def __init__(
        self, state: Checkpoint, plan: FitPlan, monitored: str, settings: TrainSettings, record: FitRecord
    ) -> None:
        super().__init__()
        self.state, self._plan, self._settings, self._record = state, plan, settings, record
        self._key = f"{_VALIDATION}{monitored}"
        self._validated: Arrays = []

    def start_phase(self, fitted: keras.Model) -> None:
        """Start a phase; where there was one before, its best epoch is what later ones have to exceed."""
        self.state.phase = self._plan.phase
        self.state.facts |= {"begun": float(self._all_epochs()), "waited": 0.0}
        if self.state.best:
            self.state.best = [np.array(weights) for weights in fitted.get_weights()]

    def epochs_done(self) -> int:
        """Epochs of this phase that are done."""
        return self._all_epochs() - int(self.state.facts["begun"])

    def has_ended(self) -> bool:
        """Whether nothing is left to do in this phase."""
        later = self.state.phase > self._plan.phase
        return later or self.epochs_done() >= self._plan.epochs or self._patience_is_out()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Keep the weights that were just validated; averaged ones are in place only now."""
        self._validated = [np.array(weights) for weights in self.model.get_weights()]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compare the epoch with the best one, save a checkpoint, and report."""
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(_to_numpy(self.model.optimizer.learning_rate))
        for name, value in {**metrics, "learning_rate": rate}.items():
            self.state.history.setdefault(name, []).append(value)
        self._compare(metrics)
        self.state.variables = [_to_numpy(variable) for variable in self.model.variables]
        self.state.optimizer = [_to_numpy(variable) for variable in self.model.optimizer.variables]
        save_checkpoint(self._record.folder, self._record.fingerprint, self.state)
        write_events(self._record.folder, self.state.history)
        progress = {"model": self._settings.name, "epoch": epoch + 1, "epochs": self._plan.epochs, **metrics}
        self._record.report({**progress, "phase": self._plan.phase})
        if self._patience_is_out():
            self.model.stop_training = True

    def _compare(self, metrics: dict[str, float]) -> None:
        facts = self.state.facts
        if self._key not in metrics:
            return
        if not self.state.best or metrics[self._key] > facts["best"]:
            self.state.best = self._validated
            facts |= {"best": metrics[self._key], "best_epoch": float(self._all_epochs()), "waited": 0.0}
        else:
            facts["waited"] += 1

    def _patience_is_out(self) -> bool:
        return self.state.facts["waited"] >= self._settings.patience

    def _all_epochs(self) -> int:
        return len(self.state.history.get("loss", ()))
