"""Tables: the schema survives the file, fingerprints are checked, and DuckDB and pandas open what is written."""

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import tables
from schemas.errors import IncompleteError, StorageError
from storage import parquet, stores

SCHEMAS = {
    "index": tables.INDEX,
    "labels": tables.LABELS,
    "pairs": tables.PAIRS,
    "confusion": tables.CONFUSION,
    "rejects": tables.REJECTS,
    "summary": tables.SUMMARY,
    "measures": tables.MEASURES,
}
LABEL_ROWS = [
    # an id of digits with a leading zero, and a label that is a number: both must stay text
    {"image_id": "000002b66c9c498e", "label": "0", "confidence": 1.0},
    {"image_id": "bild-ä", "label": "/m/014j1m", "confidence": 0.25, "scores": [0.75, 0.25], "verdict": "rejected"},
]


def labels_table() -> pa.Table:
    return pa.Table.from_pylist(LABEL_ROWS, schema=tables.LABELS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_survives_the_file_with_its_descriptions(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "part.parquet")
    parquet.write(path, SCHEMAS[name].empty_table(), "f1")
    found = pq.read_schema(path)
    assert found.names == SCHEMAS[name].names
    for stated, field in zip(SCHEMAS[name], found, strict=True):
        assert (field.type, field.nullable) == (stated.type, stated.nullable)
        assert field.metadata[b"description"] == stated.metadata[b"description"]
        assert len(field.metadata[b"description"]) > 5


def test_rows_come_back(place: str) -> None:
    path = stores.join(place, "part.parquet")
    parquet.write(path, labels_table(), "f1", '{"in": 2}')
    assert parquet.read(path, "f1").replace_schema_metadata(None).equals(labels_table())
    assert parquet.read(path).num_rows == 2
    assert parquet.read_tags(path) == ("f1", '{"in": 2}')


def test_duckdb_and_pandas_open_a_label_set(tmp_path: Path) -> None:
    folder = tmp_path / "labels" / "dataset=svhn" / "annotator=human" / "split=test"
    folder.mkdir(parents=True)
    parquet.write(str(folder / "part-00000-of-00002.parquet"), labels_table(), "f1")
    parquet.write(str(folder / "part-00001-of-00002.parquet"), tables.LABELS.empty_table(), "f1")
    found = duckdb.sql(
        "select image_id, label, confidence, confidence_calibrated, verdict, scores, annotator, split "
        f"from read_parquet('{tmp_path}/labels/**/*.parquet', hive_partitioning=true) order by image_id"
    )
    assert [str(kind) for kind in found.types[:2]] == ["VARCHAR", "VARCHAR"]
    assert found.fetchall() == [
        ("000002b66c9c498e", "0", 1.0, None, None, None, "human", "test"),
        ("bild-ä", "/m/014j1m", 0.25, None, "rejected", [0.75, 0.25], "human", "test"),
    ]
    frame = labels_table().to_pandas()
    assert frame["image_id"].tolist() == ["000002b66c9c498e", "bild-ä"]
    assert frame["confidence"].dtype == "float32"


def test_another_fingerprint_is_refused_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "part.parquet")
    parquet.write(path, labels_table(), "made-before")
    with pytest.raises(IncompleteError) as raised:
        parquet.read(path, "made-now")
    assert str(raised.value).startswith(f"{path} has fingerprint made-before, but its product is made-now")
    assert "run the stage that writes it again" in str(raised.value)


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "part.parquet")
    pq.write_table(labels_table(), path)
    assert parquet.read_tags(path) == ("", "")
    with pytest.raises(IncompleteError, match="has fingerprint none, but its product is f1"):
        parquet.read(path, "f1")


@pytest.mark.parametrize("kept", [0, 4, 0.5, -1], ids=["empty", "magic only", "half", "all but a byte"])
def test_a_cut_off_file_is_nobodys_and_is_named(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "part.parquet"
    parquet.write(str(path), labels_table(), "f1")
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if 0 < kept < 1 else int(kept) % size)
    assert parquet.read_tags(str(path)) == ("", "")
    with pytest.raises(IncompleteError, match=f"{path} is damaged .*: remove it, and run the stage"):
        parquet.read(str(path))


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parquet.write(str(path), pa.concat_tables([labels_table()] * 500), "f1")
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * 200 + content[300:])
    with pytest.raises(IncompleteError, match=f"{path} is damaged"):
        parquet.read(str(path), "f1")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/absent.parquet: no such file"):
        parquet.read(str(tmp_path / "absent.parquet"))


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        parquet.write(str(tmp_path / folder / "part"), labels_table(), "f1", "{}")
    assert (tmp_path / "one" / "part").read_bytes() == (tmp_path / "two" / "part").read_bytes()


def test_what_identifies_a_row_is_never_null() -> None:
    keys = ["dataset", "split", "annotator_a", "annotator_b", "task", "n", "n_agree", "n_compared", "n_reference"]
    assert [field.name for field in tables.SUMMARY if not field.nullable] == keys
    assert [field.name for field in tables.MEASURES if not field.nullable] == [*keys[:3], "scope", "measure"]


def test_who_is_present() -> None:
    rows = [(0.9, None), (0.0, None), (0.0, "confirmed"), (0.9, "rejected"), (1.0, "confirmed")]
    labels = pa.table(
        {"confidence": [row[0] for row in rows], "verdict": pa.array([row[1] for row in rows], pa.string())}
    )
    assert tables.present(labels).to_pylist() == [True, False, True, False, True]
