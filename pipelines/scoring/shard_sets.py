"""The driver's side of what is made by scoring images: which shards are missing, and declaring each split whole."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from pipelines import execution, progress
from pipelines.execution import Context, StageResult
from pipelines.rejects import check_rejects
from pipelines.scoring.shards import ImageShard, ScoreImages, ScorePlan
from schemas import layout, products, storage
from schemas.errors import IncompleteError
from schemas.products import ImageSet, ShardFolder


def missing(
    images: ImageSet, outputs: Mapping[str, ShardFolder], rejects: Mapping[str, ShardFolder], afresh: bool
) -> tuple[ImageShard, ...]:
    """The shards of some splits that are not made yet; whatever stands in the way of them is swept away."""
    found = [_missing(images, split, output, rejects[split], afresh) for split, output in outputs.items()]
    return tuple(source for absent in found for source in absent)


def _missing(
    images: ImageSet, split: str, output: ShardFolder, rejects: ShardFolder, afresh: bool
) -> tuple[ImageShard, ...]:
    images.images_in(split)
    if not afresh and output.is_whole() and len(rejects.done()) == rejects.shards:
        return ()
    done = set(output.prepare(afresh=afresh)) & set(rejects.prepare(afresh=afresh))
    return image_shards(images, split, [shard for shard in range(images.shards) if shard not in done])


def image_shards(images: ImageSet, split: str, wanted: Sequence[int]) -> tuple[ImageShard, ...]:
    """Some shards of a split, as elements of a pipeline."""
    sizes = storage.list_files(layout.images(images.root, images.dataset, images.version))
    paths = {shard: images.tfrecord(split, shard) for shard in wanted}
    return tuple(
        ImageShard(split, shard, path, images.index(split), sizes.get(path.rsplit("/", 1)[-1], 0))
        for shard, path in paths.items()
    )


def make(
    plans: Sequence[ScorePlan], facts: Mapping[str, Mapping[str, Any]], max_reject_fraction: float, context: Context
) -> list[StageResult]:
    """Make what is missing of some products, and declare each split of each whole.

    Args:
        plans: the products.
        facts: what the manifests of each product say, by its name.
        max_reject_fraction: share of images that may be turned away.
        context: where, and with which Beam flags.

    Raises:
        TooManyRejectsError: more images were turned away than that.
    """
    began = time.monotonic()
    counters = _score([plan for plan in plans if plan.missing], context)
    seconds = time.monotonic() - began
    results = []
    for plan in plans:
        for split in plan.outputs:
            ran = any(source.split == split for source in plan.missing)
            counts, made = _declare(plan, split, facts[plan.name], max_reject_fraction, ran)
            product = f"{plan.images.dataset}/{plan.name}/{split}"
            spent = (seconds, counts, counters) if ran else (0.0, counts, {})
            results.append(StageResult(plan.stage, product, made, *spent))
    return results


def _score(plans: list[ScorePlan], context: Context) -> dict[str, int]:
    if not plans:
        return {}
    shards = [(plan, source) for plan in plans for source in plan.missing]
    folders = [output for plan in plans for output in plan.outputs.values()]
    images = plans[0].images
    total = sum(plan.images.images_in(source.split) // plan.images.shards for plan, source in shards)

    def build(pipeline: beam.Pipeline) -> None:
        for plan in plans:
            pipeline | f"{plan.stage.capitalize()} {plan.name}" >> ScoreImages(plan)

    title = f"{plans[0].stage} {', '.join(plan.name for plan in plans)}"
    with progress.shown(title, len(shards), total, lambda: sum(folder.committed() for folder in folders)):
        return execution.run(f"concord {plans[0].stage} {images.dataset}", build, context.beam_flags)


def _declare(
    plan: ScorePlan, split: str, facts: Mapping[str, Any], max_reject_fraction: float, ran: bool
) -> tuple[dict[str, Any], bool]:
    """Check that every image is accounted for, then write the manifest of a split; say whether it was new."""
    output = plan.outputs[split]
    manifest = products.find_manifest(output.folder)
    if manifest is not None and manifest["fingerprint"] == output.fingerprint and not ran:
        return manifest["counts"], False
    done = output.done()
    report = products.total(list(done.values()))
    counts: dict[str, Any] = {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}
    expected = plan.images.images_in(split)
    if (
        len(done) < output.shards
        or counts["in"] != expected
        or expected != counts["out"] + sum(report.rejected.values())
    ):
        raise IncompleteError(
            f"split {split!r} has {expected} images, but {len(done)} of {output.shards} shards of {output.folder} "
            f"account for {counts}; run the same command again"
        )
    check_rejects(plan.stage, [plan.rejects[split]], counts, max_reject_fraction)
    beside = {f"rejects_{plan.stage}": plan.rejects[split].seals()}
    rows = output.rows()
    output.complete(beside, **facts, split=split, images=plan.images.fingerprint, rows=rows, counts=counts)
    return counts, True
