"""Explain labels: which regions of an image drove the prediction (Grad-CAM).

    concord explain --models cnn1,cnn2 --dataset svhn --split test --root out

An element is an image shard, of which only the records of the requested images are read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference

from models import tasks
from pipelines import runner
from pipelines.explain import heat_maps
from pipelines.scoring import ImageShard, Rejected, ShardScorer, count_loading, damaged, reject_table
from schemas import tables
from schemas.errors import IncompleteError, Reason
from schemas.manifests import MULTICLASS, MULTILABEL
from schemas.settings.base import resource_hints
from storage import stores
from storage.products import ImageSet, ShardFolder, ShardReport
from storage.tfrecord import decode_example, read_payload

STAGE = "explain"


@dataclass(frozen=True)
class RequestedShard:
    """What one Beam element stands for: an image shard, and the images of it that are to be explained."""

    source: ImageShard
    ids: tuple[str, ...]

    @property
    def split(self) -> str:
        """Of the images."""
        return self.source.split


@dataclass(frozen=True)
class ExplainPlan:
    """What explaining images with one model makes.

    Attributes:
        name: of the model.
        requested: the images, in the order in which they are shown.
        shards: the shards that hold them.
        missing: those of the shards that are still to be made.
        load: gives the model, ready to explain, on a worker.
    """

    name: str
    images: ImageSet
    split: str
    requested: tuple[str, ...]
    shards: tuple[int, ...]
    output: ShardFolder
    rejects: ShardFolder
    missing: tuple[RequestedShard, ...]
    load: Callable[[], Any]
    accelerator: str
    share_model: bool = False
    min_ram: str = ""
    stage: str = STAGE


@dataclass(frozen=True)
class ExplainedShard:
    """The explanations of the images of a shard, and the images that have none."""

    source: ImageShard
    rows: pa.Table
    rejects: pa.Table


@dataclass(eq=False)
class ExplainImages(beam.PTransform):  # type: ignore[misc]
    """Explain the missing shards of one model, and write each at once."""

    plan: ExplainPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The number of each shard, as it is written."""
        hints = resource_hints(self.plan.accelerator, self.plan.min_ram)
        shards = begin | "Shards" >> beam.Create(self.plan.missing)
        return shards | "Explain" >> ExplainAndWrite(self.plan).with_resource_hints(**hints)


@dataclass(eq=False)
class ExplainAndWrite(beam.PTransform):  # type: ignore[misc]
    """Explain shards, and write each at once; both require the same resources, and so are fused."""

    plan: ExplainPlan

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        """The number of each shard, as it is written."""
        explained = shards | "Infer" >> RunInference(ShardExplainer(self.plan))
        return explained | "Write" >> beam.Map(write_shard, self.plan.output, self.plan.rejects)


class ShardExplainer(ShardScorer):
    """RunInference's way to a model that explains, one shard per element."""

    def __init__(self, plan: ExplainPlan) -> None:
        super().__init__(plan)  # type: ignore[arg-type]
        self._task, self._classes = plan.images.manifest.task, tuple(plan.images.classes)

    def run_inference(  # type: ignore[override]
        self, batch: Sequence[RequestedShard], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[ExplainedShard]:
        """Explain each shard."""
        count_loading(STAGE, model)
        for requested in batch:
            yield explain_shard(requested, model, self._task, self._classes)

    def get_num_bytes(self, batch: Sequence[RequestedShard]) -> int:  # type: ignore[override]
        """Bytes of the image shards in a batch."""
        return sum(requested.source.payload_bytes for requested in batch)


def load_model(folder: str, batch: int) -> Any:
    """The model of a folder, ready to explain so many images at once."""
    from models import gradcam  # TensorFlow is imported where it is needed: on the workers that explain

    return gradcam.load_explainer(folder, batch)


def explain_shard(requested: RequestedShard, explainer: Any, task: str, classes: Sequence[str]) -> ExplainedShard:
    """Explain every requested image that can be read, decoded and scored; reject the others, each by name.

    Raises:
        IncompleteError: the shard and its index do not belong together.
    """
    source = requested.source
    ids, payloads, rejected = read_requested(source, requested.ids)
    runner.count_element(STAGE, sum(map(len, payloads.values())))
    pixels = {}
    for row, payload in payloads.items():
        try:
            pixels[row] = explainer.decode(payload)
        except explainer.failures as error:
            rejected[row] = (Reason.IMAGE_UNDECODABLE, str(getattr(error, "message", error)).splitlines()[0])
    rows = sorted(pixels)
    rows_out = []
    if rows:
        stacked = np.stack([pixels[row] for row in rows])
        heat, scores, faults = explainer.explain(stacked, [ids[row] for row in rows], source.split)
        whole = np.isfinite(scores).all(axis=1)
        for place in np.flatnonzero(~whole).tolist():
            infinite = (Reason.SCORES_NOT_FINITE, f"scores {scores[place].tolist()[:20]}")
            rejected[rows[place]] = faults.get(place, infinite)
        kept = np.flatnonzero(whole)
        labels = most_probable_labels(scores[kept], task, classes)
        for place, (label, confidence) in zip(kept.tolist(), labels, strict=True):
            images = (heat_maps.encode_image(stacked[place]), heat_maps.overlay_heat(stacked[place], heat[place]))
            rows_out.append((ids[rows[place]], label, confidence, *images))
    columns = [pa.array([row[at] for row in rows_out], field.type) for at, field in enumerate(tables.EXPLANATIONS)]
    return ExplainedShard(source, pa.table(columns, schema=tables.EXPLANATIONS), reject_table(source, ids, rejected))


def read_requested(source: ImageShard, requested: Sequence[str]) -> tuple[list[str], Mapping[int, bytes], Rejected]:
    """The ids of a shard, the payloads of the requested images by row, and those of them that are damaged."""
    index = source.index.read(source.shard)
    ids: list[str] = index["image_id"].to_pylist()
    offsets, lengths = index["offset"].to_pylist(), index["length"].to_pylist()
    payloads: dict[int, bytes] = {}
    rejected: Rejected = {}
    with stores.open_input(source.tfrecord) as file:
        for row in sorted(ids.index(image_id) for image_id in requested):
            payload = read_payload(file, offsets[row], lengths[row])
            if payload is None:
                rejected[row] = damaged(offsets[row], lengths[row])
            elif decode_example(payload)[1] != ids[row]:
                raise IncompleteError(
                    f"{source.tfrecord} holds other images than its index says: run concord convert --force"
                )
            else:
                payloads[row] = payload
    return ids, payloads, rejected


def most_probable_labels(scores: Any, task: str, classes: Sequence[str]) -> list[tuple[str, float]]:
    """The one label of each image that its scores most stand for, and its confidence."""
    reading = tasks.load(MULTICLASS if task == MULTILABEL else task).decode_labels(scores, classes, None)
    return list(zip(reading.labels.tolist(), reading.confidences.tolist(), strict=True))


def write_shard(explained: ExplainedShard, output: ShardFolder, rejects: ShardFolder) -> int:
    """Write the explanations of a shard, after its rejects."""
    shard, rows, rejected = explained.source.shard, explained.rows.num_rows, explained.rejects
    report = ShardReport(rows + rejected.num_rows, rows, tables.reject_counts(rejected))
    rejects.write(shard, rejected, report)
    output.write(shard, explained.rows, report)
    runner.count_records(STAGE, report)
    return shard
