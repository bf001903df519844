"""A sample of house-number crops in the layout of the SVHN course file, for tests and benchmarks without that file.

    concord draw --sample house_numbers --output sample_grey.h5 --seed 1

A crop is drawn as a camera would record it: a number in one typeface on a wall or a plate, seen at an angle, blurred,
lit and photographed in colour, and only then converted to grey.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from samples import Estimate
from schemas.settings.draw import DrawSettings
from storage import stores

SIDE = 32
BLOCK = 1024
# Rec. 601 luma, the weights the course file was made with.
GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)
# Share of each digit 0-9 in the 73,257 crops of SVHN's own train split.
LABEL_SHARES = (0.068, 0.189, 0.144, 0.116, 0.102, 0.094, 0.078, 0.076, 0.069, 0.064)

_CANVAS = 2 * SIDE  # crops are composed at twice their size, then reduced: cheap antialiasing
_DIGIT_HEIGHT = 48  # of a glyph mask; masks carry _PAD more pixels on each side
_PAD = 3

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Face:
    """One of matplotlib's font files, and how it is used."""

    name: str
    share: float
    bare_one: bool  # upright and sans serif: its 1 still reads as one without a foot
    weights: tuple[int, ...]  # -1 eroded, 0 as is, 1 and 2 dilated


# Excluded: cmmi10 and cmti10 (digits of unequal height), cmsy10 and cmex10 (no digits at those codes) and DejaVu Sans
# Mono (a mark inside the 0).
_FACES = (
    _Face("DejaVuSans-Bold.ttf", 10, True, (-1, 0, 0)),
    _Face("DejaVuSans.ttf", 8, True, (0, 0, 1, 2)),
    _Face("DejaVuSans-BoldOblique.ttf", 2, False, (-1, 0)),
    _Face("DejaVuSans-Oblique.ttf", 2, False, (0, 1, 2)),
    _Face("DejaVuSerif-Bold.ttf", 4, False, (-1, 0, 0)),
    _Face("DejaVuSerif.ttf", 4, False, (0, 1)),
    _Face("DejaVuSerif-BoldItalic.ttf", 1, False, (-1, 0)),
    _Face("DejaVuSerif-Italic.ttf", 2, False, (0, 1)),
    _Face("STIXGeneral.ttf", 7, False, (0, 1, 1)),
    _Face("STIXGeneralBol.ttf", 8, False, (0, 0, 1)),
    _Face("STIXGeneralBolIta.ttf", 3, False, (0, 1)),
    _Face("STIXGeneralItalic.ttf", 3, False, (0, 1)),
    _Face("cmb10.ttf", 3, False, (0, 1)),
    _Face("cmr10.ttf", 2, False, (0, 1, 1)),
    _Face("cmss10.ttf", 7, True, (0, 1, 1, 2)),
    _Face("cmtt10.ttf", 3, False, (0, 1, 2)),
)


class _Style(NamedTuple):
    """How one number is drawn, and how sharply; its first lengths are in mask pixels."""

    face: int
    weight: int
    footless: bool
    gap: float  # between digits
    margin_x: float  # from the digits to the plate's edges
    margin_y: float
    has_plate: bool
    rim: int  # thickness of the plate's rim on the canvas, 0 for none
    clutter: int  # strokes on the wall
    has_shadow: bool
    shadow_x: float  # offset of the digits' shadow on the canvas
    shadow_y: float
    native: int  # pixels across when photographed, before scaling to SIDE
    blur_x: float
    blur_y: float


@dataclass(frozen=True)
class SampleSize:
    """Number of crops in each split of a sample, one or more."""

    train: int = 6000
    test: int = 2000
    validation: int = 1000

    def __post_init__(self) -> None:
        for name, count in vars(self).items():
            if count < 1:
                raise ValueError(f"{name} must be 1 or more, got {count}: each split needs a crop")


def estimate(settings: DrawSettings) -> Estimate:
    """Roughly what drawing it costs."""
    crops = settings.train + settings.test + settings.validation
    return Estimate(crops * SIDE * SIDE * 4, crops / 3_800)


def write(settings: DrawSettings, output: str) -> dict[str, int]:
    """Draw the .h5 file, and return the number of crops in each split."""
    size = SampleSize(settings.train, settings.test, settings.validation)
    stores.remove_partial_file(output)
    write_sample(output, size, settings.seed)
    return dict(vars(size))


def exists(settings: DrawSettings, output: str) -> bool:
    """Whether the file exists."""
    return stores.stat(output) is not None


def draw_crops(count: int, seed: int, stream: int = 0) -> tuple[Floats, Bytes]:
    """Draw (count, 32, 32) grey crops in [0, 255] and their (count,) digits.

    The first n crops of a longer drawing with the same seed and stream are the same crops.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    crops = np.empty((count, SIDE, SIDE), np.float32)
    labels = np.empty(count, np.uint8)
    for rows, block_crops, block_labels in _blocks(count, seed, stream):
        crops[rows], labels[rows] = block_crops, block_labels
    return crops, labels


def draw_block(seed: int, stream: int, block: int) -> tuple[Floats, Bytes]:
    """Draw block number `block` of a stream, which depends on no other: BLOCK crops and their digits."""
    rng = np.random.default_rng((seed, stream, block))
    labels = rng.choice(10, BLOCK, p=LABEL_SHARES).astype(np.uint8)
    return _grey(_photograph(rng, _paint(rng, _draw_layers(rng, labels)))), labels


def write_sample(path: str, size: SampleSize, seed: int) -> None:
    """Write an HDF5 file of train, test and validation crops, whole or not at all.

    The same seed and size give the same bytes under the same releases of OpenCV, Pillow, NumPy and HDF5.
    """
    splits = (("train", size.train), ("test", size.test), ("val", size.validation))
    with stores.local_output(path) as scratch, h5py.File(scratch, "w") as file:
        for stream, (split, count) in enumerate(splits):
            _write_split(file, split, count, seed, stream)


def _blocks(count: int, seed: int, stream: int) -> Iterator[tuple[slice, Floats, Bytes]]:
    for block, start in enumerate(range(0, count, BLOCK)):
        crops, labels = draw_block(seed, stream, block)
        stop = min(start + BLOCK, count)
        yield slice(start, stop), crops[: stop - start], labels[: stop - start]


def _write_split(file: h5py.File, split: str, count: int, seed: int, stream: int) -> None:
    chunk = min(count, 250)
    create = partial(file.create_dataset, track_times=False)
    # A block ends inside a chunk; the cache must keep that chunk until the next block fills it.
    crops = create(f"X_{split}", (count, SIDE, SIDE), "f4", chunks=(chunk, SIDE, SIDE), rdcc_nbytes=1 << 24)
    labels = create(f"y_{split}", (count,), "u1", chunks=(chunk,))
    for rows, block_crops, block_labels in _blocks(count, seed, stream):
        crops[rows], labels[rows] = block_crops, block_labels


# --- Glyphs -------------------------------------------------------------------------------------


@cache
def _glyph(face: int, digit: int, weight: int, footless: bool) -> Bytes:
    """The mask of one digit, _DIGIT_HEIGHT + 2 * _PAD high and as wide as it needs."""
    mask = _fit_mask(_font_digit(_FACES[face].name, digit))
    mask = _thicken(_cut_foot(mask) if footless else mask, weight)
    mask.flags.writeable = False  # every crop shares the cached mask
    return mask


def _font_digit(name: str, digit: int) -> Bytes:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    # The basic layout engine is in every build of Pillow, and draws the same in all of them.
    font = ImageFont.truetype(str(path), 128, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (200, 200))
    ImageDraw.Draw(image).text((30, 20), str(digit), fill=255, font=font)
    return np.asarray(image)


def _fit_mask(image: Bytes) -> Bytes:
    """The inked part of an image, scaled to _DIGIT_HEIGHT and padded."""
    rows, columns = np.flatnonzero(image.max(axis=1)), np.flatnonzero(image.max(axis=0))
    inked = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, round(inked.shape[1] * _DIGIT_HEIGHT / inked.shape[0]))
    small = cv2.resize(inked, (width, _DIGIT_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.pad(np.asarray(small, np.uint8), _PAD)


def _cut_foot(mask: Bytes) -> Bytes:
    """A 1 cut back to its stem at the bottom, as on most sans-serif house numbers."""
    height = mask.shape[0]
    stem = mask[height // 2 : 3 * height // 4].max(axis=0)
    trimmed = mask.copy()
    trimmed[3 * height // 4 :] = np.minimum(trimmed[3 * height // 4 :], stem)
    inked = np.flatnonzero(trimmed.max(axis=0))
    return trimmed[:, inked[0] - _PAD : inked[-1] + 1 + _PAD]


def _thicken(mask: Bytes, weight: int) -> Bytes:
    if weight == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5) if weight == 2 else (3, 3))
    return np.asarray((cv2.erode if weight < 0 else cv2.dilate)(mask, kernel), np.uint8)


# --- Scenes -------------------------------------------------------------------------------------


def _draw_layers(rng: np.random.Generator, labels: Bytes) -> Bytes:
    """Each crop's (32, 32) plate, rim and clutter, digit and shadow masks, as channels."""
    lengths = rng.choice([1, 2, 3, 4, 5], BLOCK, p=[0.06, 0.42, 0.41, 0.10, 0.01])
    positions = (rng.random(BLOCK) * lengths).astype(int)
    # Two neighbours on either side fill any crop to its edges.
    lefts, rights = np.minimum(positions, 2).tolist(), np.minimum(lengths - 1 - positions, 2).tolist()
    neighbours = rng.choice(10, (BLOCK, 4), p=LABEL_SHARES).tolist()
    views, styles, clutter = _draw_views(rng), _draw_styles(rng), rng.uniform(-8, _CANVAS + 8, (BLOCK, 3, 4))
    layers = np.empty((BLOCK, SIDE, SIDE, 4), np.uint8)
    for i, label in enumerate(labels.tolist()):
        left, right = lefts[i], rights[i]
        digits = [*neighbours[i][:left], label, *neighbours[i][2 : 2 + right]]
        layers[i] = _draw_crop(digits, left, styles[i], views[i], clutter[i])
    return layers


def _draw_views(rng: np.random.Generator) -> Doubles:
    """(BLOCK, 3, 3) homographies from a digit's own centre, in mask pixels, to the canvas."""
    height = np.clip(rng.normal(0.68, 0.12, BLOCK), 0.45, 1.0) * _CANVAS / _DIGIT_HEIGHT
    width = height * np.exp(rng.normal(-0.25, 0.2, BLOCK))
    turn, shear = rng.normal(0, math.radians(4.5), BLOCK), rng.normal(0.02, 0.09, BLOCK)
    views = np.zeros((BLOCK, 3, 3))
    views[:, 0, 0], views[:, 0, 1] = width * np.cos(turn), -height * (np.sin(turn) + shear)
    views[:, 1, 0], views[:, 1, 1] = width * np.sin(turn), height * np.cos(turn)
    views[:, 2, :2] = rng.normal(0, 0.0025, (BLOCK, 2)) * height[:, None]
    views[:, 2, 2] = 1
    centres = _CANVAS / 2 + np.clip(rng.normal(0, 0.035, (BLOCK, 2)), -0.09, 0.09) * _CANVAS
    views[:, :2] += centres[:, :, None] * views[:, 2:]
    return views


def _draw_styles(rng: np.random.Generator) -> list[_Style]:
    shares = np.array([face.share for face in _FACES])
    faces = rng.choice(len(_FACES), BLOCK, p=shares / shares.sum()).tolist()
    picks, bare = rng.random(BLOCK).tolist(), (rng.random(BLOCK) < 0.75).tolist()
    weights = [_FACES[f].weights[int(p * len(_FACES[f].weights))] for f, p in zip(faces, picks, strict=True)]
    native = np.clip(np.exp(rng.normal(math.log(20), 0.45, BLOCK)), 9, SIDE)
    blur = np.exp(rng.normal(math.log(0.75), 0.5, BLOCK))
    columns = (
        np.clip(rng.normal(6, 5, BLOCK), -3, 26),
        *np.clip(rng.normal(9, 6, (2, BLOCK)), 1, 40),
        rng.random(BLOCK) < 0.3,
        rng.choice(4, BLOCK, p=[0.6, 0.15, 0.15, 0.1]),
        rng.choice(4, BLOCK, p=[0.7, 0.17, 0.09, 0.04]),
        rng.random(BLOCK) < 0.25,
        *rng.uniform(1, 5, (2, BLOCK)) * rng.choice([-1, 1], (2, BLOCK)),
        native.astype(int),
        np.clip(blur, 0.2, 2.2),
        np.clip(blur * np.exp(rng.normal(0.1, 0.3, BLOCK)), 0.2, 2.5),
    )
    footless = [b and _FACES[f].bare_one for b, f in zip(bare, faces, strict=True)]
    return [_Style(*row) for row in zip(faces, weights, footless, *(c.tolist() for c in columns), strict=True)]


def _draw_crop(digits: list[int], at: int, style: _Style, view: Doubles, clutter: Doubles) -> Bytes:
    """The four masks of one number, its digit `at` in the middle, blurred by the camera."""
    strip, middle = _number(digits, at, style)
    height, width = strip.shape
    to_canvas = view @ np.array([[1, 0, -middle], [0, 1, -height / 2], [0, 0, 1]])
    size = (_CANVAS, _CANVAS)
    ink = cv2.warpPerspective(strip, to_canvas, size, flags=cv2.INTER_LINEAR)
    plate, lines, shadow = np.zeros((3, *size), np.uint8)
    for x0, y0, x1, y1 in clutter[: style.clutter].astype(int).tolist():
        cv2.line(lines, (x0, y0), (x1, y1), (255,), 1 + (x0 + y1) % 6, cv2.LINE_AA)
    if style.has_plate:
        x, y = style.margin_x - _PAD, style.margin_y - _PAD
        corners = [[[-x, -y], [width + x, -y], [width + x, height + y], [-x, height + y]]]
        outline = cv2.perspectiveTransform(np.array(corners), to_canvas).astype(np.int32)
        cv2.fillPoly(plate, [outline], (255,), cv2.LINE_AA)
        if style.rim:
            cv2.polylines(lines, [outline], True, (255,), style.rim, cv2.LINE_AA)
    if style.has_shadow:
        shift = np.array([[1, 0, style.shadow_x], [0, 1, style.shadow_y]])
        cv2.warpAffine(ink, shift, size, dst=shadow)
    return _blur(np.asarray(cv2.merge((plate, lines, ink, shadow)), np.uint8), style)


def _number(digits: list[int], at: int, style: _Style) -> tuple[Bytes, float]:
    """The digits side by side in one mask, and the middle of digit `at` in it."""
    masks = [_glyph(style.face, digit, style.weight, style.footless and digit == 1) for digit in digits]
    starts, end = [], 0
    for mask in masks:
        starts.append(end)
        end += mask.shape[1] - 2 * _PAD + round(style.gap)
    strip = np.zeros((masks[0].shape[0], starts[-1] + masks[-1].shape[1]), np.uint8)
    for start, mask in zip(starts, masks, strict=True):
        cell = strip[:, start : start + mask.shape[1]]
        np.maximum(cell, mask, out=cell)
    return strip, starts[at] + masks[at].shape[1] / 2


def _blur(layers: Bytes, style: _Style) -> Bytes:
    """The masks at the style's native size, scaled to SIDE as SVHN's crops were, and blurred."""
    masks = cv2.resize(layers, (style.native, style.native), interpolation=cv2.INTER_AREA)
    if style.native != SIDE:
        masks = cv2.resize(masks, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(masks, (0, 0), style.blur_x, sigmaY=style.blur_y), np.uint8)


def _paint(rng: np.random.Generator, layers: Bytes) -> Floats:
    """(BLOCK, 3, 32, 32) light from each scene, digits differing from their ground by about 1."""
    plate, lines, ink, shadow = np.ascontiguousarray(np.moveaxis(layers, -1, 0)[:, :, None]) / np.float32(255)

    def colours(levels: Doubles) -> Floats:
        tints = rng.normal(0, 1, (BLOCK, 3)) * rng.choice([0.05, 0.3], (BLOCK, 1), p=[0.7, 0.3])
        return np.asarray((levels[:, None] + tints)[..., None, None], np.float32)

    polarity = rng.choice([-1.0, 1.0], BLOCK, p=[0.55, 0.45])
    wall = _texture(rng) + colours(-polarity * np.clip(rng.normal(0.15, 0.5, BLOCK), -0.4, 1.5))
    scene = wall + plate * (colours(np.zeros(BLOCK)) - wall)
    scene += lines * colours(rng.normal(0, 0.5, BLOCK))
    scene -= shadow * rng.uniform(0.1, 0.6, (BLOCK, 1, 1, 1)).astype(np.float32)
    scene += ink * (colours(polarity) - scene)
    scene += _light(rng)
    return np.asarray(scene, np.float32)


def _texture(rng: np.random.Generator) -> Floats:
    """(BLOCK, 1, 32, 32) of blotches on every wall and boards on a few."""
    blotches = rng.normal(0, 1, (BLOCK, 7, 7)).astype(np.float32)
    spread = np.maximum(0, 1 - np.abs(np.linspace(0, 6, SIDE)[:, None] - np.arange(7)))
    strength = np.clip(np.exp(rng.normal(math.log(0.06), 0.8, (BLOCK, 1, 1))), 0, 0.25)
    texture = strength.astype(np.float32) * (spread @ blotches @ spread.T)
    waves = rng.uniform(0.3, 1.2, (BLOCK, 1)) * np.arange(SIDE) + rng.uniform(0, 6, (BLOCK, 1))
    boards = 0.35 * (np.sin(waves) > 0.8) * (rng.random((BLOCK, 1)) < 0.08)
    level = rng.random((BLOCK, 1, 1)) < 0.4
    texture -= np.where(level, boards[:, :, None], boards[:, None, :])
    return np.asarray(texture[:, None], np.float32)


def _light(rng: np.random.Generator) -> Floats:
    """(BLOCK, 1, 32, 32) of uneven light: a slope, and over some crops a shadow's soft edge."""
    along = np.linspace(-0.5, 0.5, SIDE)
    slope, angle = rng.normal(0, 0.22, (2, BLOCK, 1)), rng.uniform(0, 2 * math.pi, (BLOCK, 1))
    light = (slope[0] * along)[:, None] + (slope[1] * along)[:, :, None]
    away = (np.cos(angle) * along)[:, None] + (np.sin(angle) * along)[:, :, None]
    place, steep = rng.uniform(-0.4, 0.4, (BLOCK, 1, 1)), rng.uniform(2, 15, (BLOCK, 1, 1))
    shaded = np.flatnonzero(rng.random(BLOCK) < 0.15)
    depth = rng.uniform(0.1, 0.45, (BLOCK, 1, 1))
    light[shaded] += depth[shaded] * np.tanh(steep[shaded] * (away - place)[shaded])
    return np.asarray(light[:, None], np.float32)


def _photograph(rng: np.random.Generator, scenes: Floats) -> Bytes:
    """Expose scenes with SVHN's spread of brightness and contrast; sharpen, add grain, round."""
    contrast = np.exp(rng.normal(math.log(29.5), 0.43, BLOCK))
    brightness = np.clip(rng.gamma(6.4, 18.2, BLOCK) + 0.4 * (contrast - 32), 25, 235)
    grey = _grey(scenes)
    gain = contrast / np.maximum(grey.std(axis=(1, 2)), 1e-3)
    colours = (scenes - _per_crop(grey.mean(axis=(1, 2)))) * _per_crop(gain)
    inner = colours[..., 1:-1, 1:-1]
    around = colours[..., :-2, 1:-1] + colours[..., 2:, 1:-1]
    around += colours[..., 1:-1, :-2] + colours[..., 1:-1, 2:]
    ringing = rng.uniform(0, 1.2, BLOCK) * (rng.random(BLOCK) < 0.4)
    inner += _per_crop(ringing) * (inner - around / 4)
    grain = rng.standard_normal(colours.shape, np.float32)
    grain[..., 1:] += grain[..., :-1]  # as scaling up has smeared real grain sideways
    noise = np.minimum(np.exp(rng.normal(0, 0.6, BLOCK)), contrast / 10)
    colours += grain * _per_crop(noise) + _per_crop(brightness)
    return np.asarray(np.clip(np.rint(colours), 0, 255), np.uint8)


def _per_crop(values: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(values, np.float32)[:, None, None, None]


def _grey(colours: npt.NDArray[np.generic]) -> Floats:
    """(n, 3, h, w) colours as (n, h, w) grey."""
    red, green, blue = np.moveaxis(colours.astype(np.float32, copy=False), 1, 0)
    return np.asarray(GREY_WEIGHTS[0] * red + GREY_WEIGHTS[1] * green + GREY_WEIGHTS[2] * blue, np.float32)
