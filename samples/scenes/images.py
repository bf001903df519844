"""What scenes show, and how they are painted: coloured shapes on muted backgrounds.

Ten shapes and eight colours have invented ids in the form of the Knowledge Graph's. A scene is planned first, so that
its labels are known, and then painted.
"""

import colorsys
import functools
import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShapeClass:
    """A shape: its share of the figures, and how far it may be turned without resembling another."""

    label: str
    name: str
    share: float
    tilt: float  # degrees to either side


@dataclass(frozen=True)
class ColourClass:
    """A colour: its hue, and how pure and bright it is, with their ranges."""

    label: str
    name: str
    share: float
    hue: float  # degrees
    hue_spread: float  # to either side
    saturation: tuple[float, float]
    value: tuple[float, float]


# As in real class files, one name has a comma and one has quotes.
SHAPES = (
    ShapeClass("/m/0c1rc9", "Circle", 0.12, 180),
    ShapeClass("/m/0r1n_g7", "Ring", 0.08, 180),
    ShapeClass("/m/0sqv4r3", "Square", 0.12, 20),
    ShapeClass("/m/0tr14n", "Triangle", 0.11, 25),
    ShapeClass("/m/02st5r", "Star, five-pointed", 0.10, 180),
    ShapeClass("/m/0h34rt", "Heart", 0.10, 30),
    ShapeClass("/m/0cr5_c3", "Crescent", 0.09, 40),
    ShapeClass("/m/0pl5s", 'Cross or "plus" sign', 0.09, 18),
    ShapeClass("/m/04rr0w", "Arrow", 0.10, 35),
    ShapeClass("/m/0fl0w3", "Flower", 0.09, 180),
)
# Hues leave 20 degrees or more between the colours, so that a histogram can distinguish them.
COLOURS = (
    ColourClass("/m/0r3dx", "Red", 0.17, 358, 4, (0.78, 0.92), (0.72, 0.92)),
    ColourClass("/m/0rng3_5", "Orange", 0.11, 26, 3, (0.82, 0.95), (0.90, 1.00)),
    ColourClass("/m/0y3lw8", "Yellow", 0.14, 51, 3, (0.72, 0.90), (0.92, 1.00)),
    ColourClass("/m/0gr33n", "Green", 0.14, 130, 14, (0.60, 0.82), (0.50, 0.75)),
    ColourClass("/m/0trq7s", "Turquoise", 0.09, 178, 5, (0.62, 0.85), (0.68, 0.88)),
    ColourClass("/m/0bl5_v", "Blue", 0.16, 218, 8, (0.68, 0.88), (0.62, 0.90)),
    ColourClass("/m/0prp1", "Purple", 0.09, 275, 8, (0.52, 0.72), (0.50, 0.76)),
    ColourClass("/m/0p1nk2", "Pink", 0.10, 328, 6, (0.42, 0.60), (0.90, 1.00)),
)
LABELS = tuple(entry.label for entry in (*SHAPES, *COLOURS))
NAMES = {entry.label: entry.name for entry in (*SHAPES, *COLOURS)}


def outline(shape: int) -> list[Doubles]:
    """The closed contours, (points, 2), of a shape that fills the unit circle; an inner one bounds a hole."""
    contours: dict[str, list[Doubles]] = {
        "Circle": [_arc(0, 0, 0.92, 0, 360)],
        "Ring": [_arc(0, 0, 0.98, 0, 360), _arc(0, 0, 0.52, 0, 360)],
        "Square": [np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]])],
        "Triangle": [_corners(3, 1.08, 1.08)],
        "Star, five-pointed": [_corners(5, 1.08, 0.46)],
        "Heart": [_heart()],
        "Crescent": [np.concatenate([_arc(0.25, 0, 1, 50.3, 309.7), _arc(0.67, 0, 0.8, 285.9, 74.1)])],
        'Cross or "plus" sign': [_cross(0.98, 0.33)],
        "Arrow": [_arrow()],
        "Flower": [_flower(), _arc(0, 0, 0.19, 0, 360)],
    }
    return contours[SHAPES[shape].name]


def _arc(x: float, y: float, radius: float, start: float, end: float) -> Doubles:
    angles = np.radians(np.linspace(start, end, 72))
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def _corners(count: int, outer: float, inner: float) -> Doubles:
    """A star of `count` points, the first one up; a polygon where both radii are the same length."""
    steps = 2 * count if inner != outer else count
    angles = 2 * np.pi * np.arange(steps) / steps - np.pi / 2
    radii = np.where(np.arange(steps) % 2 == 0, outer, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Doubles:
    """The usual heart curve (https://mathworld.wolfram.com/HeartCurve.html), its point below."""
    t = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2.5], axis=1) / 16.5


def _cross(reach: float, half: float) -> Doubles:
    arm = np.array([[-half, -half], [-half, -reach], [half, -reach]])
    turns = [np.linalg.matrix_power(np.array([[0.0, -1], [1, 0]]), turn) for turn in range(4)]
    return np.concatenate([arm @ turn.T for turn in turns])


def _arrow() -> Doubles:
    upper = np.array([[-1, -0.24], [0.1, -0.24], [0.1, -0.7], [1, 0]])
    return np.concatenate([upper, (upper * (1, -1))[2::-1]])


def _flower() -> Doubles:
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radii = 0.46 + 0.56 * np.abs(np.cos(2.5 * t)) ** 0.8
    return np.stack([radii * np.cos(t), radii * np.sin(t)], axis=1)


# --- Scenes --------------------------------------------------------------------------------------

PLAN, PAINT = 0, 1  # each image has a stream of random numbers for each use
WIDTH, HEIGHT = 256, 192
_SUBPIXEL = 4  # bits of a coordinate's fraction, as OpenCV draws polygons

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Figure(NamedTuple):
    """One shape in a scene, by the indices of its classes; lengths in pixels, the angle in degrees."""

    shape: int
    colour: int
    x: float
    y: float
    radius: float
    angle: float


class Scene(NamedTuple):
    """The content of an image."""

    number: int
    image_id: str
    width: int
    height: int
    figures: tuple[Figure, ...]

    def labels(self) -> frozenset[str]:
        """The labels that are present."""
        shapes = {SHAPES[figure.shape].label for figure in self.figures}
        return frozenset(shapes | {COLOURS[figure.colour].label for figure in self.figures})


def image_id(seed: int, number: int) -> str:
    """16 hexadecimal digits, a sixteenth of them with a leading zero, as Open Images has them."""
    return hashlib.sha256(f"scenes {seed} {number}".encode()).hexdigest()[:16]


def plan_scene(seed: int, number: int) -> Scene:
    """The content of image `number`: one to four figures that do not touch."""
    rng = np.random.default_rng((seed, number, PLAN))
    width, height = round(WIDTH * rng.uniform(0.88, 1.12)), round(HEIGHT * rng.uniform(0.88, 1.12))
    if rng.random() < 0.3:
        width, height = height, width
    count = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15]))
    largest = 0.36 if count == 1 else 0.30 if count == 2 else 0.25
    figures: list[Figure] = []
    for _ in range(count):
        shape = int(rng.choice(len(SHAPES), p=[entry.share for entry in SHAPES]))
        colour = int(rng.choice(len(COLOURS), p=[entry.share for entry in COLOURS]))
        radius = min(width, height) * rng.uniform(0.20, largest)
        x, y, radius = _find_space(rng, (width, height), radius, figures)
        figures.append(Figure(shape, colour, x, y, radius, rng.uniform(-1, 1) * SHAPES[shape].tilt))
    return Scene(number, image_id(seed, number), width, height, tuple(figures))


def _find_space(
    rng: np.random.Generator, size: tuple[int, int], radius: float, others: list[Figure]
) -> tuple[float, float, float]:
    """Position and radius at which a figure touches neither edges nor others; it shrinks until there is one."""
    while True:
        low = 1.15 * radius
        for x, y in rng.uniform((low, low), (size[0] - low, size[1] - low), (40, 2)).tolist():
            if all(math.hypot(x - one.x, y - one.y) > 1.12 * (radius + one.radius) for one in others):
                return x, y, radius
        radius *= 0.92


def paint_scene(scene: Scene, seed: int) -> Bytes:
    """The image, (height, width, 3), blue first as in OpenCV."""
    rng = np.random.default_rng((seed, scene.number, PAINT))
    canvas = _background(rng, scene.height, scene.width)
    for figure in scene.figures:
        _paint_figure(rng, canvas, figure)
    canvas *= _light(rng, scene.height, scene.width)[:, :, None]
    canvas += (rng.uniform(1.5, 4.5) * rng.standard_normal(canvas.shape[:2], np.float32))[:, :, None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(canvas, 0, out=canvas)), np.uint8)


# --- Backgrounds ---------------------------------------------------------------------------------


def _background(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Two muted colours of similar hue, mixed by a pattern."""
    hue, value = rng.random(), rng.uniform(0.30, 0.92)
    away = rng.uniform(0.12, 0.28) * (1 if value < 0.6 else -1)
    first = _bgr(hue, rng.uniform(0.04, 0.22), value)
    second = _bgr((hue + rng.normal(0, 0.08)) % 1, rng.uniform(0.04, 0.22), value + away)
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, height, width)
    return np.asarray(first + pattern[:, :, None] * (second - first), np.float32)


def _gradient(rng: np.random.Generator, height: int, width: int) -> Floats:
    ramp = _along(rng.uniform(0, 2 * math.pi), height, width)
    return np.asarray((ramp - ramp.min()) / np.ptp(ramp), np.float32)


def _clouds(rng: np.random.Generator, height: int, width: int) -> Floats:
    return 0.7 * _noise(rng, height, width, (5, 6)) + 0.3 * _noise(rng, height, width, (14, 18))


def _stripes(rng: np.random.Generator, height: int, width: int) -> Floats:
    waves = _along(rng.uniform(0, math.pi), height, width) * (2 * math.pi / rng.uniform(18, 46))
    sharp = rng.uniform(1, 4)
    return np.asarray(0.5 + 0.4 * np.tanh(sharp * np.sin(waves)) / math.tanh(sharp), np.float32)


def _weave(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Cloth: threads of uneven strength, across and along."""
    across, along = rng.standard_normal((height, 1), np.float32), rng.standard_normal((1, width), np.float32)
    threads = cv2.GaussianBlur(across + np.zeros((1, width), np.float32), (0, 0), 1.2)
    threads += cv2.GaussianBlur(along + np.zeros((height, 1), np.float32), (0, 0), 1.2)
    return np.asarray(np.clip(0.5 + 0.22 * threads, 0, 1), np.float32)


def _boards(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Planks, each of its own shade, with their grain along them."""
    count = int(rng.integers(4, 8))
    edges = np.linspace(0, height, count, endpoint=False) + rng.uniform(0, height / count)
    plank = np.searchsorted(edges, np.arange(height))
    shade = rng.uniform(0.2, 0.8, count + 1).astype(np.float32)[plank][:, None]
    grain = 0.45 * (_noise(rng, height, width, (height // 3, 4)) - 0.5)
    seam = np.where(np.diff(plank, prepend=plank[0]) > 0, np.float32(-0.5), np.float32(0))[:, None]
    return np.asarray(cv2.GaussianBlur(shade + grain + seam, (0, 0), 0.7), np.float32)


def _shelf(rng: np.random.Generator, height: int, width: int) -> Floats:
    """A wall above a table, both a little blotched."""
    edge = height * rng.uniform(0.55, 0.8) + _along(rng.uniform(-0.04, 0.04), height, width)[:1] * 0.05
    rows = np.arange(height, dtype=np.float32)[:, None]
    table = 1 / (1 + np.exp(np.clip((edge - rows) / 1.5, -30, 30)))
    return np.asarray(0.8 * table + 0.2 * _noise(rng, height, width, (5, 7)), np.float32)


_PATTERNS = (_gradient, _clouds, _stripes, _weave, _boards, _shelf)


@functools.cache
def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Rows and columns counted from the middle."""
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    columns = np.arange(width, dtype=np.float32)[None] - np.float32(width / 2)
    return rows, columns


def _along(angle: float, height: int, width: int) -> Floats:
    """The distance of each pixel from the middle, in a direction."""
    rows, columns = _grid(height, width)
    return np.float32(math.sin(angle)) * rows + np.float32(math.cos(angle)) * columns


def _noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Floats:
    """Smooth noise in [0, 1], interpolated between `cells` (rows, columns)."""
    coarse = rng.random(cells, np.float32)
    return np.asarray(np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1), np.float32)


def _light(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Brighter towards one side, and a little darker in the corners."""
    slope = rng.uniform(0, 0.22) / math.hypot(height, width)
    rows, columns = _grid(height, width)
    corner = rng.uniform(0, 0.16) * ((rows / (height / 2)) ** 2 + (columns / (width / 2)) ** 2) / 2
    return np.asarray(1 + slope * _along(rng.uniform(0, 2 * math.pi), height, width) - corner, np.float32)


# --- Figures ------------------------------------------------------------------------------------


@functools.cache
def _outline(shape: int) -> tuple[Doubles, ...]:
    return tuple(outline(shape))


def _paint_figure(rng: np.random.Generator, canvas: Floats, figure: Figure) -> None:
    """Cast the figure's shadow on the canvas, then fill it: lit from above, some with a darker rim."""
    reach = math.ceil(1.15 * figure.radius) + 12
    left, top = max(0, int(figure.x) - reach), max(0, int(figure.y) - reach)
    part = canvas[top : int(figure.y) + reach, left : int(figure.x) + reach]
    height, width = part.shape[:2]
    turn = math.radians(figure.angle)
    turned = figure.radius * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    place = np.array([figure.x - left, figure.y - top])
    contours = [np.rint((points @ turned + place) * 2**_SUBPIXEL).astype(np.int32) for points in _outline(figure.shape)]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, contours, (255,), cv2.LINE_AA, _SUBPIXEL)
    cover = mask.astype(np.float32)[:, :, None] / 255
    _cast_shadow(rng, part, mask)
    colour = COLOURS[figure.colour]
    hue = (colour.hue + rng.uniform(-1, 1) * colour.hue_spread) / 360 % 1
    paint_colour = _bgr(hue, rng.uniform(*colour.saturation), rng.uniform(*colour.value))
    rows = (np.arange(height, dtype=np.float32) - np.float32(place[1]))[:, None, None] / np.float32(figure.radius)
    fill = paint_colour * (1 - np.float32(rng.uniform(0, 0.13)) * rows)
    if rng.random() < 0.4:
        rim = np.zeros_like(mask)
        cv2.polylines(rim, contours, True, (255,), int(rng.integers(2, 5)), cv2.LINE_AA, _SUBPIXEL)
        fill = fill * (1 - np.float32(rng.uniform(0.15, 0.35)) * rim.astype(np.float32)[:, :, None] / 255)
    part += cover * (fill - part)


def _cast_shadow(rng: np.random.Generator, part: Floats, mask: Bytes) -> None:
    shift = np.array([[1, 0, rng.uniform(-4, 4)], [0, 1, rng.uniform(1, 6)]])
    fallen = cv2.warpAffine(mask, shift, (mask.shape[1], mask.shape[0]))
    soft = cv2.GaussianBlur(fallen, (0, 0), rng.uniform(1.5, 4))
    part *= 1 - np.float32(rng.uniform(0.15, 0.45)) * soft.astype(np.float32)[:, :, None] / 255


def _bgr(hue: float, saturation: float, value: float) -> Floats:
    """A colour in [0, 255], from parts in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue, saturation, min(value, 1))[::-1], np.float32) * np.float32(255)
