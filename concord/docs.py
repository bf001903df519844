"""Write what is generated from the tables' definitions: their page, their views and their BigQuery tables.

    python -m concord.docs

It is no stage: it belongs to the sources, and writes into `docs/` and `analysis/`. It stands here because only here the
measures are known, which add columns to the summary.
"""

from pathlib import Path

from analysis import table_docs
from metrics import agreement_tables
from storage.tables import Table, registry

SOURCES = Path(__file__).resolve().parents[1]


def every_table() -> dict[str, Table]:
    """Every table by its name, the figures of every measure among the columns of the summaries."""
    return registry(agreement_tables.summary_schema(), agreement_tables.annotators_schema())


def files() -> dict[Path, str]:
    """Path and content of each generated file."""
    tables = every_table().values()
    joined = (SOURCES / "analysis" / "joined.sql").read_text()
    return {
        SOURCES / "docs" / "tables.md": table_docs.page(tables),
        SOURCES / "docs" / "bigquery.sql": table_docs.bigquery_tables(tables),
        SOURCES / "analysis" / "views.sql": table_docs.duckdb_views(tables, joined),
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
