"""Damaged Parquet shards, stage by stage: one line names the file and the remedy, and a rerun makes it anew."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from concord import cli
from schemas import layout
from storage import parquet, stores
from tests.support.small_dataset import random_pixels, write_images, write_labels

COUNT = 60
IDS = [f"photo-{number:02d}" for number in range(COUNT)]
AGREE = ["agree", "--dataset", "small", "--annotators", "alpha,beta", "--splits", "test"]
REPORT = ["report", "--dataset", "small"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root with 60 images, two label sets, and how they agree. Read it only."""
    root = str(tmp_path_factory.mktemp("pristine"))
    pixels = dict(zip(IDS, random_pixels(COUNT, (8, 8, 1)), strict=True))
    images = write_images(root, {"test": pixels}, "multiclass", ["a", "b", "c"], shards=4)
    for step, annotator in enumerate(("alpha", "beta"), start=3):
        rows = [{"image_id": name, "label": "abc"[row // step % 3]} for row, name in enumerate(IDS)]
        write_labels(images, "test", rows, annotator)
    cli.main([*AGREE, "--root", root])
    cli.main([*REPORT, "--root", root])
    return root


@pytest.fixture
def own(pristine: str, tmp_path: Path) -> str:
    """A copy of `pristine`, to be written to."""
    return str(shutil.copytree(pristine, tmp_path / "root"))


def damage_rows(path: str) -> None:
    """Change a byte of the rows so that, without checksums, other rows would be read and nothing noticed."""
    content = bytearray(Path(path).read_bytes())
    rows = parquet.read(path)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(4, footer):
        changed = bytearray(content)
        changed[place] ^= 1
        try:
            read = pq.read_table(pa.BufferReader(bytes(changed)))
        except (pa.ArrowException, OSError):
            continue
        if not read.column(0).equals(rows.column(0)):  # the id of an image, where it is a shard
            Path(path).write_bytes(changed)
            return
    raise AssertionError("no byte of it can change unnoticed")


def cut(path: str) -> None:
    """Leave the first half."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def failed(capsys: pytest.CaptureFixture[str], root: str, command: list[str]) -> str:
    """The one line with which a command fails."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--root", root])
    assert ended.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("concord ")]
    return line


LABELS = layout.labels("", "small", "beta", "test").strip("/")
PAIRS = layout.pairs("", "small", "alpha", "beta", "test").strip("/")
SUMMARY = layout.agreement_table("", "summary", "small", ("alpha", "beta"), "test").strip("/")
INDEX = layout.index("", "small", "test").strip("/")
SHARD = layout.parquet_shard(2, 4)


@pytest.mark.parametrize("spoil", [damage_rows, cut])
@pytest.mark.parametrize(
    ("command", "path"),
    [
        ([*AGREE, "--force"], f"{LABELS}/{SHARD}"),
        ([*REPORT, "--force"], f"{PAIRS}/{SHARD}"),
        ([*REPORT, "--force"], SUMMARY),
        ([*REPORT, "--force"], f"{INDEX}/{SHARD}"),
        (["query", "select min(image_id) from labels"], f"{LABELS}/{SHARD}"),
        (["query", "select min(image_id), sum(confidence_a) from pairs"], f"{PAIRS}/{SHARD}"),
    ],
    ids=["agree", "report pairs", "report summary", "report index", "query labels", "query pairs"],
)
def test_a_damaged_shard_is_named_with_its_remedy(
    own: str, capsys: pytest.CaptureFixture[str], spoil: Callable[[str], None], command: list[str], path: str
) -> None:
    place = stores.join(own, path)
    spoil(place)
    said = failed(capsys, own, command)
    shown = re.escape(f"concord {command[0]}: {place} is damaged (")
    assert re.fullmatch(rf"{shown}.*\): remove it, and run the stage that writes it again with --force", said), said


def test_pairs_that_do_not_open_are_made_again_and_no_others(own: str) -> None:
    folder = Path(own, PAIRS)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    whole = Path(folder, SHARD).read_bytes()
    cut(str(folder / SHARD))
    cli.main([*AGREE, "--root", own])
    assert {name for name, when in before.items() if (folder / name).stat().st_mtime_ns != when} == {SHARD}
    assert Path(folder, SHARD).read_bytes() == whole
