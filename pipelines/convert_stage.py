"""The driver's side of `convert`: what is to be made, what is already there, and declaring it whole."""

import math
import time
from pathlib import Path
from typing import Any

import apache_beam as beam

from pipelines import execution, progress, sources
from pipelines.convert import HUMAN, ConvertImages, ConvertPlan, ShardKey
from pipelines.execution import Context, StageResult
from pipelines.rejects import check_rejects
from pipelines.sources import SourcePlan
from schemas import layout, plugins, products, storage
from schemas.errors import IncompleteError
from schemas.products import MANIFEST, ShardReport
from schemas.settings import ConvertSettings

IMAGES_PER_SHARD = 8192
BYTES_PER_SHARD = 64 << 20
LEAST_SHARDS = 8


def convert(settings: ConvertSettings, context: Context) -> StageResult:
    """Make a dataset: its images, their index and people's labels; only what is missing of it.

    Raises:
        InputError: the input cannot be what it should.
        TooManyRejectsError: more records were turned away than the settings allow.
    """
    source = plugins.load(sources, "source", settings.source).make(settings)
    inputs = [products.input_identity(path) for path in settings.input]
    fingerprint = products.fingerprint("convert", settings=settings.identity(), inputs=inputs)
    images = layout.images(context.root, settings.dataset, settings.version)
    manifest = products.find_manifest(images)
    if manifest and manifest["fingerprint"] == fingerprint and not context.force:
        return StageResult("convert", settings.dataset, made=False, counts=manifest["counts"])
    began = time.monotonic()
    found = source.plan()
    plan = _plan(settings, context, source, found, fingerprint)
    counters = _make(plan, sum(found.records().values()), context)
    counts = _declare(plan, found, settings)
    return StageResult("convert", settings.dataset, True, time.monotonic() - began, counts, counters)


def shard_count(found: SourcePlan) -> int:
    """Shards of each split: a power of two, of some thousand images and bounded bytes, and never fewer than 8."""
    largest = max(found.records().values())
    payload = largest * math.prod(found.image_shape)
    wanted = max(LEAST_SHARDS, largest / IMAGES_PER_SHARD, payload / BYTES_PER_SHARD)
    return 1 << math.ceil(math.log2(wanted))


def _plan(settings: ConvertSettings, context: Context, source: Any, found: SourcePlan, fingerprint: str) -> ConvertPlan:
    """The plan, after everything that does not belong to it is swept away."""
    shards = settings.shards or shard_count(found)
    fractions = dict(settings.splits) if settings.splits else None
    splits = tuple(fractions or found.records())
    settled = (context.root, settings.dataset, settings.version, source, found.slabs, found.image_shape)
    chosen = (settings.classes, settings.value_range, fractions, splits, shards, fingerprint)
    whole = ConvertPlan(*settled, *chosen, frozenset((split, shard) for split in splits for shard in range(shards)))
    done = frozenset() if context.force else finished(whole)
    sweep(whole, done)
    return ConvertPlan(*settled, *chosen, whole.missing - done)


def finished(plan: ConvertPlan) -> frozenset[ShardKey]:
    """The shards of a plan of which every file is there, made from just this."""
    there = storage.list_files(plan.images)
    done: set[ShardKey] = set()
    for split in plan.splits:
        reports = plan.index(split).done()
        labelled, rejected = plan.labels(split).done(), plan.rejects(split).done()
        for shard, report in reports.items():
            size = there.get(plan.tfrecord_name(split, shard))
            if size == report.payload_bytes and shard in labelled and shard in rejected:
                done.add((split, shard))
    return frozenset(done)


def sweep(plan: ConvertPlan, done: frozenset[ShardKey]) -> None:
    """Remove the manifests, and every file of the dataset that is no finished shard of this plan."""
    storage.remove(storage.join(plan.images, MANIFEST))
    images = {plan.tfrecord_name(*key) for key in done}
    _remove_all_but(plan.images, images)
    old = storage.list_folders(storage.join(layout.index(plan.root, plan.dataset, "").rpartition("/")[0]))
    for split in {*plan.splits, *(name.removeprefix("split=") for name in old)}:
        keep = {layout.parquet_shard(shard, plan.shards) for name, shard in done if name == split}
        for folder in (plan.labels(split), plan.rejects(split), plan.index(split)):
            _remove_all_but(folder.folder, keep)


def _remove_all_but(folder: str, keep: set[str]) -> None:
    for name in storage.list_files(folder):
        if name not in keep:
            storage.remove(storage.join(folder, name))


def _make(plan: ConvertPlan, records: int, context: Context) -> dict[str, int]:
    if not plan.missing:
        return {}

    def build(pipeline: beam.Pipeline) -> None:
        pipeline | "Convert" >> ConvertImages(plan)

    def committed() -> int:
        return sum(plan.index(split).committed() for split in plan.splits)

    share = len(plan.missing) / (plan.shards * len(plan.splits))
    with progress.shown(f"convert {plan.dataset}", len(plan.missing), int(records * share), committed):
        return execution.run(f"concord convert {plan.dataset}", build, context.beam_flags)


def _declare(plan: ConvertPlan, found: SourcePlan, settings: ConvertSettings) -> dict[str, Any]:
    """Check that every record is accounted for, then write the manifests, the dataset's own last."""
    reports = {split: plan.index(split).done() for split in plan.splits}
    totals = {split: products.total(list(reports[split].values())) for split in plan.splits}
    for split in plan.splits:
        absent = sorted(set(range(plan.shards)) - set(reports[split]))
        if absent:
            raise IncompleteError(f"shards {absent} of split {split!r} were not written; run the same command again")
    counts = _counts(products.total(list(totals.values())), totals)
    expected = sum(found.records().values())
    if counts["in"] != expected or counts["in"] != counts["out"] + sum(counts["rejected"].values()):
        raise IncompleteError(f"{expected} records were read, but the shards account for {counts}; run with --force")
    check_rejects("convert", [plan.rejects(split) for split in plan.splits], counts, settings.max_reject_fraction)
    _write_tfds_metadata(plan, reports)
    for split in plan.splits:
        plan.labels(split).complete(
            annotator=HUMAN, split=split, images=plan.fingerprint, rows=totals[split].records_out
        )
    facts = {"fingerprint": plan.fingerprint, "shards": plan.shards, "counts": counts, "splits": counts["splits"]}
    identity = {"dataset": plan.dataset, "version": plan.version, "task": "multiclass"}
    shape = {"classes": list(plan.classes), "image_shape": list(plan.image_shape)}
    products.write_manifest(plan.images, {**identity, **shape, **facts, "settings": settings.identity()})
    return counts


def _counts(whole: ShardReport, splits: dict[str, ShardReport]) -> dict[str, Any]:
    def one(report: ShardReport) -> dict[str, Any]:
        return {"in": report.records_in, "out": report.records_out, "rejected": dict(report.rejected)}

    return {**one(whole), "splits": {name: one(report) for name, report in splits.items()}}


def _write_tfds_metadata(plan: ConvertPlan, reports: dict[str, dict[int, ShardReport]]) -> None:
    """`dataset_info.json` and `features.json`, so that `tensorflow_datasets` opens the folder as it is."""
    import tensorflow_datasets as tfds

    from models.quiet import tensorflow  # noqa: F401  (tensorflow_datasets imports it, with all its noise)

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=plan.image_shape, encoding_format="png"),
            "image/id": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=list(plan.classes)),
        }
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[reports[split][shard].records_out for shard in range(plan.shards)],
            num_bytes=sum(report.payload_bytes for report in reports[split].values()),
        )
        for split in plan.splits
    ]
    with storage.scratch_folder() as scratch:
        folder = Path(scratch, plan.dataset, plan.version)  # the library takes name and version from the path
        folder.mkdir(parents=True)
        for split in plan.splits:  # it also wants to see a data file of each split
            (folder / plan.tfrecord_name(split, 0)).touch()
        tfds.folder_dataset.write_metadata(
            data_dir=str(folder), features=features, split_infos=splits, filename_template=None, check_data=False
        )
        for file in sorted(file for file in folder.iterdir() if file.stat().st_size):
            storage.write_bytes(storage.join(plan.images, file.name), file.read_bytes())
