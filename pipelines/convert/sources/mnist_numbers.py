"""Source `mnist_numbers`: images of house numbers of one to five digits, drawn from MNIST's single digits.

    concord convert --source mnist_numbers --input t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz \
        --numbers train=20000,validation=1000,test=2000 --dataset numbers --root out

The splits can be made of different digits (`--digits train=0:8000,test=8000:10000`).

Digits are set on a wide canvas in their own pixels: each scaled by 0.6 to 1, beside the one before with -4 to 8 pixels
between their frames, on a line that may slope. The number as a whole is then leaned and scaled to take up a random
share of the image's width and height; five digits at full size would not fit otherwise. Wherever it is placed, all of
its ink lies within the middle 54 of 64 parts of the image, so that a network may be shown that part alone.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from apache_beam.utils import shared

from pipelines.convert.sources import Records, Slab, SourcePlan
from schemas.errors import InputError
from schemas.layout import check_split
from schemas.manifests import SEQUENCE
from schemas.settings.base import setting
from schemas.settings.convert import ConvertSettings, ImageSize
from storage.formats import idx
from storage.formats.idx import Digits
from storage.formats.images import resize

BLOCK = 256  # images that are drawn together, from one stream of random numbers
LENGTHS = (1, 2, 3, 4, 5)
SCALES = (0.6, 1.0)
GAPS = (-4, 8)  # whole pixels of the digits' files
_MIDDLE = 54 / 64
_WIDTHS = (0.7, 1.0)  # share of the middle that a number may take up
_HEIGHTS = (0.35, 1.0)
_STRETCH = (0.8, 2.0)  # how much taller than they were written digits may become: on houses, many stand close
_GAIN = 1.6  # of ink, which thin strokes lose as they are scaled down
_LEAN = 0.2  # of a digit's height, to either side
_SLOPE = 0.12  # of the line, up or down
_INK = 24  # what is darker is no ink: files hold faint noise around a digit
_CONTRAST = 80  # ink and wall lie so many greys apart or more
_COARSE = (3, 10)  # waves of the walls' texture across an image

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Numbers:
    """Images of numbers: `pixels` (n, height, width) grey, and the `numbers` themselves."""

    pixels: Bytes
    numbers: list[str]


def draw_block(digits: Digits, size: tuple[int, int], seed: tuple[int, ...]) -> Numbers:
    """Draw `BLOCK` images, which follow from the digits, the size (height, width) and the seed alone."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice(LENGTHS, BLOCK)
    chosen = rng.integers(0, len(digits.labels), (BLOCK, max(LENGTHS)))
    scales = rng.uniform(*SCALES, (BLOCK, max(LENGTHS)))
    gaps = rng.integers(GAPS[0], GAPS[1] + 1, (BLOCK, max(LENGTHS)))
    views = rng.random((BLOCK, 6)).tolist()
    masks = np.empty((BLOCK, *size), np.uint8)
    numbers = []
    for row, length in enumerate(lengths.tolist()):
        rows = chosen[row, :length]
        line = set_line(digits.pixels[rows], scales[row, :length], gaps[row, :length], 2 * views[row][0] - 1)
        masks[row] = place(line, size, views[row][1:])
        numbers.append("".join(map(str, digits.labels[rows].tolist())))
    return Numbers(paint(rng, masks), numbers)


def set_line(pixels: Bytes, scales: npt.NDArray[Any], gaps: npt.NDArray[Any], slope: float) -> Bytes:
    """Digits (n, height, width) in a row, cut to their ink.

    Args:
        pixels: of each digit.
        scales: (n,) of each.
        gaps: (n,) pixels before each; the first has none.
        slope: of the line, in [-1, 1], as a share of what it may be.
    """
    sides = np.maximum(np.rint(scales[:, None] * pixels.shape[1:]).astype(int), 1)
    lefts = np.cumsum(np.r_[0, sides[:-1, 1] + gaps[1:]])
    drops = np.rint(slope * _SLOPE * lefts).astype(int)
    tops = (pixels.shape[1] - sides[:, 0]) // 2 + drops - min(0, int(drops.min()))
    canvas = np.zeros((int((tops + sides[:, 0]).max()), int((lefts + sides[:, 1]).max())), np.uint8)
    for digit, (high, wide), top, left in zip(pixels, sides.tolist(), tops.tolist(), lefts.tolist(), strict=True):
        part = canvas[top : top + high, left : left + wide]
        np.maximum(part, cv2.resize(digit, (wide, high), interpolation=cv2.INTER_AREA), out=part)
    return _cut(canvas)


def _cut(canvas: Bytes) -> Bytes:
    """The part of a canvas that holds ink; the whole where there is none."""
    inked = canvas > _INK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return canvas
    return canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def place(line: Bytes, size: tuple[int, int], view: list[float]) -> Bytes:
    """A line of digits in an image of a size (height, width), by `view`, five numbers in [0, 1).

    They are how it leans, the shares of the middle's width and height that it may take up, and where it lies.
    """
    lean, wide, high, x, y = view
    middle = round(size[0] * _MIDDLE), round(size[1] * _MIDDLE)
    line = _leaned(line, (2 * lean - 1) * _LEAN)
    broader = _between(_WIDTHS, wide) * middle[1] / line.shape[1]
    taller = _between(_HEIGHTS, high) * middle[0] / line.shape[0]
    broader = min(broader, taller / _STRETCH[0])
    taller = min(taller, broader * _STRETCH[1])
    width, height = max(round(line.shape[1] * broader), 1), max(round(line.shape[0] * taller), 1)
    top = (size[0] - middle[0]) // 2 + int(y * (middle[0] - height + 1))
    left = (size[1] - middle[1]) // 2 + int(x * (middle[1] - width + 1))
    image = np.zeros(size, np.uint8)
    ink = resize(line, (height, width)).astype(np.float32) * _GAIN
    image[top : top + height, left : left + width] = np.minimum(ink, 255)
    return image


def _leaned(line: Bytes, lean: float) -> Bytes:
    """The line sheared sideways, on a canvas that is wide enough."""
    height, width = line.shape
    room = abs(lean) * height
    matrix = np.array([[1, -lean, max(lean, 0) * height], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(line, matrix, (int(np.ceil(width + room)), height)), np.uint8)


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share


# --- Walls --------------------------------------------------------------------------------------


def paint(rng: np.random.Generator, masks: Bytes) -> Bytes:
    """Ink on walls: masks (n, height, width), 255 where there is ink, as grey images.

    Ink is lighter than the wall as often as darker, and further from it than the wall's own texture is rough.
    """
    count = len(masks)
    low = rng.uniform(5, 130, count).astype(np.float32)
    high = rng.uniform(low + _CONTRAST, 250).astype(np.float32)
    ground, ink = np.where(rng.random(count) < 0.5, (low, high), (high, low))
    reach = (high - low)[:, None, None]
    wall = ground[:, None, None] + reach * (walls(rng, masks.shape) * 0.4)
    cover = masks.astype(np.float32) / 255
    image: Floats = wall + cover * (ink[:, None, None] - wall)
    grain = rng.uniform(1, 9, (count, 1, 1)).astype(np.float32)
    image += grain * rng.standard_normal(masks.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def walls(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Textures (n, height, width) of mean about 0, mostly within [-1, 1]: a gradient, and waves of two lengths."""
    count, height, width = shape
    slopes = rng.uniform(-0.8, 0.8, (2, count, 1, 1)).astype(np.float32)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    texture = slopes[0] * across + slopes[1] * down
    for waves in _COARSE:
        strength = rng.uniform(0, 0.5, (count, 1, 1)).astype(np.float32)
        noise = rng.standard_normal((count, waves, waves), dtype=np.float32)
        texture += strength * (_spread(waves, height) @ noise @ _spread(waves, width).T)
    return np.asarray(texture, np.float32)


def _spread(points: int, length: int) -> Floats:
    """(length, points) weights that interpolate so many points smoothly over a length."""
    places = np.linspace(0, points - 1, length)[:, None] - np.arange(points)
    weights = np.exp(-(places**2) / 0.5)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


# Source `mnist_numbers`: images of house numbers of one to five digits, drawn from MNIST's single digits.

RESERVED = "test"  # the split whose digits no other split uses, by default
SLAB_BLOCKS = 4


class SourceSettings(ConvertSettings):
    """What only numbers that are drawn need stated."""

    image_size: ImageSize = setting(
        "height,width of the images that are made", default=(64, 64), group="Source", metavar="N,N"
    )
    numbers: Mapping[str, int] = setting(
        "images of each split",
        default={"train": 20_000, "validation": 1000, "test": 2000},
        group="Source",
        metavar="SPLIT=N,...",
    )
    digits: Mapping[str, str] = setting(
        "the rows of the files that a split's digits are drawn from (default: the last fifth for test, the others for "
        "every other split)",
        default={},
        group="Source",
        metavar="SPLIT=START:STOP,...",
    )
    seed: int = setting("seed of everything drawn", default=7, group="Source")

    def check(self) -> None:
        """Numbers and digits are those of splits."""
        super().check()
        for name in (*self.numbers, *self.digits):
            check_split(name)


def make(settings: SourceSettings) -> "MnistNumbers":
    """The source that the settings describe."""
    if len(settings.input) != 2:
        inputs = ", ".join(settings.input) or "give --input"
        raise InputError(f"mnist_numbers reads two files, of images and of labels, got {len(settings.input)}: {inputs}")
    if settings.split or settings.splits:
        raise InputError("mnist_numbers draws each split by itself: leave out --split, and say how many with --numbers")
    stray = set(settings.digits) - set(settings.numbers)
    if stray or not settings.numbers or min(settings.numbers.values()) < 1:
        raise InputError(
            f"numbers must give each split 1 image or more, and digits name no other split; got numbers "
            f"{dict(settings.numbers)} and digits {dict(settings.digits)}"
        )
    height, width = settings.image_size
    return MnistNumbers(
        settings.input, tuple(settings.numbers.items()), dict(settings.digits), (height, width), settings.seed
    )


@dataclass(frozen=True)
class MnistNumbers:
    """Draws images of numbers.

    Attributes:
        paths: of the files of images and labels.
        numbers: how many images each split has.
        ranges: START:STOP, the rows of the files that a split uses; for a split that is not named, see `rows_of`.
        size: height and width of the images.
        seed: of everything drawn.
    """

    paths: tuple[str, ...]
    numbers: tuple[tuple[str, int], ...]
    ranges: Mapping[str, str]
    size: tuple[int, int]
    seed: int
    _read: shared.Shared = field(default_factory=shared.Shared, compare=False, repr=False)

    def plan(self) -> SourcePlan:
        """Slabs of whole blocks, so that no block is drawn twice."""
        count = len(self._digits().labels)
        used = {split: self.rows_of(split, count) for split, _ in self.numbers}
        row_bytes = self.size[0] * self.size[1]
        rows = SLAB_BLOCKS * BLOCK
        slabs = [
            Slab(self.paths[0], split, "", "", start, min(start + rows, total), row_bytes * min(rows, total - start))
            for split, total in self.numbers
            for start in range(0, total, rows)
        ]
        facts = {"digits": {split: [rows.start, rows.stop] for split, rows in used.items()}}
        return SourcePlan((*self.size, 1), tuple(slabs), SEQUENCE, facts)

    def read(self, slab: Slab) -> Records:
        """Draw the images of a slab."""
        digits = self._digits()
        used = self.rows_of(slab.split, len(digits.labels))
        part = idx.Digits(digits.pixels[used], digits.labels[used])
        stream = zlib.crc32(slab.split.encode())
        blocks = range(slab.start // BLOCK, -(-slab.stop // BLOCK))
        numbers = [draw_block(part, self.size, (self.seed, stream, block)) for block in blocks]
        count = slab.stop - slab.start
        rows = range(slab.start, slab.stop)
        return Records(
            source=slab.path,
            image_ids=[f"{slab.split}-{row:07d}" for row in rows],
            positions=[f"{slab.split}[{row}]" for row in rows],
            pixels=np.concatenate([one.pixels for one in numbers])[:count, ..., None],
            labels=np.array([number for one in numbers for number in one.numbers][:count], dtype=object),
            classes=None,
        )

    def rows_of(self, split: str, count: int) -> slice:
        """The rows of the files that a split's digits come from: the last fifth for `test`, the others for the rest.

        Raises:
            InputError: they are no range of the files' rows.
        """
        border = count - count // 5
        default = f"{border}:{count}" if split == RESERVED else f"0:{border}"
        text = self.ranges.get(split, default)
        start, colon, stop = text.partition(":")
        if not (colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop) <= count):
            raise InputError(
                f"digits must be SPLIT=START:STOP with 0 <= START < STOP <= {count}, the digits that there are; "
                f"got {split}={text}"
            )
        return slice(int(start), int(stop))

    def _digits(self) -> idx.Digits:
        digits: idx.Digits = self._read.acquire(lambda: idx.read_digits(self.paths), tag=":".join(self.paths))
        return digits
