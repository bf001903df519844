"""Label sets for the tests of the queue, drawn with ties and gaps, and what pandas makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas import tables
from storage import products
from storage.products import ImageSet
from tests.support.small_dataset import write_labels

MACHINES = ("x", "y", "z")
Row = dict[str, Any]


def drawn(seed: int, count: int = 300, several: bool = False) -> dict[str, pd.DataFrame]:
    """Labels of three machines and of people: confidences of few values, images that only some have labelled."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"img/{number:04d}" for number in rng.permutation(count)])
    frames = {}
    for name, share in (*zip(MACHINES, (0.95, 0.8, 0.7), strict=True), ("human", 0.4)):
        parts = [
            pd.DataFrame(
                {
                    "image_id": ids,
                    "label": rng.choice(["cat", "dog", "émeu"], count, p=[0.7, 0.2, 0.1]),
                    "confidence": rng.choice(np.array([0.3, 0.6, 0.8, 0.9, 1.0], np.float32), count),
                }
            )[rng.random(count) < share]
            for _ in range(1 + several)
        ]
        frame = pd.concat(parts).drop_duplicates(["image_id", "label"])
        people = rng.random(len(frame)) < 0.7 if several else np.ones(len(frame), dtype=bool)
        frames[name] = frame.assign(confidence=np.float32(people)) if name == "human" else frame
    return frames


def table(frame: pd.DataFrame) -> pa.Table:
    """Rows of a label set."""
    return tables.label_rows({name: pa.array(frame[name]) for name in ("image_id", "label", "confidence")})


def write_sets(images: ImageSet, split: str, frames: Mapping[str, pd.DataFrame], shards: int = 0) -> None:
    """Write finished label sets, each with a fingerprint of its own."""
    for name, frame in frames.items():
        rows = [{**row, "confidence": float(row["confidence"])} for row in frame.to_dict("records")]
        fingerprint = products.fingerprint("test", annotator=name, rows=rows)
        write_labels(images, split, rows, name, shards, fingerprint)  # type: ignore[arg-type]


def expected(frames: Mapping[str, pd.DataFrame], errors: Mapping[str, float], bound: float) -> pd.DataFrame:
    """The whole queue of a dataset of one label per image, image by image."""
    rows = pd.concat([frames[name].assign(annotator=name) for name in MACHINES if name in frames])
    people = frames["human"].set_index("image_id")["label"].to_dict() if "human" in frames else {}
    found = [_judged(one, group, people.get(one), errors, bound) for one, group in rows.groupby("image_id")]
    return _ordered([row for row in found if row["reason"]], ["image_id"])


def _judged(
    image_id: Any, group: pd.DataFrame, truth: str | None, errors: Mapping[str, float], bound: float
) -> dict[str, Any]:
    surest = group.groupby("label")["confidence"].max().sort_values(ascending=False)
    least = group["confidence"].min()
    reason, score = "", 0.0
    if truth is not None:
        if image_id in errors:
            reason, score = "label_error", 1 - errors[image_id]
    elif len(surest) > 1:
        reason, score = "machines_differ", float(surest.iloc[1])
    elif least < np.float32(bound):
        reason, score = "machines_unsure", 1 - float(least)
    votes = group["label"].value_counts()
    majority = votes.index[0] if 2 * votes.iloc[0] > len(group) else None
    answers = group[["annotator", "label", "confidence"]].to_dict("records")
    return {
        "image_id": image_id,
        "reason": reason,
        "score": score,
        "answers": answers,
        "majority": majority,
        "reference": truth,
    }


def expected_of_several(frames: Mapping[str, pd.DataFrame], bound: float) -> pd.DataFrame:
    """The whole queue of a dataset of several labels an image, image and label by image and label."""
    rows = pd.concat([frames[name].assign(annotator=name) for name in MACHINES])
    told = set(zip(frames["human"]["image_id"], frames["human"]["label"], strict=True))
    found = []
    for key, group in rows.groupby(["image_id", "label"]):
        differ, least = len(group) < len(MACHINES), float(group["confidence"].min())
        if key not in told and (differ or least < np.float32(bound)):
            score = float(group["confidence"].max()) if differ else 1 - least
            reason = "machines_differ" if differ else "machines_unsure"
            majority = key[1] if 2 * len(group) > len(MACHINES) else None  # type: ignore[index]
            found.append(
                {"image_id": key[0], "label": key[1], "reason": reason, "score": score, "majority": majority}  # type: ignore[index]
            )
    return _ordered(found, ["image_id", "label"])


def _ordered(rows: Sequence[Row], ties: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    order = frame["reason"].map({"machines_differ": 0, "label_error": 1, "machines_unsure": 2})
    keys = frame.assign(order=order, negative=-frame["score"])
    return keys.sort_values(["order", "negative", *ties], ignore_index=True).drop(columns=["order", "negative"])
