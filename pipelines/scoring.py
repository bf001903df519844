"""Score the images of shards with a network: Beam RunInference, one shard an element, the write fused behind it.

Labels and features are both made so. Each shard is on disk as soon as it is done: no barrier stands between computing
and writing, so that a killed run keeps every shard it finished.
"""

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference

from pipelines import progress, runner
from pipelines.runner import Context, StageResult, check_rejects
from schemas import layout, tables
from schemas.errors import IncompleteError
from schemas.rejects import Reason
from schemas.settings.base import resource_hints
from storage import products, stores
from storage import tfrecord as storage_tfrecord
from storage.products import ImageSet, ShardFolder, ShardReport

Scores = npt.NDArray[np.float32]
Rejected = dict[int, tuple[Reason, str]]
_LOADED_IN: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()  # seconds that each model took


@dataclass(frozen=True)
class ImageShard:
    """What one Beam element stands for: a TFRecord shard, and its index."""

    split: str
    shard: int
    tfrecord: str
    index: ShardFolder
    payload_bytes: int


@dataclass(frozen=True)
class ScorePlan:
    """What scoring images with one network makes.

    Attributes:
        stage: `label` or `features`.
        name: of the product, for people.
        outputs: where the rows of each split go; they commit the rejects.
        rejects: where the rejects of each split go.
        missing: the shards still to be made, of all splits.
        load: gives the network, ready to score, on a worker.
        table: of each split, from image ids and scores to the rows that are kept.
    """

    stage: str
    name: str
    images: ImageSet
    outputs: Mapping[str, ShardFolder]
    rejects: Mapping[str, ShardFolder]
    missing: tuple[ImageShard, ...]
    load: Callable[[], Any]
    table: Mapping[str, Callable[[Sequence[str], Scores], pa.Table]]
    accelerator: str
    share_model: bool = False
    min_ram: str = ""


@dataclass(frozen=True)
class ScoredShard:
    """The scores of the images of a shard that have any, and the images that have none."""

    source: ImageShard
    ids: tuple[str, ...]
    scores: Scores
    rejects: pa.Table


@dataclass(eq=False)
class ScoreImages(beam.PTransform):  # type: ignore[misc]
    """Score the missing shards of one product, and write each at once."""

    plan: ScorePlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The split and number of each shard, as it is written."""
        hints = resource_hints(self.plan.accelerator, self.plan.min_ram)
        shards = begin | "Shards" >> beam.Create(self.plan.missing)
        return shards | "Score" >> ScoreAndWrite(self.plan).with_resource_hints(**hints)


@dataclass(eq=False)
class ScoreAndWrite(beam.PTransform):  # type: ignore[misc]
    """Score shards, and write each at once.

    Both steps ask for the same resources: a runner fuses only steps that do, and without the fusion every shard of a
    bundle would be scored, and held, before the first is written.
    """

    plan: ScorePlan

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """The split and number of each shard, as it is written."""
        return shards | "Infer" >> RunInference(ShardScorer(self.plan)) | "Write" >> beam.Map(write_shard, self.plan)


class ShardScorer(ModelHandler[ImageShard, ScoredShard, Any]):  # type: ignore[misc]
    """RunInference's way to a network: loads it once a worker, and scores a whole shard an element."""

    def __init__(self, plan: ScorePlan) -> None:
        super().__init__()
        self._stage, self._load, self._share_model = plan.stage, plan.load, plan.share_model

    def load_model(self) -> Any:
        """The network, ready to score; TensorFlow is imported here, on the workers that score."""
        began = time.monotonic()
        model = self._load()
        _LOADED_IN[model] = time.monotonic() - began
        return model

    def run_inference(
        self, batch: Sequence[ImageShard], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[ScoredShard]:
        """Score each shard; its mini-batches are the scorer's."""
        count_loading(self._stage, model)
        for source in batch:
            yield score_shard(source, model, self._stage)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """A shard is a batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def share_model_across_processes(self) -> bool:
        """Whether the processes of a worker share one model: one a GPU, not one a process."""
        return self._share_model

    def get_num_bytes(self, batch: Sequence[ImageShard]) -> int:
        """Bytes of images in a batch."""
        return sum(source.payload_bytes for source in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own counters go."""
        return "concord_inference"


def count_loading(stage: str, model: Any) -> None:
    """Tell once how long it took to load a model; what is told before the first element, Beam does not hear."""
    seconds = _LOADED_IN.pop(model, None)
    if seconds is not None:
        runner.measure(f"{stage}.load_milliseconds", round(1000 * seconds))


def score_shard(source: ImageShard, scorer: Any, stage: str) -> ScoredShard:
    """Score every image of a shard that can be read, decoded and scored; reject the others, each by name.

    Raises:
        IncompleteError: the shard and its index do not belong together.
    """
    runner.count_element(stage, source.payload_bytes)
    index = source.index.read(source.shard)
    ids: list[str] = index["image_id"].to_pylist()
    payloads, rejected = read_payloads(source, index)
    whole = [row for row in range(len(ids)) if row not in rejected]
    if scorer.ids([payloads[row] for row in whole]) != [ids[row] for row in whole]:
        raise IncompleteError(f"{source.tfrecord} holds other images than its index says: run concord convert --force")
    scores, poisoned = score(scorer, [payloads[row] for row in whole], source.split, stage)
    rejected |= {whole[position]: problem for position, problem in poisoned.items()}
    kept = tuple(ids[row] for row in whole if row not in rejected)
    return ScoredShard(source, kept, scores, reject_table(source, ids, rejected))


def read_payloads(source: ImageShard, index: pa.Table) -> tuple[list[bytes], Rejected]:
    """The payloads of a shard at the offsets of its index, and the rows that are damaged."""
    shard = stores.read_bytes(source.tfrecord)
    payloads, rejected = [], {}
    places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    for row, (offset, length) in enumerate(places):
        payload = storage_tfrecord.payload_at(shard, offset, length)
        if payload is None:
            rejected[row] = damaged(offset, length)
        payloads.append(payload or b"")
    return payloads, rejected


def damaged(offset: int, length: int) -> tuple[Reason, str]:
    """Why a record whose checksum does not fit is rejected."""
    return Reason.RECORD_DAMAGED, f"the checksum of the {length} bytes at {offset} does not fit"


def score(scorer: Any, payloads: list[bytes], split: str, stage: str) -> tuple[Scores, Rejected]:
    """Scores of the images that have any, in order, and the positions of those that have none."""
    began = time.monotonic()
    found = scorer.score(payloads, split)
    runner.measure(f"{stage}.images_per_second", round(len(payloads) / max(time.monotonic() - began, 1e-6)))
    for images in found.batches:
        runner.measure(f"{stage}.batch_images", images)
    runner.count(f"{stage}.batches_out_of_memory", found.halved)
    rejected: Rejected = dict(found.faults)
    finite = np.isfinite(found.scores).all(axis=1)
    for row in np.flatnonzero(~finite).tolist():
        rejected.setdefault(row, (Reason.SCORES_NOT_FINITE, f"scores {found.scores[row].tolist()[:20]}"))
    return found.scores[finite], rejected


def reject_table(source: ImageShard, ids: Sequence[str], rejected: Rejected) -> pa.Table:
    """The images of a shard that have no scores."""
    rows = sorted(rejected)
    columns: dict[str, list[str]] = {
        "image_id": [ids[row] for row in rows],
        "source": [source.tfrecord] * len(rows),
        "position": [f"record {row}" for row in rows],
        "reason": [str(rejected[row][0]) for row in rows],
        "detail": [rejected[row][1] for row in rows],
    }
    return pa.table(columns, schema=tables.REJECTS)


def write_shard(scored: ScoredShard, plan: ScorePlan) -> tuple[str, int]:
    """Write the rows of a shard, after its rejects."""
    split, shard = scored.source.split, scored.source.shard
    images, rejects = len(scored.ids), scored.rejects
    reasons = tables.reject_counts(rejects)
    report = ShardReport(images + rejects.num_rows, images, reasons, scored.source.payload_bytes)
    plan.rejects[split].write(shard, rejects, report)
    plan.outputs[split].write(shard, plan.table[split](scored.ids, scored.scores), report)
    runner.count_records(plan.stage, report)
    return split, shard


# The driver's side of what is made by scoring images: which shards are missing, and declaring each split whole.


def find_missing(
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
    sizes = stores.list_files(layout.images(images.root, images.dataset, images.version))
    paths = {shard: images.tfrecord(split, shard) for shard in wanted}
    return tuple(
        ImageShard(split, shard, path, images.index(split), sizes.get(path.rsplit("/", 1)[-1], 0))
        for shard, path in paths.items()
    )


def make_scores(
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
        return runner.run(f"concord {plans[0].stage} {images.dataset}", build, context.beam_flags)


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
