"""Ranges and blocks of CSV files: whatever their sizes, together they are the file's lines, each once and in order."""

import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from storage.formats import csv_ranges
from storage.formats.csv_ranges import Block, Layout, Range
from storage.formats.csv_tables import BOM

WANTED = ("ImageID", "LabelName", "Confidence")
HEADER = b"ImageID,Source,LabelName,Confidence"
ENDS = ["\n", "\r", "\r\n"]


@contextmanager
def sizes(**some: int) -> Iterator[None]:
    """Other sizes than the real ones, which are megabytes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in some.items():
            patch.setattr(csv_ranges, name.upper(), size)
        yield


def plan(path: Path | str, columns: Sequence[str] = ()) -> tuple[Range, ...]:
    return csv_ranges.plan_ranges([str(path)], WANTED, ("Source",), columns)


def lines(data: bytes) -> list[bytes]:
    return [line for line in re.split(rb"\r\n|\r|\n", data) if line]


def all_blocks(ranges: Sequence[Range]) -> list[Block]:
    """Every block, its bytes kept: the next one may overwrite them."""
    return [replace(block, data=bytes(block.data)) for part in ranges for block in csv_ranges.read_blocks(part)]


def check(content: bytes, first: int, ranges: Sequence[Range]) -> None:
    """The blocks of the ranges of one file are its bytes from `first` on, cut only where lines begin."""
    assert [part.number for part in ranges] == list(range(len(ranges)))
    offset = first
    for block in all_blocks(ranges):
        assert block.offset == offset
        assert block.size == len(block.lines) > 0
        assert block.data.startswith(block.lines)
        if offset > first:
            assert content[offset - 1 : offset] in (b"\n", b"\r")
            assert content[offset - 1 : offset + 1] != b"\r\n"
        offset += block.size
    assert b"".join(block.lines for block in all_blocks(ranges)) == content[first:]
    assert [line for block in all_blocks(ranges) for line in lines(block.lines)] == lines(content[first:])


# --- Every way to cut a file --------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("bom", [b"", BOM], ids=["", "bom"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_every_size_of_ranges_and_blocks(tmp_path: Path, end: str, bom: bytes, last: bool) -> None:
    rows = [b"0" * 16 + b",s,/m/%d,0.%d" % (number, number) for number in range(9)]
    body = end.encode().join([HEADER, *rows[:4], b"", b"", *rows[4:]]) + end.encode() * last
    path = tmp_path / "rows.csv"
    path.write_bytes(bom + body)
    first = len(bom) + len(HEADER) + len(end)
    for range_bytes in (1, 2, 28, 29, 30, 57, 1 << 20):
        for block_bytes in (30, 55, 1 << 20):
            with sizes(range_bytes=range_bytes, block_bytes=block_bytes, _read_bytes=range_bytes % 7 + 1):
                ranges = plan(path)
                check(bom + body, first, ranges)
        assert {part.layout for part in ranges} == {Layout(4, (0, 2, 3, 1))}
        assert len(ranges) == (1 if range_bytes == 1 << 20 else len(ranges)) > 0
    with sizes(range_bytes=1):
        assert len(plan(path)) == 9 + 2, "a range a line, blank ones too"


TEXTS = st.binary(max_size=12).map(lambda text: text.translate(None, b"\r\n"))


@given(
    body=st.lists(st.tuples(TEXTS, st.sampled_from(ENDS)), max_size=12),
    last=TEXTS,
    end=st.sampled_from(ENDS),
    range_bytes=st.integers(1, 60),
    extra=st.integers(2, 40),
    look=st.integers(1, 20),
)
def test_arbitrary_lines(
    tmp_path_factory: pytest.TempPathFactory,
    body: list[tuple[bytes, str]],
    last: bytes,
    end: str,
    range_bytes: int,
    extra: int,
    look: int,
) -> None:
    rest = b"".join(text + mark.encode() for text, mark in body) + last
    rest = rest.lstrip(b"\n") if end == "\r" else rest  # else it were the header's own
    content = HEADER + end.encode() + rest
    path = tmp_path_factory.getbasetemp() / "arbitrary.csv"
    path.write_bytes(content)
    longest = max(map(len, [HEADER, *lines(rest)]))
    with sizes(range_bytes=range_bytes, block_bytes=longest + extra, _read_bytes=look):
        check(content, len(HEADER) + len(end), plan(path))
        path.write_bytes(gzip.compress(content))
        check(content, len(HEADER) + len(end), plan(path))


def test_ranges_are_numbered_through_all_files(tmp_path: Path) -> None:
    for name, rows in (("a", 3), ("b", 0), ("c", 2)):
        (tmp_path / name).write_bytes(HEADER + b"\n" + b"1,2,3,4\n" * rows)
    with sizes(range_bytes=1):
        ranges = csv_ranges.plan_ranges([str(tmp_path / name) for name in "abc"], WANTED)
    assert [(part.path[-1], part.number) for part in ranges] == [("a", 0), ("a", 1), ("a", 2), ("c", 3), ("c", 4)]


def test_a_file_has_no_more_ranges_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(HEADER + b"\n" + b"1,2,3,4\n" * 100)
    with sizes(range_bytes=1, max_ranges=7):
        ranges = plan(path)
    assert 5 <= len(ranges) <= 7
    check(path.read_bytes(), len(HEADER) + 1, ranges)


@pytest.mark.parametrize("content", [HEADER, HEADER + b"\r\n", HEADER + b"\r"], ids=["open", "crlf", "cr"])
def test_a_file_of_one_line_has_no_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    assert all_blocks(plan(tmp_path / "rows.csv")) == []
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(content))
    assert all_blocks(plan(tmp_path / "rows.csv.gz")) == []


@pytest.mark.parametrize("before", [b"\n", b"\r\n\r\n", BOM + b"\r\r"], ids=repr)
def test_blank_lines_before_the_header(tmp_path: Path, before: bytes) -> None:
    content = before + HEADER + b"\n1,2,3,4\n"
    (tmp_path / "rows.csv").write_bytes(content)
    check(content, len(before) + len(HEADER) + 1, plan(tmp_path / "rows.csv"))


# --- gzip ---------------------------------------------------------------------------------------

BODY = HEADER + b"\n" + b"".join(b"%016x,s,/m/1,0.5\n" % number for number in range(50))


@pytest.mark.parametrize("cut", [0, 1, 36, 37, 100, len(BODY)])
def test_gzip_of_several_members(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(BODY[:cut]) + gzip.compress(b"") + gzip.compress(BODY[cut:]) + b"\0" * 9)
    with sizes(block_bytes=70):
        [part] = plan(path)
        check(BODY, len(HEADER) + 1, [part])
    assert (part.zipped, part.path) == (True, str(path))


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(gzip.compress(BODY))
    (tmp_path / "rows.csv.gz").write_bytes(BODY)
    for name in ("rows.csv", "rows.csv.gz"):
        check(BODY, len(HEADER) + 1, plan(tmp_path / name))


def test_gzip_that_is_shorter_than_its_header(tmp_path: Path) -> None:
    content = HEADER + b"".join(b",more_columns_than_needed_%d" % number for number in range(40)) + b"\n1,2,3,4\n"
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(content))
    assert path.stat().st_size < content.index(b"\n"), "or there is nothing to see here"
    check(content, content.index(b"\n") + 1, plan(path))


@pytest.mark.parametrize("damage", ["cut off", "a wrong bit", "more after it", "just the magic"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    content = bytearray(gzip.compress(BODY))
    content[len(content) // 2] ^= 255 * (damage == "a wrong bit")
    content += b"more" * (damage == "more after it")
    size = {"cut off": len(content) - 9, "just the magic": 2}.get(damage, len(content))
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(content[:size])
    with pytest.raises(InputError) as error:
        all_blocks(plan(path))
    assert re.fullmatch(rf"{re.escape(str(path))} is a damaged gzip file \(.+\); copy it again", str(error.value))


def test_empty_gzip(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match=r"rows\.csv\.gz has no header: it is empty; copy it again, or exclude it"):
        plan(tmp_path / "rows.csv.gz")


# --- Columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "layout"),
    [
        ("ImageID,Source,LabelName,Confidence", Layout(4, (0, 2, 3, 1))),
        ("Confidence,LabelName,ImageID", Layout(3, (2, 1, 0, -1))),
        ("x,ImageID,y,LabelName,,Confidence,", Layout(7, (1, 3, 5, -1))),
        ('"ImageID","Source","Label""Name",LabelName,"Confidence"', Layout(5, (0, 3, 4, 1))),
    ],
)
def test_columns_are_found_by_name(tmp_path: Path, header: str, layout: Layout) -> None:
    (tmp_path / "rows.csv").write_text(header + "\n1,2,3\n")
    assert [part.layout for part in plan(tmp_path / "rows.csv")] == [layout]


def test_files_with_and_without_a_header(tmp_path: Path) -> None:
    contents = {
        "bare": b"1,2,3,4\n5,6,7,8\n",
        "marked": BOM + b"1,2,3,4\n",
        "blank": b"\n\n1,2,3,4\n",
        "named": b"Confidence,ImageID,LabelName\n1,2,3\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    columns = ["ImageID", "Source", "LabelName", "Confidence"]
    ranges = csv_ranges.plan_ranges([str(tmp_path / name) for name in contents], WANTED, (), columns)
    found = {part.path.rpartition("/")[2]: (part.layout, lines(all_blocks([part])[0].lines)) for part in ranges}
    assert found == {
        "bare": (Layout(4, (0, 2, 3)), [b"1,2,3,4", b"5,6,7,8"]),
        "marked": (Layout(4, (0, 2, 3)), [b"1,2,3,4"]),
        "blank": (Layout(4, (0, 2, 3)), [b"1,2,3,4"]),
        "named": (Layout(3, (1, 2, 0)), [b"1,2,3"]),
    }


REMEDY = (
    "If that is a row of data, the file has no header: name its columns with "
    "--columns ImageID,Source,LabelName,Confidence"
)
BAD = {
    "absent": (
        b"ImageID,Label,Conf\n",
        f"has no column LabelName, Confidence; its columns are: ImageID, Label, Conf. {REMEDY}",
    ),
    "twice": (HEADER + b",ImageID\n", "has the column ImageID more than once; its columns are: ImageID, Source, "),
    "blanks": (b"\n\r\n", "has no header: it is empty; copy it again, or exclude it"),
    "empty": (b"", "has no header: it is empty; copy it again, or exclude it"),
    "only a mark": (BOM, "has no header: it is empty; copy it again, or exclude it"),
    "not UTF-8": (b"Image\xffID,LabelName\n", "is no CSV file of labels: its first line is no row of UTF-8 text ("),
    "control characters": (b"\0\x0b\x1c\xc2\x85,\x1b[1m\n", r"its columns are: \x00\x0b\x1c\x85, \x1b[1m. If that"),
    "a picture": (
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        "is no CSV file of labels: its first line is no row of UTF-8 text (",
    ),
    "one huge field": (b'"' + b"x" * 140_000 + b'"\n', "first line is no row of UTF-8 text (field larger than"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_file_of_labels(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / "rows.csv"
    for data in (content, gzip.compress(content)):
        path.write_bytes(data)
        with pytest.raises(InputError) as error:
            plan(path)
        text = str(error.value)
        assert text.startswith(f"{path} ")
        assert message in text
        assert text.splitlines() == [text], "it fits on one line"
        assert text.isprintable()
        assert len(text) < 500


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no such file: {tmp_path}/absent.csv"):
        plan(tmp_path / "absent.csv")


# --- Lines without an end -----------------------------------------------------------------------


def test_a_first_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x" * 300)
    with sizes(max_line_bytes=200), pytest.raises(InputError, match="its first line has more than 200 bytes"):
        plan(path)


def test_a_later_line_without_end_where_a_range_is_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(HEADER + b"\n" + b"x" * 1000)
    with sizes(max_line_bytes=200, range_bytes=100, _read_bytes=50), pytest.raises(InputError) as error:
        plan(path)
    assert "rows.csv is no CSV file of labels: there is no line end in 200 bytes from byte 1" in str(error.value)


def test_a_later_line_without_end_within_a_range(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(HEADER + b"\n" + b"x" * 1000 + b"\n")
    gzipped = tmp_path / "rows.csv.gz"
    gzipped.write_bytes(gzip.compress(path.read_bytes()))
    for one in (path, gzipped):
        with sizes(block_bytes=200), pytest.raises(InputError) as error:
            all_blocks(plan(one))
        assert str(error.value) == f"{one} is no CSV file of labels: no line ends in 200 bytes"


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(BODY)
    ranges = plan(path)
    path.write_bytes(BODY[:200])
    with pytest.raises(InputError, match=r"rows\.csv has become shorter while it was read; start again"):
        all_blocks(ranges)
