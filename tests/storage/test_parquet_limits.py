"""Parquet files from outside: what they ask for is counted from their own bytes, and held against their size."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.import_labels import files
from pipelines.import_labels import rows as import_rows
from schemas.errors import ConcordError, IncompleteError, InputError
from storage import parquet, parquet_limits
from storage.parquet_limits import Compact

NAMES = ("image_id", "label", "confidence")


def stored(table: pa.Table, **how: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **how)
    return sink.getvalue()


def mixed(rows: int) -> pa.Table:
    rng = np.random.default_rng(1)
    ids = [f"{number:016x}" for number in range(rows)]
    scores = pa.array([[0.5] * (row % 4) for row in range(rows)], pa.list_(pa.float32()))
    return pa.table({"image_id": ids, "label": ["a", "bb"] * (rows // 2), "c": rng.random(rows), "scores": scores})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("packing", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("rows", [0, 2, 5000])
def test_pages_add_up_to_what_the_writer_says(rows: int, packing: str, version: str) -> None:
    """The footer's total counts headers as well; without them the pages have what their columns say."""
    content = stored(
        mixed(rows), compression=packing, row_group_size=3000, data_page_version=version, data_page_size=999
    )
    raw = io.BytesIO(content)
    size, content_of_footer = parquet_limits.read_footer(raw)
    footer = Compact(content_of_footer).structure()
    file = pq.ParquetFile(io.BytesIO(content))
    assert (size, footer[3], len(footer[4])) == (len(content), rows, file.num_row_groups)
    for number, group in enumerate(footer[4]):
        for place, (name, column) in enumerate(parquet_limits._columns(group)):
            about = file.metadata.row_group(number).column(place)
            assert name == about.path_in_schema.partition(".")[0]
            unpacked, dictionary = parquet_limits._pages(raw, column, about.num_values, size)
            assert dictionary <= unpacked <= about.total_uncompressed_size <= unpacked + 100 * (rows // 10 + 2)
    parquet_limits.check_limits("x", io.BytesIO(content))


def bombs() -> dict[str, bytes]:
    """Files of some kilobytes that ask for gigabytes, each in its own way."""
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 10, np.int32)), pa.array(["y" * (4 << 20)]))
    zeros = pa.array(np.zeros(40 << 20, np.int64))
    return {
        "one text in many rows": stored(pa.table({"image_id": repeated, "label": repeated}), compression="zstd"),
        "pages of zeros": stored(
            pa.table({"image_id": zeros, "label": zeros}),
            compression="zstd",
            use_dictionary=False,
            data_page_size=1 << 28,
        ),
        "rows of one number": stored(pa.table({"image_id": zeros, "label": zeros}), compression="zstd"),
    }


def test_bombs_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    for name, content in bombs().items():
        assert len(content) < 500_000, name
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"it states [\d,]{11,} bytes, but only .* are stored"):
            parquet.read(str(path))
        with pytest.raises(InputError, match="states"):
            for part in files.plan([str(path)], NAMES, False)[0]:
                list(import_rows.read(part))


def test_a_footer_that_lies_about_rows_is_refused(tmp_path: Path) -> None:
    content = stored(mixed(4))
    path = tmp_path / "part.parquet"
    at = content.rindex(b"\x16\x08\x19")  # field 3, four rows; then the list of groups
    path.write_bytes(content[:at] + b"\x16" + _varint(2 << 60) + content[at + 2 : -8] + _tail(content, 8))
    with pytest.raises(ConcordError):
        parquet.read(str(path))


def _varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _tail(content: bytes, more: int) -> bytes:
    length = int.from_bytes(content[-8:-4], "little")
    return (length + more).to_bytes(4, "little") + content[-4:]


def test_labels_of_many_rows_are_read(tmp_path: Path) -> None:
    """Few classes in very many rows is what label sets are like."""
    rows = 3_000_000
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([f"class {'x' * 80}"]))
    path = tmp_path / "part.parquet"
    path.write_bytes(stored(pa.table({"label": labels}), compression="zstd"))
    assert path.stat().st_size < 40_000
    assert parquet.read(str(path)).num_rows == rows


def test_text_that_is_no_utf8_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    content = stored(pa.table({"label": ["straight"]}), compression="none", use_dictionary=False)
    path.write_bytes(content.replace(b"straight", b"\xff\xfestrong"))
    with pytest.raises(IncompleteError, match=r"is damaged .*UTF8"):
        parquet.read(str(path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x1c" * 40, "structures within structures"),
        (b"\x19\xf8\xff\xff\xff\xff\x0f", "a list of"),
        (b"\x15" + b"\xff" * 20, "more than 64 bits"),
        (b"\x18\x7f", "ends too early"),
        (b"\x1d\x00", "a value of type 13"),
    ],
)
def test_thrift_that_is_none_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Compact(content).structure()
