"""Source `svhn_h5`: labelled images in an HDF5 file.

By default the layout of the SVHN course file `SVHN_single_grey1.h5` (`X_train`, `y_train`, ...: float grey 0-255,
labels 0-9); any other layout by naming the keys of each split:

    concord convert --source svhn_h5 --input usps.h5 --keys train=train/data:train/target,test=test/data:test/target \
        --image-shape 16,16 --value-range 0,1 --dataset usps --root out
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from pipelines.convert.sources import (
    Records,
    Slab,
    SourcePlan,
    check_numbers,
    check_same_length,
    image_dimensions,
    slab_rows,
)
from schemas.errors import InputError
from schemas.layout import check_split
from schemas.settings.base import ValueRange, setting
from schemas.settings.convert import ConvertSettings
from storage import hdf5
from storage.formats import class_indices

COURSE_KEYS = {"train": "X_train:y_train", "validation": "X_val:y_val", "test": "X_test:y_test"}


class SourceSettings(ConvertSettings):
    """What only .h5 files need stated."""

    keys: Mapping[str, str] = setting(
        "where the file keeps a split (default: the course file's X_train:y_train ...)",
        default={},
        group="Source",
        metavar="SPLIT=IMAGES:LABELS,...",
    )
    image_shape: tuple[int, ...] = setting(
        "height,width[,channels] of images that the file keeps flat", default=(), group="Source", metavar="N,N[,N]"
    )
    value_range: ValueRange = setting(
        "black and white in the file's pixel values", default=(0.0, 255.0), group="Source", metavar="BLACK,WHITE"
    )

    def check(self) -> None:
        """The keys are those of splits."""
        super().check()
        for name in self.keys:
            check_split(name)


def make(settings: SourceSettings) -> "H5Source":
    """The source that the settings describe."""
    if len(settings.input) != 1:
        inputs = ", ".join(settings.input) or "give --input"
        raise InputError(f"svhn_h5 reads one file, got {len(settings.input)}: {inputs}")
    keys = dict(settings.keys or COURSE_KEYS)
    if settings.split:
        if len(keys) > 1:
            raise InputError(f"--split {settings.split} needs one pair of --keys, but there are {len(keys)}")
        keys = {settings.split: next(iter(keys.values()))}
    return H5Source(settings.input[0], tuple(keys.items()), settings.image_shape, settings.value_range)


def _rows(file: h5py.File, slab: Slab, key: str) -> Any:
    """The rows of a slab in one of the file's datasets."""
    values = hdf5.open_dataset(slab.path, file, key, known=True)
    if values is None:
        raise InputError(f"{slab.path} has no dataset {key!r} any more: start again")
    with hdf5.explain_errors(slab.path, f"{key}[{slab.start}:{slab.stop}]"):
        return values[slab.start : slab.stop]


@dataclass(frozen=True)
class H5Source:
    """Reads an HDF5 file in slabs of whole chunks.

    Attributes:
        path: the file.
        keys: split and `IMAGES:LABELS`, the two datasets that hold it.
        image_shape: of images kept flat; empty where the file shapes them.
        value_range: black and white in the file's values.
    """

    path: str
    keys: tuple[tuple[str, str], ...]
    image_shape: tuple[int, ...]
    value_range: tuple[float, float]

    def plan(self) -> SourcePlan:
        """Every split's slabs; the pixels are only sampled, to see that the value range can be right."""
        slabs: list[Slab] = []
        shapes = set()
        hdf5.probe_datasets(self.path, [key for _, pair in self.keys for key in pair.split(":")])
        with hdf5.open_file(self.path) as file:
            for split, pair in self.keys:
                images, labels = self._datasets(file, pair)
                shapes.add(image_dimensions(self.path, images.name, images.shape[1:], self.image_shape))
                slabs += self._slabs(split, images, labels)
            if len(shapes) > 1:
                raise InputError(f"{self.path}: splits hold images of different shapes: {sorted(shapes)}")
            self._check_value_range(file, slabs[0])
        return SourcePlan(shapes.pop(), tuple(slabs), value_range=self.value_range)

    def read(self, slab: Slab) -> Records:
        """Pixels and labels of one slab."""
        with hdf5.open_file(slab.path) as file:
            pixels, labels = _rows(file, slab, slab.images), _rows(file, slab, slab.labels)
        height, width, channels = image_dimensions(slab.path, slab.images, pixels.shape[1:], self.image_shape)
        rows = range(slab.start, slab.stop)
        return Records(
            source=slab.path,
            image_ids=[f"{slab.split}-{row:07d}" for row in rows],
            positions=[f"{slab.images}[{row}]" for row in rows],
            pixels=pixels.reshape(-1, height, width, channels),
            labels=labels,
            classes=class_indices(labels),
        )

    def _datasets(self, file: h5py.File, pair: str) -> tuple[Any, Any]:
        images_key, colon, labels_key = pair.partition(":")
        if not colon:
            raise InputError(f"keys must be SPLIT=IMAGES:LABELS, got {pair!r}")
        images, labels = self._dataset(file, images_key), self._dataset(file, labels_key)
        check_numbers(self.path, images_key, images)
        check_numbers(self.path, labels_key, labels)
        check_same_length(self.path, images_key, len(images), labels_key, len(labels))
        if labels.ndim != 1:
            raise InputError(
                f"{self.path}: {labels_key} has shape {labels.shape}, but labels must be one number an image"
            )
        return images, labels

    def _dataset(self, file: h5py.File, key: str) -> h5py.Dataset:
        values = hdf5.open_dataset(self.path, file, key)
        if values is None:
            listed = ", ".join(hdf5.dataset_names(self.path, file)) or "none"
            raise InputError(f"{self.path} has no dataset {key!r}; it has: {listed}. Name the right ones with --keys")
        return values

    def _slabs(self, split: str, images: Any, labels: Any) -> list[Slab]:
        row_bytes = int(images.dtype.itemsize * np.prod(images.shape[1:]))
        rows = slab_rows(len(images), row_bytes, images.chunks[0] if images.chunks else 1)
        names = (images.name.strip("/"), labels.name.strip("/"))
        return [
            Slab(
                self.path,
                split,
                *names,
                start,
                min(start + rows, len(images)),
                row_bytes * min(rows, len(images) - start),
            )
            for start in range(0, len(images), rows)
        ]

    def _check_value_range(self, file: h5py.File, slab: Slab) -> None:
        """A file of 0-1 values read as 0-255 would come out black, in silence."""
        sample = _rows(file, slab, slab.images)
        if not np.issubdtype(sample.dtype, np.floating) or not np.isfinite(sample).any():
            return
        brightest = float(np.nanmax(sample[np.isfinite(sample)]))
        if self.value_range == (0.0, 255.0) and 0 < brightest <= 1:
            raise InputError(f"{self.path}: no pixel of {slab.images} is above {brightest:g}; give --value-range 0,1")
