"""Confirm on what it cannot read: one line that names the file and the cure; and on rows that it can only count."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from schemas import layout
from schemas.errors import ConcordError
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from storage import products
from storage.formats import csv_ranges
from tests.support import label_files
from tests.support.stages import confirm

FLAGS = ("--direct_num_workers=1",)


def settings_for(folder: Path, **more: Any) -> ConfirmSettings:
    """Settings with a machine's file and people's, both of which are in order."""
    machine, human = label_files.draw(images=10, rows=60)
    given = {
        "dataset": "d",
        "machine": (label_files.write(folder / "machine.csv", machine),),
        "human": (label_files.write(folder / "human.csv", human),),
        "shards": 1,
    }
    return ConfirmSettings(**{**given, **more})


BODY = label_files.content(label_files.draw(images=10, rows=60)[0], label_files.Style())
BROKEN = gzip.compress(BODY)[:-30]
BAD: list[tuple[str, str, bytes | None, str]] = [
    ("machine", "absent.csv", None, "--machine: no file {path}"),
    ("human", "*.parquet", None, "--human: no file {path}"),
    ("machine", "bad.csv", b"", "{path} is empty (0 bytes): copy it again"),
    ("human", "bad.csv", gzip.compress(b""), "{path} has no header: it is empty; copy it again, or exclude it"),
    (
        "human",
        "bad.csv",
        b"ImageID,Label\n1,2\n",
        "{path} has no column LabelName, Confidence; its columns are: ImageID, ",
    ),
    (
        "machine",
        "bad.csv",
        b"\x89PNG\r\n\x1a\n\0\0",
        "{path} is no CSV file of labels: its first line is no row of UTF-8 ",
    ),
    ("machine", "bad.csv.gz", BROKEN, "{path} is a damaged gzip file (Compressed file ended before the end-of-stream "),
    (
        "human",
        "bad.csv",
        BODY[:60] + b"x" * 5000,
        "{path} is no CSV file of labels: there is no line end in 2,000 bytes ",
    ),
    ("classes", "absent.csv", None, "no such file: {path}"),
    ("classes", "bad.csv", b"a,b,c\n", "{path}, line 1: a class is LABEL,NAME (quote a name with commas); got ['a', "),
    ("images", "absent.csv", None, "no such file: {path}"),
    (
        "images",
        "bad.csv",
        b"ImageID\n0123456789abcdef\n123\n",
        "{path}, byte 25: no ImageID of 16 hexadecimal digits; mend ",
    ),
    (
        "images",
        "bad.csv",
        b"picture\n0123456789abcdef\n",
        "{path}, byte 0: no ImageID of 16 hexadecimal digits; mend that",
    ),
]


@pytest.mark.parametrize(("role", "name", "content", "message"), BAD, ids=lambda value: str(value)[:16])
def test_a_file_that_cannot_be_what_it_should(
    tmp_path: Path, role: str, name: str, content: bytes | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant, size in (("MAX_LINE_BYTES", 2000), ("RANGE_BYTES", 200), ("_READ_BYTES", 500)):
        monkeypatch.setattr(csv_ranges, constant, size)
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    one = str(path)
    with pytest.raises(ConcordError) as error:
        confirm(
            settings_for(tmp_path, **{role: one if role in ("classes", "images") else (one,)}),
            Context(str(tmp_path), FLAGS),
        )
    text = str(error.value)
    assert text.startswith(message.format(path=path))
    assert text.splitlines() == [text]
    assert products.find_manifest(layout.confirmation(str(tmp_path), "d"), products.AnyManifest) is None


def test_a_gzip_file_that_is_damaged_further_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found only by a worker."""
    monkeypatch.setattr(csv_ranges, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 200)
    path = tmp_path / "bad.csv"
    path.write_bytes(gzip.compress(BODY[:1000]) + b"rubbish")
    for side in ("machine", "human"):
        with pytest.raises(ConcordError) as error:
            confirm(settings_for(tmp_path, **{side: (str(path),)}), Context(str(tmp_path), FLAGS))
        text = str(error.value)
        assert text == f"{path} is a damaged gzip file (Not a gzipped file (b'ru')); copy it again"


def test_nothing_but_malformed_rows(tmp_path: Path) -> None:
    for name in ("machine.csv", "human.csv"):
        (tmp_path / name).write_bytes(b"ImageID,LabelName,Confidence\n" + b"\x00\xff,x\n" * 50)
    paths = {side: (str(tmp_path / f"{side}.csv"),) for side in ("machine", "human")}
    settings = ConfirmSettings(dataset="d", **paths, shards=1, max_reject_fraction=1.0)  # type: ignore[arg-type]
    counts = confirm(settings, Context(str(tmp_path), FLAGS)).counts
    assert (counts["in"], counts["malformed"], counts["matched"]) == (100, {"row_malformed": 100}, 0)
    assert set(map(len, label_files.found_sets(tmp_path, settings).values())) == {0}


def test_machines_and_people_in_one_file(tmp_path: Path) -> None:
    """Of a file given as both, every pair is confirmed or rejected by itself."""
    (tmp_path / "both.csv").write_text(
        "ImageID,LabelName,Confidence\n0000000000000001,/m/1,1\n0000000000000001,/m/2,0\n0000000000000002,/m/1,1\n"
    )
    path = str(tmp_path / "both.csv")
    settings = ConfirmSettings(dataset="d", machine=(path,), human=(path,), shards=1)
    counts = confirm(settings, Context(str(tmp_path), FLAGS)).counts
    assert [counts[name] for name in ("in", "matched", "confirmed", "rejected", "images")] == [6, 3, 2, 1, 2]
