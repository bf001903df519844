"""Damaged Parquet files: no changed byte goes unnoticed where rows are read, and none ends in a traceback."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import tables
from schemas.errors import IncompleteError
from schemas.manifests import Manifest
from storage import parquet, products, stores
from storage.products import ShardFolder, ShardReport

FINGERPRINT = "f" * 16
ROWS = [
    {"image_id": f"image-{row}", "label": "ab"[row % 2], "confidence": row / 40, "scores": [row / 7, 1.5]}
    for row in range(40)
]
TABLE = pa.Table.from_pylist(ROWS, schema=tables.LABELS)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A label set's shard, as it is written."""
    folder = ShardFolder(str(tmp_path_factory.mktemp("whole")), 1, FINGERPRINT)
    folder.write(0, TABLE, ShardReport(41, 40, {"record_damaged": 1}))
    return stores.read_bytes(folder.path(0))


def footer(content: bytes) -> int:
    """Where the footer begins: what tells of the rows is before it, and has checksums."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def check(content: bytes, folder: ShardFolder) -> None:
    """Every reader gives what was written, or says which file is damaged."""
    path = Path(folder.path(0))
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    assert folder.done() in ({}, {0: ShardReport(41, 40, {"record_damaged": 1})})
    for read in (parquet.row_count, parquet.read_schema):
        try:
            read(str(path))
        except IncompleteError as error:
            assert str(path) in str(error)
    try:
        found = folder.read(0)
        parquet.check_schema(str(path), found.schema, tables.LABELS)
        assert found.to_pylist() == TABLE.to_pylist()
    except IncompleteError as error:
        assert str(error).startswith(str(path))
        assert "with --force" in str(error) or "run the stage that writes it again" in str(error)
        assert "\n" not in str(error)


def test_a_changed_bit_of_the_rows_is_noticed(content: bytes, tmp_path: Path) -> None:
    folder, noticed = ShardFolder(str(tmp_path), 1, FINGERPRINT), 0
    for place in range(4, footer(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        Path(folder.path(0)).write_bytes(changed)
        try:
            assert folder.read(0).to_pylist() == TABLE.to_pylist(), place  # of a page's header, not all is needed
        except IncompleteError as error:
            noticed += 1
            assert str(error).startswith(f"{folder.path(0)} is damaged")
            assert "remove it, and run the stage" in str(error)
    assert noticed > 0.8 * (footer(content) - 4)


@given(st.data())
def test_whatever_is_changed_it_is_an_error_or_does_not_matter(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(content)
    begin = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["cut", "zeros", "noise"]))
    if kind == "cut":
        del changed[begin:]
    else:
        width = data.draw(st.integers(1, 64))
        end = min(begin + width, len(content))
        changed[begin:end] = bytes(end - begin) if kind == "zeros" else data.draw(st.binary(min_size=1, max_size=64))
    if footer(content) <= begin and kind == "noise":
        return  # the footer has no checksum: what it says of columns is compared, but not all else
    check(bytes(changed), ShardFolder(str(tmp_path_factory.mktemp("changed")), 1, FINGERPRINT))


def test_a_shard_whose_counts_cannot_be_read_is_not_done(tmp_path: Path) -> None:
    folder = ShardFolder(str(tmp_path), 2, FINGERPRINT)
    for shard, report in enumerate(('{"in": 3', '{"in": 40, "out": 40, "rejected": {}, "bytes": 0}')):
        parquet.write(folder.path(shard), TABLE, FINGERPRINT, report)
    assert list(folder.done()) == [1]
    products.write_manifest(folder.folder, Manifest(stage="x", product="x", fingerprint=FINGERPRINT))
    assert not folder.is_whole()
    folder.write(0, TABLE, ShardReport(40, 40))
    assert folder.is_whole()
    Path(folder.path(1)).unlink()
    assert not folder.is_whole()
