"""Query a root with SQL.

concord query "select annotator_a, annotator_b, split, cohen_kappa from summary" --root out
"""

import sys
from typing import Literal

from concord.flags import RootFlags
from schemas.errors import InputError
from schemas.settings.base import Settings, setting


class QueryFlags(Settings):
    """The statement, and how its rows are written."""

    sql: str = setting("one statement of DuckDB's SQL, in quotes", default="", positional=True, metavar="SQL")
    tables: bool = setting("list the tables and their columns instead", default=False, group="Output")
    format: Literal["table", "csv", "json", "markdown"] = setting(
        "how rows are written", default="table", group="Output"
    )
    limit: int | None = setting(
        "maximum rows, 0 for all (default: 100 of table and markdown, else all)", default=None, ge=0, group="Output"
    )


SETTINGS = (RootFlags, QueryFlags)


def run(common: RootFlags, flags: QueryFlags, beam_flags: tuple[str, ...]) -> None:
    """Print the rows of the statement, or the tables that there are."""
    from analysis import query
    from storage.tables import TABLES

    if flags.tables:
        query.list_tables(TABLES, sys.stdout)
        return
    if not flags.sql.strip():
        raise InputError('needs SQL, such as "select * from summary", or --tables')
    written = query.run(common.root, flags.sql, TABLES, sys.stdout, flags.format, flags.limit)
    if written < 0:
        shown = f"only the first {-written} rows are shown: --limit N shows more, --limit 0 all"
        print(shown, file=sys.stderr)
