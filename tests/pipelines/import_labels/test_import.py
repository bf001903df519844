"""Anybody's labels as a label set: the rows that pandas keeps of the same files, whatever wrote them."""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.import_labels import rows as import_rows
from schemas import layout, manifests, tables
from schemas.errors import InputError, TooManyRejectsError
from schemas.manifests import LabelsManifest
from schemas.settings.import_labels import ImportSettings
from schemas.stage import Context, StageResult
from storage import hashing, products
from storage.formats import csv_ranges
from tests.support.stages import import_labels

pytestmark = pytest.mark.usefixtures("quick_disk")
LABELS = ["cat", "dog, small", 'a "b"', "Käse", "NA", "7"]
ALL = 1.0  # of the rows may be rejected


def run(root: Path | str, *files: Path, workers: int = 1, force: bool = False, **more: Any) -> StageResult:
    given = {"dataset": "d", "annotator": "vendor", "split": "test", "max_reject_fraction": ALL, **more}
    settings = ImportSettings(input=tuple(map(str, files)), **given)
    return import_labels(settings, Context(str(root), (f"--direct_num_workers={workers}",), force))


def manifest(root: Path | str, annotator: str = "vendor", split: str = "test", dataset: str = "d") -> LabelsManifest:
    found = products.find_manifest(layout.labels(str(root), dataset, annotator, split), LabelsManifest)
    assert found is not None
    return found


def label_set(root: Path | str, annotator: str = "vendor", dataset: str = "d") -> pd.DataFrame:
    """The rows of a label set, each of which lies in its shard, in hash order."""
    folder = products.label_set(str(root), dataset, annotator, "test")
    parts = [folder.read(shard) for shard in range(folder.shards)]
    for shard, part in enumerate(parts):
        assert part.schema.equals(tables.LABELS)
        hashes = hashing.image_hashes(part["image_id"].to_pylist())
        assert set(hashing.shard_of(hashes, folder.shards)) <= {shard}
        assert (np.diff(hashes.astype(object)) >= 0).all()
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame[["image_id", "label", "confidence"]]


def rejects(root: Path | str, annotator: str = "vendor") -> pd.DataFrame:
    folder = Path(layout.import_rejects(str(root), "d", annotator, "test"))
    rows: pd.DataFrame = pa.concat_tables(
        [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    ).to_pandas()
    return rows


def drawn(seed: int = 1, rows: int = 600, images: int = 250) -> pd.DataFrame:
    """Rows in which images, and images and labels, come again and again."""
    rng = np.random.default_rng(seed)
    ids = [f"image {number}" if number % 3 else str(number) for number in rng.integers(0, images, rows)]
    return pd.DataFrame(
        {"image_id": ids, "label": rng.choice(LABELS, rows), "confidence": rng.integers(0, 65, rows) / 64}
    )


def kept(frame: pd.DataFrame, task: str) -> set[tuple[Any, ...]]:
    """What should be left: the first row of an image, or of an image and label."""
    keys = ["image_id", "label"] if task == "multilabel" else ["image_id"]
    return set(frame.drop_duplicates(keys).itertuples(index=False, name=None))


def check(root: Path | str, result: StageResult, expected: set[tuple[Any, ...]], rows: int) -> None:
    found = label_set(root)
    assert set(found.itertuples(index=False, name=None)) == expected
    assert len(found) == len(expected) == result.counts["out"] == manifest(root).rows
    refused = rejects(root)
    assert result.counts["in"] == rows == len(found) + len(refused)
    assert result.counts["rejected"] == refused["reason"].value_counts().to_dict()
    counted = {"import.in": rows, "import.out": len(found), "import.rejected": len(refused)}
    counted |= {f"import.rejected.{reason}": count for reason, count in result.counts["rejected"].items()}
    names = ("import.in", "import.out", "import.rejected")
    assert {name: n for name, n in result.counters.items() if name.startswith(names)} == {
        name: n for name, n in counted.items() if n
    }


# --- Kinds of files -----------------------------------------------------------------------------


def csv_of(frame: pd.DataFrame, **style: Any) -> bytes:
    given = {"index": False, "lineterminator": "\n", **style}
    return frame.to_csv(**given).encode()  # type: ignore[no-any-return]


def parquet_of(frame: pd.DataFrame, path: Path, **types: pa.DataType) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    schema = pa.schema([pa.field(name, types.get(name, table.schema.field(name).type)) for name in table.column_names])
    pq.write_table(table.cast(schema), path, row_group_size=97)


NAMES = pa.dictionary(pa.int16(), pa.large_string())
CSVS: dict[str, Any] = {
    "plain": csv_of,
    "all quoted, CRLF, BOM": lambda frame: b"\xef\xbb\xbf" + csv_of(frame, quoting=1, lineterminator="\r\n"),
    "CR": lambda frame: csv_of(frame, lineterminator="\r"),
    "gzip": lambda frame: gzip.compress(csv_of(frame)),
    "other order, more columns": lambda frame: csv_of(frame.assign(url="http://x?a,b")[["url", *frame.columns[::-1]]]),
    "blank lines": lambda frame: csv_of(frame).replace(b"\n", b"\n\n"),
}
PARQUETS: dict[str, dict[str, pa.DataType]] = {
    "parquet": {},
    "dictionaries": {"label": NAMES, "image_id": NAMES},
    "large and float32": {"label": pa.large_string(), "image_id": pa.large_string(), "confidence": pa.float32()},
    "bytes": {"label": pa.binary(), "image_id": pa.large_binary(), "confidence": pa.string()},
}


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("kind", [*CSVS, *PARQUETS])
def test_every_kind_of_file(tmp_path: Path, kind: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 4000)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 1500)
    monkeypatch.setattr(import_rows, "BATCH_ROWS", 50)
    frame = drawn()
    if kind in CSVS:
        (tmp_path / "f").write_bytes(CSVS[kind](frame))
    else:
        parquet_of(frame, tmp_path / "f", **PARQUETS[kind])
    result = run(tmp_path, tmp_path / "f", task=task)
    check(tmp_path, result, kept(frame, task), len(frame))
    assert result.counters["import.read.elements"] > (kind != "gzip") * 2
    facts = manifest(tmp_path)
    assert (facts.task, facts.classes, facts.images) == (task, sorted(LABELS), manifests.NO_IMAGES)
    assert (facts.annotator, facts.split, facts.shards) == ("vendor", "test", 8)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numbers_as_ids_and_labels_and_no_confidence(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"ID": [10, 9007199254740993, 7, 10], "class": [3.0, math.nan, 0.0, 1.0]})
    if kind == "csv":
        frame.astype({"class": "Int64"}).to_csv(tmp_path / "f", index=False)
    else:
        frame.to_parquet(tmp_path / "f")
    result = run(tmp_path, tmp_path / "f", columns={"image_id": "ID", "label": "class"})
    check(tmp_path, result, {("10", "3", 1.0), ("7", "0", 1.0)}, 4)
    assert result.counts["rejected"] == {"image_repeated": 1, "label_missing": 1}
    assert "9007199254740993" in set(rejects(tmp_path)["image_id"])


def test_a_label_that_is_no_number_is_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": ["a", "b"], "label": [2.0, math.nan]}), tmp_path / "f")
    assert run(tmp_path, tmp_path / "f").counts == {"in": 2, "out": 1, "rejected": {"label_missing": 1}}
    assert label_set(tmp_path).values.tolist() == [["a", "2", 1.0]]


def test_the_first_row_of_the_first_file_wins_whoever_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 700)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 300)
    frames = [drawn(seed, 300, 100) for seed in range(4)]
    for number, frame in enumerate(frames):
        if number % 2:
            parquet_of(frame, tmp_path / f"part-{number}")
        else:
            (tmp_path / f"part-{number}").write_bytes(csv_of(frame))
    for order, pattern in (([0, 1, 2, 3], ["part-?"]), ([3, 1, 2, 0], ["part-3", "part-[12]", "part-0"])):
        found = []
        for workers in (1, 3):
            root = tmp_path / f"{order[0]}-{workers}"
            result = run(root, *(tmp_path / one for one in pattern), workers=workers)
            check(root, result, kept(pd.concat([frames[number] for number in order]), "multiclass"), 1200)
            found.append(pd.concat([label_set(root), rejects(root)], axis=1))
        pd.testing.assert_frame_equal(found[0], found[1])


# --- What is turned away ------------------------------------------------------------------------

BAD_ROWS = [
    ("ok,cat,0.5", ""),
    ("ok,cat,0.5", "image_repeated"),
    (",cat,0.5", "image_id_missing"),
    ("b,,0.5", "label_missing"),
    ("c,bird,0.5", "label_outside_classes"),
    ("d,cat,1.5", "confidence_outside"),
    ("e,cat,-0.1", "confidence_outside"),
    ("f,cat,NaN", "confidence_not_a_number"),
    ("g,cat,", "confidence_not_a_number"),
    ("h,cat", "row_malformed"),
    ("h,cat,1,2", "row_malformed"),
    ('i,"cat,1', "row_malformed"),
    ("j,cat,inf", "confidence_not_a_number"),
    ("k,cat,high", "confidence_not_a_number"),
    ("l,c\udcffat,1", "row_not_utf8"),
    ("m\udcff,cat,1", "row_not_utf8"),
    ("f,cat,1", ""),  # its row before was turned away, and does not count
    ("n,dog,0", ""),
    ("n,cat,1", "image_repeated"),
]


@pytest.mark.parametrize("kinds", ["all", "numbers", "nulls"])
def test_bad_rows_are_rejected_with_their_place(tmp_path: Path, kinds: str) -> None:
    """The closer look is taken only where it is needed: what a typed read finds is the same."""
    rare = {"all": (), "numbers": ("row_malformed", "row_not_utf8"), "nulls": ("row_malformed", "row_not_utf8")}[kinds]
    words = () if kinds != "nulls" else ("inf", "high")
    rows = [row for row in BAD_ROWS if row[1] not in rare and not row[0].endswith(words or "none")]
    lines = [b"image_id,label,confidence", *(text.encode("utf-8", "surrogateescape") for text, _ in rows)]
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\r\n".join(lines))
    result = run(tmp_path, path, classes=("cat", "dog"))
    starts = np.cumsum([0, *(len(line) + 2 for line in lines)])[1:]
    expected = {(f"byte {start}", reason) for start, (_, reason) in zip(starts, rows, strict=False) if reason}
    found = rejects(tmp_path)
    assert set(zip(found["position"], found["reason"], strict=True)) == expected
    assert len(found) == len(expected)
    assert set(found["source"]) == {str(path)}
    assert sorted(label_set(tmp_path)["image_id"]) == ["f", "n", "ok"]
    assert result.counts["in"] == len(rows)
    details = dict(zip(found["reason"], found["detail"], strict=True))
    assert details["label_outside_classes"] == "label is 'bird'"
    assert details["image_repeated"].startswith("label is 'cat'; the first is '")


def test_bad_values_of_parquet(tmp_path: Path) -> None:
    columns = {
        "image_id": ["a", None, "", "b", "c", "d", "e", "f"],
        "label": ["x", "x", "x", None, "x", "x", "x", ""],
        "confidence": [1.0, 1.0, 1.0, 1.0, None, math.inf, math.nan, 1.0],
    }
    pq.write_table(pa.table(columns), tmp_path / "f")
    result = run(tmp_path, tmp_path / "f")
    assert result.counts["rejected"] == {"confidence_not_a_number": 3, "image_id_missing": 2, "label_missing": 2}
    found = rejects(tmp_path).sort_values("position")
    assert list(found["position"]) == [f"row {number}" for number in range(1, 8)]
    assert label_set(tmp_path).values.tolist() == [["a", "x", 1.0]]


def test_numbers_have_one_to_five_digits(tmp_path: Path) -> None:
    labels = ["135", "007", "12345", "123456", "", "1a", "\u0661"]  # the last is a digit, but none of ours
    frame = pd.DataFrame({"image_id": [f"i{number}" for number in range(len(labels))], "label": labels})
    (tmp_path / "f").write_bytes(csv_of(frame))
    result = run(tmp_path, tmp_path / "f", task="sequence")
    assert sorted(label_set(tmp_path)["label"]) == ["007", "12345", "135"]
    assert result.counts["rejected"] == {"label_missing": 1, "label_not_digits": 3}
    assert manifest(tmp_path).classes == list("0123456789")


def test_the_same_label_twice_is_rejected_once(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("image_id,label,confidence\na,x,1\na,y,0.5\na,x,0.25\nb,y,1\n")
    result = run(tmp_path, tmp_path / "f", task="multilabel")
    assert result.counts == {"in": 4, "out": 3, "rejected": {"label_repeated": 1}}
    [row] = rejects(tmp_path).to_dict("records")
    first = f"label is 'x'; the first is 'x' (byte 26 of {tmp_path / 'f'})"
    assert (row["image_id"], row["position"], row["detail"]) == ("a", "byte 40", first)


def test_too_many_rejects_fail_and_show_the_first(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("image_id,label\n" + "".join(f"i{number},x\n" for number in range(98)) + "j,\ni0,x\n")
    with pytest.raises(TooManyRejectsError) as raised:
        run(tmp_path, tmp_path / "f", max_reject_fraction=0.01)
    assert "import rejected 2 of 100 records (image_repeated 1, label_missing 1)" in str(raised.value)
    assert f"The first: {tmp_path}/f, byte " in str(raised.value)
    assert products.find_manifest(layout.labels(str(tmp_path), "d", "vendor", "test"), LabelsManifest) is None
    assert run(tmp_path, tmp_path / "f", max_reject_fraction=0.02).counts["out"] == 98


# --- Files that cannot be what they should ------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (b"ImageID,label\na,b\n", {}, "has no column image_id; its columns are: ImageID, label. Name its columns with"),
        (b"image_id,label\na,b\n", {"columns": {"confidence": "sure"}}, "has no column sure"),
        (b"image_id,label,label\na,b,c\n", {}, "has the column label more than once"),
        (b"image_id,label,confidence,confidence\na,b,1,1\n", {}, "has the column confidence more than once"),
        (b"", {}, "is empty (0 bytes)"),
        (b"PAR1 and no more", {}, "is a damaged Parquet file"),
        (b"\x1f\x8b\x08 and no more", {}, "is a damaged gzip file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, more: Any, message: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError) as raised:
        run(tmp_path, tmp_path / "f", **more)
    assert str(tmp_path / "f") in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("image_id", [1.5], "column image_id must hold texts or whole numbers, but it is of type double"),
        ("label", [["a"]], "column label must hold texts or numbers, but it is of type list<"),
        ("confidence", [True], "column confidence must hold numbers, but it is of type bool"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: str, values: Any, message: str) -> None:
    pq.write_table(pa.table({"image_id": ["a"], "label": ["b"], "confidence": [1.0], column: values}), tmp_path / "f")
    with pytest.raises(InputError) as raised:
        run(tmp_path, tmp_path / "f")
    assert message in str(raised.value)


def test_files_that_are_not_there_or_there_twice(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("image_id,label\na,b\n")
    with pytest.raises(InputError, match=r"--input: no file .*/g"):
        run(tmp_path, tmp_path / "g")
    with pytest.raises(InputError, match=r"names .*/f twice"):
        run(tmp_path, tmp_path / "f", tmp_path / "?")
