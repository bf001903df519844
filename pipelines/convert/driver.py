"""A dataset from a source of labelled images: its TFRecords, their index, and the labels that the source brings along.

concord convert --source svhn_h5 --input SVHN_single_grey1.h5 --dataset svhn --root out
"""

import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from pipelines import runner
from pipelines.convert import shards as image_shards
from pipelines.convert import sources
from pipelines.convert.shards import ImageShards
from pipelines.convert.sources import NO_IMAGES_SHAPE, OwnInputs, PhotoSource, SourcePlan
from pipelines.convert.tfds_metadata import write_metadata
from pipelines.convert.transforms import ConvertImages, ConvertPhotos, ConvertPlan, PhotoPlan
from pipelines.runner import check_rejects
from schemas import layout, plugins
from schemas.errors import IncompleteError, InputError
from schemas.layout import DIGITS, HUMAN
from schemas.manifests import SEQUENCE, ImagesManifest, LabelsManifest, TableFiles
from schemas.settings.convert import ConvertSettings, PhotoSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import hashing, products
from storage.fetching import FetchPolicy
from storage.formats.images import TargetFormat
from storage.products import ShardFolder, ShardReport

IMAGES_PER_SHARD = 8192
BYTES_PER_SHARD = 64 << 20
PHOTO_BYTES = 350_000  # of a photograph of Open Images, on average; a shard then has some 170 MB
PHOTOS_PER_SHARD = 512
VALUES_PER_SECOND = 16_000_000  # pixels' values that one core encodes
PHOTOS_PER_SECOND, SCALED_PER_SECOND = 1_000, 250  # that one core keeps as they are, or scales
_log = logging.getLogger("concord")


@dataclass(frozen=True)
class Job:
    """A conversion, whatever its source.

    Attributes:
        target: what the shards are.
        records: how many go in.
        transform: from the missing shards to the transform that makes them.
        element_bytes: size of the largest Beam element.
        image_bytes: of an image as it is stored, roughly.
        core_seconds: of all images, roughly.
        source_facts: what else is worth knowing of the source.
        display_names: of classes that have another one.
        seek_repeats: whether images in more than one split are looked for.
    """

    settings: ConvertSettings
    target: ImageShards
    records: int
    transform: Callable[[ImageShards], beam.PTransform]
    element_bytes: int
    image_bytes: float
    core_seconds: float
    source_facts: Mapping[str, Any] = field(default_factory=dict)
    display_names: Mapping[str, str] = field(default_factory=dict)
    seek_repeats: bool = False


class ConvertDriver(Driver[ConvertSettings]):
    """Makes a dataset: its images, their index and the source's labels; only what is missing of it."""

    def reads(self, settings: ConvertSettings, root: str) -> Iterable[str]:
        """The input, wherever it lies, and the label set whose photographs are fetched."""
        return settings.reads(root)

    def writes(self, settings: ConvertSettings, root: str) -> Iterable[str]:
        """The images, and the labels that the source brings along."""
        images = layout.images(root, settings.dataset, settings.version)
        return (images, layout.label_sets(root, settings.dataset, HUMAN))

    def plan(self, settings: ConvertSettings, context: Context) -> Plan:
        """What the source holds, and which shards of it are there; InputError where it cannot be what it should."""
        source, fingerprint = identify_source(settings, context.root)
        manifest = None if context.force else find_current(settings, context.root, fingerprint)
        if manifest:
            return Plan(settings, (Product(settings.dataset, State.DONE, manifest.counts),))
        describe: Callable[..., Job] = _photo_job if isinstance(source, PhotoSource) else _slab_job
        job = describe(settings, context, source, fingerprint)
        done = frozenset() if context.force else image_shards.finished(job.target)
        missing = job.target.every() - done
        share = len(missing) / max(1, len(job.target.every()))
        product = Product(
            settings.dataset,
            State.PARTLY if done else State.TO_DO,
            records=job.records,
            elements=len(missing),
            element_bytes=job.element_bytes,
            written_bytes=int(job.records * job.image_bytes * share),
            core_seconds=job.core_seconds * share,
        )
        return Plan(
            settings, (product,), dataclasses.replace(job, target=dataclasses.replace(job.target, missing=missing))
        )

    def prepare(self, plan: Plan, context: Context) -> Job:
        """Remove every file of the dataset that is no finished shard of this conversion."""
        job: Job = plan.work
        image_shards.sweep(job.target, job.target.every() - job.target.missing)
        return job

    def make(self, work: Job, context: Context) -> dict[str, int]:
        """Make the missing shards."""
        target = work.target
        share = len(target.missing) / len(target.every())
        return runner.run_job(
            f"convert {target.dataset}",
            {"Convert": work.transform(target)} if target.missing else {},
            context,
            len(target.missing),
            committed=lambda: sum(target.commits(split).committed() for split in target.splits),
            records=int(work.records * share),
        )

    def commit(self, work: Job, product: Product) -> dict[str, Any]:
        """Check that every record is accounted for, then write the manifests, the dataset's own last.

        Raises:
            TooManyRejectsError: more records were rejected than the settings allow.
        """
        target = work.target
        reports = _require_all_shards(target)
        totals = {split: products.total(list(by_shard.values())) for split, by_shard in reports.items()}
        whole = products.total(list(totals.values()))
        counts = {**whole.counts(), "splits": {split: report.counts() for split, report in totals.items()}}
        if counts["in"] != work.records or counts["in"] != counts["out"] + sum(counts["rejected"].values()):
            raise IncompleteError(
                f"{work.records} records were read, but the shards account for {counts}; run with --force"
            )
        rejects = [target.rejects(split) for split in target.splits]
        check_rejects("convert", rejects, counts, work.settings.max_reject_fraction)
        shape = whole.shapes[0] if len(whole.shapes) == 1 else (None, None, 3)
        for split in target.splits if target.task == SEQUENCE else ():
            counts["splits"][split]["lengths"] = _lengths(target.labels(split))
        if target.has_images:
            write_metadata(target, shape, reports)
        for split in target.splits if target.annotator else ():
            _write_label_manifest(target, split)
        _write_manifest(work, counts, shape if target.has_images else None)
        return counts


def identify_source(settings: ConvertSettings, root: str) -> tuple[Any, str]:
    """The source, and the fingerprint of what it makes; InputError where it cannot be what it should."""
    source = plugins.load(sources, "source", settings.source).make(settings)
    own = isinstance(source, OwnInputs)
    inputs = source.inputs(root) if own else [products.input_identity(path) for path in settings.input]
    return source, products.fingerprint("convert", settings=settings.identity(), inputs=inputs)


def find_current(settings: ConvertSettings, root: str, fingerprint: str) -> ImagesManifest | None:
    """The dataset's manifest, if it was made from just this; it lies beside the images, or labels that are alone."""
    homes = (
        layout.images(root, settings.dataset, settings.version),
        layout.label_sets(root, settings.dataset, HUMAN),
    )
    manifests = [products.find_manifest(home, ImagesManifest) for home in homes]
    return next((manifest for manifest in manifests if manifest and manifest.fingerprint == fingerprint), None)


def shard_count(plan: SourcePlan) -> int:
    """Shards of each split: a power of two, of some thousand images and bounded bytes, and never fewer than 8."""
    largest = max(plan.records().values())
    payload = largest * math.prod(plan.image_shape)
    return hashing.shard_count(max(largest / IMAGES_PER_SHARD, payload / BYTES_PER_SHARD))


def photo_shard_count(counts: Mapping[str, int], max_side: int, least: int) -> int:
    """Shards of each split of photographs: a power of two, of bounded bytes, and never fewer than 8 or `least`."""
    size = min(PHOTO_BYTES, max_side * max_side) if max_side else PHOTO_BYTES
    each = PHOTOS_PER_SHARD * PHOTO_BYTES / size
    return hashing.shard_count(max(least, max(counts.values()) / min(each, IMAGES_PER_SHARD)))


def _target(settings: ConvertSettings, context: Context, fingerprint: str, **facts: Any) -> ImageShards:
    for name in facts["classes"]:
        if not name or name != " ".join(name.splitlines()).strip():
            raise InputError(f"class {name!r}: tensorflow_datasets strips spaces, and splits lines; rename the class")
    names: dict[str, Any] = {"root": context.root, "dataset": settings.dataset, "version": settings.version}
    return ImageShards(**names, fingerprint=fingerprint, missing=frozenset(), **facts)


def _slab_job(settings: ConvertSettings, context: Context, source: Any, fingerprint: str) -> Job:
    plan = source.plan()
    fractions = dict(settings.splits) or None
    if plan.task == SEQUENCE and settings.classes:
        raise InputError(f"leave out --classes: the labels of {settings.source} are numbers, of the digits 0 to 9")
    target = _target(
        settings,
        context,
        fingerprint,
        task=plan.task,
        classes=settings.classes or DIGITS,
        has_images=plan.image_shape != NO_IMAGES_SHAPE,
        annotator=HUMAN,
        splits=tuple(fractions or plan.records()),
        shards=settings.shards or shard_count(plan),
    )
    parts = (source, plan.slabs, plan.image_shape, plan.value_range, fractions)

    def transform(shards: ImageShards) -> beam.PTransform:
        return ConvertImages(ConvertPlan(shards, *parts))

    records = plan.records()
    values = max(1, math.prod(plan.image_shape))
    shard = math.ceil(max(records.values(), default=0) / target.shards) * values if target.has_images else 0
    return Job(
        settings,
        target,
        sum(records.values()),
        transform,
        element_bytes=max(shard, *(slab.payload_bytes for slab in plan.slabs)),
        image_bytes=values if target.has_images else 0.0,
        core_seconds=sum(records.values()) * values / VALUES_PER_SECOND,
        source_facts=plan.facts,
    )


def _photo_job(settings: PhotoSettings, context: Context, source: PhotoSource, fingerprint: str) -> Job:
    plan = source.plan_photos(context.root)
    if 0 < settings.shards < plan.least_shards:
        raise InputError(f"shards must be {plan.least_shards} or more, as the label set has, got {settings.shards}")
    target = _target(
        settings,
        context,
        fingerprint,
        task=plan.task,
        classes=plan.classes,
        annotator=plan.annotator,
        splits=tuple(plan.counts),
        shards=settings.shards or photo_shard_count(plan.counts, settings.max_side, plan.least_shards),
    )
    signed = settings.signed or bool(settings.input)  # a folder is opened like every other file of the user's
    policy = FetchPolicy(settings.max_concurrency, settings.max_attempts, settings.timeout, signed)
    limits = TargetFormat(settings.max_side, settings.quality, settings.max_pixels)

    def transform(shards: ImageShards) -> beam.PTransform:
        return ConvertPhotos(PhotoPlan(shards, source, policy, limits))

    records = sum(plan.counts.values())
    size = min(PHOTO_BYTES, settings.max_side**2) if settings.max_side else PHOTO_BYTES
    return Job(
        settings,
        target,
        records,
        transform,
        element_bytes=math.ceil(max(plan.counts.values(), default=0) / target.shards) * size,
        image_bytes=size,
        core_seconds=records / (SCALED_PER_SECOND if settings.max_side else PHOTOS_PER_SECOND),
        source_facts=plan.facts,
        display_names=dict(plan.display_names),
        seek_repeats=plan.seek_repeats,
    )


def _require_all_shards(target: ImageShards) -> dict[str, dict[int, ShardReport]]:
    """The report of each shard, by split; IncompleteError where a shard was not written."""
    reports = {split: target.commits(split).done() for split in target.splits}
    for split in target.splits:
        absent = sorted(set(range(target.shards)) - set(reports[split]))
        if absent:
            raise IncompleteError(f"shards {absent} of split {split!r} were not written; run the same command again")
    return reports


def _write_label_manifest(target: ImageShards, split: str) -> None:
    labels = target.labels(split)
    rows = sum(report.records_out for report in labels.done().values())
    manifest = LabelsManifest(
        stage="convert",
        product=f"{target.dataset}/{target.annotator}/{split}",
        fingerprint=target.fingerprint,
        tables=(labels.table_files(target.root, "labels", rows, "out"),),
        annotator=target.annotator,
        split=split,
        images=target.fingerprint,
        shards=target.shards,
        rows=rows,
        covers_all_images=True,
    )
    products.write_manifest(labels.folder, manifest)


def _write_manifest(job: Job, counts: dict[str, Any], shape: tuple[int | None, int | None, int] | None) -> None:
    target = job.target
    manifest = ImagesManifest(
        stage="convert",
        product=target.dataset,
        fingerprint=target.fingerprint,
        tables=_table_files(target, counts["splits"]),
        counts=counts,
        dataset=target.dataset,
        version=target.version,
        task=target.task,
        shards=target.shards,
        splits=counts["splits"],
        classes=list(target.classes),
        image_shape=shape,
        display_names=dict(job.display_names),
        in_two_splits=_images_in_two_splits(target) if job.seek_repeats else {},
        source_facts=dict(job.source_facts),
        settings=job.settings.identity(),
    )
    products.write_manifest(target.home, manifest)


def _table_files(target: ImageShards, splits: Mapping[str, Mapping[str, Any]]) -> tuple[TableFiles, ...]:
    """The index and the rejects of each split, which have no manifest of their own."""
    files = []
    for split, counts in splits.items():
        if target.has_images:
            files.append(target.index(split).table_files(target.root, "index", counts["out"], "out"))
        rejected = sum(counts["rejected"].values())
        files.append(target.rejects(split).table_files(target.root, "rejects_convert", rejected, "rejected"))
    return tuple(files)


def _lengths(labels: ShardFolder) -> dict[str, int]:
    """How many of the numbers of a split have one digit, how many two, and so on."""
    lengths: Counter[int] = Counter()
    for shard in range(labels.shards):
        lengths.update(map(len, labels.read(shard)["label"].to_pylist()))
    return {str(length): lengths[length] for length in sorted(lengths)}


def _images_in_two_splits(target: ImageShards) -> dict[str, Any]:
    """The images that are in more than one split, which would be trained and tested on; a warning names the first."""
    places: dict[str, dict[str, str]] = {}
    for split in target.splits:
        for shard in range(target.shards):
            rows = target.index(split).read(shard).select(["sha256", "image_id"])
            for sha256, image_id in zip(rows["sha256"].to_pylist(), rows["image_id"].to_pylist(), strict=True):
                places.setdefault(sha256, {})[split] = image_id
    shared = [sorted(by_split.values()) for by_split in places.values() if len(by_split) > 1]
    if shared:
        first = " and ".join(min(shared))
        _log.warning("%d images are in more than one split, such as %s", len(shared), first)
    return {"images": len(shared), "first": sorted(shared)[:20]}


DRIVER = ConvertDriver()
