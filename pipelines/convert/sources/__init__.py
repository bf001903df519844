"""Sources: a file per input format, found by its name.

Each module has `make(settings)`, and may have `SourceSettings`, a subclass of `ConvertSettings` with the settings that
only it needs. What it makes is a `Source` of arrays of pixels, which plans without reading them and
reads slab by slab, or a `PhotoSource` of files, which says which photographs there are and where.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from schemas.errors import InputError, Reason
from schemas.manifests import MULTICLASS
from storage import stores

SLAB_BYTES = 16 << 20
SLAB_ROWS = (256, 4096)
MOST_SLAB_BYTES = 256 << 20  # whatever the file's chunks
MOST_VALUES = 100_000_000  # of one image
NO_IMAGES_SHAPE = (0, 0, 0)  # of a source that has labels alone


@dataclass(frozen=True)
class Slab:
    """A run of records of one input: what one Beam element reads."""

    path: str
    split: str
    images: str
    labels: str
    start: int
    stop: int
    payload_bytes: int


@dataclass(frozen=True)
class SourcePlan:
    """What a source holds.

    Attributes:
        image_shape: height, width and channels of its images; `NO_IMAGES_SHAPE` where it has labels alone.
        slabs: what is to be read, in order.
        task: `multiclass`, or `sequence`.
        facts: what else the dataset's manifest is to state of the source.
        value_range: black and white in the pixels' values.
    """

    image_shape: tuple[int, int, int]
    slabs: tuple[Slab, ...]
    task: str = MULTICLASS
    facts: Mapping[str, Any] = field(default_factory=dict)
    value_range: tuple[float, float] = (0.0, 255.0)

    def records(self) -> dict[str, int]:
        """How many records each split has."""
        counts: dict[str, int] = {}
        for slab in self.slabs:
            counts[slab.split] = counts.get(slab.split, 0) + slab.stop - slab.start
        return counts


@dataclass(frozen=True)
class Records:
    """The records of a slab.

    Attributes:
        source: the file they come from.
        image_ids: identities, unique in the dataset.
        positions: where each record stands in its file, in words.
        pixels: (n, height, width, channels), values as the file holds them.
        labels: (n,) as the file holds them; of a sequence, the numbers, as texts.
        classes: (n,) index of each label's class; what is no index of a class is no label. None for a sequence.
        problems: the records that the source itself turns away, by their place here, and why.
    """

    source: str
    image_ids: Sequence[str]
    positions: Sequence[str]
    pixels: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    classes: npt.NDArray[np.int64] | None
    problems: Mapping[int, tuple[Reason, str]] = field(default_factory=dict)


@runtime_checkable
class OwnInputs(Protocol):
    """What a source offers that is made from more than the files that `--input` names."""

    def inputs(self, root: str) -> list[dict[str, Any]]:
        """What identifies the state of the source; InputError where there is none."""


class Source(Protocol):
    """What a file in this folder offers."""

    def plan(self) -> SourcePlan:
        """Look at the inputs; raise InputError where they cannot be what they should."""

    def read(self, slab: Slab) -> Records:
        """Read one slab."""


@dataclass(frozen=True)
class Photo:
    """A photograph: its identity, where its file lies, and its labels; None where it should have some and has not."""

    image_id: str
    location: str
    labels: tuple[str, ...] | None


@dataclass(frozen=True)
class PhotoSourcePlan:
    """What a source of photographs holds.

    Attributes:
        counts: how many photographs each split has.
        task: `multiclass` or `multilabel`.
        classes: every label that there is, in the order of the integer labels.
        display_names: readable names, where they are known.
        annotator: whose labels the source brings along; empty where they are in a label set already.
        least_shards: the number of shards must be this or more.
        facts: what else is worth knowing of the source.
        seek_repeats: whether the same image in two splits is searched for.
    """

    counts: Mapping[str, int]
    task: str
    classes: tuple[str, ...]
    display_names: Mapping[str, str] = field(default_factory=dict)
    annotator: str = ""
    least_shards: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    seek_repeats: bool = False


@runtime_checkable
class PhotoSource(OwnInputs, Protocol):
    """What a file in this folder offers whose images are files of their own."""

    def plan_photos(self, root: str) -> PhotoSourcePlan:
        """Look at the source; raise InputError where it cannot be what it should."""

    def listed(self, split: str, shard: int, shards: int) -> tuple[Photo, ...]:
        """The photographs of a shard, in hash order, where planning has listed them; else none."""

    def photos(self, root: str, split: str, shard: int, shards: int, listed: tuple[Photo, ...]) -> list[Photo]:
        """The photographs of a shard, in hash order; called on a worker, with what `listed` gave."""


def slab_rows(count: int, row_bytes: int, chunk_rows: int = 1) -> int:
    """Rows of a slab: whole chunks of the file, several slabs even of a small file, bounded bytes."""
    least, most = SLAB_ROWS
    chunk_rows = min(chunk_rows, max(1, MOST_SLAB_BYTES // row_bytes))
    rows = min(max(count // 16, least), most, max(1, SLAB_BYTES // row_bytes))
    return max(chunk_rows, rows // chunk_rows * chunk_rows)


def trees_identity(trees: Iterable[Mapping[str, stores.FileStat]]) -> dict[str, Any]:
    """What identifies the state of some folders: a hash of every file's path, size and time of change."""
    files = [(path, status.size, status.modified) for tree in trees for path, status in sorted(tree.items())]
    return {"files": len(files), "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest()}


def svhn_split(path: str) -> str:
    """The split that SVHN's own file names state (`test_32x32.mat`); empty for any other."""
    stem = path.rsplit("/", 1)[-1].partition("_")[0]
    return stem if stem in ("train", "test", "extra") else ""


def check_same_length(path: str, images: str, image_count: int, labels: str, label_count: int) -> None:
    """Raise InputError where a file holds not as many labels as images."""
    if image_count != label_count:
        raise InputError(
            f"{path}: {images} holds {image_count} images but {labels} holds {label_count} labels; "
            "they must be of the same length, so mend the file or name the right keys with --keys"
        )


def check_numbers(path: str, key: str, array: Any) -> None:
    """Raise InputError where an array of a file holds nothing, or what are no numbers."""
    if not array.shape or not array.shape[0] or array.dtype.kind not in "buif":
        raise InputError(
            f"{path}: {key} holds values of type {array.dtype} in shape {array.shape}, but must hold one or more "
            "images or labels, as numbers; mend the file or name the right keys with --keys"
        )


def image_dimensions(path: str, key: str, shape: tuple[int, ...], stated: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of images of this shape; `stated` says them where the file keeps images flat."""
    if math.prod(shape) > MOST_VALUES:
        raise InputError(f"{path}: an image of {key} has shape {shape}, more than {MOST_VALUES:,} values: name another")
    dims = tuple(stated) or shape
    fits = math.prod(dims) == math.prod(shape) and min(dims, default=0) > 0
    if not fits or len(dims) not in (2, 3) or dims[2:] not in ((), (1,), (3,)):
        raise InputError(
            f"{path}: an image of {key} has shape {shape}; give its height,width or height,width,channels "
            f"(1 or 3 channels, {math.prod(shape)} values) with --image-shape"
        )
    return dims[0], dims[1], dims[2] if len(dims) == 3 else 1
