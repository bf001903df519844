"""Explanations: which images each model explains, what is missing, and the contact sheets.

concord explain --models cnn1,cnn2 --dataset svhn --split test --root out
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from models import archives
from pipelines import runner, scoring
from pipelines.explain import heat_maps
from pipelines.explain.transforms import STAGE, ExplainImages, ExplainPlan, RequestedShard, load_model
from pipelines.runner import check_rejects
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.manifests import ModelCard, ScoresManifest
from schemas.settings.explain import ExplainSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import hashing, model_cards, products, stores
from storage.products import ImageSet, ShardFolder

_log = logging.getLogger("concord")
ON_SHEET = 60  # images, at most; the table holds all
SECONDS_PER_IMAGE = 1 / 15
IMAGE_BYTES = 25_000  # of an explanation


@dataclass(frozen=True)
class Explanation:
    """What the models of one verb explain, in one job."""

    plans: Mapping[str, ExplainPlan]  # by the product's name
    cards: Mapping[str, ModelCard]
    settings: ExplainSettings


class ExplainDriver(Driver[ExplainSettings]):
    """Explains images with each model that has convolutions; only the shards that are missing."""

    def reads(self, settings: ExplainSettings, root: str) -> Iterable[str]:
        """The images, the models, and the comparisons whose disagreements are explained."""
        images = layout.images(root, settings.dataset, settings.version)
        own = [layout.model(root, settings.dataset, model) for model in settings.models]
        comparison_folders = [layout.comparisons(root, settings.dataset)] if settings.disagreements else []
        return [images, *own, *comparison_folders]

    def plan(self, settings: ExplainSettings, context: Context) -> Plan:
        """Which images each model explains, and which of them are missing.

        Raises:
            IncompleteError: the images or a model are not there.
            InputError: no model can be explained, there is nothing to explain, or an image is unknown.
        """
        images = products.image_set(context.root, settings.dataset, settings.version)
        images.images_in(settings.split)
        _check_known(images, settings)
        cards = {model: model_cards.require_fitting_card(images, model) for model in settings.models}
        requested = {model: requested_images(settings, context.root, model) for model in _explainable(images, cards)}
        if not any(requested.values()):
            raise InputError(
                f"there is no comparison of {', '.join(requested)} on split {settings.split!r} with images on which "
                "labels differ: run concord agree first, or name images with --images"
            )
        plans, model_products = {}, []
        for model, ids in requested.items():
            if ids:
                product, plan = _plan_model(settings, context, images, cards[model], ids)
                plans[product.name] = plan
                model_products.append(product)
        return Plan(settings, tuple(model_products), Explanation(plans, cards, settings))

    def prepare(self, plan: Plan, context: Context) -> Explanation:
        """Remove whatever is no finished shard of the explanations that are to be made."""
        work: Explanation = plan.work
        for product in plan.products:
            if not product.is_done:
                work.plans[product.name].output.prepare(context.force)
                work.plans[product.name].rejects.prepare(context.force)
        return work

    def make(self, work: Explanation, context: Context) -> dict[str, int]:
        """Explain the missing images, with all models in one job."""
        plans = [plan for plan in work.plans.values() if plan.missing]
        return runner.run_job(
            f"explain {', '.join(plan.name for plan in plans)}",
            {f"Explain {plan.name}": ExplainImages(plan) for plan in plans},
            context,
            sum(len(plan.missing) for plan in plans),
            committed=lambda: sum(plan.output.committed() for plan in plans),
            records=sum(len(shard.ids) for plan in plans for shard in plan.missing),
            job=f"explain {work.settings.dataset}",
        )

    def commit(self, work: Explanation, product: Product) -> dict[str, Any]:
        """Check that every image is accounted for, draw the sheet, then write the manifest.

        Raises:
            TooManyRejectsError: more images were rejected than the settings allow.
        """
        plan = work.plans[product.name]
        output, card = plan.output, work.cards[plan.name]
        done = output.done()
        counts = products.total(list(done.values())).counts()
        if set(done) != set(plan.shards) or counts["in"] != len(plan.requested):
            raise IncompleteError(
                f"{len(plan.requested)} images were to be explained, but {len(done)} of {len(plan.shards)} shards of "
                f"{output.folder} account for {counts}; run the same command again"
            )
        check_rejects(STAGE, [plan.rejects], counts, work.settings.max_reject_fraction)
        stores.write_bytes(stores.join(output.folder, layout.SHEET), _draw_sheet(plan))
        explained_by = _explained_by(plan, card)
        if explained_by:
            _log.info("explain %s: %s", plan.name, explained_by)
        root, rejected = plan.images.root, sum(counts["rejected"].values())
        manifest = ScoresManifest(
            stage=STAGE,
            product=product.name,
            fingerprint=output.fingerprint,
            tables=(
                output.table_files(root, "explanations", counts["out"], "out"),
                plan.rejects.table_files(root, f"rejects_{STAGE}", rejected, "rejected"),
            ),
            counts=counts,
            name=plan.name,
            split=plan.split,
            images=plan.images.fingerprint,
            shards=output.shards,
            rows=counts["out"],
            weights=card.weights_sha256,
            parts=sorted(done),
            requested=list(plan.requested),
            explained_by=explained_by,
        )
        products.write_manifest(output.folder, manifest)
        return counts


def _plan_model(
    settings: ExplainSettings,
    context: Context,
    images: ImageSet,
    card: ModelCard,
    requested: tuple[str, ...],
) -> tuple[Product, ExplainPlan]:
    """What one model explains, and what of it is missing."""
    model, split = card.name, settings.split
    output = explanations(settings, images, card, requested)
    folder = layout.explain_rejects(context.root, images.dataset, model, split)
    rejects = ShardFolder(folder, output.shards, output.fingerprint)
    by_shard = _by_shard(requested, images.shards)
    plan = ExplainPlan(
        name=model,
        images=images,
        split=split,
        requested=requested,
        shards=tuple(by_shard),
        output=output,
        rejects=rejects,
        missing=(),
        load=partial(load_model, layout.model(context.root, images.dataset, model), settings.batch_size),
        accelerator=settings.accelerator,
        share_model=settings.share_model,
        min_ram=settings.min_ram,
    )
    name = f"{images.dataset}/{model}/{split}"
    if not context.force and is_complete(output):
        manifest = products.require_manifest(output.folder, ScoresManifest, "explanations", "run concord explain")
        return Product(name, State.DONE, manifest.counts, records=len(requested)), plan
    done = set() if context.force else set(output.done()) & set(rejects.done())
    sources = scoring.image_shards(images, split, sorted(set(by_shard) - done))
    missing = tuple(RequestedShard(source, by_shard[source.shard]) for source in sources)
    left = sum(len(shard.ids) for shard in missing)
    product = Product(
        name,
        State.PARTLY if done else State.TO_DO,
        records=len(requested),
        elements=len(missing),
        element_bytes=max((shard.source.payload_bytes for shard in missing), default=0),
        written_bytes=left * IMAGE_BYTES,
        core_seconds=left * SECONDS_PER_IMAGE,
    )
    return product, dataclasses.replace(plan, missing=missing)


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
    return {shard: tuple(ids[int(row)] for row in of_shard) for shard, of_shard in enumerate(rows) if len(of_shard)}


def _explainable(images: ImageSet, cards: Mapping[str, ModelCard]) -> list[str]:
    """The models that have convolutions; the others are skipped, and named.

    Raises:
        InputError: there are none.
    """
    able, problems = [], {}
    for model, card in cards.items():
        folder = layout.model(images.root, images.dataset, model)
        member = stores.join(folder, *next(iter(card.members), "").split("/"))
        if card.external is not None and model_cards.MODEL_FILE not in card.files:
            problems[model] = "is a SavedModel, which does not show its layers"
        elif not archives.convolves(stores.join(member, model_cards.MODEL_FILE)):
            problems[model] = "has no convolutions"
        else:
            able.append(model)
    if not able:
        reasons = "; ".join(f"model {model!r} {problem}" for model, problem in problems.items())
        raise InputError(f"{reasons}: choose a model that has convolutions")
    for model, problem in problems.items():
        _log.info("explain %s/%s: skipped, since it %s", images.dataset, model, problem)
    return able


def requested_images(settings: ExplainSettings, root: str, model: str) -> tuple[str, ...]:
    """The images that a model explains: the chosen ones, and the most confident disagreements of its comparisons."""
    requested = list(settings.images)
    for key, manifest in products.find_comparisons(root, settings.dataset).items():
        if manifest is not None and model in key[:2] and key[2] == settings.split and settings.disagreements:
            requested += products.list_disagreements(root, settings.dataset, key, settings.disagreements)
    return tuple(dict.fromkeys(requested))


def explanations(
    settings: ExplainSettings, images: ImageSet, card: ModelCard, requested: tuple[str, ...]
) -> ShardFolder:
    """Where the explanations of one model go."""
    recipe = {"model": card.fingerprint, "weights": card.weights_sha256, "images": images.fingerprint}
    request = {"split": settings.split, "requested": requested, "batch_size": settings.batch_size}
    folder = layout.explanations(images.root, images.dataset, card.name, settings.split)
    return ShardFolder(folder, images.shards, products.fingerprint(STAGE, **recipe, **request))


def is_complete(output: ShardFolder) -> bool:
    """Whether the explanations and their sheet are there, made from just this."""
    sheet = stores.stat(stores.join(output.folder, layout.SHEET))
    return sheet is not None and products.is_current(output.folder, output.fingerprint)


def _explained_by(one: ExplainPlan, card: ModelCard) -> str:
    """Of folds: which of them explained."""
    if not card.members:
        return ""
    if one.split == card.fold_split:
        return "each image was explained by the fold that did not see it in training"
    return f"the mean heat maps of its {len(card.members)} folds, none of which saw these images in training"


def _draw_sheet(one: ExplainPlan) -> bytes:
    """The contact sheet: the first images in the order of the request."""
    rows = pa.concat_tables([one.output.read(shard) for shard in one.shards]).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    shown = [by_id[image_id] for image_id in one.requested if image_id in by_id]
    among = f"{len(shown)} images" if len(shown) <= ON_SHEET else f"the first {ON_SHEET} of {len(shown)} images"
    return heat_maps.draw_sheet(
        f"{one.name}: regions that drove the prediction, {one.images.dataset} {one.split}, {among}", shown[:ON_SHEET]
    )


DRIVER = ExplainDriver()
