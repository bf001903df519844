"""Everything that can be wrong in a root, done by hand: each damage returns how what it does should be named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage import parquet, tfrecord

IMAGES = "images/drawn/1.0.0/drawn-test.tfrecord-00003-of-00008"
MODEL = "models/drawn/one"
INDEX = "index/dataset=drawn/split=test"
LABELS = "labels/dataset=drawn/annotator=one/split=test"
REJECTS = "rejects/label/dataset=drawn/annotator=one/split=test"
PAIRS = "agreement/pairs/dataset=drawn/annotator_a=one/annotator_b=two/split=test"
SUMMARY = "agreement/summary/drawn-one-two-test.parquet"
PART = "part-00003-of-00008.parquet"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def rewritten(
    path: Path, change: Callable[[pa.Table], pa.Table], row_group_size: int | None = None, **options: Any
) -> None:
    """A Parquet file with other rows, written by pyarrow alone, with the metadata that it had."""
    file = pq.ParquetFile(path)
    metadata = file.metadata.metadata
    rows = change(file.read())
    with pq.ParquetWriter(path, rows.schema, **options) as writer:
        writer.write_table(rows, row_group_size)
        writer.add_key_value_metadata({parquet.CONTENT: metadata[parquet.CONTENT]})


def relabelled(rows: pa.Table) -> pa.Table:
    names = rows["label"].to_pylist()
    changed = pa.array(["9" if names[0] != "9" else "8", *names[1:]], rows["label"].type)
    return rows.set_column(rows.column_names.index("label"), rows.schema.field("label"), changed)


def record(root: Path, row: int = 2) -> tuple[str, int, int]:
    """Id, offset and length of a record of the third shard."""
    index = pq.read_table(root / INDEX / PART).to_pylist()[row]
    return index["image_id"], index["offset"], index["length"]


def damage_pixels(root: Path) -> str:
    name, offset, length = record(root)
    flip(root / IMAGES, offset + length - 5)
    return f"{IMAGES}: record 2 (image {name!r}) does not fit its checksum"


def damage_length(root: Path) -> str:
    name, offset, _ = record(root)
    flip(root / IMAGES, offset - 12)
    return f"{IMAGES}: record 2 (image {name!r}) has another length"


def damage_length_checksum(root: Path) -> str:
    name, offset, _ = record(root)
    flip(root / IMAGES, offset - 1)
    return f"{IMAGES}: record 2 (image {name!r}) has another length, or its checksum"


def damage_data_checksum(root: Path) -> str:
    name, offset, length = record(root)
    flip(root / IMAGES, offset + length)
    return f"{IMAGES}: record 2 (image {name!r}) does not fit its checksum"


def other_image(root: Path) -> str:
    """A whole record with a valid checksum, and another image in it."""
    name, offset, length = record(root)
    content = (root / IMAGES).read_bytes()
    image, _ = tfrecord.decode_example(content[offset : offset + length])
    payload = tfrecord.encode_example(image[:-1] + b"?", name, 3)
    framed = tfrecord.frame_record(payload)
    assert len(payload) == length
    (root / IMAGES).write_bytes(content[: offset - 12] + framed + content[offset + length + 4 :])
    return f"{IMAGES}: record 2 (image {name!r}) holds other bytes than its sha256 says"


def cut_images(root: Path) -> str:
    (root / IMAGES).write_bytes((root / IMAGES).read_bytes()[:-20])
    return f"{IMAGES}: has "


def no_images(root: Path) -> str:
    (root / IMAGES).unlink()
    return f"{IMAGES}: is missing"


def no_metadata(root: Path) -> str:
    (root / "images/drawn/1.0.0/features.json").unlink()
    return "images/drawn/1.0.0/features.json: is missing"


def damage_parquet(root: Path) -> str:
    path = root / LABELS / PART
    flip(path, 200)
    return f"{LABELS}/{PART}: "


def cut_parquet(root: Path) -> str:
    path = root / LABELS / PART
    path.write_bytes(path.read_bytes()[:-30])
    return f"{LABELS}/{PART}: is damaged"


def no_shard(root: Path) -> str:
    (root / LABELS / PART).unlink()
    return f"{LABELS}/{PART}: is missing"


def swap_shards(root: Path) -> str:
    one, other = root / LABELS / PART, root / LABELS / "part-00004-of-00008.parquet"
    one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_bytes)
    other.write_bytes(one_bytes)
    return f"{LABELS}/{PART}: stands in the place of another: it was written as part-00004-of-00008.parquet"


def swap_rejects(root: Path) -> str:
    one, other = root / REJECTS / PART, root / REJECTS / "part-00004-of-00008.parquet"
    one.write_bytes(other.read_bytes())
    return f"{REJECTS}/{PART}: stands in the place of another"


def change_label(root: Path) -> str:
    rewritten(root / LABELS / PART, relabelled)
    return f"{LABELS}/{PART}: its rows were altered"


def change_label_as_a_stage_would(root: Path) -> str:
    path = str(root / LABELS / PART)
    parquet.write(path, relabelled(parquet.read(path)), *parquet.read_tags(path))
    return f"{LABELS}/{PART}: is not the file that its manifest lists"


def change_summary_as_a_stage_would(root: Path) -> str:
    path = str(root / SUMMARY)
    rows = parquet.read(path)
    place = rows.column_names.index("n")
    more = pa.array([n + 1 for n in rows["n"].to_pylist()], pa.int64())
    parquet.write(path, rows.set_column(place, rows.schema.field("n"), more), *parquet.read_tags(path))
    return f"{SUMMARY}: is not the file that its manifest lists"


def change_queue(root: Path) -> str:
    path = root / "agreement/queue/dataset=drawn/test.parquet"
    rewritten(path, lambda rows: rows.slice(1))
    return "agreement/queue/dataset=drawn/test.parquet: its rows were altered"


def stale_shard(root: Path) -> str:
    path = str(root / LABELS / PART)
    parquet.write(path, parquet.read(path), "of-another-run", parquet.read_tags(path)[1])
    return f"{LABELS}/{PART}: has fingerprint of-another-run instead of "


def other_columns(root: Path) -> str:
    path = root / "agreement/queue/dataset=drawn/test.parquet"
    rows, (tag, report) = parquet.read(str(path)), parquet.read_tags(str(path))
    parquet.write(str(path), rows.rename_columns(["rang", *rows.column_names[1:]]), tag, report)
    return "agreement/queue/dataset=drawn/test.parquet: it has no column 'rank'"


def change_manifest(root: Path) -> str:
    path = root / LABELS / "_concord.json"
    manifest = json.loads(path.read_text())
    manifest["counts"]["in"] += 1
    path.write_text(json.dumps(manifest))
    return f"{LABELS}/_concord.json: its counts do not close"


def change_rows_of_manifest(root: Path) -> str:
    path = root / PAIRS / "_concord.json"
    manifest = json.loads(path.read_text())
    manifest["tables"][0]["rows"] = 3
    path.write_text(json.dumps(manifest))
    return f"{PAIRS}: has 160 rows, and its manifest states 3"


def break_manifest(root: Path) -> str:
    (root / LABELS / "_concord.json").write_text("{")
    return f"{LABELS}/_concord.json: cannot be read"


def no_manifest(root: Path) -> str:
    (root / LABELS / "_concord.json").unlink()
    return f"{LABELS}: is not complete: it has no _concord.json: run concord label again"


def no_images_manifest(root: Path) -> str:
    (root / "images/drawn/1.0.0/_concord.json").unlink()
    return "images/drawn/1.0.0: is not complete: it has no _concord.json: run concord convert again"


def change_model(root: Path) -> str:
    flip(root / MODEL / "model.keras", 1000)
    return f"{MODEL}/model.keras: was altered"


def change_card(root: Path) -> str:
    path = root / MODEL / "model.json"
    card = json.loads(path.read_text())
    del card["files"]["model.keras"]["sha256"]
    path.write_text(json.dumps(card))
    return f"{MODEL}/model.json: cannot be read"


def no_model_file(root: Path) -> str:
    (root / MODEL / "serving/saved_model.pb").unlink()
    return f"{MODEL}/serving/saved_model.pb: is missing"


def no_card(root: Path) -> str:
    (root / MODEL / "model.json").unlink()
    return f"{MODEL}: is not complete: it has no model.json: run concord train again"


def change_statistics(root: Path) -> str:
    path = str(root / "statistics/verdict_sources/open_images.parquet")
    parquet.write(path, parquet.read(path).slice(1), *parquet.read_tags(path))
    return "statistics/verdict_sources/open_images.parquet: is not the file that its manifest lists"


DAMAGES = [
    *(damage_pixels, damage_length, damage_length_checksum, damage_data_checksum, other_image, cut_images, no_images),
    *(no_metadata, damage_parquet, cut_parquet, no_shard, swap_shards, swap_rejects, change_label),
    *(change_label_as_a_stage_would, change_summary_as_a_stage_would, change_queue, stale_shard, other_columns),
    *(
        change_manifest,
        change_rows_of_manifest,
        break_manifest,
        no_manifest,
        no_images_manifest,
        change_model,
        change_card,
    ),
    *(no_model_file, no_card, change_statistics),
]
