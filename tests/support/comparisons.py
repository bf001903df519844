"""Label sets to compare: three machines of different skill, and the images of a dataset of any task."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas import layout, tables
from schemas.settings.agree import AgreeSettings
from schemas.stage import Context
from storage import products
from storage.products import ShardFolder
from tests.support.label_sets import IMAGES, write_shards
from tests.support.manifests import images_manifest
from tests.support.stages import agree

MACHINES = ("x", "y", "z")
SIZES = {"validation": 3000, "test": 2000}
CLASSES = ("cat", "dog", "egg")
IDS = [f"i{number:04d}" for number in range(300)]


def draw_machines(split: str, count: int) -> dict[str, pd.DataFrame]:
    """Three machines, more often right where they are more confident, and humans who know all but a few images."""
    rng = np.random.default_rng(len(split))
    ids = np.array([f"{split}-{row:06d}" for row in range(count)])
    truth = rng.choice(list("0123"), count)
    frames = {
        "human": pd.DataFrame({"image_id": ids, "label": truth, "confidence": np.float32(1)})[rng.random(count) < 0.95]
    }
    for name, skill in zip(MACHINES, (1.0, 0.95, 0.9), strict=True):
        confidence = (rng.beta(2, 1, count) * 0.75 + 0.25).astype(np.float32)
        right = rng.random(count) < confidence * skill
        frame = pd.DataFrame({"image_id": ids, "label": np.where(right, truth, rng.choice(list("0123"), count))})
        frames[name] = frame.assign(confidence=confidence)[rng.random(count) < 0.97]
    return frames


SETS = {split: draw_machines(split, count) for split, count in SIZES.items()}


def join_machines(split: str, a: str = "x", b: str = "y") -> pd.DataFrame:
    """Two machines side by side, with the truth."""
    frames = SETS[split]
    pair = frames[a].merge(frames[b], on="image_id", suffixes=("_a", "_b"))
    truth = frames["human"][["image_id", "label"]].rename(columns={"label": "reference"})
    found: pd.DataFrame = pair.merge(truth, how="left")
    return found.assign(least=found[["confidence_a", "confidence_b"]].min(axis=1))


def compare(root: str, *annotators: str, truth: str = "human", **changed: Any) -> list[Any]:
    """Compare annotators of the dataset `drawn`, by default `x` and `y`."""
    settings = AgreeSettings(dataset="drawn", annotators=annotators or ("x", "y"), reference=truth, **changed)
    return agree(settings, Context(root))


def write_image_ids(root: str, task: str) -> None:
    """The dataset `d` as far as a comparison reads it: the manifest, and an index of `IDS` alone."""
    manifest = images_manifest("d", IMAGES, task=task, classes=list(CLASSES))
    products.write_manifest(layout.images(root, "d", "1.0.0"), manifest)
    index = ShardFolder(layout.index(root, "d", "test"), manifest.shards, IMAGES)
    write_shards(index, [{"image_id": name} for name in IDS], pa.schema([tables.INDEX.field("image_id")]))
