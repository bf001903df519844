"""The verbs of the command line that read a root, write nothing there and run no Beam: `query`, `verify` and `status`.

concord query "select annotator_a, annotator_b, split, cohen_kappa from summary" --root out
concord verify --root out
concord status --root out
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from pipelines import progress
from schemas.errors import ConcordError

QUERY_FORMS = ("table", "csv", "json", "markdown")


def add(verbs: Any) -> None:
    """Add the verbs to the command line's parser."""
    own = _add_verb(verbs, "query", "Ask the tables of a root, in SQL.")
    own.add_argument("sql", nargs="?", default="", metavar="SQL", help="one statement of DuckDB's SQL, in quotes")
    own.add_argument("--tables", action="store_true", help="list the tables and their columns instead")
    own.add_argument("--format", default="table", choices=QUERY_FORMS, help="how rows are written (default: table)")
    own.add_argument(
        "--limit", type=int, metavar="N", help="rows at most, 0 for all (default: 100 of table and markdown, else all)"
    )
    own = _add_verb(verbs, "verify", "Recheck all that lies in a root against its manifests, and print its checksum.")
    own.add_argument("--dataset", default="", metavar="NAME", help="the only one to check (default: all)")
    own.add_argument("--quick", action="store_true", help="leave out the bytes of images")
    own = _add_verb(verbs, "status", "Tell how far each stage of each dataset is, and how the last runs ended.")
    own.add_argument("--json", action="store_true", help="as JSON, for machines")


def _add_verb(verbs: Any, verb: str, purpose: str) -> argparse.ArgumentParser:
    own: argparse.ArgumentParser = verbs.add_parser(verb, help=purpose, description=purpose, allow_abbrev=False)
    add_root(own)
    progress.add(own, "show full tracebacks")
    return own


def add_root(own: argparse.ArgumentParser) -> None:
    """Add the flag that every verb has."""
    own.add_argument(
        "--root",
        default="out",
        metavar="DIR",
        help="where everything is kept: a folder, gs://... or s3://... (default: out)",
    )


def run(given: argparse.Namespace, rest: list[str]) -> None:
    """Do what was asked; exit status 1 where `verify` finds something missing or altered."""
    if rest:
        hint = "put the SQL in quotes, and see" if given.verb == "query" else "see"
        raise ConcordError(f"unexpected argument {rest[0]!r}; {hint} concord {given.verb} --help")
    try:
        VERBS[given.verb](given)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _query(given: argparse.Namespace) -> None:
    from analysis import query
    from storage.tables import TABLES

    if given.tables:
        query.list_tables(TABLES, sys.stdout)
        return
    if not given.sql.strip():
        raise ConcordError('needs SQL, such as "select * from summary", or --tables')
    written = query.run(given.root, given.sql, TABLES, sys.stdout, given.format, given.limit)
    if written < 0:
        shown = f"only the first {-written} rows are shown: --limit N shows more, --limit 0 all"
        print(shown, file=sys.stderr)


def _verify(given: argparse.Namespace) -> None:
    from analysis import verify
    from storage.tables import TABLES

    outcome = verify.verify(given.root, TABLES, given.dataset, given.quick)
    for line in outcome.lines():
        print(line)
    if outcome.wrong:
        sys.exit(1)


def _status(given: argparse.Namespace) -> None:
    from analysis import status

    found = status.take(given.root)
    print(status.as_json(found) if given.json else status.as_text(found, given.root))


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {"query": _query, "verify": _verify, "status": _status}
