"""Fit a network: epochs, early stopping, the best epoch's weights, and going on where a killed training stopped."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import checkpoints, events, inputs
from models.checkpoints import State
from models.inputs import Batches, LabelledShards
from models.objectives import Objective
from models.quiet import keras
from models.quiet import tensorflow as tf
from models.schedules import optimizer
from schemas.train_settings import TrainSettings

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Lesson:
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
class Record:
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


def fit(model: keras.Model, lesson: Lesson, settings: TrainSettings, objective: Objective, record: Record) -> State:
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
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.averaging else []
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
    elif settings.averaging and watch.state.phase == lesson.phase:  # as Keras leaves a fit
        fitted.optimizer.finalize_variable_values(fitted.trainable_variables)
    if watch.state.best and watch.state.phase == lesson.phase:
        model.set_weights(watch.state.best)
    return watch.state


def _compiled(model: keras.Model, lesson: Lesson, settings: TrainSettings, objective: Objective) -> keras.Model:
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
    fitted: keras.Model, lesson: Lesson, objective: Objective, settings: TrainSettings, record: Record
) -> "Watch":
    """A watch over a fit that begins, or goes on where it was."""
    found = checkpoints.find(record.folder, record.fingerprint)
    watch = Watch(found or State(), lesson, objective.watched, settings, record)
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


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the best epoch's weights, stops when there is none better for long, and writes down how far it is."""

    def __init__(self, state: State, lesson: Lesson, watched: str, settings: TrainSettings, record: Record) -> None:
        super().__init__()
        self.state, self._lesson, self._settings, self._record = state, lesson, settings, record
        self._key = f"val_{watched}"
        self._judged: checkpoints.Arrays = []

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
        checkpoints.save(self._record.folder, self._record.fingerprint, self.state)
        events.write(self._record.folder, self.state.history)
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
