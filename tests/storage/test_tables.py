"""The registry of tables: every column described, files found by their place, and those that do not fit refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import table_docs
from schemas import layout, tables
from schemas.errors import IncompleteError
from storage import parquet, stores
from storage.tables import KEYS, TABLES, Table

UNITS = {"1", "bytes", "channels", "comparisons", "images", "labels", "pixels", "rows"}
ORDINALS = {
    ("index", "shard"),
    ("machine_precision", "decile"),
    ("confirm_read", "number"),
    ("confirm_joined", "number"),
}
ORDINALS |= {("calibration", "bin"), ("joint_confidence", "bin_a"), ("joint_confidence", "bin_b")}
ORDINALS |= {("queue", "rank"), ("label_errors", "rank")}
ORDINALS |= {("generations", name) for name in ("generation", "seed", "seeds")}
LABELS = TABLES["labels"]


def is_number(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_column_says_what_it_is_and_every_quantity_in_which_unit(table: Table) -> None:
    assert table.columns.names == list(dict.fromkeys(table.columns.names)), "a name stands twice"
    assert set(table.keys) <= set(KEYS)
    for field in table.columns:
        assert len(table_docs.description(field)) > 5, field.name
        quantity = is_number(field.type) and (table.name, field.name) not in ORDINALS
        assert (table_docs.unit(field) in UNITS) if quantity else table_docs.unit(field) == "", field.name


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_descriptions_and_units_are_in_the_files(table: Table, tmp_path: Path) -> None:
    path = str(tmp_path / "part.parquet")
    parquet.write(path, table.schema.empty_table(), "f")
    for stated, found in zip(table.schema, pq.read_schema(path), strict=True):
        assert table_docs.description(found) == table_docs.description(stated) != ""
        assert table_docs.unit(found) == table_docs.unit(stated)


def test_no_file_is_of_two_tables() -> None:
    places = [(table.folder, table.pattern) for table in TABLES.values()]
    assert len({pattern for _, pattern in places}) == len(places)
    for folder, pattern in places:
        assert pattern.startswith(f"{folder}/")
        assert not any(other.startswith(f"{folder}/") for other, _ in places), folder


def write(root: str, rows: pa.Table, *keys: str) -> str:
    path = stores.join(layout.labels(root, *keys), layout.parquet_shard(0, 1))
    parquet.write(path, rows, "f")
    return path


def some_rows(*images: str) -> pa.Table:
    found = {"image_id": list(images), "label": ["7"] * len(images), "confidence": [1.0] * len(images)}
    return tables.label_rows({**found, "confidence": pa.array(found["confidence"], pa.float32())})


def test_rows_come_with_the_keys_of_their_path_as_text(place: str) -> None:
    write(place, some_rows("i1", "i2"), "svhn", "1", "2026-01-01")
    write(place, some_rows("i3"), "svhn", "true", "test")
    stores.write_bytes(stores.join(layout.labels(place, "svhn", "true", "test"), "_concord.json"), b"{}")
    found = LABELS.open(place).to_table().sort_by("image_id")
    assert found.schema.names == LABELS.columns.names
    keys = [tuple(row[key] for key in ("image_id", *LABELS.keys)) for row in found.to_pylist()]
    assert keys == [(f"i{at}", "svhn", "1", "2026-01-01") for at in (1, 2)] + [("i3", "svhn", "true", "test")]


def test_a_root_may_have_any_name(tmp_path: Path) -> None:
    root = str(tmp_path / "[a]*{b}=c 'd'")
    write(root, some_rows("i1"), "svhn", "human", "test")
    assert LABELS.open(root).count_rows() == 1
    assert LABELS.open(str(tmp_path / "a")).to_table().schema.names == LABELS.columns.names


def test_a_table_of_settings_has_the_columns_of_all_of_its_files(tmp_path: Path) -> None:
    root, sweep = str(tmp_path), TABLES["sweep"]
    settings: dict[str, dict[str, list[Any]]] = {"cnn1": {"seed": [1]}, "cnn2": {"seed": [0.5], "augment": ["flip"]}}
    for model, more in settings.items():
        path = stores.join(layout.model(root, "svhn", model), layout.SWEEP_TABLE)
        parquet.write(path, pa.table({"run": ["run-0"], "best": [True], **more}), "f")
    expected: list[dict[str, Any]]
    expected = [{"seed": 1.0, "augment": None, "model": "cnn1"}, {"seed": 0.5, "augment": "flip", "model": "cnn2"}]
    shared: dict[str, Any] = {"run": "run-0", "best": True, "dataset": "svhn"}
    assert sweep.open(root).to_table().to_pylist() == [{**shared, **row} for row in expected]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop_columns("verdict"), "has no column 'verdict'"),
        (lambda rows: rows.append_column("mood", rows["label"]), "has a column 'mood' that its table does not know"),
        (
            lambda rows: rows.set_column(2, "confidence", rows["confidence"].cast(pa.float64())),
            "has column 'confidence' as double instead of float",
        ),
    ],
    ids=["missing", "unknown", "of another type"],
)
def test_a_file_that_does_not_fit_is_named_with_its_column(
    change: Callable[[pa.Table], pa.Table], said: str, tmp_path: Path
) -> None:
    root = str(tmp_path)
    write(root, some_rows("i1"), "svhn", "human", "train")
    path = write(root, change(some_rows("i2")), "svhn", "human", "test")
    for read in (partial(LABELS.open, root), partial(parquet.read, path, schema=tables.LABELS)):
        with pytest.raises(IncompleteError) as raised:
            read()
        assert str(raised.value).startswith(f"{path} {said}: ")
        assert "--force" in str(raised.value)
    assert parquet.read(path).num_rows == 1


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = write(str(tmp_path), some_rows("i1").select(tables.LABELS.names[::-1]), "svhn", "human", "test")
    assert parquet.read(path, schema=tables.LABELS).num_rows == 1
    assert LABELS.open(str(tmp_path)).to_table()["image_id"].to_pylist() == ["i1"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = Path(write(str(tmp_path), some_rows("i1"), "svhn", "human", "test"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IncompleteError, match=f"{path} is damaged"):
        LABELS.open(str(tmp_path))
