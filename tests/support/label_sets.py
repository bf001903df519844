"""Label sets as a stage leaves them: every row in its image's shard, in the order of hashes, and a manifest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from schemas import layout, tables
from schemas.manifests import LabelsManifest
from storage import hashing, products
from storage.products import ShardFolder, ShardReport

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]
IMAGES = "convert-1a2b3c4d5e6f7081"  # fingerprint of the images, where a test has none of its own


def write_label_set(
    root: str | Path,
    dataset: str,
    annotator: str,
    rows: Rows,
    *,
    split: str = "test",
    shards: int = 8,
    images: str = IMAGES,
    fingerprint: str = "",
    **facts: Any,
) -> ShardFolder:
    """Write a finished label set.

    Args:
        root: where everything lies.
        dataset: which has the images.
        annotator: whose labels these are.
        rows: with `image_id` and `label`; a confidence that is not stated is 1, other columns are null.
        split: of the dataset.
        shards: a power of two.
        images: fingerprint of the dataset.
        fingerprint: of the label set; without it, one that follows from the rows.
        facts: more that the manifest states.
    """
    table = _as_table(rows, tables.LABELS)
    table = table.set_column(2, tables.LABELS.field("confidence"), table["confidence"].fill_null(1.0))
    tag = fingerprint or products.fingerprint("import", annotator=annotator, rows=table.to_pydict())
    folder = ShardFolder(layout.labels(str(root), dataset, annotator, split), shards, tag)
    write_shards(folder, table, tables.LABELS)
    manifest = LabelsManifest(
        stage=products.stage_of(tag),
        product=f"{dataset}/{annotator}/{split}",
        fingerprint=tag,
        tables=(folder.table_files(str(root), "labels", table.num_rows, "out"),),
        annotator=annotator,
        split=split,
        images=images,
        shards=shards,
        rows=table.num_rows,
        **facts,
    )
    products.write_manifest(folder.folder, manifest)
    return folder


def write_shards(folder: ShardFolder, rows: Rows | pa.Table, schema: pa.Schema) -> None:
    """Write the shards of a folder, each row in the one of its `image_id`, in the order of hashes; no manifest."""
    table = rows if isinstance(rows, pa.Table) else _as_table(rows, schema)
    hashes = hashing.image_hashes(table["image_id"].to_pylist())
    for shard, order in enumerate(hashing.rows_by_shard(hashes, folder.shards)):
        folder.write(shard, table.take(pa.array(order)), ShardReport(len(order), len(order)))


def _as_table(rows: Rows, schema: pa.Schema) -> pa.Table:
    if not isinstance(rows, pd.DataFrame):
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    columns = [
        pa.array(rows[field.name], field.type) if field.name in rows else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
