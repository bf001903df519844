"""The checksum of rows: blind to order, files and encodings, and to nothing else."""

import math
import struct
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import checksums
from storage.checksums import RowSum, row_sum

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("n", pa.int64()),
        ("sure", pa.float32()),
        ("agree", pa.bool_()),
        ("scores", pa.list_(pa.float32())),
        ("picture", pa.binary()),
        ("said", pa.list_(pa.struct([("annotator", pa.string()), ("confidence", pa.float32())]))),
    ]
)
_REAL = st.floats(width=32)
_SAID = st.fixed_dictionaries({"annotator": st.none() | st.text(max_size=2), "confidence": st.none() | _REAL})
_CELLS = {
    "image_id": st.text(max_size=40),
    "label": st.none() | st.text(max_size=3),
    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "sure": st.none() | _REAL,
    "agree": st.none() | st.booleans(),
    "scores": st.none() | st.lists(st.none() | _REAL, max_size=3),
    "picture": st.none() | st.binary(max_size=40),
    "said": st.none() | st.lists(st.none() | _SAID, max_size=2),
}
_ROWS = st.lists(st.fixed_dictionaries(_CELLS), min_size=1, max_size=6)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


def exact(value: Any) -> Any:
    """A value by its bits, all NaN being one: what the checksum should tell apart, worked out without it."""
    if isinstance(value, list):
        return tuple(map(exact, value))
    if isinstance(value, dict):
        return tuple((name, exact(one)) for name, one in value.items())
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<f", value)
    return type(value).__name__, value


def multiset(rows: list[dict[str, Any]]) -> Counter[Any]:
    return Counter(tuple(exact(row[name]) for name in SCHEMA.names) for row in rows)


@given(_ROWS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_chunks_and_dictionaries_do_not_matter(rows: list[dict[str, Any]], chance: Any, size: int) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    other = pa.concat_tables([table(shuffled[at : at + size]) for at in range(0, len(rows), size)])
    place = SCHEMA.get_field_index("label")
    other = other.set_column(place, "label", other["label"].dictionary_encode())
    other = other.select(list(reversed(SCHEMA.names)))
    parts = [row_sum(other.slice(at, 2)) for at in range(0, len(rows), 2)]
    assert sum(parts, RowSum()) == row_sum(table(rows)) == row_sum(other)


@given(_ROWS, st.data())
def test_any_changed_cell_matters(rows: list[dict[str, Any]], data: Any) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    changed = [dict(one) for one in rows]
    changed[row][name] = data.draw(_CELLS[name])
    assert (row_sum(table(rows)) == row_sum(table(changed))) == (multiset(rows) == multiset(changed))


@given(_ROWS, _ROWS)
def test_two_tables_are_alike_just_where_their_rows_are(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> None:
    assert (row_sum(table(a)) == row_sum(table(b))) == (multiset(a) == multiset(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0.0], [-0.0]),
        ([None], [0.0]),
        ([math.nan], [None]),
        ([1.0, 2.0], [1.0, 2.0, 2.0]),
        ([1.0, 1.0], []),
        ([1.0], [np.nextafter(np.float32(1), np.float32(2))]),
    ],
)
def test_what_is_easily_mixed_up_is_not(a: list[Any], b: list[Any]) -> None:
    one, two = [row_sum(pa.table({"sure": pa.array(values, pa.float32())})) for values in (a, b)]
    assert one != two


def test_all_nan_are_one() -> None:
    payloads = np.array([0x7FC00000, 0xFFC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert len({row_sum(pa.table({"sure": payloads[at : at + 1]})).lanes for at in range(3)}) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [([[1.0, 2.0]], [[2.0, 1.0]]), ([[]], [None]), ([[0.0]], [[None]]), ([[1.0], [2.0]], [[1.0, 2.0], []])],
)
def test_lists_are_told_apart_by_their_order_and_length(a: list[Any], b: list[Any]) -> None:
    one, two = (row_sum(pa.table({"scores": pa.array(values, pa.list_(pa.float32()))})) for values in (a, b))
    assert one != two


def test_values_of_two_columns_or_two_rows_cannot_change_places() -> None:
    rows = pa.table({"label_a": ["x", "y"], "label_b": ["y", "z"]})
    assert row_sum(rows) != row_sum(rows.rename_columns(["label_b", "label_a"]))
    assert row_sum(rows) != row_sum(pa.table({"label_a": ["y", "x"], "label_b": ["y", "z"]}))


def test_keys_count_like_columns_and_absent_columns_like_nulls() -> None:
    rows = pa.table({"n": [1, 2]})
    whole = rows.append_column("split", pa.array(["test", "test"])).append_column("more", pa.nulls(2, pa.string()))
    assert row_sum(rows, {"split": "test"}) == row_sum(whole)
    assert row_sum(rows, {"split": "train"}) != row_sum(whole)
    assert row_sum(pa.table({"n": pa.array([1, 2], pa.int32())})) == row_sum(rows)


def test_a_column_of_a_kind_that_no_table_has_is_an_error() -> None:
    with pytest.raises(TypeError, match="no table has a column of kind date32"):
        row_sum(pa.table({"day": pa.array([0], pa.date32())}))


def test_the_checksum_knows_tables_by_name_and_ignores_empty_ones() -> None:
    one, two = row_sum(pa.table({"n": [1]})), row_sum(pa.table({"n": [2]}))
    assert checksums.checksum({"a": one, "b": two}) == checksums.checksum({"b": two, "a": one, "c": RowSum()})
    assert checksums.checksum({"a": one, "b": two}) != checksums.checksum({"a": two, "b": one})
    assert checksums.checksum({"a": RowSum(1)}) != checksums.checksum({"a": RowSum(2)})
