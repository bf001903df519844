"""Check Parquet files against what their manifest says, a file at a time, and add up their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.verify.inventory import Expected, Finding, command
from schemas.errors import ConcordError, IncompleteError
from storage import checksums, parquet, stores
from storage.checksums import RowSum
from storage.products import ShardReport, total
from storage.tables import Table

_CONTENT = "content"  # in the tally of confirm: of the bytes in which rows were sent, which no two runs need share
_FOLDERS = r"[^\s'\"(]*/"


@dataclass
class Checked:
    """What was found in one file.

    Attributes:
        rows: how many it has; None where it cannot be read.
        report: the counts that it carries; None where it has none.
        sum: of its rows.
        table: the rows themselves, where they were asked for.
        findings: what is wrong with it.
    """

    rows: int | None = None
    report: ShardReport | None = None
    sum: RowSum = field(default_factory=RowSum)
    table: pa.Table | None = None
    findings: list[Finding] = field(default_factory=list)


def check_file(root: str, table: Table, expected: Expected, name: str, keep: bool = False) -> Checked:
    """Check one file that is there.

    Args:
        root: local, `gs://` or `s3://`.
        table: that it is of.
        expected: what its manifest states.
        name: of the file.
        keep: whether its rows are kept.
    """
    path, checked = expected.path(name), Checked()
    remedy = expected.remedy(name)
    try:
        content = memoryview(stores.read_bytes(stores.join(root, path)))
        rows = _rows(content)
    except ConcordError as error:
        checked.findings.append(Finding(path, f"cannot be read ({error})", remedy))
        return checked
    except (ValueError, OSError) as error:  # Arrow's errors are such, too
        checked.findings.append(Finding(path, f"is damaged ({str(error).splitlines()[0]})", remedy))
        return checked
    wrong = _altered(content, expected, name) or _unfit(path, rows, table)
    metadata = rows.schema.metadata or {}
    report = metadata.get(parquet.REPORT, b"{}").decode()
    checked.report = ShardReport.from_json(report) if '"in"' in report else None
    checked.rows, checked.sum = rows.num_rows, _sum(root, table, path, rows)
    wrong = wrong or _miscounted(expected, checked)
    checked.findings += [Finding(path, wrong, remedy)] if wrong else []
    if parquet.CONTENT not in _tags(content):
        message = "carries no hash of its rows, as an earlier version of Concord wrote it"
        checked.findings.append(
            Finding(path, message, f"{command(expected.stage)} --force writes one", is_warning=True)
        )
    checked.table = rows if keep else None
    return checked


def _tags(content: memoryview) -> Mapping[bytes, bytes]:
    tags: Mapping[bytes, bytes] = pq.read_metadata(pa.BufferReader(content)).metadata or {}
    return tags


def _rows(content: memoryview) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def _altered(content: memoryview, expected: Expected, name: str) -> str:
    """How a file differs from the one that was written; empty where it does not."""
    tags = _tags(content)
    fingerprint = tags.get(parquet.FINGERPRINT, b"").decode()
    if not fingerprint or expected.fingerprint not in ("", fingerprint):
        return (
            f"has fingerprint {fingerprint or 'none'} instead of {expected.fingerprint or 'one'}: it is of another run"
        )
    names = {name, *expected.files.files}
    hashes = parquet.content_hashes(content, names)
    stated = tags.get(parquet.CONTENT, b"").decode()
    if stated and hashes[name] != stated:
        others = [other for other, one in hashes.items() if one == stated]
        return f"stands in the place of another: it was written as {others[0]}" if others else "its rows were altered"
    stated = expected.files.files.get(name, "")
    if stated and stated != parquet.footer_hash(content):
        others = [other for other, one in expected.files.files.items() if one == parquet.footer_hash(content)]
        return f"stands in the place of another, {others[0]}" if others else "is not the file that its manifest lists"
    return ""


def _unfit(path: str, rows: pa.Table, table: Table) -> str:
    """How rows do not fit the table's columns."""
    try:
        parquet.check_schema("it", rows.schema, table.schema, others=bool(table.others))
    except IncompleteError as error:
        return str(error).partition(":")[0]
    empty = [field.name for field in table.schema if not field.nullable and rows[field.name].null_count]
    return f"column {empty[0]!r} has nulls, and may have none" if empty else ""


def _miscounted(expected: Expected, checked: Checked) -> str:
    """How a file's rows and its own report differ."""
    if checked.report is None or not expected.files.counted:
        return ""
    report = checked.report
    stated = report.records_out if expected.files.counted == "out" else sum(report.rejected.values())
    if stated != checked.rows:
        return f"has {checked.rows} rows, and its report states {stated}"
    return ""


def check_counts(expected: Expected, checked: Mapping[str, Checked]) -> list[Finding]:
    """Check that the files of a folder add up to what its manifest says; each of them could be read."""
    remedy, files = expected.remedy(), expected.files
    rows = sum(one.rows or 0 for one in checked.values())
    if files.rows is not None and rows != files.rows:
        return [Finding(files.folder, f"has {rows} rows, and its manifest states {files.rows}", remedy)]
    reports = [one.report for one in checked.values() if one.report is not None]
    if not expected.counts or len(reports) < len(checked):
        return []
    whole, wrong = total(reports), []
    stated = {key: expected.counts.get(key) for key in ("in", "out")}
    if stated != {"in": whole.records_in, "out": whole.records_out}:
        wrong.append(f"its shards report {whole.records_in} in and {whole.records_out} out, its manifest {stated}")
    rejected = {reason: n for reason, n in expected.counts.get("rejected", {}).items() if n}
    if rejected != whole.rejected:
        wrong.append(f"its shards report {dict(whole.rejected)} rejected, its manifest {rejected}")
    return [Finding(files.folder, what, remedy) for what in wrong]


def _sum(root: str, table: Table, path: str, rows: pa.Table) -> RowSum:
    """The sum of a file's rows, without what differs between runs that are the same.

    A reject names its file by path, of which only the file's name counts. How long a training
    took does not count, nor does the hash in the name of a backbone, which follows from when the file of its weights
    was written.
    """
    if table.name.startswith("rejects_"):
        for name in ("source", "detail"):
            if name in rows.column_names and pa.types.is_string(rows.schema.field(name).type):
                plain = pc.replace_substring(rows[name], stores.join(root, ""), "")
                rows = rows.set_column(
                    rows.column_names.index(name), name, pc.replace_substring_regex(plain, _FOLDERS, "")
                )
    if table.name == "sweep":
        rows = rows.drop_columns([name for name in rows.column_names if name == "seconds"])
    if table.name == "confirm_joined" and "what" in rows.column_names:
        rows = rows.filter(pc.not_equal(rows["what"], _CONTENT))
    keys = table.values(root, stores.join(root, path))
    if "backbone" in keys:
        keys["backbone"] = keys["backbone"].rpartition("_")[0]
    return checksums.row_sum(rows, keys)
