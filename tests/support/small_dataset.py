"""Datasets of any task, written without Beam: a few images in TFRecords, their index, and label sets."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import layout, tables
from storage import hashing, products, stores, tfrecord
from storage.products import ImageSet, ShardFolder, ShardReport
from tests.support.label_sets import write_label_set
from tests.support.manifests import images_manifest

Pixels = npt.NDArray[np.uint8]
FINGERPRINT = "convert-5a5a5a5a5a5a5a5a"


def png(pixels: Pixels) -> bytes:
    """Pixels (height, width, 1 or 3), as a PNG file, by OpenCV."""
    wanted = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    return bytes(cv2.imencode(".png", wanted)[1].tobytes())


def random_pixels(count: int, shape: tuple[int, int, int], seed: int = 5) -> Pixels:
    """Noise (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_images(
    root: str | Path,
    splits: Mapping[str, Mapping[str, Pixels]],
    task: str,
    classes: Sequence[str],
    dataset: str = "small",
    shards: int = 8,
) -> ImageSet:
    """A dataset: for each split, its images by their id."""
    shapes = {pixels.shape for images in splits.values() for pixels in images.values()}
    sides = [next(iter({shape[axis] for shape in shapes})) if len(shapes) == 1 else None for axis in range(2)]
    manifest = images_manifest(
        dataset,
        FINGERPRINT,
        task=task,
        classes=list(classes),
        image_shape=(sides[0], sides[1], max(shape[2] for shape in shapes)),
        shards=shards,
        splits={split: {"in": len(one), "out": len(one), "rejected": {}} for split, one in splits.items()},
    )
    images = ImageSet(str(root), dataset, "1.0.0", manifest)
    for split, found in splits.items():
        ids = list(found)
        for shard, rows in enumerate(hashing.rows_by_shard(hashing.image_hashes(ids), shards)):
            _write_shard(images, split, shard, {ids[row]: found[ids[row]] for row in rows})
    products.write_manifest(layout.images(str(root), dataset, "1.0.0"), manifest)
    return images


def _write_shard(images: ImageSet, split: str, shard: int, found: Mapping[str, Pixels]) -> None:
    content, rows = b"", []
    for image_id, pixels in found.items():
        encoded = png(pixels)
        payload = tfrecord.encode_example(encoded, image_id, 0)
        place = {"shard": shard, "offset": len(content) + tfrecord.HEADER_BYTES, "length": len(payload)}
        size = dict(zip(("height", "width", "channels"), pixels.shape, strict=True))
        sha256 = hashlib.sha256(encoded).hexdigest()
        rows.append({"image_id": image_id, **place, "sha256": sha256, "format": "png", **size, "reencoded": None})
        content += tfrecord.frame_record(payload)
    stores.write_bytes(images.tfrecord(split, shard), content)
    table = pa.Table.from_pylist(rows, schema=tables.INDEX)
    images.index(split).write(shard, table, ShardReport(len(rows), len(rows)))


def write_labels(
    images: ImageSet,
    split: str,
    rows: Sequence[Mapping[str, Any]],
    annotator: str = "human",
    shards: int = 0,
    fingerprint: str = FINGERPRINT,
    **facts: Any,
) -> ShardFolder:
    """A finished label set of a dataset's images, with as many shards; see `write_label_set`."""
    return write_label_set(
        images.root,
        images.dataset,
        annotator,
        rows,
        split=split,
        shards=shards or images.shards,
        images=images.fingerprint,
        fingerprint=fingerprint,
        **facts,
    )


def quadrants(lit: npt.NDArray[np.bool_], seed: int, side: int = 12) -> Pixels:
    """Noisy grey pictures (n, side, side, 1), bright in those of their four quadrants that are lit, (n, 4)."""
    noise = np.random.default_rng(seed).integers(0, 140, (len(lit), side, side), dtype=np.uint8)
    half = side // 2
    for number, (top, left) in enumerate(((0, 0), (0, half), (half, 0), (half, half))):
        noise[:, top : top + half, left : left + half] += (lit[:, number] * 70).astype(np.uint8)[:, None, None]
    return noise[..., None]


def write_learnable(
    root: str | Path, task: str = "multiclass", sizes: Mapping[str, int] | None = None, channels: int = 1
) -> ImageSet:
    """The dataset `small` of `quadrants`, with people's labels: which quadrant is lit, or which ones are.

    A number (task `sequence`) spells the lit ones: 13 for the second and the fourth.
    """
    splits, labels = {}, {}
    classes = list("0123456789") if task == "sequence" else ["nw", "ne", "sw", "se"]
    for seed, (split, count) in enumerate((sizes or {"train": 160, "validation": 64, "test": 48}).items()):
        drawn = np.random.default_rng(100 + seed)
        lit = np.eye(4, dtype=np.bool_)[drawn.integers(0, 4, count)] if task == "multiclass" else None
        lit = drawn.random((count, 4)) < 0.4 if lit is None else lit
        ids = [f"{split}-{number:04d}" for number in range(count)]
        splits[split] = dict(zip(ids, np.repeat(quadrants(lit, seed), channels, axis=3), strict=True))
        labels[split] = [row for image_id, one in zip(ids, lit, strict=True) for row in _rows(image_id, one, task)]
    images = write_images(root, splits, task, classes)
    for split, rows in labels.items():
        write_labels(images, split, rows)
    return images


def _rows(image_id: str, lit: npt.NDArray[np.bool_], task: str) -> list[dict[str, Any]]:
    if task == "sequence":
        return [{"image_id": image_id, "label": "".join(str(one) for one in np.flatnonzero(lit))}]
    names = ("nw", "ne", "sw", "se")
    found = [{"image_id": image_id, "label": names[one]} for one in np.flatnonzero(lit)]
    absent = [{"image_id": image_id, "label": "nw", "confidence": 0.0}]  # looked at, and nothing found
    return found or absent
