"""`concord status`: what is done, what was begun, when and by which run; on any root, also one that is written to."""

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis import status
from concord import cli
from schemas import layout, tables
from schemas.manifests import LabelsManifest, Manifest
from storage import model_cards, products, small_files, stores
from storage.products import ShardFolder, ShardReport
from tests.support.manifests import model_card

ROWS = tables.label_rows({"image_id": ["a"], "label": ["1"], "confidence": pa.array([1.0], pa.float32())})
STAGES = ("convert", "train", "label", "generations", "report")
COUNTS = {"in": 5, "out": 4, "rejected": {"record_damaged": 1}}


def labels(root: str, annotator: str, shards: int, stage: str = "label", **facts: Any) -> None:
    """A label set of four shards, of which some are there; complete where it has facts."""
    folder = ShardFolder(layout.labels(root, "svhn", annotator, "test"), 4, f"{stage}-f")
    for shard in range(shards):
        folder.write(shard, ROWS, ShardReport(1, 1))
    if facts:
        manifest = LabelsManifest(
            stage=stage,
            product=f"svhn/{annotator}/test",
            fingerprint=folder.fingerprint,
            tables=(folder.table_files(root, "labels"),),
            annotator=annotator,
            split="test",
            images="i",
            shards=4,
            rows=shards,
            **facts,
        )
        products.write_manifest(folder.folder, manifest)


def run(root: str, number: int, state: str, **stage: object) -> None:
    name = f"20260101T00000{number}Z-aaaa"
    told = {"run_id": name, "command": "run", "status": state, "began": "2026-01-01T00:00:00+00:00", "seconds": 7.5}
    whole = {"stage": "label", "product": "svhn/cnn1/test", "built": True, "seconds": 3.21, **stage}
    small_files.write_json(layout.run_manifest(root, name), {**told, "stages": [whole]})


@pytest.fixture
def root(place: str) -> str:
    """A root with a label set that is whole, one that is not, and models and images of both kinds."""
    labels(place, "cnn1", 4, weights="w", counts=COUNTS)
    labels(place, "cnn2", 3)
    labels(
        place, "pool", 4, "generations", drawn_from="human", counts={"in": 4, "out": 3, "rejected": {"not_drawn": 1}}
    )
    for split in ("train", "test"):
        index = ShardFolder(layout.index(place, "svhn", split), 4, "convert-i")
        for shard in range(4 if split == "train" else 1):
            index.write(shard, tables.INDEX.empty_table(), ShardReport())
    stores.write_bytes(f"{layout.model(place, 'svhn', 'cnn2')}/{model_cards.CHECKPOINT_FILE}", b"half")
    model_cards.write_card(layout.model(place, "svhn", "cnn1"), model_card("cnn1"))
    stores.write_bytes(f"{layout.model(place, 'svhn', 'swept')}/run-1/{model_cards.CARD_FILE}", b"{}")
    manifest = Manifest(stage="report", product="svhn", fingerprint="report-f", counts={"images": 5})
    products.write_manifest(layout.report(place, "svhn"), manifest)
    run(place, 1, "done")
    run(place, 2, "failed", built=False)
    run(place, 3, "done", product="svhn/cnn9/test")
    return place


def test_what_is_done_and_what_was_begun(root: str) -> None:
    found = {(one.stage, one.product): one for one in status.read_status(root, STAGES).products}
    assert {key: (one.state, one.shards_done, one.shards) for key, one in found.items()} == {
        ("convert", "svhn"): ("begun", 5, 8),
        ("generations", "svhn/pool/test"): ("done", 4, 4),
        ("train", "svhn/cnn1"): ("done", None, None),
        ("train", "svhn/cnn2"): ("begun", None, None),
        ("train", "svhn/swept"): ("begun", None, None),  # a run of it is whole, not the model
        ("label", "svhn/cnn1/test"): ("done", 4, 4),
        ("label", "svhn/cnn2/test"): ("begun", 3, 4),
        ("report", "svhn"): ("done", None, None),
    }
    whole = found["label", "svhn/cnn1/test"]
    assert (whole.counts, whole.seconds, whole.run) == (
        {"in": 5, "out": 4, "rejected": 1},
        3.2,
        "20260101T000001Z-aaaa",  # the last run that made it, not the last that found it there
    )
    assert found["generations", "svhn/pool/test"].counts == {"in": 4, "out": 3, "rejected": 1}
    assert found["label", "svhn/cnn2/test"].run == ""
    assert whole.when.startswith("20") and whole.when.endswith("+00:00")


def test_runs_stand_last_first(root: str) -> None:
    assert [(one["run_id"][14], one["status"], one["seconds"]) for one in status.read_status(root, STAGES).runs] == [
        ("3", "done", 7.5),
        ("2", "failed", 7.5),
        ("1", "done", 7.5),
    ]


def test_a_table_for_people_and_json_for_machines(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["status", "--root", root])
    lines = capsys.readouterr().out.splitlines()
    [line] = [line.split() for line in lines if "cnn1/test" in line]
    assert line[:9] == ["svhn", "label", "cnn1/test", "done", "4/4", "5", "4", "1", "3.2"]
    assert "4 begun and not complete" in "\n".join(lines)
    assert lines[-1].split()[1:3] == ["run", "done"]
    cli.main(["status", "--root", root, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert len(told["products"]) == 8 and len(told["runs"]) == 3
    assert told["products"][0]["stage"] == "convert"


def test_an_empty_root_says_what_to_run_first(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["status", "--root", place])
    assert capsys.readouterr().out == f"there is nothing in {place} yet: run concord run, or concord convert, first\n"


def test_a_root_that_others_write_to(tmp_path: Path) -> None:
    """Files come and go while it is looked at."""
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            labels(str(tmp_path), "cnn1", 4, weights="w", counts=COUNTS)
            folder = Path(layout.labels(str(tmp_path), "svhn", "cnn1", "test"))
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            assert {one.stage for one in status.read_status(str(tmp_path), STAGES).products} <= {"label"}
    finally:
        over.set()
        writer.join()
    assert status.read_status(str(tmp_path), STAGES).products == []
