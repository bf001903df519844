"""What people should look at first, against pandas, image by image; shard by shard it is the same."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.queue import Rules, merge_queues, rank
from schemas.tables import QUEUE
from storage.products import rank_disagreements
from tests.support import queue_sets
from tests.support.queue_sets import MACHINES, table

BOUND = 0.9


def rules(task: str = "multiclass", limit: int = 10_000) -> Rules:
    return Rules(task, "test", BOUND, limit)


def errors_of(quality: dict[str, float]) -> pa.Table:
    return pa.table({"image_id": list(quality), "label_quality": pa.array(list(quality.values()), pa.float64())})


def queue(
    frames: dict[str, pd.DataFrame], errors: dict[str, float] | None = None, asked: Rules | None = None
) -> list[dict[str, Any]]:
    people = table(frames["human"]) if "human" in frames else None
    machines = {name: table(frames[name]) for name in MACHINES if name in frames}
    rows, counts = rank(machines, people, errors_of(errors or {}), asked or rules())
    assert rows.schema.equals(QUEUE)
    found: list[dict[str, Any]] = rows.to_pylist()
    if asked is None:
        assert counts.total() == len(found)
    return found


def texts(column: "pd.Series[Any]") -> list[str | None]:
    """A column whose gaps are None, not NaN."""
    return [one if isinstance(one, str) else None for one in column]


def small(**said: list[tuple[str, str, float]]) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(rows, columns=["image_id", "label", "confidence"]) for name, rows in said.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("people", [True, False])
def test_the_queue_is_what_pandas_finds_image_by_image(seed: int, people: bool) -> None:
    frames = queue_sets.drawn(seed)
    frames = frames if people else {name: frames[name] for name in MACHINES}
    wrong = {image_id: 0.1 * (number % 4) for number, image_id in enumerate(sorted(frames["x"]["image_id"])[:80])}
    expected = queue_sets.expected(frames, wrong, BOUND)
    found = pd.DataFrame(queue(frames, wrong))
    assert found["rank"].tolist() == list(range(1, len(expected) + 1))
    for column in ("image_id", "reason"):
        assert found[column].tolist() == expected[column].tolist(), column
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-12)
    assert found["score"].duplicated().sum() > 100, "ties are what this is about"
    for column in ("majority", "reference"):
        assert texts(found[column]) == texts(expected[column]), column
    assert found["answers"].map(list).tolist() == expected["answers"].tolist()
    assert set(found["reason"]) == {"machines_differ", "machines_unsure"} | ({"label_error"} if people else set())
    assert {len(one) for one in found["answers"]} == {1, 2, 3}, "images that only some labelled"


@pytest.mark.parametrize("seed", [1, 2])
def test_of_several_labels_each_image_and_label_is_a_question(seed: int) -> None:
    frames = queue_sets.drawn(seed, several=True)
    expected = queue_sets.expected_of_several(frames, BOUND)
    found = pd.DataFrame(queue(frames, asked=rules("multilabel")))
    for column in ("image_id", "label", "reason"):
        assert found[column].tolist() == expected[column].tolist(), column
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-12)
    assert texts(found["majority"]) == texts(expected["majority"])
    assert found["reference"].isna().all()
    assert (found["answers"].map(len) == 3).all()
    denied = frames["human"][frames["human"]["confidence"] == 0]
    assert len(denied) > 10
    asked = set(zip(found["image_id"], found["label"], strict=True))
    assert not asked & set(zip(denied["image_id"], denied["label"], strict=True))


def test_who_is_silent_on_a_label_is_told() -> None:
    frames = small(x=[("a", "cat", 0.75)], y=[("a", "dog", 0.5), ("a", "cat", 0.5)])
    first, second = queue(frames, asked=rules("multilabel"))
    assert (first["label"], first["reason"], first["score"], first["majority"]) == ("dog", "machines_differ", 0.5, None)
    assert first["answers"] == [
        {"annotator": "x", "label": None, "confidence": None},
        {"annotator": "y", "label": "dog", "confidence": 0.5},
    ]
    assert (second["label"], second["reason"], second["score"]) == ("cat", "machines_unsure", 0.5)


def test_an_unsure_ally_hides_no_contradiction() -> None:
    """Machines x and z are sure and differ; that y is of x's opinion, unsurely, does not make them less so."""
    frames = small(
        x=[("a", "3", 0.9), ("b", "3", 0.7)], y=[("a", "3", 0.1), ("b", "3", 0.7)], z=[("a", "8", 0.8), ("b", "8", 0.7)]
    )
    assert [(row["image_id"], round(row["score"], 6)) for row in queue(frames)] == [("a", 0.8), ("b", 0.7)]


@given(seed=st.integers(0, 10_000), limit=st.integers(1, 40))
def test_of_two_machines_disagreements_are_ranked_as_comparisons_rank_them(seed: int, limit: int) -> None:
    frames = queue_sets.drawn(seed, 40)
    x, y = frames["x"], frames["y"]
    both = x.merge(y, on="image_id", suffixes=("_a", "_b"))
    expected = rank_disagreements(pa.Table.from_pandas(both, preserve_index=False), limit)["image_id"].to_pylist()
    found = queue({"x": x, "y": y}, asked=rules(limit=limit))
    assert [row["image_id"] for row in found if row["reason"] == "machines_differ"] == expected


@given(seed=st.integers(0, 10_000), limit=st.integers(1, 60), parts=st.integers(1, 4), several=st.booleans())
def test_parts_make_the_same_queue_as_the_whole(seed: int, limit: int, parts: int, several: bool) -> None:
    frames = queue_sets.drawn(seed, 60, several)
    asked = rules("multilabel" if several else "multiclass", limit)
    whole = queue(frames, asked=asked)
    found = []
    for part in range(parts):
        some = {name: frame[frame["image_id"].str[-1].astype(int) % parts == part] for name, frame in frames.items()}
        machines = {name: table(some[name]) for name in MACHINES}
        found.append(rank(machines, table(some["human"]), None, asked)[0])
    assert merge_queues(found, limit).to_pylist() == whole


def test_a_number_said_twice_counts_by_its_surest_label() -> None:
    frames = small(x=[("a", "12", 0.4), ("a", "15", 0.6), ("a", "13", 0.6)], y=[("a", "13", 0.5)])
    (row,) = queue(frames, asked=rules("sequence"))
    assert (row["reason"], row["majority"], row["score"]) == ("machines_unsure", "13", 0.5)


def test_what_people_deny_alone_leaves_an_image_unlabelled() -> None:
    said = [("a", "cat", 0.5), ("b", "cat", 0.5)]
    frames = small(x=said, y=said, human=[("a", "cat", 0.0), ("b", "cat", 1.0)])
    assert [row["image_id"] for row in queue(frames)] == ["a"]


def test_the_bound_is_compared_as_confidence_is_kept() -> None:
    """0.9 as a float32 is less than 0.9."""
    said = [("a", "cat", 0.9), ("b", "cat", 0.89)]
    assert [row["image_id"] for row in queue(small(x=said, y=said))] == ["b"]


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "sequence"])
def test_a_shard_without_images_has_no_questions(task: str) -> None:
    none = {name: frame[:0] for name, frame in queue_sets.drawn(1, 5).items()}
    assert queue(none, {"a": 0.5}, rules(task)) == []
