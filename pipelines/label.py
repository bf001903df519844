"""Label images with a trained model: Beam RunInference, one image shard an element, the write fused behind it.

    concord label --models cnn1,cnn2 --dataset svhn --splits test --root out

Each shard's labels are on disk as soon as the shard is done: no barrier stands between computing and writing, so that a
killed run keeps every shard it finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference

from models import tasks
from pipelines import execution
from schemas import layout, storage, tables, tfrecord
from schemas.errors import IncompleteError
from schemas.products import ImageSet, ShardFolder, ShardReport
from schemas.rejects import Reason


@dataclass(frozen=True)
class ImageShard:
    """What one Beam element stands for: a TFRecord shard, and its index."""

    split: str
    shard: int
    tfrecord: str
    index: ShardFolder
    payload_bytes: int


@dataclass(frozen=True)
class Answers:
    """What the scores of a model mean.

    Attributes:
        classes: names, in the order of the scores.
        thresholds: of several labels, the score at or above which an image has each class.
    """

    task: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class LabelPlan:
    """What labelling with one model makes.

    Attributes:
        model: its folder.
        missing: the shards still to be made, of all splits.
    """

    root: str
    images: ImageSet
    annotator: str
    model: str
    answers: Answers
    batch: int
    keep_scores: bool
    fingerprints: Mapping[str, str]
    missing: tuple[ImageShard, ...]
    accelerator: str

    def labels(self, split: str) -> ShardFolder:
        """Where the labels of a split go; its shards commit the rejects."""
        folder = layout.labels(self.root, self.images.dataset, self.annotator, split)
        return ShardFolder(folder, self.images.shards, self.fingerprints[split])

    def rejects(self, split: str) -> ShardFolder:
        """Where the rejects of a split go."""
        folder = layout.label_rejects(self.root, self.images.dataset, self.annotator, split)
        return ShardFolder(folder, self.images.shards, self.fingerprints[split])


@dataclass(frozen=True)
class LabelledShard:
    """What one shard was labelled with.

    Attributes:
        images: how many were scored; one of several labels may have any number of rows.
        labels: the rows of the label set.
        rejects: the images that could not be scored.
    """

    source: ImageShard
    images: int
    labels: pa.Table
    rejects: pa.Table


@dataclass(eq=False)
class LabelImages(beam.PTransform):  # type: ignore[misc]
    """Label the missing shards of one model's label set, and write each at once."""

    plan: LabelPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The split and number of each shard, as it is written."""
        hints = {"accelerator": self.plan.accelerator} if self.plan.accelerator else {}
        shards = begin | "Shards" >> beam.Create(self.plan.missing)
        return shards | "Label" >> LabelAndWrite(self.plan).with_resource_hints(**hints)


@dataclass(eq=False)
class LabelAndWrite(beam.PTransform):  # type: ignore[misc]
    """Label shards, and write each at once.

    Both steps ask for the same resources: a runner fuses only steps that do, and without the fusion every shard of a
    bundle would be labelled, and held, before the first is written.
    """

    plan: LabelPlan

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """The split and number of each shard, as it is written."""
        handler = ShardLabeller(self.plan.model, self.plan.answers, self.plan.batch, self.plan.keep_scores)
        return shards | "Score" >> RunInference(handler) | "Write" >> beam.Map(write_shard, self.plan)


class ShardLabeller(ModelHandler[ImageShard, LabelledShard, Any]):  # type: ignore[misc]
    """RunInference's way to a network: loads it once a worker, and labels a whole shard an element."""

    def __init__(self, model: str, answers: Answers, batch: int, keep_scores: bool) -> None:
        super().__init__()
        self._model, self._answers, self._batch, self._keep_scores = model, answers, batch, keep_scores

    def load_model(self) -> Any:
        """The network, ready to score."""
        from models import scoring  # TensorFlow is imported where it is needed: on the workers that label

        return scoring.load(self._model, self._batch)

    def run_inference(
        self, batch: Sequence[ImageShard], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[LabelledShard]:
        """Label each shard; its mini-batches are the scorer's."""
        for source in batch:
            yield label_shard(source, model, self._answers, self._keep_scores)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """A shard is a batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[ImageShard]) -> int:
        """Bytes of images in a batch."""
        return sum(source.payload_bytes for source in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own counters go."""
        return "concord_inference"


def label_shard(source: ImageShard, scorer: Any, answers: Answers, keep_scores: bool) -> LabelledShard:
    """Label every image of a shard that can be read, decoded and scored; reject the others, each by name.

    Raises:
        IncompleteError: the shard and its index do not belong together.
    """
    execution.count_element("label", source.payload_bytes)
    index = source.index.read(source.shard)
    ids: list[str] = index["image_id"].to_pylist()
    payloads, rejected = read_payloads(source, index)
    whole = [row for row in range(len(ids)) if row not in rejected]
    if scorer.ids([payloads[row] for row in whole]) != [ids[row] for row in whole]:
        raise IncompleteError(f"{source.tfrecord} holds other images than its index says: run concord convert --force")
    scores, poisoned = score(scorer, [payloads[row] for row in whole])
    rejected |= {whole[position]: problem for position, problem in poisoned.items()}
    kept = [row for row in whole if row not in rejected]
    labels = label_table([ids[row] for row in kept], scores, answers, keep_scores)
    return LabelledShard(source, len(kept), labels, reject_table(source, ids, rejected))


Rejected = dict[int, tuple[Reason, str]]


def read_payloads(source: ImageShard, index: pa.Table) -> tuple[list[bytes], Rejected]:
    """The payloads of a shard at the offsets of its index, and the rows that are damaged."""
    shard = storage.read_bytes(source.tfrecord)
    payloads, rejected = [], {}
    places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    for row, (offset, length) in enumerate(places):
        payload = tfrecord.payload_at(shard, offset, length)
        if payload is None:
            rejected[row] = (Reason.RECORD_DAMAGED, f"the checksum of the {length} bytes at {offset} does not fit")
        payloads.append(payload or b"")
    return payloads, rejected


def score(scorer: Any, payloads: list[bytes]) -> tuple[npt.NDArray[np.float32], Rejected]:
    """Scores of the images that have any, in order, and the positions of those that have none."""
    try:
        scores = scorer.scores(payloads)
        rejected: Rejected = {}
    except scorer.failures:
        found = scorer.undecodable(payloads)
        if not found:
            raise
        rejected = {row: (Reason.IMAGE_UNDECODABLE, detail) for row, detail in found.items()}
        scores = scorer.scores([payload for row, payload in enumerate(payloads) if row not in rejected])
    kept = [row for row in range(len(payloads)) if row not in rejected]
    finite = np.isfinite(scores).all(axis=1)
    for position in np.flatnonzero(~finite).tolist():
        rejected[kept[position]] = (Reason.SCORES_NOT_FINITE, f"scores {scores[position].tolist()}")
    return scores[finite], rejected


def label_table(ids: Sequence[str], scores: npt.NDArray[np.float32], answers: Answers, keep_scores: bool) -> pa.Table:
    """The labels that scores stand for, a row each.

    Args:
        ids: of the images.
        scores: (n, k), in [0, 1].
        answers: what they mean.
        keep_scores: whether the table holds the scores as well.
    """
    reading = tasks.load(answers.task).read(scores, answers.classes, answers.thresholds)
    columns = {
        "image_id": pa.array(ids, pa.string()).take(pa.array(reading.rows)),
        "label": pa.array(reading.labels, pa.string()),
        "confidence": reading.confidences,
    }
    everything = {"scores": pa.array(scores[reading.rows].tolist(), pa.list_(pa.float32()))} if keep_scores else {}
    return tables.label_rows(columns | everything)


def reject_table(source: ImageShard, ids: Sequence[str], rejected: Rejected) -> pa.Table:
    """The images of a shard that got no label."""
    rows = sorted(rejected)
    columns: dict[str, list[str]] = {
        "image_id": [ids[row] for row in rows],
        "source": [source.tfrecord] * len(rows),
        "position": [f"record {row}" for row in rows],
        "reason": [str(rejected[row][0]) for row in rows],
        "detail": [rejected[row][1] for row in rows],
    }
    return pa.table(columns, schema=tables.REJECTS)


def write_shard(labelled: LabelledShard, plan: LabelPlan) -> tuple[str, int]:
    """Write the labels of a shard, after its rejects."""
    split, shard = labelled.source.split, labelled.source.shard
    labels, rejects = labelled.labels, labelled.rejects
    total = labelled.images + rejects.num_rows
    reasons = tables.reject_counts(rejects)
    report = ShardReport(total, labelled.images, reasons, labelled.source.payload_bytes)
    plan.rejects(split).write(shard, rejects, report)
    plan.labels(split).write(shard, labels, report)
    execution.count("label.images", labelled.images)
    execution.count("label.rejected", rejects.num_rows)
    return split, shard
