"""Source `svhn_full`: SVHN's full numbers (format 1): photographs of house numbers, and the boxes of their digits.

    concord convert --source svhn_full --input train test extra --dataset house_numbers --root out
    concord convert --source svhn_full --input train/train_digitStruct.csv --dataset house_numbers --root out

An input is a folder that holds `digitStruct.mat` and the photographs that it names, and is named after its split; or a
CSV of the boxes with the photographs beside it. The image is the digits' part of one, with a margin, scaled to one
size; the label is the number. Where no photograph lies beside the CSV files, they give labels alone: the label set
`human`, and no images.
"""

import logging
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from apache_beam.utils import shared

from pipelines.convert.sources import NO_IMAGES_SHAPE, Records, Slab, SourcePlan, slab_rows, svhn_split, trees_identity
from schemas import layout
from schemas.errors import InputError, Problem, Reason, UnfitError
from schemas.manifests import SEQUENCE
from schemas.settings.base import setting
from schemas.settings.convert import FetchSettings, ImageSize
from storage import fetching, products, stores
from storage.fetching import FetchFailure, FetchPolicy
from storage.formats import digit_struct
from storage.formats.digit_struct import Entry
from storage.formats.images import TargetFormat, prepare, resize

BOXES = "digitStruct.mat"
_log = logging.getLogger("concord")

Result = TypeVar("Result")
Pixels = npt.NDArray[np.uint8]
Problems = dict[int, tuple[Reason, str]]


class SourceSettings(FetchSettings):
    """What only images that hold house numbers need stated."""

    image_size: ImageSize = setting(
        "height,width of the images that are made", default=(64, 64), group="Source", metavar="N,N"
    )
    margin: float = setting(
        "share by which the crop is higher and wider than the digits' boxes", default=0.3, ge=0, le=10, group="Source"
    )


def make(settings: SourceSettings) -> "SvhnFull":
    """The source that the settings describe."""
    if not settings.input:
        raise InputError("svhn_full needs at least one folder or CSV file: give --input")
    lists = tuple(path if is_csv(path) else stores.join(path, BOXES) for path in settings.input)
    sets = [set_of(path) for path in lists]
    if len(set(sets)) < len(sets):
        raise InputError(f"images are named after their folders, which must have different names: {', '.join(sets)}")
    height, width = settings.image_size
    policy = FetchPolicy(settings.max_concurrency, settings.max_attempts, settings.timeout, signed=True)
    limits = TargetFormat(max_pixels=settings.max_pixels)
    return SvhnFull(lists, settings.split, (height, width), settings.margin, limits, policy)


def is_csv(path: str) -> bool:
    """Whether a path is that of a CSV file, by its name."""
    return path.lower().endswith(".csv")


def set_of(path: str) -> str:
    """What the images of a list of boxes are named after: SVHN's split in the file's name, or the list's folder."""
    whole = path if stores.is_remote(path) else os.path.abspath(path)
    return svhn_split(path) or os.path.basename(stores.parent(whole))


@dataclass(frozen=True)
class SvhnFull:
    """Reads the photographs that lists of boxes name, and crops them.

    Attributes:
        lists: paths of the lists, `digitStruct.mat` or CSV files.
        split: of all images; empty where each list has its own.
        size: height and width of the images.
        margin: by what share a crop is higher and wider than the digits' boxes.
    """

    lists: tuple[str, ...]
    split: str
    size: tuple[int, int]
    margin: float
    limits: TargetFormat
    policy: FetchPolicy
    _kept: shared.Shared = field(default_factory=shared.Shared, compare=False, repr=False)

    def inputs(self, root: str) -> list[dict[str, Any]]:
        """Every list, and the photographs beside it: one that was not there may be, the next time."""
        states = []
        for path in self.lists:
            beside = stores.list_stats(_folder(path))
            if is_csv(path):  # which may lie among all kinds of things
                named = {entry.name for entry in self._listed(path).entries}
                beside = {name: status for name, status in beside.items() if name in named}
            states.append({**products.input_identity(path), "beside": trees_identity([beside])})
        return states

    def plan(self) -> SourcePlan:
        """Every list's slabs of entries; of `digitStruct.mat`, the entries are only counted."""
        bare = [path for path in self.lists if not self._has_images(path)]
        if bare and len(bare) < len(self.lists):
            raise InputError(f"no image lies beside {bare[0]}, but some do beside the others: convert it by itself")
        if bare:
            _log.info("no image lies beside %s: labels alone", ", ".join(bare))
        shape = NO_IMAGES_SHAPE if bare else (*self.size, 3)
        slabs: list[Slab] = []
        for path in self.lists:
            split = self.split or _split_of(path)
            count = len(self._listed(path).entries) if is_csv(path) else digit_struct.count_mat(path)
            row_bytes = max(1, math.prod(shape))
            rows = slab_rows(count, row_bytes)
            slabs += [
                Slab(path, split, "", "", start, min(start + rows, count), row_bytes * min(rows, count - start))
                for start in range(0, count, rows)
            ]
        return SourcePlan(shape, tuple(slabs), SEQUENCE)

    def read(self, slab: Slab) -> Records:
        """The crops and numbers of the entries of one slab."""
        path, rows = slab.path, slice(slab.start, slab.stop)
        entries = (
            self._listed(path).entries[rows] if is_csv(path) else digit_struct.read_mat(path, slab.start, slab.stop)
        )
        problems: dict[int, tuple[Reason, str]] = {}
        numbers = [_noted(row, problems, partial(_number, entry)) or "" for row, entry in enumerate(entries)]
        shape = (*self.size, 3) if self._has_images(path) else NO_IMAGES_SHAPE
        pixels = np.zeros((len(entries), *shape), np.uint8)
        if pixels.size:
            self._crop(path, entries, pixels, problems)
        prefix = set_of(path)
        return Records(
            source=path,
            image_ids=[f"{prefix}/{entry.name}" for entry in entries],
            positions=[entry.position for entry in entries],
            pixels=pixels,
            labels=np.array(numbers, dtype=object),
            classes=None,
            problems=problems,
        )

    def _crop(self, path: str, entries: list[Entry], pixels: Pixels, problems: Problems) -> None:
        """Fetch the photographs of entries that have a number, and put their crops into `pixels`."""
        rows = [row for row in range(len(entries)) if row not in problems]

        def work(place: int, content: bytes) -> None:
            row = rows[place]
            cropped = _noted(row, problems, lambda: crop(content, entries[row], self.size, self.margin, self.limits))
            if cropped is not None:
                pixels[row] = cropped

        folder = _folder(path)
        locations = [stores.join(folder, entries[row].name) for row in rows]
        crops = fetching.read_each(locations, self.policy, work)
        for row, one in zip(rows, crops, strict=True):
            if isinstance(one, FetchFailure):
                problems[row] = (one.reason, one.detail)

    def _has_images(self, path: str) -> bool:
        """Whether a list is one of photographs, not of labels alone; SVHN's own always is, so that gaps are noticed."""
        return not is_csv(path) or self._listed(path).has_images

    def _listed(self, path: str) -> "_Listed":
        """The entries of a CSV file, which a worker reads once."""
        lists: _Lists = self._kept.acquire(_Lists)
        return lists.listed(path)


@dataclass(frozen=True)
class _Listed:
    """The entries of a CSV file, and whether any of their photographs lies beside it."""

    entries: list[Entry]
    has_images: bool

    @staticmethod
    def of(path: str) -> "_Listed":
        entries = digit_struct.read_csv(path)
        there = stores.list_stats(_folder(path))
        return _Listed(entries, any(entry.name in there for entry in entries))


class _Lists:
    """The CSV files that a worker has read: all of them, where Beam's `Shared` keeps the last of several alone."""

    def __init__(self) -> None:
        self._by_path: dict[str, _Listed] = {}
        self._lock = threading.Lock()

    def listed(self, path: str) -> _Listed:
        """The content of one, read the first time that it is needed."""
        with self._lock:
            if path not in self._by_path:
                self._by_path[path] = _Listed.of(path)
            return self._by_path[path]


def crop(content: bytes, entry: Entry, size: tuple[int, int], margin: float, limits: TargetFormat) -> Pixels:
    """The part of a photograph that has the digits, RGB, scaled to (height, width, 3); proportions are not kept.

    Raises:
        UnfitError: it cannot be decoded, or no box lies in it.
    """
    photograph = prepare(content, limits)
    if isinstance(photograph, Problem):
        raise UnfitError(photograph.reason, photograph.detail)
    whole = cv2.imdecode(np.frombuffer(photograph.content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if whole is None:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, "OpenCV cannot decode it")
    height, width = whole.shape[:2]
    top, bottom, left, right = entry.rectangle(height, width, margin)
    return resize(whole[top:bottom, left:right], size)


def _number(entry: Entry) -> str:
    """The number of an entry, whose photograph lies in the folder of the list, or in one below it."""
    if not layout.is_inside(entry.name):
        raise UnfitError(Reason.IMAGE_GONE, f"{entry.name[:100]!r} is no path within the folder of the list")
    return entry.number()


def _noted(row: int, problems: Problems, make: Callable[[], Result]) -> Result | None:
    """What is made, or None, and the problem noted."""
    try:
        return make()
    except UnfitError as unfit:
        problems[row] = (unfit.problem.reason, unfit.problem.detail)
        return None


def _folder(path: str) -> str:
    return stores.parent(path) or "."


def _split_of(path: str) -> str:
    try:
        return layout.check_split(set_of(path).lower())
    except InputError as error:
        raise InputError(f"{path}: {error}; or name the split with --split") from error
