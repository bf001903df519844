"""Confirm and convert as commands in a process that can write nowhere else; their root in a folder, on S3, on GCS."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schemas import tables
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context
from storage import parquet, products, stores
from storage.tfrecord import decode_example
from tests.support import label_files, read_only, stages
from tests.support.label_files import SPLITS, Style

WRITE = """
import os, pathlib
for folder in (os.getcwd(), pathlib.Path.home()):
    for write in (lambda: open(f"{folder}/file", "w"), lambda: os.mkdir(f"{folder}/folder")):
        try:
            write()
        except OSError:
            print("refused", folder)
"""


def test_such_a_process_can_write_neither_here_nor_at_home() -> None:
    ended = read_only.run(["-c", WRITE])
    assert ended.stdout.split("\n") == ["refused /sys"] * 4 + [""], ended.stderr


@pytest.fixture
def inputs(place: str, tmp_path: Path) -> tuple[list[str], list[str]]:
    """Files of both sides, in the place and on this disk."""
    machine, human = label_files.draw(images=60, rows=400)
    parts = {"machine-0.csv": machine[:250], "machine-1.csv": machine[250:], "human.csv": human}
    for name, rows in parts.items():
        plain = label_files.write(tmp_path / "plain" / name, rows)
        zipped = name == "machine-1.csv"
        data = label_files.content(rows, Style(zipped=True)) if zipped else Path(plain).read_bytes()
        stores.write_bytes(f"{place}/in/{name}", data)
    folder = tmp_path / "plain"
    return [f"{folder}/machine-0.csv", f"{folder}/machine-1.csv"], [f"{folder}/human.csv"]


def confirm(place: str) -> str:
    """Run the command; what it says."""
    splits = ",".join(f"{split}={share}" for split, share in SPLITS.items())
    given = ["--machine", f"{place}/in/machine-?.csv", "--human", f"{place}/in/hum*.csv", "--splits", splits]
    shape = ["--dataset", "d", "--shards", "2", "--root", f"{place}/root", "--direct_num_workers=2"]
    ended = read_only.run(["-m", "concord", "confirm", *given, *shape])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    return ended.stderr + ended.stdout


def test_photographs_are_converted_wherever_the_root_is(
    place: str, inputs: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    confirm(place)
    labelled = set()
    for path in stores.glob(f"{place}/root/labels/dataset=d/annotator=confirmed/**/*.parquet"):
        rows = parquet.read(path)
        labelled |= set(rows.filter(tables.present(rows))["image_id"].to_pylist())
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image_id in enumerate(sorted(labelled)):
        Image.new("RGB", (8 + number, 9), (number, 0, 0)).save(photos / f"{image_id}.jpg")
    given = ["--source", "open_images", "--dataset", "d", "--images-from", f"{photos}/{{image_id}}.jpg"]
    ended = read_only.run(["-m", "concord", "convert", *given, "--root", f"{place}/root"])
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"{len(labelled)} in = {len(labelled)} out + 0 rejected" in ended.stderr
    images = products.image_set(f"{place}/root", "d", "1.0.0")
    found = {}
    for split in images.manifest.splits:
        for shard in range(images.shards):
            content = stores.read_bytes(images.tfrecord(split, shard))
            for row in images.index(split).read(shard).to_pylist():
                found[row["image_id"]] = decode_example(content[row["offset"] : row["offset"] + row["length"]])
    assert found == {name: ((photos / f"{name}.jpg").read_bytes(), name) for name in labelled}


def test_confirm_works_wherever_its_root_is(place: str, inputs: tuple[list[str], list[str]], tmp_path: Path) -> None:
    said = confirm(place)
    for path in stores.glob(f"{place}/root/**/*"):
        copy = tmp_path / "copy" / path.removeprefix(f"{place}/root/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(stores.read_bytes(path))
    patterns: Any = {"machine": (f"{place}/in/machine-*.csv",), "human": (f"{place}/in/human.csv",)}
    settings = ConfirmSettings(dataset="d", **patterns, splits=SPLITS, shards=2)
    db = label_files.oracle(*inputs, settings)
    counts = label_files.expected_counts(db)
    assert label_files.found_sets(tmp_path / "copy", settings) == label_files.expected_sets(db, settings)
    assert f"machine: {counts['machine']['read']:,} rows read = 0 malformed + 0 filtered out + " in said
    assert f"matched: {counts['matched']:,} = {counts['confirmed']:,} confirmed + " in said
    [run] = (tmp_path / "copy" / "runs").glob("*.json")
    manifest = json.loads(run.read_text())
    found = dict(manifest["stages"][0]["counts"])
    assert (manifest["status"], found.pop("label_sets")["machine"]["rows"] > 0) == ("done", True)
    assert found == counts
    assert {re.sub(r".*/", "", one["path"]) for one in manifest["inputs"]} == {
        "machine-0.csv",
        "machine-1.csv",
        "human.csv",
    }
    again = stages.confirm(settings, Context(f"{place}/root"))
    assert (again.built, again.counts) == (False, manifest["stages"][0]["counts"])
