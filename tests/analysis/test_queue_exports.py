"""The queue as Label Studio, FiftyOne and spreadsheets take it: the stored pictures, and what each machine said."""

import base64
import csv
import io
import json
import logging
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from analysis import exports, queue
from schemas import layout
from schemas.settings.queue import QueueSettings
from schemas.tables import QUEUE
from storage import parquet, products
from storage.products import ImageSet
from tests.support import queue_sets
from tests.support.queue_sets import MACHINES
from tests.support.small_dataset import Pixels, random_pixels, write_images
from tests.support.small_root import BIG, DAMAGED, DATASET, PHOTO, SPLIT, VERSION, SmallRoot, change_manifest

IDS = [f"img/{number:04d}" for number in range(60)]
CLASSES = ["cat", "dog", '<"&']
Rows = list[dict[str, Any]]


def pictures() -> dict[str, Pixels]:
    """Grey and colour ones."""
    grey, colour = random_pixels(30, (6, 5, 1)), random_pixels(30, (6, 5, 3), seed=6)
    return dict(zip(IDS, [*grey, *colour], strict=True))


def build(root: Path, task: str = "multiclass") -> ImageSet:
    images = write_images(root, {"test": pictures()}, task, CLASSES)
    frames = queue_sets.drawn(9, 60, several=task == "multilabel")
    numbers = {"cat": "12", "dog": "0", "émeu": "345"} if task == "sequence" else {}
    queue_sets.write_sets(images, "test", {name: frame.replace({"label": numbers}) for name, frame in frames.items()})
    return images


def export(root: Path, tool: Any, **changed: Any) -> tuple[Path, Rows, dict[str, Any]]:
    """The folder of an export, the rows of the queue, and the counts."""
    settings = QueueSettings(dataset="small", annotators=MACHINES, reference="human", export=tool, **changed)
    made = queue.plan_queue(settings, str(root))
    queue.write_queue(made)
    counts = exports.write_export(settings, str(root), made.fingerprint)
    assert exports.is_current(settings, str(root), made.fingerprint)
    return Path(exports.export_folder(settings, str(root))), parquet.read(made.path).to_pylist(), counts


def pixels_of(content: bytes) -> Any:
    found = np.asarray(Image.open(io.BytesIO(content)))
    return found if found.ndim == 3 else found[..., None]


@pytest.mark.parametrize("tool", ["label_studio", "fiftyone", "csv"])
def test_pictures_are_the_stored_ones_in_the_order_of_the_queue(tmp_path: Path, tool: Any) -> None:
    build(tmp_path)
    folder, rows, counts = export(tmp_path, tool)
    assert folder == tmp_path / "report" / "small" / "queue" / f"test-{tool}"
    found = sorted((folder / ("data" if tool == "fiftyone" else "images")).iterdir())
    assert [path.name for path in found] == [f"{row['rank']:06d}.png" for row in rows]
    for path, row in zip(found, rows, strict=True):
        np.testing.assert_array_equal(pixels_of(path.read_bytes()), pictures()[row["image_id"]])
    assert {pixels_of(path.read_bytes()).shape[2] for path in found} == {1, 3}
    assert counts == {"in": len(rows), "out": len(rows), "rejected": {}}


def test_label_studio_gets_tasks_with_a_prediction_of_each_machine(tmp_path: Path) -> None:
    build(tmp_path)
    folder, rows, _ = export(tmp_path, "label_studio")
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image_id"] for task in tasks] == [row["image_id"] for row in rows]
    for task, row in zip(tasks, rows, strict=True):
        kind, _, data = task["data"]["image"].partition(",")
        assert kind == "data:image/png;base64"
        np.testing.assert_array_equal(pixels_of(base64.b64decode(data)), pictures()[row["image_id"]])
        said = {
            one["model_version"]: (one["result"][0]["value"]["choices"], one["score"]) for one in task["predictions"]
        }
        assert said == {one["annotator"]: ([one["label"]], one["confidence"]) for one in row["answers"]}
        assert {key: task["data"][key] for key in ("rank", "reason", "score", "majority", "reference")} == {
            key: row[key] for key in ("rank", "reason", "score", "majority", "reference")
        }
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    (image,), (choices,) = config.findall("Image"), config.findall("Choices")
    region = tasks[0]["predictions"][0]["result"][0]
    assert (region["from_name"], region["to_name"]) == (choices.get("name"), choices.get("toName"))
    assert (region["type"], image.get("name"), image.get("value")) == ("choices", choices.get("toName"), "$image")
    assert [one.get("value") for one in choices] == [*CLASSES, "émeu"], "also what machines said that is no class"
    ids = [region["id"] for task in tasks for one in task["predictions"] for region in one["result"]]
    assert len(set(ids)) == len(ids) > 60


def test_label_studio_may_fetch_pictures_from_an_address(tmp_path: Path) -> None:
    build(tmp_path)
    folder, rows, _ = export(tmp_path, "label_studio", image_url="http://localhost:8081/images/")
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        f"http://localhost:8081/images/{row['rank']:06d}.png" for row in rows
    ]


def test_label_studio_lets_people_write_numbers(tmp_path: Path) -> None:
    build(tmp_path, "sequence")
    folder, rows, _ = export(tmp_path, "label_studio")
    tasks = json.loads((folder / "tasks.json").read_text())
    regions = [one["result"][0] for task in tasks for one in task["predictions"]]
    assert [(one["type"], one["value"]) for one in regions] == [
        ("textarea", {"text": [one["label"]]}) for row in rows for one in row["answers"]
    ]
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    assert {one.tag for one in config} == {"Image", "Header", "TextArea"}


def test_label_studio_asks_yes_or_no_of_several_labels(tmp_path: Path) -> None:
    images = build(tmp_path, "multilabel")
    manifest = images.manifest.model_copy(update={"display_names": {"cat": "Cat (pet)"}})
    products.write_manifest(layout.images(str(tmp_path), "small", "1.0.0"), manifest)
    folder, rows, _ = export(tmp_path, "label_studio")
    tasks = json.loads((folder / "tasks.json").read_text())
    assert len(tasks) == len(rows)
    for task, row in zip(tasks, rows, strict=True):
        question = "Cat (pet)" if row["label"] == "cat" else row["label"]
        assert (task["data"]["label"], task["data"]["question"]) == (row["label"], question)
        said = [(one["result"][0]["value"]["choices"], one.get("score")) for one in task["predictions"]]
        assert said == [(["no" if one["label"] is None else "yes"], one["confidence"]) for one in row["answers"]]
    config = ElementTree.parse(folder / "label_config.xml").getroot()
    assert [one.get("value") for one in config.iter("Choice")] == ["yes", "no"]
    assert "$question" in str(config.find("Header").get("value"))  # type: ignore[union-attr]
    several = pd.Series([row["image_id"] for row in rows]).duplicated()
    assert several.any() and len(list((folder / "images").iterdir())) == (~several).sum()


def test_fiftyone_gets_a_file_of_labels_for_the_queue_and_for_each_machine(tmp_path: Path) -> None:
    build(tmp_path)
    folder, rows, _ = export(tmp_path, "fiftyone")
    labels = json.loads((folder / "labels.json").read_text())["labels"]
    assert list(labels) == [f"{row['rank']:06d}" for row in rows]
    for found, row in zip(labels.values(), rows, strict=True):
        assert (found["label"], found["confidence"]) == (row["reason"], row["score"])
        told = {"rank": row["rank"], "image_id": row["image_id"], "split": "test", "majority": row["majority"]}
        assert found["attributes"] == {key: value for key, value in told.items() if value is not None}
    assert {len(row["answers"]) for row in rows} == {2, 3}, "an image that a machine did not label has no entry"
    for name in MACHINES:
        said = json.loads((folder / f"labels-{name}.json").read_text())["labels"]
        expected = {f"{row['rank']:06d}": one for row in rows for one in row["answers"] if one["annotator"] == name}
        assert said == {key: {"label": one["label"], "confidence": one["confidence"]} for key, one in expected.items()}


def test_fiftyone_gets_all_labels_of_an_image_in_one_sample(tmp_path: Path) -> None:
    build(tmp_path, "multilabel")
    folder, rows, _ = export(tmp_path, "fiftyone")
    labels = json.loads((folder / "labels.json").read_text())["labels"]
    asked = [
        (one["attributes"]["image_id"], one["attributes"]["question"]) for found in labels.values() for one in found
    ]
    assert sorted(asked) == sorted((row["image_id"], row["label"]) for row in rows)
    assert max(len(found) for found in labels.values()) > 1
    assert not any("label" in one["attributes"] for found in labels.values() for one in found), "FiftyOne's own name"
    assert {path.stem for path in (folder / "data").iterdir()} == set(labels)
    said = json.loads((folder / "labels-x.json").read_text())["labels"]
    given = [row["label"] for row in rows if row["answers"][0]["label"]]
    assert sorted(one["label"] for found in said.values() for one in found) == sorted(given)


def test_a_spreadsheet_has_a_row_a_question_and_columns_for_each_machine(tmp_path: Path) -> None:
    build(tmp_path)
    folder, rows, _ = export(tmp_path, "csv")
    with (folder / "queue.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["image_id"] for row in found] == [row["image_id"] for row in rows]
    for shown, row in zip(found, rows, strict=True):
        answers = {one["annotator"]: one for one in row["answers"]}
        for name in MACHINES:
            one = answers.get(name, {"label": "", "confidence": ""})
            assert (shown[f"{name}_label"], shown[f"{name}_confidence"]) == (one["label"], str(one["confidence"]))
        assert (folder / shown["image_file"]).is_file()
        assert (float(shown["score"]), shown["majority"]) == (row["score"], row["majority"] or "")


def test_an_export_goes_where_it_is_asked_to_and_keeps_no_pictures_of_an_earlier_one(tmp_path: Path) -> None:
    build(tmp_path)
    output = tmp_path / "elsewhere"
    folder, rows, _ = export(tmp_path, "csv", output=str(output))
    assert folder == output and not (tmp_path / "report").exists()
    (output / "images" / "mine.png").write_bytes(b"a file of the user's own")
    (output / "images" / ".000009.png.partial").write_bytes(b"killed")
    _, fewer, _ = export(tmp_path, "csv", output=str(output), limit=3)
    assert len(rows) > len(fewer) == 3
    assert {path.name for path in (output / "images").iterdir()} == {
        "000001.png",
        "000002.png",
        "000003.png",
        "mine.png",
    }


def test_another_queue_or_tool_is_another_export(tmp_path: Path) -> None:
    build(tmp_path)
    export(tmp_path, "csv", output=str(tmp_path / "x"))
    kept = QueueSettings(
        dataset="small", annotators=MACHINES, reference="human", export="csv", output=str(tmp_path / "x")
    )
    fingerprint = queue.plan_queue(kept, str(tmp_path)).fingerprint
    assert exports.is_current(kept, str(tmp_path), fingerprint)
    assert not exports.is_current(kept, str(tmp_path), "another")
    other = QueueSettings(
        dataset="small", annotators=MACHINES, reference="human", export="fiftyone", output=str(tmp_path / "x")
    )
    assert not exports.is_current(other, str(tmp_path), fingerprint)


def queued(small: SmallRoot, *ids: str) -> str:
    """A queue of just these images; its fingerprint."""
    rows = [
        {
            "rank": rank,
            "image_id": image_id,
            "split": SPLIT,
            "reason": "machines_differ",
            "score": 0.5,
            "label": None,
            "answers": [{"annotator": "cnn1", "label": "plain", "confidence": 0.5}],
            "majority": "plain",
            "reference": None,
        }
        for rank, image_id in enumerate(ids, start=1)
    ]
    parquet.write(layout.queue(small.root, DATASET, SPLIT), pa.Table.from_pylist(rows, schema=QUEUE), "queue")
    return "queue"


def test_photographs_keep_their_bytes_and_damaged_records_are_counted(
    small: SmallRoot, caplog: pytest.LogCaptureFixture
) -> None:
    change_manifest(layout.images(small.root, DATASET, VERSION), task="multiclass")
    settings = QueueSettings(dataset=DATASET, annotators=("cnn1",), split=SPLIT, export="label_studio")
    with caplog.at_level(logging.INFO, "concord"):
        counts = exports.write_export(settings, small.root, queued(small, BIG, DAMAGED, PHOTO))
    assert counts == {"in": 3, "out": 2, "rejected": {"record_damaged": 1}}
    assert f"excluded from the export: 1 rows (record_damaged), such as image {DAMAGED!r}" in caplog.text
    folder = Path(exports.export_folder(settings, small.root))
    assert {path.name: path.read_bytes() for path in (folder / "images").iterdir()} == {
        "000001.png": small.encoded[BIG],
        "000003.jpg": small.encoded[PHOTO],
    }
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image"].partition(",")[0] for task in tasks] == [
        "data:image/png;base64",
        "data:image/jpeg;base64",
    ]


def test_what_is_no_picture_has_no_suffix() -> None:
    webp = cv2.imencode(".webp", random_pixels(1, (8, 8, 3))[0])[1].tobytes()
    assert (exports.find_suffix(webp), exports.find_suffix(b"")) == ("", "")


@pytest.mark.parametrize("tool", ["label_studio", "fiftyone", "csv"])
def test_an_empty_queue_can_be_exported(tmp_path: Path, tool: Any) -> None:
    build(tmp_path)
    settings = QueueSettings(dataset="small", annotators=("x",), reference="human", export=tool, unsure_below=0.0)
    made = queue.plan_queue(settings, str(tmp_path))
    assert queue.write_queue(made)["queued"] == 0
    assert exports.write_export(settings, str(tmp_path), made.fingerprint) == {"in": 0, "out": 0, "rejected": {}}
    if tool == "label_studio":
        assert json.loads(Path(exports.export_folder(settings, str(tmp_path)), "tasks.json").read_text()) == []
