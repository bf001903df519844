"""Convert on real data: the SVHN course file, the official crops, and USPS; skipped where the data is not there."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import scipy.io

from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from tests.support import stages

Split = tuple[list[str], npt.NDArray[np.uint8], list[int]]


def convert(root: Path, source: str, path: Path, **more: Any) -> StageResult:
    if not path.is_file():
        pytest.skip(f"the real data is there, but without {path.name}")
    return stages.convert(
        ConvertSettings(dataset="real", source=source, input=(str(path),), **more), Context(str(root))
    )


def read(root: Path, split: str) -> Split:
    """Ids, pixels and labels as tensorflow_datasets reads them, in the order of the ids."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root / "images/real/1.0.0"))
    rows = sorted(builder.as_dataset(split=split).as_numpy_iterator(), key=lambda row: bytes(row["image/id"]))
    ids = [row["image/id"].decode() for row in rows]
    assert len(set(ids)) == len(ids)
    return ids, np.stack([row["image"] for row in rows]), [int(row["label"]) for row in rows]


def test_the_course_file(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "svhn_cropped" / "SVHN_single_grey1.h5"
    result = convert(tmp_path, "svhn_h5", path)
    counts = {split: one["out"] for split, one in result.counts["splits"].items()}
    assert counts == {"train": 5000, "test": 2000, "validation": 1000}
    assert (result.counts["in"], result.counts["rejected"]) == (8000, {})
    with h5py.File(path) as file:
        for split, key in (("train", "train"), ("test", "test"), ("validation", "val")):
            ids, pixels, labels = read(tmp_path, split)
            assert ids == [f"{split}-{row:07d}" for row in range(counts[split])]
            assert np.abs(pixels[..., 0] - file[f"X_{key}"][:]).max() <= 0.5
            assert labels == file[f"y_{key}"][:].tolist()


def test_the_official_crops(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "svhn_cropped" / "crops_32x32.mat"
    result = convert(tmp_path, "svhn_mat", path)
    assert (result.counts["in"], result.counts["out"], result.counts["rejected"]) == (8000, 8000, {})
    assert result.counters["convert.read.elements"] >= 8
    content = scipy.io.loadmat(path)
    ids, pixels, labels = read(tmp_path, "train")
    assert ids == [f"crops_32x32-{row:07d}" for row in range(8000)]
    np.testing.assert_array_equal(pixels, content["X"].transpose(3, 0, 1, 2))
    assert 10 in content["y"]
    assert labels == [0 if label == 10 else label for label in content["y"].reshape(-1).tolist()]


def test_usps(shared_data: Path, tmp_path: Path) -> None:
    """Another layout: groups, flat images, 0-1."""
    path = shared_data / "usps" / "usps.h5"
    keys = {"train": "train/data:train/target", "test": "test/data:test/target"}
    result = convert(tmp_path, "svhn_h5", path, keys=keys, image_shape=(16, 16), value_range=(0.0, 1.0))
    assert result.counts["rejected"] == {}
    with h5py.File(path) as file:
        for split in keys:
            ids, pixels, labels = read(tmp_path, split)
            data = file[f"{split}/data"][:]
            assert len(ids) == len(data) == result.counts["splits"][split]["out"] > 1000
            assert np.abs(pixels.reshape(len(data), 256) / 255 - data).max() <= 0.5 / 255 + 1e-7
            assert labels == file[f"{split}/target"][:].tolist()
