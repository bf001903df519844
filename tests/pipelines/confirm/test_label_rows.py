"""From CSV to label rows: the fast way and the careful way keep the same rows, those of a reader that is just plain."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.confirm import label_rows
from schemas import tables
from schemas.errors import InputError
from storage.formats import csv_lines
from storage.formats.csv_ranges import Block, Layout
from storage.formats.csv_tables import BOM
from tests.support import plain_rows
from tests.support.plain_rows import Columns, Reject, Row

STANDARD = Columns(4, 0, 2, 3, 1)
COLUMNS = [STANDARD, Columns(3, 2, 1, 0), Columns(6, 1, 3, 5), Columns(5, 3, 0, 1, 4)]
Read = tuple[list[Row], list[Reject]]


def layout(columns: Columns) -> Layout:
    source = -1 if columns.source is None else columns.source
    return Layout(columns.fields, (columns.image, columns.label, columns.confidence, source))


def rows_of(pieces: list[label_rows.LabelRows]) -> list[Row]:
    rows: list[Row] = []
    for piece in pieces:
        assert [str(a.dtype) for a in (piece.images, piece.confidences)] == ["uint64", "float32"]
        labels = piece.label_names.take(pa.array(piece.labels)).to_pylist()
        sources = piece.source_names.take(pa.array(piece.sources)).to_pylist()
        rows += map(Row, piece.images.tolist(), labels, piece.confidences.tolist(), sources)
    return rows


def read(data: bytes, columns: Columns = STANDARD, verdicts: bool = False, offset: int = 0, more: bytes = b"") -> Read:
    """What `parse` gives, and that its rejects are as they should be."""
    pieces, rejects = label_rows.parse(Block(data + more, offset, len(data)), layout(columns), "a/b.csv", verdicts)
    assert rejects.schema.equals(tables.REJECTS)
    found = rejects.to_pylist()
    assert {row["source"] for row in found} <= {"a/b.csv"}
    assert all(row["detail"] and row["detail"].isprintable() and len(row["detail"]) < 700 for row in found)
    assert all(row["position"].startswith("byte ") for row in found)
    return rows_of(pieces), [Reject(row["image_id"], row["reason"], int(row["position"][5:])) for row in found]


def read_carefully(data: bytes, columns: Columns = STANDARD, verdicts: bool = False) -> Read:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_rows, "_as_it_should_be", lambda *_: None)
        return read(data, columns, verdicts)


def is_fast(data: bytes) -> bool:
    block = Block(data, 0, len(data))
    return label_rows._as_it_should_be(block, layout(STANDARD)) is not None


# --- Two ways, one result -----------------------------------------------------------------------

IN_RANGE = "0 1 0.5 0.7 1. .5 00.50 1e-3 1E0 +1 +.5 -0 -0.0 0e99 1e-46 1e-400 1.00000001"
OUTSIDE = "1e39 1e400 -1e400 1.0000001 -0.1 2"
NO_NUMBERS = "nan NaN inf -inf Infinity NA N/A NULL null 0x1 1_0 1e 1e+ . e1 - + +-1 -+1 ++1 1d0 0,5 \u0661 0.1.2 1-1"
NUMBERS = f"{IN_RANGE} {OUTSIDE} {NO_NUMBERS}".split(" ")
ODD_NUMBERS = [" 0.5 ", "\t1\t", " ", "", "0. 5", "\u00a01", "1\x00", "\x0b1", '"0.5"', '" 1 "', '"1', '1"', '0""5']
LABELS = [
    "/m/014j1m",
    "é",
    "",
    '""',
    '"a,b"',
    '"a""b"',
    'a"b',
    '"ab"c',
    '"ab"c"d',
    '"ab',
    '"',
    '"""',
    '""""',
    "NA",
    " ",
    "a\0b",
]
IDS = [
    "0123456789abcdef",
    "0123456789ABCDEF",
    '"00000000000000ff"',
    "0" * 15,
    "0" * 17,
    "",
    "000000000000000g",
    " " + "0" * 15,
]
LABELS_AND_MORE = [*(one.encode() for one in LABELS), b"\xff", b"\xed\xa0\x80", b'"a\xc3', b"a,b", BOM, BOM + b"a"]
TEXTS = st.text('ab,"é\x00 ', max_size=6).map(str.encode) | st.binary(max_size=6).map(
    lambda b: b.translate(None, b"\r\n")
)
IMAGE = st.sampled_from([one.encode() for one in IDS]) | st.integers(0, 2**64 - 1).map(lambda n: b"%016x" % n) | TEXTS
LABEL = st.sampled_from([one.encode() for one in LABELS]) | TEXTS
NUMBER = (
    st.sampled_from([one.encode() for one in NUMBERS + ODD_NUMBERS])
    | st.decimals(0, 1).map(lambda d: str(d).encode())
    | st.from_regex(r"\A[+-]?\d{0,12}\.?\d{0,12}([eE][+-]?\d{1,2})?\Z").map(str.encode)
)
GOOD = st.tuples(st.just(b"%016x" % 77), st.sampled_from([b"/m/1", b'"/m/2"']), st.sampled_from([b"0", b"1", b"0.25"]))


@st.composite
def line(draw: st.DrawFn, columns: Columns) -> bytes:
    """A line that is in order, or nearly so, or not at all."""
    kind = draw(st.sampled_from(["good", "good", "odd", "odd", "short", "long", "any"]))
    if kind == "any":
        return draw(TEXTS)
    fields = [b"x"] * columns.fields
    fields[columns.image], fields[columns.label], fields[columns.confidence] = draw(GOOD)
    if kind == "odd":
        place = draw(st.integers(0, columns.fields - 1))
        strange = {columns.image: IMAGE, columns.label: LABEL, columns.confidence: NUMBER}
        fields[place] = draw(strange.get(place, TEXTS))
    if kind == "short":
        fields.pop(draw(st.integers(0, len(fields) - 1)))
    return b",".join(fields + [b"x"] * (kind == "long"))


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, Columns, bool]:
    columns = draw(st.sampled_from(COLUMNS))
    end = draw(st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n"]))
    some = draw(st.lists(line(columns), max_size=4))
    return end.join(some) + end * draw(st.integers(0, 1)), columns, draw(st.booleans())


def test_every_oddity_by_itself() -> None:
    """In a block that is else in order, so that the fast way meets it."""
    fields = [b"%016x" % 7, b"s", b"/m/1", b"1"]
    odd = {
        0: [one.encode() for one in IDS],
        1: LABELS_AND_MORE,
        2: LABELS_AND_MORE,
        3: [n.encode() for n in NUMBERS + ODD_NUMBERS],
    }
    for place, texts in odd.items():
        for text in texts:
            line = b",".join([*fields[:place], text, *fields[place + 1 :]])
            for data in (line, line + b"\n", AFTER[1:] + b"\n" + line + b"\r\n"):
                assert read(data) == read_carefully(data) == plain_rows.read(data, STANDARD, False), data


@settings(max_examples=150)
@given(blocks(), st.binary(max_size=4))
def test_both_ways_are_those_of_a_plain_reader(block: tuple[bytes, Columns, bool], more: bytes) -> None:
    data, columns, verdicts = block
    expected = plain_rows.read(data, columns, verdicts)
    if data[-1:] == b"\r":
        more = more.lstrip(b"\n")
    assert read(data, columns, verdicts, more=more if data[-1:] in (b"\r", b"\n") else b"") == expected
    assert read_carefully(data, columns, verdicts) == expected


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"%016x" % 7, b",", b",", b'"', b"\n", b"\r", b"1", b"a", b"\xff", b"\0"]), max_size=30)
)
@example([b"%016x" % 7, b",a,b,", b'"1'])
@example([BOM, b"%016x" % 7, b",a,b,1"])
def test_any_bytes_at_all(parts: list[bytes]) -> None:
    data = b"".join(parts)
    for columns in (STANDARD, Columns(3, 0, 2, 1)):
        expected = plain_rows.read(data, columns, False)
        assert len(expected[0]) + len(expected[1]) == len(list(plain_rows.lines(data)))
        assert read(data, columns) == read_carefully(data, columns) == expected


@settings(max_examples=100)
@given(blocks(), st.data())
def test_how_a_file_is_cut_into_blocks_changes_nothing(block: tuple[bytes, Columns, bool], data: st.DataObject) -> None:
    content, columns, verdicts = block
    starts = [offset for offset, _ in plain_rows.lines(content)]
    cuts = sorted(data.draw(st.sets(st.sampled_from(starts)))) if starts else []
    rows: list[Row] = []
    rejects: list[Reject] = []
    for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        found = read(content[begin:end], columns, verdicts, offset=begin + 1000, more=content[end:])
        rows, rejects = rows + found[0], rejects + found[1]
    moved = [
        Reject(one.image_id, one.reason, one.offset + 1000) for one in plain_rows.read(content, columns, verdicts)[1]
    ]
    assert (rows, rejects) == (plain_rows.read(content, columns, verdicts)[0], moved)


@given(st.text('ab,"é', max_size=12).filter(lambda text: plain_rows.split(text.encode()) is not None))
def test_the_plain_reader_splits_lines_as_python_does(text: str) -> None:
    [row] = list(csv.reader([text])) or [[]]
    assert plain_rows.split(text.encode()) == ([field.encode() for field in row] or [b""])


# --- Row by row ---------------------------------------------------------------------------------

BEFORE, AFTER = b"%016x,s,/m/1,1\r\n" % 1, b"\n%016x,s,/m/2,0" % 2
REASONS = {
    "row_malformed": [
        b"%016x,s,/m/1" % 9,
        b"%016x,s,/m/1,1," % 9,
        b"%016x,s,a,b,1" % 9,
        b'%016x,s,"/m/1,1' % 9,
        b'%016x,s,/m/1,"1' % 9,
        b"x",
        b",",
    ],
    "row_not_utf8": [b"%016x,s,\xff,1" % 9, b"%016x,\xe9,/m/1,1" % 9, b"%016x,s,\xed\xa0\x80,1" % 9],
    "image_id_not_hex": [
        b"%015x,s,/m/1,1" % 9,
        b"%017x,s,/m/1,1" % 9,
        b"000000000000000g,s,/m/1,1",
        b",s,/m/1,1",
        b",,,",
    ],
    "label_missing": [b"%016x,s,,1" % 9, b'%016x,s,"",1' % 9],
    "confidence_not_a_number": [
        b"%016x,s,/m/1,%s" % (9, text) for text in (b"", b"nan", b"NA", b"inf", b"0,5"[:1] + b"x")
    ],
    "confidence_outside": [b"%016x,s,/m/1,%s" % (9, text) for text in (b"1.1", b"-0.1", b"2", b"1e400", b"-1e400")],
    "verdict_not_clear": [b"%016x,s,/m/1,%s" % (9, text) for text in (b"0.5", b"0.999", b"1e-3")],
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_to_reject_a_row(reason: str) -> None:
    for bad in REASONS[reason]:
        rows, [reject] = read(BEFORE + bad + AFTER, verdicts=True, offset=5_000_000_000)
        assert [(row.image, row.label, row.confidence) for row in rows] == [(1, "/m/1", 1.0), (2, "/m/2", 0.0)]
        assert (reject.reason, reject.offset) == (reason, 5_000_000_000 + len(BEFORE)), bad


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"\n\n"])
@pytest.mark.parametrize(
    "swallowed",
    [[b'%016x,"s,/m/1,1', b'%016x,s",/m/2,0'], [b'%016x,s,"/m/1', b'/m/%x",1'], [b'%016x,s,/m/1,"1', b'%x"']],
)
def test_a_quote_swallows_no_line(swallowed: list[bytes], end: bytes) -> None:
    """Two lines that would be one row in order, if line breaks could be quoted."""
    data = end.join([*(line % 9 for line in swallowed), b"%016x,s,/m/3,1" % 3])
    expected = plain_rows.read(data, STANDARD, False)
    assert expected[1][0].reason == "row_malformed"
    assert read(data) == read_carefully(data) == expected


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\n\r\n"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_a_quote_that_the_last_line_leaves_open(columns: Columns, end: bytes) -> None:
    """Arrow takes the line ends for a part of the field, and the rows are as many as the lines."""
    fields = [b"x"] * columns.fields
    fields[columns.image], fields[columns.label], fields[columns.confidence] = b"%016x" % 7, b"/m/1", b"1"
    good = b",".join(fields) + b"\n"
    for text in (b'"', b'"' + fields[-1], b'"x""'):
        data = good + b",".join([*fields[:-1], text]) + end
        expected = plain_rows.read(data, columns, False)
        assert [reject.reason for reject in expected[1]] == ["row_malformed"]
        assert read(data, columns) == read_carefully(data, columns) == expected


def test_machines_may_be_unsure() -> None:
    for bad in REASONS["verdict_not_clear"]:
        rows, rejects = read(BEFORE + bad + AFTER)
        assert (len(rows), rejects) == (3, [])


def test_what_is_wrong_is_shown_cut_short_and_printable() -> None:
    bad = b"\x1b[31m\x00\n".strip() + b"x" * 300
    data = b"%016x,s,%s,\xff\n%s,s,/m/1,1\n" % (9, bad, bad)
    _, rejects = label_rows.parse(Block(data, 0, len(data)), layout(STANDARD), "f.csv")
    details = rejects["detail"].to_pylist()
    assert details[0] == "Confidence is '\\\\xff'"
    assert details[1].startswith("ImageID is '\\x1b[31m\\x00xxx")
    assert details[1].endswith("x'...")
    assert len(rejects["image_id"][1].as_py()) == 100


def test_what_is_in_order_goes_the_fast_way() -> None:
    for data in (BEFORE + AFTER, b'"%016X","s","/m/1"," 0.5 "\r' % 9, b"", b"\n\r\n", b'%016x,s,"a,""b",1e-3' % 9):
        assert is_fast(data), data
        assert read(data) == plain_rows.read(data, STANDARD, False)


def test_one_bad_row_takes_no_other_with_it() -> None:
    good = [b'%016x,"s ""%d""",/m/%d,0.%d' % (n, n, n % 7, n) for n in range(500)]
    bad = [b"bad", b'%016x,"s,/m/1,1' % 1, b"%016x,s,,1" % 2]
    for place in (0, 250, 500):
        data = b"\n".join(good[:place] + bad + good[place:])
        rows, rejects = read(data)
        assert [row.image for row in rows] == list(range(500))
        assert rows == read_carefully(b"\n".join(good))[0] == read(b"\n".join(good))[0]
        assert [one.reason for one in rejects] == ["row_malformed", "row_malformed", "label_missing"]


def test_pieces_are_of_bounded_size_and_share_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(b'%016x,s%d,"/m/%d",0.%d\n' % (n, n % 3, n % 7, n) for n in range(300))
    expected = plain_rows.read(data, STANDARD, False)[0]
    monkeypatch.setattr(csv_lines, "PARSE_BYTES", 1000)
    for careful in (False, True):
        if careful:
            monkeypatch.setattr(label_rows, "_as_it_should_be", lambda *_: None)
        pieces, _ = label_rows.parse(Block(data, 0, len(data)), layout(STANDARD), "f.csv")
        assert rows_of(pieces) == expected
        assert len({id(piece.label_names) for piece in pieces}) == 1
        assert careful or (len(pieces) >= 9 and max(map(len, pieces)) < 50)


@pytest.mark.parametrize("size", [131_072, 1_100_000, 5_000_000])
@pytest.mark.parametrize("quote", [b"", b'"'], ids=["plain", "quoted"])
def test_very_long_fields(size: int, quote: bytes) -> None:
    """Whether such a row is kept must not depend on whether another row is bad."""
    long = b"%016x,s,%s%s%s,1\n" % (9, quote, b"x" * (size + 1), quote)
    alone, beside = read(long), read(long + b"bad\n")
    assert alone[0] == beside[0] == read_carefully(long)[0]
    assert [len(row.label) for row in alone[0]] == [size + 1]
    assert (alone[1], len(beside[1])) == ([], 1)


def test_some_of_the_rows() -> None:
    [piece] = label_rows.parse(Block(BEFORE + AFTER, 0, len(BEFORE + AFTER)), layout(STANDARD), "f.csv")[0]
    assert rows_of([piece.take(np.array([1]))]) == rows_of([piece])[1:]
    assert rows_of([piece.take(np.array([True, False]))]) == rows_of([piece])[:1]
    assert len(piece.take(np.zeros(0, np.int64))) == 0


# --- Lists of images ----------------------------------------------------------------------------


def test_listed_images() -> None:
    data = b'%016x,"more, of it"\r\n\r%016X,x\n"%016x",' % (3, 255, 2**64 - 1)
    found = label_rows.listed_ids(Block(data, 0, len(data)), Layout(2, (0,)), "list.csv")
    assert found.tolist() == [3, 255, 2**64 - 1]
    assert label_rows.listed_ids(Block(b"\n", 0, 1), Layout(1, (0,)), "list.csv").tolist() == []


@pytest.mark.parametrize("bad", [b"abc", b"%017x" % 1, b"%016x,more" % 1, b'"%016x' % 1, b"ImageID", b"\xff" * 16])
def test_a_list_that_names_something_else(bad: bytes, tmp_path: Path) -> None:
    data = b"%016x\n" % 5 + bad + b"\nworse\n"
    with pytest.raises(InputError) as error:
        label_rows.listed_ids(Block(data, 100, len(data)), Layout(1, (0,)), f"{tmp_path}/list.csv")
    assert str(error.value) == (
        f"{tmp_path}/list.csv, byte 117: no ImageID of 16 hexadecimal digits; mend that line of the list"
    )
