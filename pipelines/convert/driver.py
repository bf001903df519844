"""The driver's side of `convert`: what is to be made, what is already there, and declaring it whole."""

import dataclasses
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from pipelines import progress, runner
from pipelines.convert import shards as image_shards
from pipelines.convert import sources
from pipelines.convert.shards import ImageShards
from pipelines.convert.sources import NO_PICTURES, OwnInputs, PhotoSource, SourcePlan
from pipelines.convert.tfds_metadata import write_metadata
from pipelines.convert.transforms import ConvertImages, ConvertPhotos, ConvertPlan, PhotoPlan
from pipelines.runner import Context, StageResult, check_rejects
from schemas import layout, plugins
from schemas.errors import IncompleteError, InputError
from schemas.layout import DIGITS, HUMAN
from schemas.manifests import SEQUENCE
from schemas.settings.convert import ConvertSettings, PhotoSettings
from storage import hashing, products
from storage.fetching import Patience
from storage.formats.images import Wanted
from storage.products import ShardFolder, ShardReport

IMAGES_PER_SHARD = 8192
BYTES_PER_SHARD = 64 << 20
PHOTO_BYTES = 350_000  # of a photograph of Open Images, on average; a shard then has some 170 MB
PHOTOS_PER_SHARD = 512
_log = logging.getLogger("concord")


@dataclass(frozen=True)
class Job:
    """A conversion, whatever its source: what the shards are, how many records go in, and how they are made."""

    target: ImageShards
    records: int
    transform: Callable[[ImageShards], beam.PTransform]
    facts: Mapping[str, Any] = field(default_factory=dict)
    seek_repeats: bool = False


def convert(settings: ConvertSettings, context: Context) -> StageResult:
    """Make a dataset: its images, their index and people's labels; only what is missing of it.

    Raises:
        InputError: the input cannot be what it should.
        TooManyRejectsError: more records were turned away than the settings allow.
    """
    source, fingerprint = identified(settings, context.root)
    manifest = None if context.force else current(settings, context.root, fingerprint)
    if manifest:
        return StageResult("convert", settings.dataset, made=False, counts=manifest["counts"])
    began = time.monotonic()
    job = plan(settings, context, source, fingerprint)
    done = frozenset() if context.force else image_shards.finished(job.target)
    image_shards.sweep(job.target, done)
    job = dataclasses.replace(job, target=dataclasses.replace(job.target, missing=job.target.every() - done))
    counters = _make(job, context)
    counts = _declare(job, settings)
    return StageResult("convert", settings.dataset, True, time.monotonic() - began, counts, counters)


def identified(settings: ConvertSettings, root: str) -> tuple[Any, str]:
    """The source, and the fingerprint of what it makes; InputError where it cannot be what it should."""
    source = plugins.load(sources, "source", settings.source).make(settings)
    own = isinstance(source, OwnInputs)
    inputs = source.inputs(root) if own else [products.input_identity(path) for path in settings.input]
    return source, products.fingerprint("convert", settings=settings.identity(), inputs=inputs)


def plan(settings: ConvertSettings, context: Context, source: Any, fingerprint: str) -> Job:
    """What is to be made, done or not; this changes nothing."""
    make: Callable[..., Job] = _photo_job if isinstance(source, PhotoSource) else _slab_job
    return make(settings, context, source, fingerprint)


def current(settings: ConvertSettings, root: str, fingerprint: str) -> dict[str, Any] | None:
    """The dataset's manifest, if it was made from just this; it lies beside the images, or labels that are alone."""
    homes = (
        layout.images(root, settings.dataset, settings.version),
        layout.label_sets(root, settings.dataset, HUMAN),
    )
    found = [products.find_manifest(home) for home in homes]
    return next((manifest for manifest in found if manifest and manifest["fingerprint"] == fingerprint), None)


def shard_count(found: SourcePlan) -> int:
    """Shards of each split: a power of two, of some thousand images and bounded bytes, and never fewer than 8."""
    largest = max(found.records().values())
    payload = largest * math.prod(found.image_shape)
    return hashing.shard_count(max(largest / IMAGES_PER_SHARD, payload / BYTES_PER_SHARD))


def photo_shard_count(counts: Mapping[str, int], max_side: int, least: int) -> int:
    """Shards of each split of photographs: a power of two, of bounded bytes, and never fewer than 8 or `least`."""
    size = min(PHOTO_BYTES, max_side * max_side) if max_side else PHOTO_BYTES
    each = PHOTOS_PER_SHARD * PHOTO_BYTES / size
    return hashing.shard_count(max(least, max(counts.values()) / min(each, IMAGES_PER_SHARD)))


def _target(settings: ConvertSettings, context: Context, fingerprint: str, **given: Any) -> ImageShards:
    for name in given["classes"]:
        if not name or name != " ".join(name.splitlines()).strip():
            raise InputError(f"class {name!r}: tensorflow_datasets strips spaces, and splits lines; rename the class")
    names: dict[str, Any] = {"root": context.root, "dataset": settings.dataset, "version": settings.version}
    return ImageShards(**names, fingerprint=fingerprint, missing=frozenset(), **given)


def _slab_job(settings: ConvertSettings, context: Context, source: Any, fingerprint: str) -> Job:
    found = source.plan()
    fractions = dict(settings.splits) or None
    if found.task == SEQUENCE and settings.classes:
        raise InputError(f"leave out --classes: the labels of {settings.source} are numbers, of the digits 0 to 9")
    target = _target(
        settings,
        context,
        fingerprint,
        task=found.task,
        classes=settings.classes or DIGITS,
        pictures=found.image_shape != NO_PICTURES,
        annotator=HUMAN,
        splits=tuple(fractions or found.records()),
        shards=settings.shards or shard_count(found),
    )
    given = (source, found.slabs, found.image_shape, found.value_range, fractions)

    def transform(shards: ImageShards) -> beam.PTransform:
        return ConvertImages(ConvertPlan(shards, *given))

    return Job(target, sum(found.records().values()), transform, found.facts)


def _photo_job(settings: PhotoSettings, context: Context, source: PhotoSource, fingerprint: str) -> Job:
    found = source.plan_photos(context.root)
    if 0 < settings.shards < found.least_shards:
        raise InputError(f"shards must be {found.least_shards} or more, as the label set has, got {settings.shards}")
    target = _target(
        settings,
        context,
        fingerprint,
        task=found.task,
        classes=found.classes,
        annotator=found.annotator,
        splits=tuple(found.counts),
        shards=settings.shards or photo_shard_count(found.counts, settings.max_side, found.least_shards),
    )
    signed = settings.signed or bool(settings.input)  # a folder is opened like every other file of the user's
    patience = Patience(settings.max_concurrency, settings.max_attempts, settings.timeout, signed)
    wanted = Wanted(settings.max_side, settings.quality, settings.max_pixels)
    facts = {**found.facts, "display_names": dict(found.display_names)}

    def transform(shards: ImageShards) -> beam.PTransform:
        return ConvertPhotos(PhotoPlan(shards, source, patience, wanted))

    return Job(target, sum(found.counts.values()), transform, facts, found.seek_repeats)


def _make(job: Job, context: Context) -> dict[str, int]:
    target = job.target
    if not target.missing:
        return {}

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Convert" >> job.transform(target)

    def committed() -> int:
        return sum(target.commits(split).committed() for split in target.splits)

    share = len(target.missing) / len(target.every())
    with progress.shown(f"convert {target.dataset}", len(target.missing), int(job.records * share), committed):
        return runner.run(f"concord convert {target.dataset}", build, context.beam_flags)


def _declare(job: Job, settings: ConvertSettings) -> dict[str, Any]:
    """Check that every record is accounted for, then write the manifests, the dataset's own last."""
    target = job.target
    reports = {split: target.commits(split).done() for split in target.splits}
    totals = {split: products.total(list(reports[split].values())) for split in target.splits}
    for split in target.splits:
        absent = sorted(set(range(target.shards)) - set(reports[split]))
        if absent:
            raise IncompleteError(f"shards {absent} of split {split!r} were not written; run the same command again")
    whole = products.total(list(totals.values()))
    counts = _counts(whole, totals)
    if counts["in"] != job.records or counts["in"] != counts["out"] + sum(counts["rejected"].values()):
        raise IncompleteError(f"{job.records} records were read, but the shards account for {counts}; run with --force")
    rejects = [target.rejects(split) for split in target.splits]
    check_rejects("convert", rejects, counts, settings.max_reject_fraction)
    repeated = _in_two_splits(target) if job.seek_repeats else {}
    shape = whole.shapes[0] if len(whole.shapes) == 1 else (None, None, 3)
    for split in target.splits if target.task == SEQUENCE else ():
        counts["splits"][split]["lengths"] = _lengths(target.labels(split))
    if target.pictures:
        write_metadata(target, shape, reports)
    for split in target.splits if target.annotator else ():
        rows = sum(report.records_out for report in target.labels(split).done().values())
        facts_of: dict[str, Any] = {"annotator": target.annotator, "split": split, "images": target.fingerprint}
        target.labels(split).complete(**facts_of, seen_all=True, rows=rows)
    facts = {"fingerprint": target.fingerprint, "shards": target.shards, "counts": counts, "splits": counts["splits"]}
    identity = {"dataset": target.dataset, "version": target.version, "task": target.task}
    image_shape = list(shape) if target.pictures else None
    kind = {"classes": list(target.classes), "image_shape": image_shape, **job.facts, **repeated}
    sealed = {products.SEALS: _seals(target)}
    products.write_manifest(target.home, {**identity, **kind, **facts, **sealed, "settings": settings.identity()})
    return counts


def _seals(target: ImageShards) -> dict[str, dict[str, str]]:
    """Of the index and the rejects of each split, which have no manifest of their own."""
    found = {f"rejects_convert/{split}": target.rejects(split).seals() for split in target.splits}
    return found | {f"index/{split}": target.index(split).seals() for split in target.splits if target.pictures}


def _counts(whole: ShardReport, splits: dict[str, ShardReport]) -> dict[str, Any]:
    def one(report: ShardReport) -> dict[str, Any]:
        return {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}

    return {**one(whole), "splits": {name: one(report) for name, report in splits.items()}}


def _lengths(labels: ShardFolder) -> dict[str, int]:
    """How many of the numbers of a split have one digit, how many two, and so on."""
    found: Counter[int] = Counter()
    for shard in range(labels.shards):
        found.update(map(len, labels.read(shard)["label"].to_pylist()))
    return {str(length): found[length] for length in sorted(found)}


def _in_two_splits(target: ImageShards) -> dict[str, Any]:
    """The pictures that are in more than one split, which would be trained and tested on; people are told of them."""
    places: dict[str, dict[str, str]] = {}
    for split in target.splits:
        for shard in range(target.shards):
            rows = target.index(split).read(shard).select(["sha256", "image_id"])
            for sha256, image_id in zip(rows["sha256"].to_pylist(), rows["image_id"].to_pylist(), strict=True):
                places.setdefault(sha256, {})[split] = image_id
    shared = [sorted(found.values()) for found in places.values() if len(found) > 1]
    if shared:
        first = " and ".join(min(shared))
        _log.warning("%d pictures are in more than one split, such as %s", len(shared), first)
    return {"in_two_splits": {"pictures": len(shared), "first": sorted(shared)[:20]}}
