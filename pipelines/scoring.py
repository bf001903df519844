"""Score the images of shards with a network: Beam RunInference, one shard an element, the write fused behind it.

Labels and features are both made so. Each shard is on disk as soon as it is done: no barrier stands between computing
and writing, so that a killed run keeps every shard it finished.
"""

import dataclasses
import math
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

from models import networks
from pipelines import runner
from pipelines.runner import check_rejects
from schemas import layout, plugins, tables
from schemas.errors import IncompleteError, Reason
from schemas.manifests import Manifest
from schemas.settings.base import resource_hints
from schemas.stage import Context, Driver, Plan, Product, S, State
from storage import products, stores
from storage import tfrecord as storage_tfrecord
from storage.products import AnyManifest, ImageSet, ShardFolder, ShardReport

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
        name: of the model or backbone.
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

    def product(self, split: str) -> str:
        """The product that a split becomes, by its name."""
        return f"{self.images.dataset}/{self.name}/{split}"


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
    """Report once how long it took to load a model; Beam ignores what is reported before the first element."""
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
    scored = scorer.score(payloads, split)
    runner.measure(f"{stage}.images_per_second", round(len(payloads) / max(time.monotonic() - began, 1e-6)))
    for images in scored.batches:
        runner.measure(f"{stage}.batch_images", images)
    runner.count(f"{stage}.batches_out_of_memory", scored.out_of_memory)
    rejected: Rejected = dict(scored.faults)
    finite = np.isfinite(scored.scores).all(axis=1)
    for row in np.flatnonzero(~finite).tolist():
        rejected.setdefault(row, (Reason.SCORES_NOT_FINITE, f"scores {scored.scores[row].tolist()[:20]}"))
    return scored.scores[finite], rejected


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


# The driver's side: which shards are missing, and what the manifest of each split states.

SMALL_NETWORK: dict[str, Any] = {
    "shape": (32, 32, 1),
    "scored_per_second": 5_000,
    "learnt_per_second": 1_000,
    "parameters": 250_000,
}


def network_hint(network: str, shape: Sequence[int | None] | None) -> tuple[float, float, int]:
    """What a network takes, roughly, by its own file's hint; an unknown one is taken for a small one.

    Args:
        network: its name.
        shape: height, width and channels of its input; None for that of the hint.

    Returns:
        seconds of one CPU core per image that it scores, per image that it learns from once, and its weights.
    """
    hint = plugins.literal(networks, network, "HINT") or SMALL_NETWORK
    known = [side or 1 for side in shape] if shape else hint["shape"]
    share = math.prod(known) / math.prod(hint["shape"])
    return share / hint["scored_per_second"], share / hint["learnt_per_second"], hint["parameters"]


def image_shards(images: ImageSet, split: str, shards: Sequence[int]) -> tuple[ImageShard, ...]:
    """Some shards of a split, as elements of a pipeline."""
    sizes = stores.list_files(layout.images(images.root, images.dataset, images.version))
    paths = {shard: images.tfrecord(split, shard) for shard in shards}
    return tuple(
        ImageShard(split, shard, path, images.index(split), sizes.get(path.rsplit("/", 1)[-1], 0))
        for shard, path in paths.items()
    )


@dataclass(frozen=True)
class Scoring:
    """The networks of one verb that score images, in one job.

    Attributes:
        plans: a plan of each network.
        max_reject_fraction: share of images that may be rejected.
    """

    plans: tuple[ScorePlan, ...]
    max_reject_fraction: float

    def product(self, name: str) -> tuple[ScorePlan, str]:
        """The plan and the split of a product."""
        return next((plan, split) for plan in self.plans for split in plan.outputs if plan.product(split) == name)


class ScoringDriver(Driver[S]):
    """What `label` and `features` share: networks score the images of splits, and each split becomes a product."""

    table_name = ""  # of the rows that are kept
    row_bytes = 12  # of them, per image

    def counted(self, work: Any, plan: ScorePlan) -> str:
        """Which count of a shard's report is its rows; see `TableFiles`."""
        return "out"

    def manifest(self, work: Any, plan: ScorePlan, split: str, common: dict[str, Any]) -> Manifest:
        """The manifest of a split, of which `common` is known."""
        raise NotImplementedError

    def plan_products(self, settings: Any, work: Scoring, seconds_per_image: Mapping[str, float], force: bool) -> Plan:
        """What is there of each split, and what is missing; `work` comes back with the missing shards."""
        plans, split_products = [], []
        for plan in work.plans:
            missing: list[ImageShard] = []
            for split in plan.outputs:
                product, absent = self._plan_split(plan, split, seconds_per_image[plan.name], force)
                split_products.append(product)
                missing += absent
            plans.append(dataclasses.replace(plan, missing=tuple(missing)))
        return Plan(settings, tuple(split_products), dataclasses.replace(work, plans=tuple(plans)))

    def _plan_split(
        self, plan: ScorePlan, split: str, seconds: float, force: bool
    ) -> tuple[Product, Sequence[ImageShard]]:
        images, output, rejects = plan.images, plan.outputs[split], plan.rejects[split]
        count, name = images.images_in(split), plan.product(split)
        if not force and output.is_whole() and len(rejects.done()) == rejects.shards:
            manifest = products.find_manifest(output.folder, AnyManifest)
            return Product(name, State.DONE, manifest.counts if manifest else {}, records=count), ()
        done = set() if force else set(output.done()) & set(rejects.done())
        missing = image_shards(images, split, [shard for shard in range(images.shards) if shard not in done])
        share = len(missing) / images.shards
        product = Product(
            name,
            State.PARTLY if done else State.TO_DO,
            records=count,
            elements=len(missing),
            element_bytes=max((one.payload_bytes for one in missing), default=0),
            written_bytes=int(count * self.row_bytes * share),
            core_seconds=count * seconds * share,
        )
        return product, missing

    def prepare(self, plan: Plan, context: Context) -> Any:
        """Remove whatever is no finished shard of a product that is to be made."""
        for product in plan.products:
            if not product.is_done:
                scored, split = plan.work.product(product.name)
                scored.outputs[split].prepare(context.force)
                scored.rejects[split].prepare(context.force)
        return plan.work

    def make(self, work: Any, context: Context) -> dict[str, int]:
        """Score the missing shards, of all networks in one job."""
        plans = [plan for plan in work.plans if plan.missing]
        shards = [(plan, source) for plan in plans for source in plan.missing]
        folders = [output for plan in plans for output in plan.outputs.values()]
        title = f"{work.plans[0].stage} {', '.join(plan.name for plan in plans)}"
        return runner.run_job(
            title,
            {f"{plan.stage.capitalize()} {plan.name}": ScoreImages(plan) for plan in plans},
            context,
            len(shards),
            committed=lambda: sum(folder.committed() for folder in folders),
            records=sum(plan.images.images_in(source.split) // plan.images.shards for plan, source in shards),
            job=f"{work.plans[0].stage} {work.plans[0].images.dataset}",
        )

    def commit(self, work: Any, product: Product) -> dict[str, Any]:
        """Check that every image of a split is accounted for, then write its manifest.

        Raises:
            TooManyRejectsError: more images were rejected than the settings allow.
        """
        plan, split = work.product(product.name)
        output, rejects = plan.outputs[split], plan.rejects[split]
        done = output.done()
        counts = products.total(list(done.values())).counts()
        expected, rejected = plan.images.images_in(split), sum(counts["rejected"].values())
        if len(done) < output.shards or counts["in"] != expected or expected != counts["out"] + rejected:
            raise IncompleteError(
                f"split {split!r} has {expected} images, but {len(done)} of {output.shards} shards of {output.folder} "
                f"account for {counts}; run the same command again"
            )
        check_rejects(plan.stage, [rejects], counts, work.max_reject_fraction)
        rows = output.rows()
        common = {
            "stage": plan.stage,
            "product": product.name,
            "fingerprint": output.fingerprint,
            "counts": counts,
            "split": split,
            "images": plan.images.fingerprint,
            "shards": output.shards,
            "rows": rows,
            "tables": (
                output.table_files(plan.images.root, self.table_name, rows, self.counted(work, plan)),
                rejects.table_files(plan.images.root, f"rejects_{plan.stage}", rejected, "rejected"),
            ),
        }
        products.write_manifest(output.folder, self.manifest(work, plan, split, common))
        return counts
