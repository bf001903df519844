"""Rows as text: each format read back by somebody else's reader, and what could break a line or a cell."""

import csv
import io
import json
from typing import Any

import duckdb
import pytest

from analysis import row_writers
from analysis.row_writers import Column

SQL = """SELECT * FROM (VALUES
    ('a|b', 0.1::FLOAT, 1 / 3, 7::BIGINT, true, [0.1::FLOAT, 2], '\\x00\\xFF'::BLOB, DATE '2026-01-02',
     1.5::DECIMAL(3, 1)),
    (E'two\\nlines\\x1b[31m', NULL, 'nan'::DOUBLE, -12, NULL, NULL, NULL, NULL, 2),
    ('\N{CJK UNIFIED IDEOGRAPH-72AC}, "x"', 1e-9::FLOAT, 1e300, 1234567890123456789, false, [], ''::BLOB, NULL, 0)
) AS t(text, float, double, whole, flag, list, bytes, day, decimal)"""


def written(form: str, sql: str = SQL) -> str:
    found, out = duckdb.sql(sql), io.StringIO()
    columns = [Column(name, str(kind)) for name, kind in zip(found.columns, found.types, strict=True)]
    row_writers.FORMS[form](columns, found.fetchall(), out)
    return out.getvalue()


def test_json_holds_every_value() -> None:
    first, second, third = json.loads(written("json"))
    assert first == {
        **{"text": "a|b", "float": 0.1, "double": 1 / 3, "whole": 7, "flag": True, "list": [0.1, 2.0], "bytes": "AP8="},
        **{"day": "2026-01-02", "decimal": 1.5},
    }
    assert (second["text"], second["float"], second["double"]) == ("two\nlines\x1b[31m", None, None)
    assert (third["float"], third["double"], third["whole"], third["list"]) == (1e-9, 1e300, 1234567890123456789, [])


def test_csv_is_read_back() -> None:
    header, first, second, third = csv.reader(io.StringIO(written("csv")))
    assert header == ["text", "float", "double", "whole", "flag", "list", "bytes", "day", "decimal"]
    assert first == ["a|b", "0.1", repr(1 / 3), "7", "true", "[0.1, 2.0]", "AP8=", "2026-01-02", "1.5"]
    assert second == ["two\nlines\x1b[31m", "", "nan", "-12", "", "", "", "", "2"]
    assert third[0] == '\N{CJK UNIFIED IDEOGRAPH-72AC}, "x"'


def test_a_table_is_aligned_and_drives_no_terminal() -> None:
    lines = written(
        "table", "SELECT 'ab' AS name, 0.123456789::DOUBLE AS x UNION ALL SELECT E'\\x1b', 12.5 ORDER BY 2"
    ).splitlines()
    assert lines == [r"name         x", r"----  --------", r"ab    0.123457", r"\x1b      12.5"]
    wide = written("table", "SELECT '\N{CJK UNIFIED IDEOGRAPH-72AC}' AS n, 1 AS x UNION ALL SELECT 'abc', 2 ORDER BY 2")
    assert wide.splitlines()[2:] == ["\N{CJK UNIFIED IDEOGRAPH-72AC}   1", "abc  2"]
    assert written("table").count("\n") == 5
    assert "2 bytes" in written("table") and "null" in written("table")


def test_markdown_keeps_cells_apart() -> None:
    lines = written("markdown", "SELECT 'a|b\\' AS x, 1 AS n UNION ALL SELECT NULL, 2 ORDER BY n").splitlines()
    assert lines == ["| x | n |", "|---|--:|", r"| a\|b\\ | 1 |", "| null | 2 |"]


@pytest.mark.parametrize("form", row_writers.FORMS)
def test_without_rows_there_are_still_columns(form: str) -> None:
    text = written(form, "SELECT 1 AS alone WHERE false")
    assert ("alone" in text) == (form != "json")
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        *((kind, True) for kind in ("BIGINT", "UTINYINT", "HUGEINT", "INTEGER", "FLOAT", "DOUBLE", "DECIMAL(18,3)")),
        *((kind, False) for kind in ("VARCHAR", "FLOAT[]", "STRUCT(a INTEGER)", "INTERVAL", "BLOB", "DATE")),
    ],
)
def test_numbers_stand_at_the_right(kind: str, right: bool) -> None:
    assert Column("x", kind).is_number is right


@pytest.mark.parametrize(("most", "taken", "more"), [(0, 5, False), (5, 5, False), (4, 4, True), (9, 5, False)])
def test_the_first_rows_of_batches(most: int, taken: int, more: bool) -> None:
    batches: list[list[tuple[Any, ...]]] = [[(0,), (1,)], [(2,)], [(3,), (4,)]]
    limited = row_writers.Limited(batches, most)
    assert [row[0] for row in limited] == list(range(taken))
    assert (limited.taken, limited.more) == (taken, more)
