"""The queue of finished label sets: shard by shard what it is of all at once, and made again only where it changed."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import queue
from schemas import layout
from schemas.errors import IncompleteError, InputError
from schemas.settings.queue import QueueSettings
from schemas.tables import LABEL_ERRORS, QUEUE
from storage import parquet, products, stores
from storage.products import ImageSet
from tests.support import queue_sets
from tests.support.queue_sets import MACHINES
from tests.support.small_dataset import random_pixels, write_images, write_labels

IDS = [f"img/{number:04d}" for number in range(300)]


def dataset(root: Path, task: str = "multiclass") -> ImageSet:
    pixels = dict(zip(IDS, random_pixels(len(IDS), (4, 4, 1)), strict=True))
    return write_images(root, {"test": pixels}, task, ["cat", "dog", "émeu"])


def asked(**changed: Any) -> QueueSettings:
    return QueueSettings(**{"dataset": "small", "annotators": MACHINES, "reference": "human", **changed})


def made(root: Path, **changed: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    plan = queue.plan_queue(asked(**changed), str(root))
    counts = queue.write_queue(plan)
    assert plan.is_done
    found = pq.read_table(plan.path)
    assert found.schema.remove_metadata().equals(QUEUE)
    return found.to_pandas(), counts


def write_errors(root: Path, quality: dict[str, float], made_of: dict[str, str], name: str = "x") -> None:
    """A table of label errors; the last image of it is no candidate."""
    rows = [
        {
            "rank": at,
            "image_id": image_id,
            "given": "a",
            "suggested": "b",
            "label_quality": value,
            "quality": "self_confidence",
            "is_candidate": at < len(quality),
        }
        for at, (image_id, value) in enumerate(quality.items(), start=1)
    ]
    path = layout.label_errors(str(root), "small", name, "test")
    content = pa.Table.from_pylist(rows, schema=LABEL_ERRORS)
    parquet.write(path, content, f"errors of {name}", json.dumps(made_of))


def fingerprints(root: Path, *names: str) -> list[str]:
    return [products.label_set(str(root), "small", name, "test").fingerprint for name in names]


@pytest.mark.parametrize("limit", [1, 37, 1000])
def test_the_queue_is_the_first_rows_of_what_pandas_finds(tmp_path: Path, limit: int) -> None:
    frames = queue_sets.drawn(4)
    queue_sets.write_sets(dataset(tmp_path), "test", frames)
    expected = queue_sets.expected(frames, {}, 0.9)
    found, counts = made(tmp_path, limit=limit)
    assert found["image_id"].tolist() == expected["image_id"].tolist()[:limit]
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    np.testing.assert_allclose(found["score"], expected["score"][:limit], atol=1e-12)
    assert counts["queued"] == min(limit, len(expected)) == len(found)
    every = expected["reason"].value_counts()
    assert counts["found"] == {"label_error": 0} | every.to_dict()
    assert set(found["split"]) == {"test"}


@pytest.mark.parametrize("readers", [1, 3])
def test_it_does_not_depend_on_how_many_shards_are_read_at_once(
    tmp_path: Path, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_sets.write_sets(dataset(tmp_path), "test", queue_sets.drawn(4))
    whole, _ = made(tmp_path, limit=50)
    monkeypatch.setattr(queue, "_READERS", readers)
    again, _ = made(tmp_path, limit=50)
    pd.testing.assert_frame_equal(again, whole)


def test_people_may_have_fewer_shards(tmp_path: Path) -> None:
    frames = queue_sets.drawn(5)
    images = dataset(tmp_path)
    queue_sets.write_sets(images, "test", {name: frames[name] for name in MACHINES}, shards=16)
    queue_sets.write_sets(images, "test", {"human": frames["human"]})
    found, _ = made(tmp_path)
    assert found["image_id"].tolist() == queue_sets.expected(frames, {}, 0.9)["image_id"].tolist()


def test_label_errors_of_these_label_sets_come_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = queue_sets.drawn(6)
    queue_sets.write_sets(dataset(tmp_path), "test", frames)
    human, x, y = fingerprints(tmp_path, "human", "x", "y")
    labelled = sorted(set(frames["human"]["image_id"]) & set(frames["x"]["image_id"]))
    quality = {image_id: 0.01 * number for number, image_id in enumerate(labelled[:6])}
    write_errors(tmp_path, quality, {"labels": human, "scores": x})
    write_errors(tmp_path, {labelled[0]: 0.5, labelled[1]: 0.001, "": 1.0}, {"labels": human, "scores": y}, "y")
    write_errors(tmp_path, dict.fromkeys(labelled, 0.0), {"labels": human, "scores": "an older set"}, "z")
    with caplog.at_level(logging.INFO, "concord"):
        found, counts = made(tmp_path)
    wrong = {**dict(list(quality.items())[:5]), labelled[1]: 0.001}
    assert (
        "annotator=z/split=test/part-00000-of-00001.parquet is of other labels or scores, and excluded" in caplog.text
    )
    assert counts["found"]["label_error"] == 5
    expected = queue_sets.expected(frames, wrong, 0.9)
    assert found["image_id"].tolist() == expected["image_id"].tolist()
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-12)
    errors = found[found["reason"] == "label_error"]
    assert set(errors["image_id"]) == set(wrong) and errors["reference"].notna().all()
    without, _ = made(tmp_path, reference="")
    assert "label_error" not in set(without["reason"])


def test_a_queue_is_made_again_where_something_changed(tmp_path: Path) -> None:
    frames = queue_sets.drawn(7)
    images = dataset(tmp_path)
    queue_sets.write_sets(images, "test", frames)
    made(tmp_path)
    assert queue.plan_queue(asked(), str(tmp_path)).is_done
    for changed in ({"limit": 5}, {"unsure_below": 0.5}, {"annotators": ("x", "y")}, {"reference": ""}):
        assert not queue.plan_queue(asked(**changed), str(tmp_path)).is_done
    human, x = fingerprints(tmp_path, "human", "x")
    write_errors(tmp_path, {IDS[0]: 0.1, "": 1.0}, {"labels": human, "scores": x})
    assert not queue.plan_queue(asked(), str(tmp_path)).is_done
    stores.remove(layout.label_errors(str(tmp_path), "small", "x", "test"))
    assert queue.plan_queue(asked(), str(tmp_path)).is_done
    queue_sets.write_sets(images, "test", {"x": frames["x"][:50]})
    assert not queue.plan_queue(asked(), str(tmp_path)).is_done


def test_what_is_missing_or_mixed_is_named(tmp_path: Path) -> None:
    images = dataset(tmp_path)
    queue_sets.write_sets(images, "test", queue_sets.drawn(8))
    with pytest.raises(
        IncompleteError, match=r"no complete label set of 'w' for split 'test' of 'small'.*concord label"
    ):
        queue.plan_queue(asked(annotators=("x", "w")), str(tmp_path))
    with pytest.raises(InputError, match=r"has no split 'train'"):
        queue.plan_queue(asked(split="train"), str(tmp_path))
    another = images.manifest.model_copy(update={"fingerprint": "another"})
    other = ImageSet(images.root, images.dataset, images.version, another)
    write_labels(other, "test", [{"image_id": IDS[0], "label": "cat"}], "w")
    with pytest.raises(IncompleteError, match=r"labels of 'w' .* were made from another conversion .* label again"):
        queue.plan_queue(asked(annotators=("x", "w")), str(tmp_path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"annotators": ()}, r"annotators must have at least 1 value\(s\), got \[\]"),
        ({"reference": "x"}, "reference 'x' is one of the annotators"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"unsure_below": 1.5}, "unsure_below must be at most 1, got 1.5"),
        ({"export": "excel"}, r"there is no export 'excel' \(known: csv, fiftyone, label_studio\)"),
        ({"output": "x"}, "output is the folder of an export: name its tool with --export"),
        ({"export": "csv", "image_url": "http://h/"}, "image_url is for --export label_studio alone, not for 'csv'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(**changed)
