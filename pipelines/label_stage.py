"""The driver's side of `label`: which shards of which label sets are missing, and declaring each set whole."""

import time
from typing import Any

import apache_beam as beam

from pipelines import execution, progress
from pipelines.execution import Context, StageResult
from pipelines.label import Answers, ImageShard, LabelImages, LabelPlan
from pipelines.rejects import check_rejects
from schemas import cards, layout, products, storage
from schemas.errors import IncompleteError, InputError
from schemas.products import ImageSet
from schemas.settings import LabelSettings


def label(settings: LabelSettings, context: Context) -> list[StageResult]:
    """Make a label set for each model and split; only the shards that are missing.

    Raises:
        IncompleteError: the images or a model are not there.
        InputError: a model does not fit the dataset, or there is no such split.
        TooManyRejectsError: more images were turned away than the settings allow.
    """
    images = products.image_set(context.root, settings.dataset, settings.version)
    began = time.monotonic()
    plans = [plan_labels(settings, context, images, model) for model in settings.models]
    counters = _make([plan for plan in plans if plan.missing], context)
    seconds = time.monotonic() - began
    results = []
    for plan in plans:
        for split in settings.splits:
            counts, made = _declare(plan, split, settings)
            product = f"{settings.dataset}/{plan.annotator}/{split}"
            ran = any(source.split == split for source in plan.missing)
            results.append(
                StageResult("label", product, made, seconds if ran else 0.0, counts, counters if ran else {})
            )
    return results


def plan_labels(settings: LabelSettings, context: Context, images: ImageSet, model: str) -> LabelPlan:
    """What one model has still to label; whatever stands in the way of it is swept away."""
    folder = layout.model(context.root, settings.dataset, model)
    card = cards.require_card(folder)
    if card["classes"] != images.classes or card["task"] != images.manifest["task"]:
        raise InputError(
            f"model {model!r} was trained for {len(card['classes'])} classes ({card['task']}), but "
            f"{settings.dataset!r} has {len(images.classes)} ({images.manifest['task']}): train it again"
        )
    recipe = {
        "model": card["fingerprint"],
        "weights": card["weights_sha256"],
        "images": images.fingerprint,
        "settings": (settings.scores, settings.batch_size),
    }
    limits = tuple(card["thresholds"]) if "thresholds" in card else None
    recipe |= {"thresholds": limits} if limits else {}
    prints = {split: products.fingerprint("label", split=split, **recipe) for split in settings.splits}
    answers = Answers(card["task"], tuple(images.classes), limits)
    fixed = (context.root, images, model, folder, answers, settings.batch_size, settings.scores, prints)
    plan = LabelPlan(*fixed, (), settings.accelerator)
    missing = [source for split in settings.splits for source in _missing(plan, split, context.force)]
    return LabelPlan(*fixed, tuple(missing), settings.accelerator)


def _missing(plan: LabelPlan, split: str, force: bool) -> list[ImageShard]:
    images = plan.images
    images.images_in(split)
    labels, rejects = plan.labels(split), plan.rejects(split)
    if products.is_current(labels.folder, labels.fingerprint) and not force:
        return []
    done = set(labels.prepare(afresh=force)) & set(rejects.prepare(afresh=force))
    folder = layout.images(images.root, images.dataset, images.version)
    sizes = storage.list_files(folder)
    wanted = [shard for shard in range(images.shards) if shard not in done]
    paths = {shard: images.tfrecord(split, shard) for shard in wanted}
    return [
        ImageShard(split, shard, path, images.index(split), sizes.get(path.rsplit("/", 1)[-1], 0))
        for shard, path in paths.items()
    ]


def _make(plans: list[LabelPlan], context: Context) -> dict[str, int]:
    if not plans:
        return {}
    shards = [(plan, source) for plan in plans for source in plan.missing]
    folders = [plan.labels(split) for plan in plans for split in plan.fingerprints]
    images = plans[0].images
    total = sum(images.images_in(source.split) for _, source in shards) // images.shards

    def build(pipeline: beam.Pipeline) -> None:
        for plan in plans:
            pipeline | f"Label {plan.annotator}" >> LabelImages(plan)

    names = ", ".join(plan.annotator for plan in plans)
    with progress.shown(f"label {names}", len(shards), total, lambda: sum(folder.committed() for folder in folders)):
        return execution.run(f"concord label {images.dataset}", build, context.beam_flags)


def _declare(plan: LabelPlan, split: str, settings: LabelSettings) -> tuple[dict[str, Any], bool]:
    """Check that every image is accounted for, then write the label set's manifest; say whether it was new."""
    labels = plan.labels(split)
    manifest = products.find_manifest(labels.folder)
    if (
        manifest is not None
        and manifest["fingerprint"] == labels.fingerprint
        and not any(source.split == split for source in plan.missing)
    ):
        return manifest["counts"], False
    done = labels.done()
    report = products.total(list(done.values()))
    counts: dict[str, Any] = {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}
    expected = plan.images.images_in(split)
    if (
        len(done) < labels.shards
        or counts["in"] != expected
        or expected != counts["out"] + sum(report.rejected.values())
    ):
        raise IncompleteError(
            f"split {split!r} has {expected} images, but {len(done)} of {labels.shards} shards of {labels.folder} "
            f"account for {counts}; run the same command again"
        )
    check_rejects("label", [plan.rejects(split)], counts, settings.max_reject_fraction)
    facts: dict[str, Any] = {"annotator": plan.annotator, "split": split, "images": plan.images.fingerprint}
    if plan.answers.thresholds is not None:
        facts["thresholds"] = dict(zip(plan.answers.classes, plan.answers.thresholds, strict=True))
    labels.complete(**facts, rows=labels.rows(), counts=counts)
    return counts, True
