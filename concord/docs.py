"""Write what is generated from the tables' definitions: their page, their views and their BigQuery tables.

    python -m concord.docs

It is no stage: it belongs to the sources, and writes into `docs/` and `analysis/`. It stands here because the
page lists the measures too.
"""

from pathlib import Path

from analysis import table_docs
from metrics import measures
from storage.tables import TABLES

SOURCES = Path(__file__).resolve().parents[1]


def files() -> dict[Path, str]:
    """Path and content of each generated file."""
    tables = TABLES.values()
    joined = (SOURCES / "analysis" / "joined.sql").read_text()
    return {
        SOURCES / "docs" / "tables.md": table_docs.page(tables, measures.descriptions()),
        SOURCES / "docs" / "bigquery.sql": table_docs.bigquery_tables(tables),
        SOURCES / "analysis" / "views.sql": table_docs.duckdb_views(tables, joined),
    }


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
