"""What tells that a Parquet file is as it was written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from schemas import tables
from schemas.errors import IncompleteError
from schemas.manifests import Manifest, TableFiles
from storage import parquet, stores
from storage.products import ShardFolder, ShardReport, find_manifest, write_manifest

NAMES = ("part-00000-of-00004.parquet", "part-00001-of-00004.parquet")


def labels(*names: str) -> pa.Table:
    ids = [f"i{number}" for number in range(len(names))]
    return tables.label_rows(
        {"image_id": ids, "label": names, "confidence": pa.array([1.0] * len(names), pa.float32())}
    )


def test_the_footer_holds_a_hash_of_all_before_it_and_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parquet.write(str(path), labels("x", "y"), "f", '{"in": 2}')
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    body = content[: len(content) - 8 - footer]
    stated = pq.read_metadata(path).metadata[parquet.CONTENT].decode()
    assert stated == xxhash.xxh3_128_hexdigest(body + b"part.parquet")
    assert parquet.content_hashes(memoryview(content), ["part.parquet"]) == {"part.parquet": stated}
    assert parquet.footer_hash(memoryview(content)) == xxhash.xxh3_128_hexdigest(content[len(body) : -8])
    assert parquet.read(str(path), "f").equals(labels("x", "y"))
    assert parquet.read_tags(str(path)) == ("f", '{"in": 2}')


@pytest.mark.parametrize("column", [b"x" * 10, b"y" * 200_000])
def test_a_seal_needs_only_the_end_of_a_file(place: str, column: bytes) -> None:
    path = f"{place}/part.parquet"
    wide = pa.table({"a" + column.decode()[:9000]: pa.array([column])})
    for name in ("part.parquet", "other.parquet"):
        parquet.write(f"{place}/{name}", wide, "f", '{"in": "' + column.decode() + '"}')
    from storage import stores

    found = parquet.footer_hashes([path, f"{place}/other.parquet"])
    assert found["part.parquet"] == parquet.footer_hash(memoryview(stores.read_bytes(path)))
    assert found["part.parquet"] != found["other.parquet"]  # the same rows under another name


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100, b"\xff\xff\xff\x7fPAR1", b"x" * 50 + b"\x60\0\0\0PAR1"])
def test_what_has_no_footer_has_no_hash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(content)
    with pytest.raises(IncompleteError, match=f"{path} is damaged"):
        parquet.footer_hashes([str(path)])


def test_a_manifest_keeps_the_footer_hashes_of_its_shards(place: str) -> None:
    folder = ShardFolder(f"{place}/labels/x", 4, "f")
    for shard in range(2):
        folder.write(shard, labels("x"), ShardReport(1, 1))
    tables = folder.table_files(place, "labels", 2, "out")
    write_manifest(place, Manifest(stage="import", product="x", fingerprint="f", tables=(tables,)))
    manifest = find_manifest(place, Manifest)
    assert manifest is not None
    assert manifest.tables == (
        TableFiles(table="labels", folder="labels/x", files=tables.files, rows=2, counted="out"),
    )
    expected = {name: parquet.footer_hash(memoryview(stores.read_bytes(f"{folder.folder}/{name}"))) for name in NAMES}
    assert manifest.tables[0].files == expected  # of the shards that are there
    assert len(set(expected.values())) == 2  # alike but for their names
