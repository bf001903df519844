"""What is generated from the tables' definitions: up to date, and SQL that its databases take."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from analysis import query
from analysis.table_docs import BUCKET, DATASET
from concord import docs
from concord.docs import SOURCES
from metrics import measures
from schemas import layout, tables
from storage import parquet, stores
from storage.tables import TABLES


@pytest.mark.parametrize("path", docs.files(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == docs.files()[path], f"{path.name} is stale: run make docs"


def test_the_page_tells_of_every_column_with_its_unit() -> None:
    text = (SOURCES / "docs" / "tables.md").read_text()
    sections = {part.split("\n")[0]: part for part in text.split("\n## ")[1:]}
    assert list(sections) == list(TABLES)
    for name, table in TABLES.items():
        assert all(f"\n| `{column}` | " in sections[name] for column in table.columns.names)
    assert "| `offset` | int64 | bytes |" in sections["index"]
    assert all(f"\n| `{name}` | {text} |" in sections["measures"] for name, text in measures.descriptions().items())


def test_bigquery_can_parse_its_tables() -> None:
    """By sqlglot, which has no grammar for WITH PARTITION COLUMNS: it reads that clause as a list of columns."""
    text = (SOURCES / "docs" / "bigquery.sql").read_text()
    assert text.count("\nWITH PARTITION COLUMNS (") == sum(bool(t.keys and t.is_hive) for t in TABLES.values())
    text = text.replace("\nWITH PARTITION COLUMNS (", " (")
    statements = [one for one in sqlglot.parse(text, dialect="bigquery") if one is not None]
    assert len(statements) == len(TABLES)
    for statement, table in zip(statements, TABLES.values(), strict=True):
        assert isinstance(statement, exp.Create), f"not understood: {statement}"
        assert statement.find(exp.Table).sql() == f"{DATASET}.{table.name}"  # type: ignore[union-attr]
        columns = [column.sql("bigquery") for column in statement.find_all(exp.ColumnDef)]
        assert columns == [f"{key} STRING" for key in table.keys if table.is_hive]
        said = {one.name: one.args["value"] for one in statement.find_all(exp.Property) if "value" in one.args}
        [uri] = [one.name for one in said["uris"].find_all(exp.Literal)]
        assert uri.startswith(f"{BUCKET}/{table.folder}/") and uri.endswith(".parquet") and uri.count("*") == 1
        prefix = said["hive_partition_uri_prefix"].name if columns else ""
        assert prefix == (f"{BUCKET}/{table.folder}" if columns else "")
        assert [one.this.name for one in statement.find_all(exp.FileFormatProperty)] == ["PARQUET"]


def views(root: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET VARIABLE root = $1", [root])
    connection.execute((SOURCES / "analysis" / "views.sql").read_text())
    return connection


@pytest.fixture(scope="module")
def connection(query_root: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with views(query_root) as made:
        yield made


@pytest.mark.parametrize("name", [*TABLES, *(view.name for view in query.views())])
def test_views_hold_what_queries_find(name: str, connection: duckdb.DuckDBPyConnection, query_root: str) -> None:
    sql = f"SELECT * FROM {name} ORDER BY ALL"
    with query.opened(query_root, sql, TABLES) as other:
        expected = other.execute(sql).fetchall()
        columns = [(column[0], str(column[1])) for column in other.description or ()]
    assert connection.execute(sql).fetchall() == expected
    assert [(column[0], str(column[1])) for column in connection.description or ()] == columns
    empty = {
        "index",
        "features",
        "explanations",
        "sweep",
        "coverage",
        "generations",
        "queue",
        "label_errors",
        *(f"rejects_{s}" for s in ("convert", "features", "explain", "import")),
    }
    assert bool(expected) == (name not in empty)


def test_views_of_an_odd_root_keep_keys_as_text(tmp_path: Path) -> None:
    root = str(tmp_path / "it's")
    for annotator, split in (("1", "2026-01-01"), ("02", "true")):
        path = stores.join(layout.labels(root, "svhn", annotator, split), layout.parquet_shard(0, 1))
        parquet.write(path, tables.LABELS.empty_table(), "f")
    with views(root) as connection:
        kinds = {row[0]: row[1] for row in connection.execute("DESCRIBE labels").fetchall()}
        assert kinds["annotator"] == kinds["split"] == kinds["dataset"] == "VARCHAR"
        assert connection.execute("SELECT count(*) FROM sweep").fetchall() == [(0,)]


def test_the_view_of_sweeps_finds_keys_in_the_path(tmp_path: Path) -> None:
    path = stores.join(layout.model(str(tmp_path), "svhn", "cnn1"), layout.SWEEP_TABLE)
    parquet.write(path, pa.table({"run": ["run-0"], "best": [True], "seed": [3]}), "f")
    with views(str(tmp_path)) as connection:
        found = connection.execute("FROM sweep")
        assert [column[0] for column in found.description or ()] == ["run", "best", "seed", "dataset", "model"]
        assert found.fetchall() == [("run-0", True, 3, "svhn", "cnn1")]


def test_every_parquet_file_of_confirm_and_agree_is_of_a_table(query_root: str) -> None:
    known = {path: table for table in TABLES.values() for path in table.files(query_root)}
    assert set(known) == {str(path) for path in Path(query_root).rglob("*.parquet")}
    for path, table in known.items():
        found = parquet.read(path, schema=table.schema).schema
        assert [field.metadata for field in found] == [field.metadata for field in table.schema], path
