"""Train models: which are missing, of folds and sweeps each member, and one model of several trainings.

concord train --network cnn2 --dataset svhn --root out
"""

import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models import networks
from models.training_job import TrainJob
from pipelines import features, runner, scoring
from pipelines.features import feature_folder
from pipelines.train import ensembles
from pipelines.train.transforms import TrainModels
from schemas import layout, plugins, sweeps
from schemas.errors import InputError
from schemas.settings.features import FeatureSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context, Driver, Plan, Product, StageResult, State
from storage import model_cards, products, stores
from storage.products import ImageSet

_log = logging.getLogger("concord")
HEADS_PER_PROCESS = 4
SECONDS_PER_FEATURE = 1 / 2_000  # that a head learns from once
SAVED_COPIES = 6  # of a network's weights, in bytes per weight: .keras, SavedModel, checkpoint and optimizer


@dataclass(frozen=True)
class Training:
    """One model, and the trainings that it takes: one, or one for each fold or run of a sweep."""

    settings: TrainSettings
    folder: str
    fingerprint: str
    jobs: tuple[TrainJob, ...]

    @property
    def is_ensemble(self) -> bool:
        """Whether it consists of several."""
        return bool(self.jobs[0].member)


class TrainDriver(Driver[TrainSettings]):
    """Trains those of the models that are not there yet, in parallel."""

    def reads(self, settings: TrainSettings, root: str) -> Iterable[str]:
        """The images, the labels to learn and to be evaluated against, and a file of weights."""
        images = layout.images(root, settings.dataset, settings.version)
        labels = [layout.labels(root, settings.dataset, settings.labels, settings.split)]
        references = settings.reference or settings.labels
        labels += [layout.labels(root, settings.dataset, references, split) for split in settings.evaluate]
        return [images, *labels, *(path for _, path in settings.paths())]

    def writes(self, settings: TrainSettings, root: str) -> Iterable[str]:
        """The model's folder."""
        return (layout.model(root, settings.dataset, settings.name),)

    def check(self, settings: TrainSettings) -> None:
        """Whether there is such a network."""
        plugins.check(networks, "network", settings.network)

    def plan(self, settings: TrainSettings, context: Context) -> Plan:
        """What one model takes, and whether it is there.

        Raises:
            InputError: its network is unknown, or a setting makes no sense for it.
            IncompleteError: what it learns from is not there.
        """
        training = plan_training(settings, context.root)
        name = f"{settings.dataset}/{settings.name}"
        if not context.force and model_cards.is_current(training.folder, training.fingerprint):
            counts = model_cards.summarize(model_cards.require_card(training.folder))
            return Plan(settings, (Product(name, State.DONE, counts),), training)
        absent = sum(not model_cards.is_current(job.folder, job.fingerprint) for job in training.jobs)
        missing = len(training.jobs) if context.force else absent
        images = products.image_set(context.root, settings.dataset, settings.version)
        count = images.images_in(settings.split)
        shape = (settings.image_size, settings.image_size, 3) if settings.image_size else None
        _, seconds, parameters = scoring.network_hint(settings.network, shape)
        on_features = any(_features_of(job) for job in training.jobs[:1])
        product = Product(
            name,
            State.PARTLY if missing < len(training.jobs) else State.TO_DO,
            records=count,
            elements=missing,
            written_bytes=parameters * SAVED_COPIES * missing,
            scratch_bytes=parameters * SAVED_COPIES,
            core_seconds=count * settings.epochs * missing * (SECONDS_PER_FEATURE if on_features else seconds),
        )
        return Plan(settings, (product,), training)

    def run(self, stage: str, plans: Sequence[Plan], context: Context) -> Iterator[StageResult]:
        """Train all missing models, in parallel.

        Raises:
            InputError: two models share a name.
        """
        folders = [plan.work.folder for plan in plans]
        if len(set(folders)) < len(folders):
            named = ", ".join(sorted(folders))
            raise InputError(f"two models would be written to one folder: {named}; give each a name")
        began = time.monotonic()
        missing = [plan.work for plan in plans if not plan.is_done]
        jobs = [job for training in missing for job in _prepare_jobs(training, context.force)]
        counters = _fit_all(_with_features(jobs, context), context) if jobs else {}
        for training in missing:
            if training.is_ensemble:
                ensembles.write_ensemble(training.settings, training.fingerprint, training.jobs, training.folder)
        seconds = time.monotonic() - began
        for plan in plans:
            counts, built = model_cards.summarize(model_cards.require_card(plan.work.folder)), not plan.is_done
            spent = (seconds, counts, counters) if built else (0.0, counts, {})
            yield StageResult(stage, plan.products[0].name, built, *spent)


def plan_training(settings: TrainSettings, root: str) -> Training:
    """The trainings of a model, done or not; see `TrainDriver.plan`."""
    whole = _job(settings, root)
    if settings.folds:
        runs = {f"fold/{fold}": dataclasses.replace(whole, fold=fold) for fold in range(settings.folds)}
    elif settings.sweep:
        _check_validation(settings, root)
        members = sweeps.members(settings)
        runs = {f"sweep/{number:03d}": _job(one, root) for number, one in enumerate(members)}
    else:
        runs = {"": whole}
    jobs = tuple(_member(job, member) for member, job in runs.items())
    return Training(settings, whole.folder, whole.fingerprint, jobs)


def _job(settings: TrainSettings, root: str) -> TrainJob:
    DRIVER.check(settings)
    images = products.image_set(root, settings.dataset, settings.version)
    images.images_in(settings.split)
    learned = [(settings.labels, split) for split in _learned(settings, images)]
    evaluated = [(settings.reference or settings.labels, split) for split in settings.evaluate]
    labels = [
        products.label_set(root, settings.dataset, annotator, split).fingerprint
        for annotator, split in [*learned, *evaluated]
    ]
    weights = products.weights_identity(settings.weights)
    parts: dict[str, Any] = {"settings": settings.identity(), "images": images.fingerprint, "labels": labels}
    settings = settings.changed(weights=products.resolve_weights(settings.weights))  # also those of a sweep
    return TrainJob(root, settings, products.fingerprint("train", **parts, weights=weights))


def _learned(settings: TrainSettings, images: ImageSet) -> list[str]:
    """The split that is learnt from, and that of validation where the dataset has it."""
    return [settings.split, *([settings.validation] if settings.validation in images.manifest.splits else [])]


def _check_validation(settings: TrainSettings, root: str) -> None:
    images = products.image_set(root, settings.dataset, settings.version)
    if settings.validation not in _learned(settings, images) and not settings.validation_fraction:
        raise InputError(f"the sweep of {settings.name!r} has no validation to choose by: give it a validation split")


def _member(job: TrainJob, member: str) -> TrainJob:
    if not member:
        return job
    fingerprint = products.fingerprint("train", member=member if job.fold >= 0 else "", whole=job.fingerprint)
    return dataclasses.replace(job, member=member, fingerprint=fingerprint)


def _prepare_jobs(training: Training, afresh: bool) -> list[TrainJob]:
    """The trainings of a model that are still to be done; from here on until it is complete there is no such model."""
    stores.remove(stores.join(training.folder, model_cards.CARD_FILE))
    jobs = [job for job in training.jobs if afresh or not model_cards.is_current(job.folder, job.fingerprint)]
    for job in jobs:
        stores.remove(stores.join(job.folder, model_cards.CARD_FILE))
        stores.remove_partial_files(job.folder, below=True)
        if afresh:
            stores.remove(stores.join(job.folder, model_cards.CHECKPOINT_FILE))
    return jobs


def _with_features(jobs: Sequence[TrainJob], context: Context) -> list[TrainJob]:
    """The same trainings, those that can be on features, which are computed first where they are missing."""
    requests = {number: settings for number, job in enumerate(jobs) if (settings := _features_of(job))}
    if requests:
        gentle = dataclasses.replace(context, force=False)
        merged = features.merge_settings(requests.values())
        plans = [features.DRIVER.plan(one, gentle) for one in merged]
        list(features.DRIVER.run("features", plans, gentle))
    return [
        dataclasses.replace(job, features={split: feature_folder(one, context.root, split) for split in one.splits})
        if (one := requests.get(number))
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


def _group_jobs(jobs: Sequence[TrainJob]) -> list[tuple[TrainJob, ...]]:
    """What one process trains: a model, or a few heads on the same features, which take less time than starting one."""
    alike: dict[Any, list[TrainJob]] = {}
    for number, job in enumerate(jobs):
        alone = not job.features or bool(job.settings.fine_tune_from)
        same = (job.settings.threads, job.settings.gpus, *_resources(job), *sorted(job.features.items()))
        alike.setdefault(number if alone else same, []).append(job)
    groups = []
    for same_process in alike.values():
        processes = -(-len(same_process) // HEADS_PER_PROCESS)
        groups += [tuple(same_process[first::processes]) for first in range(processes)]
    return groups


def _resources(job: TrainJob) -> tuple[str, str]:
    """The accelerator and the memory that a training requires."""
    return job.settings.accelerator, job.settings.min_ram


def _fit_all(jobs: Sequence[TrainJob], context: Context) -> dict[str, int]:
    groups = _group_jobs(jobs)
    hints = sorted({_resources(job) for job in jobs})
    steps = {
        f"Train{number or ''}": TrainModels(tuple(group for group in groups if _resources(group[0]) == hint), *hint)
        for number, hint in enumerate(hints)
    }
    names = ", ".join(dict.fromkeys(job.settings.name for job in jobs))
    models = f"{len(jobs)} model{'s' * (len(jobs) != 1)}"
    _log.info("train %s: training %s in %d process%s", names, models, len(groups), "es" * (len(groups) != 1))
    return runner.run_job(f"train {jobs[0].settings.dataset}", steps, context, 0, committed=int)


DRIVER = TrainDriver()
