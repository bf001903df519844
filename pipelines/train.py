"""Train models: one Beam element a model, each in a process of its own, side by side on GPU workers.

concord train --network cnn2 --dataset svhn --labels human --epochs 30 --root out
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import apache_beam as beam

from models import networks
from models.job import TrainJob
from pipelines import execution
from pipelines.execution import Context, StageResult
from schemas import cards, errors, plugins, products, storage
from schemas.errors import ConcordError, InputError
from schemas.settings import TrainSettings

_log = logging.getLogger("concord")
ERROR_LINES = 15


@dataclass(eq=False)
class TrainModels(beam.PTransform):  # type: ignore[misc]
    """Train each model, on a worker with the accelerator asked for."""

    jobs: tuple[TrainJob, ...]
    accelerator: str

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The folder of each model, as it is written."""
        hints = {"accelerator": self.accelerator} if self.accelerator else {}
        return begin | "Models" >> beam.Create(self.jobs) | "Fit" >> beam.Map(train_model).with_resource_hints(**hints)


def train_model(job: TrainJob) -> str:
    """Train one model in a process of its own, and return its folder.

    Raises:
        ConcordError: what the process says of itself, or the last lines that it wrote.
    """
    execution.count_element("train", len(job.to_json()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.TemporaryFile("w+") as noise:
        command = [sys.executable, "-m", "models.trainer"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, text=True, env=environment
        )
        with process:
            process.stdin.write(job.to_json() + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            last = _follow(process.stdout)  # type: ignore[arg-type]
            process.stdin.close()  # type: ignore[union-attr]
        _raise_failure(job, process.returncode, last, noise)
    return job.folder


def _follow(lines: IO[str]) -> dict[str, Any]:
    """Pass on what a training says of each epoch; return the last thing that it said."""
    said: dict[str, Any] = {}
    for text in lines:
        said = json.loads(text)
        if "epoch" in said:
            _log.info(
                "train %s: epoch %d/%d, loss %.3f, accuracy %.3f, validation accuracy %.3f",
                *(said[key] for key in ("model", "epoch", "epochs", "loss", "accuracy", "val_accuracy")),
            )
    return said


def _raise_failure(job: TrainJob, code: int, last: dict[str, Any], noise: IO[str]) -> None:
    if "error" in last:
        raise getattr(errors, last["kind"], ConcordError)(last["error"])
    if code != 0 or "metrics" not in last:
        noise.seek(0)
        tail = " | ".join(line.strip() for line in noise.readlines()[-ERROR_LINES:])
        raise ConcordError(f"training {job.settings.name!r} ended with status {code}: {tail}")


def train(trainings: Sequence[TrainSettings], context: Context) -> list[StageResult]:
    """Train those of the models that are not there yet; they run side by side.

    Raises:
        InputError: two models share a name, or a network is unknown.
        IncompleteError: the images or labels to learn from are not there.
    """
    jobs = [_job(settings, context.root) for settings in trainings]
    folders = [job.folder for job in jobs]
    if len(set(folders)) < len(folders):
        raise InputError(f"two models would be written to one folder: {', '.join(sorted(folders))}; give each a name")
    missing = [job for job in jobs if context.force or not cards.is_current(job.folder, job.fingerprint)]
    began = time.monotonic()
    counters = _fit_all(missing, context) if missing else {}
    seconds = time.monotonic() - began
    results = []
    for job in jobs:
        card, made = cards.require_card(job.folder), job in missing
        product = f"{job.settings.dataset}/{job.settings.name}"
        results.append(
            StageResult("train", product, made, seconds if made else 0.0, card["metrics"], counters if made else {})
        )
    return results


def _job(settings: TrainSettings, root: str) -> TrainJob:
    plugins.check(networks, "network", settings.network)
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    learned = [settings.split, *([settings.validation] if settings.validation in images.manifest["splits"] else [])]
    labels = [products.label_set(root, settings.dataset, settings.labels, split).fingerprint for split in learned]
    parts = {"settings": settings.identity(), "images": images.fingerprint, "labels": labels}
    return TrainJob(root, settings, products.fingerprint("train", **parts))


def _fit_all(jobs: list[TrainJob], context: Context) -> dict[str, int]:
    hints = {job.settings.accelerator for job in jobs}
    for job in jobs:  # from here on until it is trained there is no such model
        storage.remove(storage.join(job.folder, cards.CARD_FILE))
        storage.sweep_partials(job.folder)

    def build(pipeline: beam.Pipeline) -> None:
        for number, hint in enumerate(sorted(hints)):
            chosen = tuple(job for job in jobs if job.settings.accelerator == hint)
            pipeline | f"Train{number or ''}" >> TrainModels(chosen, hint)

    _log.info("train %s: %d model(s), one process each", ", ".join(job.settings.name for job in jobs), len(jobs))
    return execution.run(f"concord train {jobs[0].settings.dataset}", build, context.beam_flags)
