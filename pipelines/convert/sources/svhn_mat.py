"""Source `svhn_mat`: SVHN's cropped digits (format 2), `train_32x32.mat` and its like.

`X` is (height, width, channels, n) uint8, `y` is (n, 1), and label 10 means digit 0
(http://ufldl.stanford.edu/housenumbers/). MATLAB v5 files cannot be read in part: a worker loads one once.

    concord convert --source svhn_mat --input train_32x32.mat test_32x32.mat --dataset svhn --root out
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from apache_beam.utils import shared

from pipelines.convert.sources import Records, Slab, SourcePlan, check_numbers, check_same_length, slab_rows, svhn_split
from schemas.errors import InputError
from schemas.settings.convert import ConvertSettings
from storage import stores
from storage.formats import matlab, svhn_digits


def make(settings: ConvertSettings) -> "MatSource":
    """The source that the settings describe."""
    if not settings.input:
        raise InputError("svhn_mat needs at least one file: give --input")
    stems = [stem_of(path) for path in settings.input]
    if len(set(stems)) < len(stems):
        raise InputError(f"images are named after their files, which must have different names: {', '.join(stems)}")
    return MatSource(tuple((path, settings.split or svhn_split(path) or "train") for path in settings.input))


def stem_of(path: str) -> str:
    """What the images of a file are named after."""
    return path.rsplit("/", 1)[-1].removesuffix(".mat")


@dataclass(frozen=True)
class Crops:
    """The content of one file: X (height, width, channels, n), y (n,)."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]


def load(path: str) -> Crops:
    """Read one file whole.

    Raises:
        InputError: it is no such file; the message lists what it holds.
    """
    with stores.open_input(path) as file:
        arrays = matlab.read(path, file, ("X", "y"))
    pixels, labels = arrays["X"], arrays["y"].reshape(-1)
    if pixels.ndim != 4 or pixels.shape[2] not in (1, 3):
        raise InputError(f"{path}: X has shape {pixels.shape}, but must be (height, width, 1 or 3, n)")
    check_numbers(path, "X", np.moveaxis(pixels, 3, 0))
    check_numbers(path, "y", labels)
    check_same_length(path, "X", pixels.shape[3], "y", len(labels))
    return Crops(pixels, labels)


@dataclass(frozen=True)
class MatSource:
    """Reads format-2 files: `files` pairs each path with its split."""

    files: tuple[tuple[str, str], ...]
    _loaded: shared.Shared = field(default_factory=shared.Shared, compare=False, repr=False)

    def plan(self) -> SourcePlan:
        """Every file's slabs."""
        slabs: list[Slab] = []
        shapes = {self._crops(path).pixels.shape[:3] for path, _ in self.files}
        if len(shapes) > 1:
            raise InputError(f"the files hold images of different shapes: {sorted(shapes)}")
        for path, split in self.files:
            count = self._crops(path).pixels.shape[3]
            row_bytes = self._crops(path).pixels[..., 0].nbytes
            rows = slab_rows(count, row_bytes)
            slabs += [
                Slab(path, split, "X", "y", start, min(start + rows, count), row_bytes * min(rows, count - start))
                for start in range(0, count, rows)
            ]
        return SourcePlan(shapes.pop(), tuple(slabs))

    def read(self, slab: Slab) -> Records:
        """Pixels and labels of one slab; 10 becomes class 0, and a literal 0 none."""
        crops = self._crops(slab.path)
        labels = crops.labels[slab.start : slab.stop]
        stem = stem_of(slab.path)
        rows = range(slab.start, slab.stop)
        return Records(
            source=slab.path,
            image_ids=[f"{stem}-{row:07d}" for row in rows],
            positions=[f"X[..., {row}]" for row in rows],
            pixels=np.ascontiguousarray(crops.pixels[..., slab.start : slab.stop].transpose(3, 0, 1, 2)),
            labels=labels,
            classes=svhn_digits(labels),
        )

    def _crops(self, path: str) -> Crops:
        crops: Crops = self._loaded.acquire(lambda: load(path), tag=path)
        return crops
