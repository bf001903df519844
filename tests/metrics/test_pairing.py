"""Pairs of labels: what a loop over images and labels finds, with truths that tell all, some or nothing."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from metrics.pairing import AnnotatorView, pair_labels
from schemas import tables

IMAGES, LABELS = ("i0", "i1", "i2", "i3", "i4"), ("cat", "dog", "egg")
YES, NO = 1.0, 0.0
Said = dict[tuple[str, str], float]

said = st.dictionaries(
    st.tuples(st.sampled_from(IMAGES), st.sampled_from(LABELS)), st.floats(0.5, 1, width=32), max_size=9
)
verdicts = st.dictionaries(
    st.tuples(st.sampled_from(IMAGES), st.sampled_from(LABELS)), st.sampled_from([YES, NO]), max_size=9
)
seen = st.sets(st.sampled_from(IMAGES))


def sighted(said: Said, seen: set[str] | None = None) -> AnnotatorView:
    """An annotator that says this; without `seen`, it has seen just the images of which it says something."""
    keys = list(said)
    columns = {
        "image_id": pa.array([image for image, _ in keys], pa.string()),
        "label": pa.array([label for _, label in keys], pa.string()),
        "confidence": pa.array(list(said.values()), pa.float32()),
    }
    rows = tables.label_rows(columns)
    if seen is None:
        return AnnotatorView.of(rows)
    gone = pa.table({"image_id": pa.array([image for image in IMAGES if image not in seen], pa.string())})
    return AnnotatorView.of(rows, pa.table({"image_id": pa.array(IMAGES)}), gone)


def by_hand(a: Said, b: Said, images: list[str], truth: Said | None, whole: bool) -> list[dict[str, Any]]:
    """The rows, one by one."""
    rows = []
    told = {image for image, _ in truth} if truth else set()
    for image in images:
        for label in LABELS:
            key = (image, label)
            there = truth is not None and truth.get(key) == YES
            known = truth is not None and (image in told if whole else key in truth)
            if key in a or key in b or there:
                rows.append(
                    {
                        "image_id": image,
                        "label_a": label if key in a else None,
                        "confidence_a": a.get(key),
                        "confidence_calibrated_a": None,
                        "label_b": label if key in b else None,
                        "confidence_b": b.get(key),
                        "confidence_calibrated_b": None,
                        "agree": (key in a) == (key in b),
                        "reference": label if there else None,
                        "correct_a": ((key in a) == there) if known else None,
                        "correct_b": ((key in b) == there) if known else None,
                    }
                )
    return rows


@given(said, said, st.one_of(st.none(), verdicts), seen, st.booleans())
def test_pairs_of_labels_are_those_of_a_loop(
    a: Said, b: Said, truth: Said | None, seen_b: set[str], part: bool
) -> None:
    b = {key: sure for key, sure in b.items() if key[0] in seen_b}
    whole = truth is not None and not part
    truth = dict.fromkeys(truth, YES) if truth and whole else truth  # who tells all denies nothing in so many words
    told = None if truth is None else sighted(truth)
    found = pair_labels(sighted(a, set(IMAGES)), sighted(b, seen_b), told, whole)
    images = [image for image in IMAGES if image in seen_b]
    expected = by_hand(a, b, images, truth, whole)
    order = {image: number for number, image in enumerate(IMAGES)}
    rows = sorted(found.rows.to_pylist(), key=lambda row: order[row["image_id"]])
    assert rows == expected
    assert found.images == len(images)
    of = {image for image, _ in truth or {}} & set(images)
    assert (found.known.images, found.known.every_label) == (len(of), len(of) if whole else 0)
    named = [label for image, label in truth or {} if image in images and not whole]
    assert found.known.by_label == {label: named.count(label) for label in LABELS if label in named}


def test_the_surer_of_two_equal_rows_counts() -> None:
    rows = tables.label_rows(
        {
            "image_id": pa.array(["i0", "i0", "i1"]),
            "label": pa.array(["cat", "cat", "dog"]),
            "confidence": pa.array([0.5, 0.75, 0.25], pa.float32()),
        }
    )
    found = pair_labels(AnnotatorView.of(rows), AnnotatorView.of(rows), None, False).rows
    assert found["confidence_a"].to_pylist() == [0.75, 0.25]
    assert found["agree"].to_pylist() == [True, True]
    assert np.asarray(found["correct_a"].is_null()).all()
