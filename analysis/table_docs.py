"""The documentation of the tables: a page, views for DuckDB, external tables for BigQuery.

Everything follows from `storage.tables`; `make docs` writes the files anew.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from storage.tables import Table

DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
}
BUCKET, DATASET = "gs://BUCKET/ROOT", "concord"
_GENERATED = "Generated from storage/tables.py by make docs; not to be edited"
_PAGE = """# Tables

<!-- {generated}. -->

Every table is Parquet, in one file or in many. `concord query "select ..."` knows each by its name, and
[`analysis/views.sql`](../analysis/views.sql) makes each a view of DuckDB. Each column's description and unit stand in
the files themselves, as metadata of the column (`description`, `unit`); the unit 1 is that of shares, probabilities and
other plain figures. The partition keys are columns that only the path holds; they are text, whatever they look like. A
folder without `_concord.json` is of a product that is not finished.
"""
_VIEWS = """-- A view of each table under a root, for DuckDB 1.4 or later; a table that is not there yet has no rows.
-- {generated}. The joined views at the end are those of joined.sql.
--
--     SET VARIABLE root = 'out';
--     .read analysis/views.sql
--
-- The views hold as long as the session, and see the files that were there when they were made.
"""
_BIGQUERY = f"""-- External tables of BigQuery over a root in Google Cloud Storage.
-- {{generated}}.
--
--     bq mk --dataset {DATASET}
--     sed 's#{BUCKET}#gs://my-bucket/out#' docs/bigquery.sql | bq query --nouse_legacy_sql
--
-- BigQuery takes the columns from the Parquet files themselves, so make only the tables that have files.
"""


def description(field: pa.Field) -> str:
    """What a column holds; empty where it has no description."""
    return _metadata(field, b"description")


def unit(field: pa.Field) -> str:
    """The unit of a column; empty where it is no quantity."""
    return _metadata(field, b"unit")


def _metadata(field: pa.Field, key: bytes) -> str:
    return str((field.metadata or {}).get(key, b"").decode())


def kind(field: pa.Field) -> str:
    """The type of a column, in words."""
    listed = pa.types.is_list(field.type)
    return f"list of {field.type.value_type}" if listed else str(field.type)


def page(tables: Iterable[Table], measures: Mapping[str, str]) -> str:
    """The page of every table, in Markdown.

    Args:
        tables: the tables.
        measures: what each measure of the table `measures` is, by name.
    """
    listed = [f"| `{name}` | {text} |" for name, text in measures.items()]
    beside = {"measures": "\n".join(["The measures:", "", "| measure | what it is |", "|---|---|", *listed, ""])}
    sections = [part for table in tables for part in (_section(table), beside.get(table.name)) if part]
    return "\n".join([_PAGE.format(generated=_GENERATED), *sections])


def _section(table: Table) -> str:
    rows = [
        f"| `{field.name}` | {kind(field)} | {unit(field)} | {'yes' if field.nullable else ''} | {description(field)} |"
        for field in table.schema
    ]
    rows += [
        f"| `{key}` | string | | | {description(table.columns.field(key))} (partition key) |" for key in table.keys
    ]
    more = f"\nFurther columns: {table.others}.\n" if table.others else ""
    return "\n".join(
        [
            f"## {table.name}",
            "",
            f"A row is {table.row}.",
            "",
            f"`{table.place.replace('{', '<').replace('}', '>')}`",
            "",
            "| column | type | unit | may be null | what it is |",
            "|---|---|---|---|---|",
            *rows,
            more,
        ]
    )


def duckdb_views(tables: Iterable[Table], joined: str) -> str:
    """SQL that makes a view of each table under the root that the variable `root` names.

    Args:
        tables: the tables.
        joined: SQL of the views that join them.
    """
    return "\n".join([_VIEWS.format(generated=_GENERATED), *(_view(table) for table in tables), joined])


def _view(table: Table) -> str:
    """One view: over its files if there are any, else an empty one with the same columns.

    DuckDB refuses a glob that matches nothing, so the query is chosen as text by what `glob` matches.
    """
    columns = ["* EXCLUDE (filename)"] if table.others else table.schema.names
    some = ", ".join([*columns, *(table.keys if table.is_hive else _from_path(table))]).replace("'", "''")
    options = "hive_partitioning = true, hive_types_autocast = false" if table.is_hive else "hive_partitioning = false"
    filename = ", filename = true" if table.others or not table.is_hive else ""
    read = f"FROM read_parquet(''%s'', union_by_name = true, {options}{filename})"
    empty = ", ".join(f"NULL::{duckdb_type(field.type)} AS {field.name}" for field in table.columns)
    variable = f"concord_{table.name}"  # a session's variable: first the files of the table, then the query over them
    return f"""SET VARIABLE {variable} = getvariable('root') || '/{table.pattern}';
SET VARIABLE {variable} = (
    SELECT CASE WHEN count(*) > 0
        THEN replace('SELECT {some} {read}', '%s', replace(getvariable('{variable}'), '''', ''''''))
        ELSE 'SELECT {empty} WHERE false' END
    FROM glob(getvariable('{variable}'))
);
CREATE OR REPLACE TEMP VIEW {table.name} AS FROM query(getvariable('{variable}'));
"""


def _from_path(table: Table) -> list[str]:
    """Each partition key, as DuckDB cuts it from the path of a file."""
    parts = table.place.split("/")
    back = {key: len(parts) - parts.index(f"{{{key}}}") for key in table.keys}
    return [f"string_split(filename, '/')[-{place}] AS {key}" for key, place in back.items()]


def duckdb_type(arrow: pa.DataType) -> str:
    """DuckDB's name of a type."""
    if pa.types.is_list(arrow):
        return f"{duckdb_type(arrow.value_type)}[]"
    if pa.types.is_struct(arrow):
        return f"STRUCT({', '.join(f'{field.name} {duckdb_type(field.type)}' for field in arrow)})"
    return DUCKDB_TYPES[arrow]


def bigquery_tables(tables: Iterable[Table]) -> str:
    """SQL that makes an external table of each table, over the root `BUCKET`."""
    return "\n".join([_BIGQUERY.format(generated=_GENERATED), *(_external(table) for table in tables)])


def _external(table: Table) -> str:
    file = table.place.rsplit("/", 1)[-1].lstrip("*")
    options = [f'uris = ["{BUCKET}/{table.folder}/*{file}"]', 'format = "PARQUET"', "enable_list_inference = true"]
    keys = ""
    if table.keys and table.is_hive:
        keys = "WITH PARTITION COLUMNS (" + ", ".join(f"{key} STRING" for key in table.keys) + ")\n"
        options.append(f'hive_partition_uri_prefix = "{BUCKET}/{table.folder}"')
    options.append(f'description = "A row is {table.row}."')
    columns = [f"--   {field.name}: {description(field)}\n" for field in table.columns if table.is_hive]
    listed = ",\n  ".join(options)
    return (
        f"{''.join(columns)}CREATE OR REPLACE EXTERNAL TABLE {DATASET}.{table.name}\n{keys}OPTIONS (\n  {listed}\n);\n"
    )
