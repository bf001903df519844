"""The driver's side of `explain`: which images each model is asked about, what is missing, and the contact sheets."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from models import archives
from pipelines import progress, runner, scoring
from pipelines.explain import heat_maps
from pipelines.explain.transforms import STAGE, AskedShard, ExplainImages, ExplainPlan, load_model
from pipelines.runner import Context, StageResult, check_rejects
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.explain import ExplainSettings
from storage import comparisons, hashing, model_cards, products, stores
from storage.products import ImageSet, ShardFolder

_log = logging.getLogger("concord")
ON_SHEET = 60  # images, at most; the table holds all


def explain(settings: ExplainSettings, context: Context) -> list[StageResult]:
    """Explain the images asked about with each model that can be; only the shards that are missing.

    Raises:
        IncompleteError: the images or a model are not there.
        InputError: none of the models can be explained, there is nothing to explain, or an image is unknown.
        TooManyRejectsError: more images were turned away than the settings allow.
    """
    images = products.image_set(context.root, settings.dataset, settings.version)
    images.images_in(settings.split)
    _check_known(images, settings)
    found = {model: model_cards.fitting_card(images, model) for model in settings.models}
    asked = {model: asked_images(settings, context.root, model) for model in _explainable(images, found)}
    if not any(asked.values()):
        raise InputError(
            f"there is no comparison of {', '.join(asked)} on split {settings.split!r} with images on which labels "
            "differ: run concord agree first, or name images with --images"
        )
    plans = [plan(settings, context, images, found[model], ids) for model, ids in asked.items() if ids]
    began = time.monotonic()
    counters = _run([one for one in plans if one.missing], context)
    seconds = time.monotonic() - began
    results = []
    for one in plans:
        counts, made = _declare(one, found[one.name], settings)
        product = f"{images.dataset}/{one.name}/{one.split}"
        spent = (seconds, counts, counters) if made else (0.0, counts, {})
        results.append(StageResult(STAGE, product, made, *spent))
    return results


def _check_known(images: ImageSet, settings: ExplainSettings) -> None:
    """Make sure that the split has every image that is named."""
    unknown = []
    for shard, ids in _by_shard(settings.images, images.shards).items():
        there = set(images.index(settings.split).read(shard)["image_id"].to_pylist())
        unknown += [image_id for image_id in ids if image_id not in there]
    if unknown:
        named = ", ".join(repr(image_id) for image_id in settings.images if image_id in unknown)
        raise InputError(f"split {settings.split!r} of {images.dataset!r} has no image {named}: give ids of its index")


def _by_shard(ids: Sequence[str], shards: int) -> dict[int, tuple[str, ...]]:
    """The images of each shard that has any."""
    rows = hashing.rows_by_shard(hashing.image_hashes(ids), shards)
    return {shard: tuple(ids[int(row)] for row in found) for shard, found in enumerate(rows) if len(found)}


def _explainable(images: ImageSet, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The models that have convolutions; the others are skipped, and named.

    Raises:
        InputError: there are none.
    """
    able, problems = [], {}
    for model, card in found.items():
        folder = layout.model(images.root, images.dataset, model)
        member = stores.join(folder, *next(iter(card.get("members", {"": ""}))).split("/"))
        if "foreign" in card and model_cards.MODEL_FILE not in card["files"]:
            problems[model] = "is a SavedModel, which does not show its layers"
        elif not archives.convolves(stores.join(member, model_cards.MODEL_FILE)):
            problems[model] = "has no convolutions, and so no places where it looks"
        else:
            able.append(model)
    if not able:
        said = "; ".join(f"model {model!r} {problem}" for model, problem in problems.items())
        raise InputError(f"{said}: choose a model that has convolutions")
    for model, problem in problems.items():
        _log.info("explain %s/%s: skipped, since it %s", images.dataset, model, problem)
    return able


def asked_images(settings: ExplainSettings, root: str, model: str) -> tuple[str, ...]:
    """The images that a model is asked about: the chosen ones, and the surest disagreements of its comparisons."""
    asked = list(settings.images)
    for key, manifest in comparisons.find(root, settings.dataset).items():
        if manifest is not None and model in key[:2] and key[2] == settings.split and settings.disagreements:
            asked += comparisons.disagreements(root, settings.dataset, key, settings.disagreements)
    return tuple(dict.fromkeys(asked))


def plan(
    settings: ExplainSettings, context: Context, images: ImageSet, card: Mapping[str, Any], asked: tuple[str, ...]
) -> ExplainPlan:
    """What one model has still to explain; whatever stands in the way of it is swept away."""
    model, split = card["name"], settings.split
    output = explanations(settings, images, card, asked)
    folder = layout.explain_rejects(context.root, images.dataset, model, split)
    rejects = ShardFolder(folder, output.shards, output.fingerprint)
    by_shard = _by_shard(asked, images.shards)
    missing: list[AskedShard] = []
    if context.force or not is_current(output):
        done = set(output.prepare(afresh=context.force)) & set(rejects.prepare(afresh=context.force))
        sources = scoring.image_shards(images, split, sorted(set(by_shard) - done))
        missing = [AskedShard(source, by_shard[source.shard]) for source in sources]
    return ExplainPlan(
        name=model,
        images=images,
        split=split,
        asked=asked,
        shards=tuple(by_shard),
        output=output,
        rejects=rejects,
        missing=tuple(missing),
        load=partial(load_model, layout.model(context.root, images.dataset, model), settings.batch_size),
        accelerator=settings.accelerator,
        share_model=settings.share_model,
        min_ram=settings.min_ram,
    )


def explanations(
    settings: ExplainSettings, images: ImageSet, card: Mapping[str, Any], asked: tuple[str, ...]
) -> ShardFolder:
    """Where the pictures of one model go."""
    recipe = {"model": card["fingerprint"], "weights": card["weights_sha256"], "images": images.fingerprint}
    given = {"split": settings.split, "asked": asked, "batch_size": settings.batch_size}
    folder = layout.explanations(images.root, images.dataset, card["name"], settings.split)
    return ShardFolder(folder, images.shards, products.fingerprint(STAGE, **recipe, **given))


def is_current(output: ShardFolder) -> bool:
    """Whether the pictures and their sheet are there, made from just this."""
    sheet = stores.stat(stores.join(output.folder, layout.SHEET))
    return sheet is not None and products.is_current(output.folder, output.fingerprint)


def _run(plans: Sequence[ExplainPlan], context: Context) -> dict[str, int]:
    if not plans:
        return {}

    def build(pipeline: beam.Pipeline) -> None:
        for one in plans:
            pipeline | f"Explain {one.name}" >> ExplainImages(one)

    shards, images = sum(len(one.missing) for one in plans), sum(len(one.asked) for one in plans)
    title = f"explain {', '.join(one.name for one in plans)}"
    with progress.shown(title, shards, images, lambda: sum(one.output.committed() for one in plans)):
        return runner.run(f"concord explain {plans[0].images.dataset}", build, context.beam_flags)


def _declare(one: ExplainPlan, card: Mapping[str, Any], settings: ExplainSettings) -> tuple[dict[str, Any], bool]:
    """Check that every image is accounted for, draw the sheet, then write the manifest; say whether it was new."""
    output = one.output
    if is_current(output) and not one.missing:
        return products.require_manifest(output.folder, "explanations", "")["counts"], False
    done = output.done()
    report = products.total(list(done.values()))
    counts: dict[str, Any] = {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}
    if set(done) != set(one.shards) or counts["in"] != len(one.asked):
        raise IncompleteError(
            f"{len(one.asked)} images were asked about, but {len(done)} of {len(one.shards)} shards of {output.folder} "
            f"account for {counts}; run the same command again"
        )
    check_rejects(STAGE, [one.rejects], counts, settings.max_reject_fraction)
    stores.write_bytes(stores.join(output.folder, layout.SHEET), _sheet(one))
    asked_of = _asked_of(one, card)
    if asked_of:
        _log.info("explain %s: %s", one.name, asked_of)
    facts = {"annotator": one.name, "split": one.split, "asked": one.asked, "asked_of": asked_of}
    made_of = {"images": one.images.fingerprint, "weights": card["weights_sha256"]}
    beside = {f"rejects_{STAGE}": one.rejects.seals()}
    output.complete(beside, **facts, **made_of, parts=sorted(done), rows=report.records_out, counts=counts)
    return counts, True


def _asked_of(one: ExplainPlan, card: Mapping[str, Any]) -> str:
    """Of folds: which of them were asked."""
    if "members" not in card:
        return ""
    if one.split == card["settings"]["split"]:
        return "each image was shown to the fold that did not see it in training"
    return f"the mean of where its {len(card['members'])} folds looked, none of which saw these images in training"


def _sheet(one: ExplainPlan) -> bytes:
    """The contact sheet: the first images in the order in which they were asked about."""
    rows = pa.concat_tables([one.output.read(shard) for shard in one.shards]).to_pylist()
    found = {row["image_id"]: row for row in rows}
    shown = [found[image_id] for image_id in one.asked if image_id in found]
    among = f"{len(shown)} images" if len(shown) <= ON_SHEET else f"the first {ON_SHEET} of {len(shown)} images"
    return heat_maps.sheet(f"{one.name}: where it looked, {one.images.dataset} {one.split}, {among}", shown[:ON_SHEET])
