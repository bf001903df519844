"""SQL over the tables of a root, by DuckDB: `concord query "select ..."`.

DuckDB reads through Arrow's file systems, so a root may be local, `gs://` or `s3://` without any of DuckDB's
extensions. Rows are read in batches, and only of the columns and partitions that the query needs.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import IO

import duckdb
import pyarrow as pa

from analysis import row_writers, table_docs
from analysis.row_writers import Column
from schemas.errors import InputError
from storage import parquet, stores
from storage.tables import Table

SHOWN = 100  # rows of a table for reading, unless more are requested
_FETCHED = 4096  # rows at once
_VIEW = re.compile(r"((?:^-- [^\n]*\n)+)CREATE OR REPLACE TEMP VIEW (\w+) AS\n(.*?);\n", re.MULTILINE | re.DOTALL)
_STREAM = re.compile(r"stream registered as '(\w+)' failed")
_UNKNOWN = re.compile(r"Table with name (\S+) does not exist")


@dataclass(frozen=True)
class View:
    """A view that joins tables.

    Attributes:
        row: what a row is.
        descriptions: of its columns that no table has.
        sql: the statement that makes it.
    """

    name: str
    row: str
    descriptions: Mapping[str, str]
    sql: str


def views() -> list[View]:
    """The views of `joined.sql`."""
    text = resources.files("analysis").joinpath("joined.sql").read_text()
    joined = []
    for match in _VIEW.finditer(text):
        row, *columns = (line.removeprefix("-- ") for line in match[1].splitlines())
        descriptions = dict(line.strip().split(": ", 1) for line in columns)
        joined.append(View(match[2], row, descriptions, match[0]))
    return joined


def run(
    root: str, sql: str, tables: Mapping[str, Table], out: IO[str], form: str = "table", limit: int | None = None
) -> int:
    """Run a query on the tables of a root, and write its rows.

    Args:
        root: local, `gs://` or `s3://`.
        sql: one statement of DuckDB's SQL.
        tables: every table, by its name.
        out: where to.
        form: one of `rows.FORMS`.
        limit: rows at most; 0 for all, None for as many as fit a screen or two, or all in the other forms.

    Returns:
        how many rows were written, negative where there would have been more.

    Raises:
        InputError: the query is wrong, or there is no such root.
        IncompleteError: a file of a table that the query mentions is damaged or does not fit.
    """
    most = (SHOWN if form in row_writers.READ else 0) if limit is None else limit
    if most < 0:
        raise InputError(f"limit must be 0 or more rows, got {most}")
    with opened(root, sql, tables) as connection:
        with _explained(tables, root):
            connection.execute(sql)
        columns = [Column(name, str(kind)) for name, kind, *_ in connection.description or ()]
        batches = row_writers.Limited(_batches(connection, tables, root), most)
        row_writers.FORMS[form](columns, batches, out)
    return -batches.taken if batches.more else batches.taken


def fetch(root: str, sql: str, tables: Mapping[str, Table], values: Sequence[str] = ()) -> pa.Table:
    """All rows of a query on the tables of a root; `values` for its `?`. Errors as `run`."""
    with opened(root, sql, tables) as connection, _explained(tables, root):
        relation = connection.sql(sql, params=list(values))
        return pa.table({}) if relation is None else relation.to_arrow_table()


def opened(root: str, sql: str, tables: Mapping[str, Table]) -> duckdb.DuckDBPyConnection:
    """A connection that knows the tables that a query mentions, over a root, and the views that join them.

    A name that is mentioned as a column alone counts as well: its table is looked up in vain.

    Raises:
        InputError: it is not one statement, or there is no such root.
        IncompleteError: a file is damaged or does not fit.
    """
    connection = duckdb.connect(config={"python_enable_replacements": False})
    with _explained(tables, root):
        statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise InputError(f"give one statement of SQL, not {len(statements)}")
    used, joined = _used(sql, tables)
    files_read = 0
    for table in used:
        files = table.files(root)
        connection.register(table.name, table.open(root, files))
        files_read += len(files)
    if used and not files_read and not stores.is_folder(root):
        raise InputError(f"there is nothing in {root}: name the folder of a run with --root, or run concord run first")
    for view in joined:
        connection.execute(view.sql)
    return connection


def _used(sql: str, tables: Mapping[str, Table]) -> tuple[list[Table], list[View]]:
    """The tables and the views that a query mentions, and the tables that these views are made of."""
    joined = [view for view in views() if view.name in _words(sql)]
    words = _words(" ".join([sql, *(view.sql for view in joined)]))
    return [table for name, table in tables.items() if name in words], joined


def _words(sql: str) -> set[str]:
    return set(re.findall(r"\w+", sql.lower()))


def _batches(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], root: str
) -> Iterator[list[row_writers.Values]]:
    with _explained(tables, root):
        while batch := connection.fetchmany(_FETCHED):
            yield batch


@contextmanager
def _explained(tables: Mapping[str, Table], root: str) -> Iterator[None]:
    """Turn DuckDB's error into one that says what to do, and where it does not name a file that is damaged, do so."""
    try:
        yield
    except duckdb.Error as error:
        stream = _STREAM.search(str(error))
        for path in tables[stream[1]].files(root) if stream and stream[1] in tables else []:
            parquet.read(path)  # the damaged one raises
        unknown = _UNKNOWN.search(str(error))
        if unknown:
            known = [*tables, *(view.name for view in views())]
            near = difflib.get_close_matches(unknown[1].lower(), known, 3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise InputError(f"there is no table {unknown[1]!r}: {hint}concord query --tables lists all") from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError("; ".join(lines[:2])) from error


def list_tables(tables: Mapping[str, Table], out: IO[str]) -> None:
    """Write every table and view: what a row is, where its files lie, and its columns with their units."""
    for table in tables.values():
        columns = [
            (field.name, table_docs.kind(field), table_docs.unit(field), table_docs.description(field))
            for field in table.columns
        ]
        more = [("...", "", "", table.others)] if table.others else []
        _print_table(out, f"{table.name}: a row is {table.row}\n  {table.pattern}", [*columns, *more])
    for view in views():
        _print_table(out, f"{view.name}: a row is {view.row}\n  a view of other tables", _columns_of(view, tables))


def _columns_of(view: View, tables: Mapping[str, Table]) -> list[tuple[str, str, str, str]]:
    """Name, type, unit and description of each column of a view."""
    known: dict[str, pa.Field] = {}
    with duckdb.connect() as connection:
        for table in _used(view.sql, tables)[0]:
            connection.register(table.name, table.columns.empty_table())
            known = {field.name: field for field in table.columns} | known
        connection.execute(view.sql)
        described = connection.execute(f"DESCRIBE {view.name}").fetchall()
    columns = []
    for name, kind, *_ in described:
        units = table_docs.unit(known[name]) if name in known else ""
        text = view.descriptions.get(name) or table_docs.description(known[name])
        columns.append((name, table_docs.kind(known[name]) if name in known else kind.lower(), units, text))
    return columns


def _print_table(out: IO[str], heading: str, columns: list[tuple[str, str, str, str]]) -> None:
    widths = [max(len(column[place]) for column in columns) for place in range(3)]
    print(heading, file=out)
    for column in columns:
        cells = [cell.ljust(width) for cell, width in zip(column, widths, strict=False)]
        print("   ", "  ".join([*cells, column[3]]).rstrip(), file=out)
    print(file=out)
