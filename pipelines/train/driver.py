"""The driver's side of `train`: which models are missing, of folds and sweeps each member, and declaring them whole."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from models import networks
from models.training_job import TrainJob
from pipelines import runner
from pipelines.features import feature_folder, features
from pipelines.runner import Context, StageResult
from pipelines.train import ensembles
from pipelines.train.transforms import TrainModels
from schemas import plugins, sweeps
from schemas.errors import InputError
from schemas.settings.features import FeatureSettings
from schemas.settings.train import TrainSettings
from storage import model_cards, products, stores
from storage.products import ImageSet

_log = logging.getLogger("concord")
HEADS_A_PROCESS = 4


@dataclass(frozen=True)
class Training:
    """One model that is wanted, and the trainings that it takes: one, or one for each fold or run of a sweep."""

    settings: TrainSettings
    folder: str
    fingerprint: str
    jobs: tuple[TrainJob, ...]

    @property
    def members(self) -> bool:
        """Whether it is made of several."""
        return bool(self.jobs[0].member)


def train(trainings: Sequence[TrainSettings], context: Context) -> list[StageResult]:
    """Train those of the models that are not there yet; they run side by side.

    Raises:
        InputError: two models share a name, or a network is unknown.
        IncompleteError: the images or labels to learn from are not there.
    """
    planned = [plan(settings, context.root) for settings in trainings]
    folders = [one.folder for one in planned]
    if len(set(folders)) < len(folders):
        raise InputError(f"two models would be written to one folder: {', '.join(sorted(folders))}; give each a name")
    wanted = [one for one in planned if context.force or not model_cards.is_current(one.folder, one.fingerprint)]
    began = time.monotonic()
    missing = _with_features([job for one in wanted for job in _missing(one, context.force)], context)
    counters = _fit_all(missing, context) if missing else {}
    for one in wanted:
        if one.members:
            ensembles.gather(one.settings, one.fingerprint, one.jobs, one.folder)
    seconds = time.monotonic() - began
    results = []
    for one in planned:
        card, made = model_cards.require_card(one.folder), one in wanted
        product = f"{one.settings.dataset}/{one.settings.name}"
        counts = {**card["metrics"], **{key: card[key] for key in ("evaluation", "sweep", "left_out") if key in card}}
        results.append(StageResult("train", product, made, seconds if made else 0.0, counts, counters if made else {}))
    return results


def plan(settings: TrainSettings, root: str) -> Training:
    """What one model takes.

    Raises:
        InputError: its network is unknown, or a setting makes no sense for it.
        IncompleteError: what it learns from is not there.
    """
    whole = _job(settings, root)
    if settings.folds:
        runs = {f"fold/{fold}": dataclasses.replace(whole, fold=fold) for fold in range(settings.folds)}
    elif settings.sweep:
        _check_validation(settings, root)
        found = sweeps.members(settings)
        runs = {f"sweep/{number:03d}": _job(one, root) for number, one in enumerate(found)}
    else:
        runs = {"": whole}
    jobs = tuple(_member(job, member) for member, job in runs.items())
    return Training(settings, whole.folder, whole.fingerprint, jobs)


def _job(settings: TrainSettings, root: str) -> TrainJob:
    plugins.check(networks, "network", settings.network)
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    learned = [(settings.labels, split) for split in _learned(settings, images)]
    judged = [(settings.reference or settings.labels, split) for split in settings.evaluate]
    labels = [
        products.label_set(root, settings.dataset, annotator, split).fingerprint
        for annotator, split in [*learned, *judged]
    ]
    weights = products.weights_identity(settings.weights)
    parts: dict[str, Any] = {"settings": settings.identity(), "images": images.fingerprint, "labels": labels}
    settings = settings.changed(weights=products.weights_place(settings.weights))  # also those of a sweep
    return TrainJob(root, settings, products.fingerprint("train", **parts, weights=weights))


def _learned(settings: TrainSettings, images: ImageSet) -> list[str]:
    """The split that is learnt from, and that of validation where the dataset has it."""
    return [settings.split, *([settings.validation] if settings.validation in images.manifest["splits"] else [])]


def _check_validation(settings: TrainSettings, root: str) -> None:
    images = products.image_set(root, settings.dataset, settings.version)
    if settings.validation not in _learned(settings, images) and not settings.validation_fraction:
        raise InputError(f"the sweep of {settings.name!r} has no validation to choose by: give it a validation split")


def _member(job: TrainJob, member: str) -> TrainJob:
    if not member:
        return job
    fingerprint = products.fingerprint("train", member=member if job.fold >= 0 else "", whole=job.fingerprint)
    return dataclasses.replace(job, member=member, fingerprint=fingerprint)


def _missing(training: Training, afresh: bool) -> list[TrainJob]:
    """The trainings of a model that are still to be done; from here on until it is whole there is no such model."""
    stores.remove(stores.join(training.folder, model_cards.CARD_FILE))
    jobs = [job for job in training.jobs if afresh or not model_cards.is_current(job.folder, job.fingerprint)]
    for job in jobs:
        stores.remove(stores.join(job.folder, model_cards.CARD_FILE))
        stores.remove_partial_files(job.folder, below=True)
        if afresh:
            stores.remove(stores.join(job.folder, model_cards.CHECKPOINT_FILE))
    return jobs


def _with_features(jobs: list[TrainJob], context: Context) -> list[TrainJob]:
    """The same trainings, those that can be on features, which are computed first where they are missing."""
    wanted = {number: _features_of(job) for number, job in enumerate(jobs)}
    asked = [settings for settings in wanted.values() if settings]
    if asked:
        features(asked, dataclasses.replace(context, force=False))
    return [
        dataclasses.replace(job, features={split: feature_folder(found, context.root, split) for split in found.splits})
        if (found := wanted[number])
        else job
        for number, job in enumerate(jobs)
    ]


def _features_of(job: TrainJob) -> FeatureSettings | None:
    """The features that a training learns a head from; None where it sees the images themselves."""
    settings = job.settings
    if settings.augment or not plugins.defines(networks, settings.network, "TRANSFER"):
        return None
    images = products.image_set(job.root, settings.dataset, settings.version)
    return FeatureSettings.of(settings, tuple(dict.fromkeys((*_learned(settings, images), *settings.evaluate))))


def _grouped(jobs: Sequence[TrainJob]) -> list[tuple[TrainJob, ...]]:
    """What one process trains: a model, or a few heads on the same features, which take less time than starting one."""
    alike: dict[Any, list[TrainJob]] = {}
    for number, job in enumerate(jobs):
        alone = not job.features or bool(job.settings.fine_tune_from)
        same = (job.settings.threads, job.settings.gpus, *_asked(job), *sorted(job.features.items()))
        alike.setdefault(number if alone else same, []).append(job)
    groups = []
    for found in alike.values():
        processes = -(-len(found) // HEADS_A_PROCESS)
        groups += [tuple(found[first::processes]) for first in range(processes)]
    return groups


def _asked(job: TrainJob) -> tuple[str, str]:
    """The accelerator and the memory that a training asks for."""
    return job.settings.accelerator, job.settings.min_ram


def _fit_all(jobs: list[TrainJob], context: Context) -> dict[str, int]:
    groups = _grouped(jobs)
    hints = {_asked(job) for job in jobs}

    def build(pipeline: beam.Pipeline) -> None:
        for number, hint in enumerate(sorted(hints)):
            chosen = tuple(group for group in groups if _asked(group[0]) == hint)
            pipeline | f"Train{number or ''}" >> TrainModels(chosen, *hint)

    names = ", ".join(dict.fromkeys(job.settings.name for job in jobs))
    _log.info("train %s: %d training(s), in %d process(es)", names, len(jobs), len(groups))
    return runner.run(f"concord train {jobs[0].settings.dataset}", build, context.beam_flags)
