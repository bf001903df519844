"""Whatever bytes the files hold, confirm ends with counts that close, or with one line that says why it cannot."""

import gzip
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.confirm import label_rows
from schemas.errors import ConcordError
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from storage.formats import csv_lines, csv_ranges
from storage.formats.csv_tables import BOM
from tests.support import plain_rows, stages
from tests.support.plain_rows import Columns

HEADER = b"ImageID,Source,LabelName,Confidence"
STANDARD = Columns(4, 0, 2, 3, 1)
GOOD = st.builds(
    b"%016x,s,/m/%d,%s".__mod__, st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([b"0", b"1", b"0.5"]))
)
PIECES = [b",", b'"', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"0", b"1", b"a", b"%016x" % 1, b" ", BOM, b",s,/m/1,1\n"]
NOISE = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=40)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content, some of its bytes taken out and others put in."""
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 20)))
        content = content[:start] + draw(NOISE) + content[stop:]
    return content


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Lines that are in order, or were."""
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    lines = end.join(draw(st.lists(GOOD, max_size=8)))
    return end + draw(damaged(lines)) if end != b"\r" else b"\r" + draw(damaged(lines)).lstrip(b"\n")


@contextmanager
def small_pieces() -> Iterator[None]:
    """Files are cut into many ranges and blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_ranges, "RANGE_BYTES", 150)
        patch.setattr(csv_ranges, "BLOCK_BYTES", 2000)
        patch.setattr(csv_ranges, "_READ_BYTES", 10)
        patch.setattr(csv_lines, "PART_BYTES", 60)
        yield


def check_error(error: ConcordError, folder: Path) -> None:
    text = str(error)
    assert text.splitlines() == [text]
    assert str(folder) in text
    assert text.isprintable()


# --- Reading alone, often -----------------------------------------------------------------------


def read(path: Path, columns: tuple[str, ...]) -> tuple[int, int, int]:
    """Rows, rejects, and where the first row begins."""
    ranges = csv_ranges.plan_ranges([str(path)], ("ImageID", "LabelName", "Confidence"), ("Source",), columns)
    rows = rejects = 0
    for part in ranges:
        for block in csv_ranges.read_blocks(part):
            pieces, refused = label_rows.parse(block, part.layout, part.path)
            rows, rejects = rows + sum(map(len, pieces)), rejects + refused.num_rows
    return rows, rejects, ranges[0].start if ranges else len(path.read_bytes())


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(NOISE | bodies() | damaged(HEADER + b"\n" + b"%016x,s,/m/1,1\n" % 7), st.booleans(), st.booleans())
@example(b"", False, True)
def test_every_line_of_any_file_is_a_row_or_a_reject(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, headless: bool, zipped: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any.csv"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with small_pieces():
        try:
            rows, rejects, first = read(path, tuple(HEADER.decode().split(",")) if headless else ())
        except ConcordError as error:
            check_error(error, folder)
            assert not content.startswith(HEADER + b"\n")
            return
    body = content[first:] if first <= len(content) else b""
    assert rows + rejects == len(list(plain_rows.lines(body)))


# --- The whole stage, now and then --------------------------------------------------------------


def confirm(folder: Path, machine: bytes, human: bytes, root: Path) -> dict[str, Any]:
    for name, content in (("machine.csv", machine), ("human.csv", human)):
        (folder / name).write_bytes(content)
    given = ConfirmSettings(
        dataset="d",
        machine=(str(folder / "machine.csv"),),
        human=(str(folder / "human.csv"),),
        shards=1,
        splits={"all_of_it": 1.0},
        label_sets="none",
        on_conflict="confirmed",
        max_reject_fraction=1.0,
    )
    context = Context(str(root), ("--direct_num_workers=1",), force=True)
    with small_pieces():
        return stages.confirm(given, context).counts


def expected(machine: bytes, human: bytes) -> dict[str, Any]:
    """The counts, from dictionaries over the files' lines."""
    sides = {"machine": plain_rows.read(machine, STANDARD, False), "human": plain_rows.read(human, STANDARD, True)}
    pairs = {side: Counter((row.image, row.label) for row in rows) for side, (rows, _) in sides.items()}
    said_yes = {(row.image, row.label) for row in sides["human"][0] if row.confidence == 1}
    matched = pairs["machine"].keys() & pairs["human"].keys()
    found: dict[str, Any] = {"matched": len(matched), "confirmed": len(matched & said_yes)}
    for side, (rows, rejects) in sides.items():
        duplicate = sum(pairs[side][pair] - 1 for pair in matched)
        found[side] = {
            "read": len(rows) + len(rejects),
            "malformed": dict(Counter(one.reason for one in rejects)),
            "narrowed": {},
            "unmatched": len(rows) - len(matched) - duplicate,
            "duplicate": duplicate,
            "matched": len(matched),
        }
    return found


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), bodies())
def test_files_with_a_header_always_end_with_counts_that_close(
    tmp_path_factory: pytest.TempPathFactory, machine: bytes, human: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    counts = confirm(folder, HEADER + machine, HEADER + human, folder / "root")
    assert {name: counts[name] for name in ("matched", "confirmed", "machine", "human")} == expected(machine, human)
    for side in ("machine", "human"):
        found = counts[side]
        lines = len(list(plain_rows.lines(machine if side == "machine" else human)))
        rest = found["unmatched"] + found["duplicate"] + found["matched"]
        assert lines == found["read"] == rest + sum(found["malformed"].values())
    assert counts["matched"] == counts["confirmed"] + counts["rejected"]


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(HEADER + b"\n%016x,s,/m/1,1\n" % 7), NOISE)
@example(HEADER + b"\n%016x,s,/m/1,1\n" % 7, HEADER)
def test_any_bytes_end_with_a_result_or_with_one_line(
    tmp_path_factory: pytest.TempPathFactory, machine: bytes, human: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        counts = confirm(folder, machine, human, folder / "root")
    except ConcordError as error:
        check_error(error, folder)
    else:
        found = [counts[side] for side in ("machine", "human")]
        lines = sum(len(list(plain_rows.lines(content))) for content in (machine, human))
        assert sum(side["read"] for side in found) == counts["in"] == lines - 2
