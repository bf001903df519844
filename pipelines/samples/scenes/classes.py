"""What a scene may show: ten shapes and eight colours, under made-up ids in the form of the Knowledge Graph's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShapeClass:
    """A shape: how often it is drawn, and how far it may be turned without becoming another."""

    label: str
    name: str
    share: float
    tilt: float  # degrees to either side


@dataclass(frozen=True)
class ColourClass:
    """A colour: the hue it lies around and how pure and bright it is, with their spread to either side."""

    label: str
    name: str
    share: float
    hue: float  # degrees
    hue_spread: float
    saturation: tuple[float, float]
    value: tuple[float, float]


# As in real class files, one name holds a comma and one holds quotes.
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
# Hues leave 20 degrees or more between the colours, so that a histogram tells them apart.
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
    """The closed contours, (points, 2), of a shape that fills the unit circle; what two of them enclose is a hole."""
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
