"""How many bytes stages write: tables by writing a few rows of each to memory, images and models by rules of thumb."""

import functools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.preflight.paces import NETWORKS
from schemas import tables

_SAMPLE = 512
MANIFEST_BYTES = 1_000
METADATA_BYTES = 12_000  # dataset_info.json and the like, beside TFRecords
EXAMPLE_BYTES = 110  # of a TFRecord beside the image: its id, label, and framing
PNG_SHARE = 0.5  # of the pixels: house numbers and faces take 0.38 to 0.68
PAIR_TABLE_BYTES, ALONE_TABLE_BYTES, MANY_TABLE_BYTES = 94_000, 29_000, 30_000  # the tables of an agreement
SHARED_ID_BYTES = 9  # that a row's id takes less where the row before has it, too
PAGE_BYTES, PAGE_PAIR_BYTES = 300_000, 65_000  # a report, and what each comparison adds to it
GRAPH_BYTES = {"efficientnet_v2": 1_500_000, "xception": 750_000}  # of a SavedModel, beside its weights
HOLDS = 3  # what a training keeps of each weight for going on: itself and Adam's two moments


@functools.cache
def _sample_bytes(schema: pa.Schema, rows: int) -> int:
    """Bytes of a Parquet file of so many rows of random values, written as tables are."""
    random = np.random.default_rng(1)
    columns = [_values(field, rows, random) for field in schema]
    sink = pa.BufferOutputStream()
    unique = [field.name for field in schema if field.name not in ("image_id", "sha256")]
    tagged = pa.table(columns, schema=schema).replace_schema_metadata({"fingerprint": "0" * 16, "report": "0" * 80})
    pq.write_table(tagged, sink, compression="zstd", use_dictionary=unique)
    return int(sink.getvalue().size)


def _values(field: pa.Field, rows: int, random: np.random.Generator) -> pa.Array:
    kind = field.type
    if field.name in ("image_id", "sha256", "label", "source", "label_a", "label_b", "truth"):
        long = {"image_id": 16, "sha256": 64}.get(field.name)
        drawn = random.integers(0, 10, rows).astype(str).tolist()
        return pa.array([random.bytes(long // 2).hex() for _ in range(rows)] if long else drawn, pa.string())
    if pa.types.is_floating(kind):
        return pa.array(random.random(rows), pa.float64()).cast(kind)
    if pa.types.is_integer(kind):
        return pa.array(random.integers(0, 1 << 15, rows)).cast(kind)
    if pa.types.is_boolean(kind):
        return pa.array(random.random(rows) < 0.9)
    return pa.nulls(rows, kind) if field.nullable else pa.array(["png"] * rows, pa.string())


def table_bytes(schema: pa.Schema, rows: float, shards: int, extra: float = 0.0) -> int:
    """Bytes of a folder of Parquet shards.

    Args:
        schema: its columns.
        rows: of all shards.
        shards: how many.
        extra: bytes of each row beside what plain columns take, such as its scores.
    """
    each = rows / shards
    if each <= _SAMPLE:
        one = float(_sample_bytes(schema, math.ceil(each)))
    else:
        most = _sample_bytes(schema, _SAMPLE)
        one = most + (each - _SAMPLE) * (most - _sample_bytes(schema, _SAMPLE // 2)) / (_SAMPLE // 2)
    return int(one * shards + rows * extra) + MANIFEST_BYTES


def label_bytes(rows: float, shards: int, scores: int = 0, shared: bool = False) -> int:
    """Bytes of a label set, with the scores of so many classes; `shared` where images have several rows each."""
    return table_bytes(tables.LABELS, rows, shards, scores * 4 * 0.9 - SHARED_ID_BYTES * shared)


def reject_bytes(shards: int) -> int:
    """Bytes of the rejects of a product that has none."""
    return table_bytes(tables.REJECTS, 0, shards)


def picture_bytes(shape: tuple[int, int, int]) -> float:
    """Bytes of the TFRecord of an image that is encoded as PNG."""
    return math.prod(shape) * PNG_SHARE + EXAMPLE_BYTES


def weights_bytes(network: str, shape: tuple[int, int, int] | None) -> int:
    """Bytes of the weights of a network, about."""
    known = NETWORKS.get(network)
    if known is None:
        return 4_000_000
    pixels = math.prod(shape) if shape else math.prod(known.shape)
    grown = known.by_pixel * (pixels - math.prod(known.shape)) if known.by_pixel else 0
    return int(4 * max(known.parameters // 10, known.parameters + grown))


def model_bytes(network: str, shape: tuple[int, int, int] | None) -> int:
    """Bytes of a model's folder: the network, the SavedModel, the card."""
    return 2 * weights_bytes(network, shape) + GRAPH_BYTES.get(network, 80_000) + 50_000
