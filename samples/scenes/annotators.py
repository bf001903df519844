"""Who labelled the scenes: a machine that is often right, and people who check part of what it says.

Both know a picture's truth only through the noise that is set out here, so that their errors are known exactly.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from samples.scenes.images import LABELS, Bytes, Doubles, Scene
from schemas.errors import InputError

MACHINE, HUMAN = 2, 3  # streams of random numbers, after pictures.PLAN and pictures.PAINT
RECALL = 0.85  # share of true labels that the machine proposes; classes lie up to _RECALL_SPREAD to either side
PRECISION_AT_HALF, PRECISION_AT_95 = 0.35, 0.97  # of labels proposed with confidence 0.50, and 0.95
VERIFIED_IMAGES = 0.7  # share of images that people saw
VERIFIED_ROWS = 0.6  # of what the machine proposed there, the share that they judged
MISSED_ADDED = 0.3  # of the true labels that it missed there, the share that they add
ABSENT_ADDED = 0.05  # of the absent labels that it did not propose there, the share that they deny
HUMAN_ERROR = 0.01  # share of verdicts that are wrong
CROWD = 0.25  # share of verdicts that come from the crowd

SOURCES = ("verification", "crowdsource-verification")
_RECALL_SPREAD, _LOGIT_SPREAD = 0.08, 0.6
_LEVELS = np.arange(50, 100) / 100  # the confidences that the machine gives
_LEAN = 0.3  # how far true labels lean towards high confidences: 0 not at all


class Row(NamedTuple):
    """A row of `machine.csv` or `human.csv`."""

    image_id: str
    source: str
    label: str
    confidence: str


def precision(confidence: npt.ArrayLike) -> Doubles:
    """The share of right labels among those proposed with a confidence: (classes, confidences), in `LABELS`' order.

    Straight in log-odds, through the two figures above for the middle class; classes differ by a constant.
    """
    low, high = (np.log(share / (1 - share)) for share in (PRECISION_AT_HALF, PRECISION_AT_95))
    logit = low + (np.asarray(confidence) - 0.5) / 0.45 * (high - low)
    return np.asarray(1 / (1 + np.exp(-(logit + _spread(_LOGIT_SPREAD)[:, None]))))


def _spread(most: float) -> Doubles:
    """Evenly spread over the classes, in an order that favours neither shapes nor colours.

    The order is the same for every figure: a class that is found more often is also right more often.
    """
    order = np.argsort([label[::-1] for label in LABELS])
    return np.linspace(-most, most, len(LABELS))[np.argsort(order)]


def machine(scenes: Sequence[Scene], seed: int) -> list[Row]:
    """What the machine proposes: of each image the surest label first.

    Wrong labels are drawn so often, and at such confidences, that `precision` comes true: n wrong labels for each right
    one, n being (1 - precision) / precision.
    """
    truths = [scene.labels() for scene in scenes]
    present = np.array([[label in truth for label in LABELS] for truth in truths])
    right = (np.arange(len(_LEVELS)) + 1.0) ** _LEAN
    right /= right.sum()
    wrong = right * (1 / precision(_LEVELS) - 1)  # (classes, levels), for each right label
    recall = RECALL + _spread(_RECALL_SPREAD)
    shown = present.sum(axis=0)
    wrong_rate = wrong.sum(axis=1) * recall * shown / np.maximum(len(scenes) - shown, 1)
    right_steps, wrong_steps = np.cumsum(right), np.cumsum(wrong, axis=1) / wrong.sum(axis=1, keepdims=True)
    rows = []
    for scene, truth in zip(scenes, present, strict=True):
        rng = np.random.default_rng((seed, scene.number, MACHINE))
        proposed = rng.random(len(LABELS)) < np.where(truth, recall, wrong_rate)
        places = rng.random(len(LABELS))
        found = []
        for index in np.flatnonzero(proposed):
            steps = right_steps if truth[index] else wrong_steps[index]
            level = min(int(np.searchsorted(steps, places[index])), len(_LEVELS) - 1)
            found.append(Row(scene.image_id, "machine", LABELS[index], f"{_LEVELS[level]:g}"))
        rows += sorted(found, key=lambda row: (-float(row.confidence), row.label))
    return rows


def human(scenes: Sequence[Scene], proposals: Sequence[Row], seed: int) -> list[Row]:
    """The verdicts of people: 1 where they say that a label is present, 0 where not."""
    proposed = {(row.image_id, row.label) for row in proposals}
    rows = []
    for scene in scenes:
        rng = np.random.default_rng((seed, scene.number, HUMAN))
        seen = rng.random() < VERIFIED_IMAGES
        truth = scene.labels()
        for label, (judge, err, crowd) in zip(LABELS, rng.random((len(LABELS), 3)).tolist(), strict=True):
            share = MISSED_ADDED if label in truth else ABSENT_ADDED
            if (scene.image_id, label) in proposed:
                share = VERIFIED_ROWS
            if seen and judge < share:
                says = (label in truth) != (err < HUMAN_ERROR)
                rows.append(Row(scene.image_id, SOURCES[crowd < CROWD], label, str(int(says))))
    return rows


def confirmed(proposals: Sequence[Row], verdicts: Sequence[Row]) -> Mapping[str, list[str]]:
    """The labels of each image that the machine proposed and people confirmed."""
    proposed = {(row.image_id, row.label) for row in proposals}
    found: dict[str, list[str]] = {}
    for row in verdicts:
        if row.confidence == "1" and (row.image_id, row.label) in proposed:
            found.setdefault(row.image_id, []).append(row.label)
    return found


# What is wrong with the scenes' data on purpose: each oddity on an image of its own that has a confirmed label.

QUALITY = 92
PICTURES = ("gone", "truncated", "cmyk", "greyscale", "exif_rotated", "png")
DUPLICATES, CONFLICTS = 4, 2  # duplicates of each kind
MALFORMED = ("too_few_fields", "image_id_not_hex", "confidence_not_a_number", "confidence_outside")
_STREAM = 4  # of random numbers, after annotators.HUMAN
_ORIENTATION, _TURN_CLOCKWISE = 0x0112, 6  # an EXIF tag, and its value that asks viewers to turn the picture

Line = tuple[str, ...]


class Anomalies:
    """Which image has which oddity.

    Raises:
        InputError: too few images have a confirmed label.
    """

    def __init__(self, proposals: Sequence[Row], verdicts: Sequence[Row], seed: int) -> None:
        labels = confirmed(proposals, verdicts)
        images = np.random.default_rng((seed, 0, _STREAM)).permutation(sorted(labels)).tolist()
        wanted = len(PICTURES) + 2 * DUPLICATES + CONFLICTS + len(MALFORMED)
        if len(images) < wanted:
            raise InputError(f"{wanted} scenes need a confirmed label, but {len(images)} have one: raise --images")
        taken = iter(images)
        self.pictures: Mapping[str, str] = {next(taken): kind for kind in PICTURES}
        self._duplicated = {next(taken) for _ in range(DUPLICATES)}
        self._judged_twice = {next(taken) for _ in range(DUPLICATES)}
        self._contradicted = {next(taken) for _ in range(CONFLICTS)}
        self._malformed = {next(taken): kind for kind in MALFORMED}
        self._label = {image_id: found[0] for image_id, found in labels.items()}

    def counts(self) -> dict[str, int]:
        """How many of each oddity there are."""
        rows = {
            "duplicate_machine_rows": len(self._duplicated),
            "duplicate_human_rows": len(self._judged_twice),
            "conflicting_human_pairs": len(self._contradicted),
            **{f"malformed_{kind}": n for kind, n in Counter(self._malformed.values()).items()},
        }
        return rows | {f"image_{kind}": n for kind, n in Counter(self.pictures.values()).items()}

    def machine_lines(self, proposals: Sequence[Row]) -> list[Line]:
        """The machine's rows, still sorted by image; some twice, and of some a damaged copy."""
        lines: list[Line] = []
        for row in proposals:
            lines.append(row)
            if row.label == self._label.get(row.image_id):
                if row.image_id in self._duplicated:
                    lines.append(row)
                if row.image_id in self._malformed:
                    lines.append(_damaged(row, self._malformed[row.image_id]))
        return sorted(lines, key=lambda line: line[0])

    def human_lines(self, verdicts: Sequence[Row]) -> list[Line]:
        """People's rows; after some, the other source's verdict, the same or the contrary."""
        lines: list[Line] = []
        for row in verdicts:
            lines.append(row)
            if row.label == self._label.get(row.image_id):
                other = row._replace(source=SOURCES[row.source == SOURCES[0]])
                if row.image_id in self._judged_twice:
                    lines.append(other)
                if row.image_id in self._contradicted:
                    lines.append(other._replace(confidence="0"))
        return lines


def _damaged(row: Row, kind: str) -> Line:
    damaged: dict[str, Line] = {
        "too_few_fields": row[:3],
        "image_id_not_hex": row._replace(image_id=f"{row.image_id[:15]}g"),
        "confidence_not_a_number": row._replace(confidence="n/a"),
        "confidence_outside": row._replace(confidence="1.5"),
    }
    return damaged[kind]


def encode(pixels: Bytes, kind: str | None) -> bytes:
    """The file of a picture, blue first; a JPEG but for its oddity."""
    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
    if kind == "png":
        return bytes(cv2.imencode(".png", pixels)[1])
    if kind == "cmyk":
        return _jpeg(picture.convert("CMYK"))
    if kind == "greyscale":
        return _jpeg(picture.convert("L"))
    if kind == "exif_rotated":
        exif = Image.Exif()
        exif[_ORIENTATION] = _TURN_CLOCKWISE
        return _jpeg(picture.transpose(Image.Transpose.ROTATE_90), exif)  # Pillow turns against the clock
    data = bytes(cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1])
    return data[: len(data) * 3 // 5] if kind == "truncated" else data


def _jpeg(picture: Image.Image, exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, exif=exif or Image.Exif())
    return file.getvalue()
