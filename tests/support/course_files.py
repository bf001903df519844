"""What the tests of bad input and of full disks share: small files in the course file's layout, converted."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from schemas.settings.convert import ConvertSettings
from schemas.stage import Context, StageResult
from tests.support import stages


def convert(path: Path | str, root: Path, source: str = "svhn_h5", **more: Any) -> StageResult:
    """Convert a file into the dataset `d`."""
    settings = ConvertSettings(dataset="d", source=source, input=(str(path),), shards=8, **more)
    return stages.convert(settings, Context(str(root)))


def course(path: Path, **replaced: npt.NDArray[Any] | None) -> Path:
    """A small file in the course file's layout, with some of its arrays replaced, or left out by None."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 60), ("val", 20), ("test", 20)):
        arrays[f"X_{split}"] = rng.uniform(0, 255, (count, 8, 8)).astype(np.float32)
        arrays[f"y_{split}"] = rng.integers(0, 10, count).astype(np.uint8)
    with h5py.File(path, "w") as file:
        for key, values in {**arrays, **replaced}.items():
            if values is not None:
                file[key] = values
    return path


def declared(root: Path) -> list[str]:
    """What under a root says that it is complete."""
    return [str(path.relative_to(root)) for path in root.rglob("_concord.json")]


def halves(root: Path) -> list[Path]:
    """What under a root was never finished."""
    return [path for path in root.rglob("*") if path.name.endswith(".partial")]
