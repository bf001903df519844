"""The annotators of scenes: a machine that is often right, humans who verify part of what it proposes, and anomalies.

Both annotators know an image's true labels only through the noise defined here, so that their errors are known exactly.
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

MACHINE, HUMAN = 2, 3  # streams of random numbers, after images.PLAN and images.PAINT
RECALL = 0.85  # share of true labels that the machine proposes; classes differ by up to _RECALL_SPREAD
PRECISION_AT_HALF, PRECISION_AT_95 = 0.35, 0.97  # of labels proposed with confidence 0.50, and 0.95
VERIFIED_IMAGES = 0.7  # share of images that humans saw
VERIFIED_ROWS = 0.6  # share of the machine's proposals there that they judged
MISSED_ADDED = 0.3  # share of the true labels that it missed there which they add
ABSENT_ADDED = 0.05  # share of the absent labels that it did not propose there which they deny
HUMAN_ERROR = 0.01  # share of verdicts that are wrong
CROWD = 0.25  # share of verdicts that come from the crowd

SOURCES = ("verification", "crowdsource-verification")
_RECALL_SPREAD, _LOGIT_SPREAD = 0.08, 0.6
_LEVELS = np.arange(50, 100) / 100  # the machine's confidences
_SKEW = 0.3  # of true labels towards high confidences: 0 for none


class Row(NamedTuple):
    """A row of `machine.csv` or `human.csv`."""

    image_id: str
    source: str
    label: str
    confidence: str


def precision(confidence: npt.ArrayLike) -> Doubles:
    """The share of correct labels among those proposed with a confidence: (classes, confidences), in `LABELS`' order.

    Linear in log-odds, through the two figures above for the middle class; classes differ by a constant.
    """
    low, high = (np.log(share / (1 - share)) for share in (PRECISION_AT_HALF, PRECISION_AT_95))
    logit = low + (np.asarray(confidence) - 0.5) / 0.45 * (high - low)
    return np.asarray(1 / (1 + np.exp(-(logit + _spread(_LOGIT_SPREAD)[:, None]))))


def _spread(most: float) -> Doubles:
    """Values from -most to most, evenly over the classes, in an order that favours neither shapes nor colours.

    The order is the same for every figure: a class with a higher recall also has a higher precision.
    """
    order = np.argsort([label[::-1] for label in LABELS])
    return np.linspace(-most, most, len(LABELS))[np.argsort(order)]


def propose_labels(scenes: Sequence[Scene], seed: int) -> list[Row]:
    """The machine's labels: of each image the most confident first.

    Wrong labels are drawn at such rates and confidences that `precision` holds: n wrong labels for each correct one, n
    being (1 - precision) / precision.
    """
    present = np.array([[label in scene.labels() for label in LABELS] for scene in scenes])
    right = (np.arange(len(_LEVELS)) + 1.0) ** _SKEW
    right /= right.sum()
    wrong = right * (1 / precision(_LEVELS) - 1)  # (classes, levels), for each correct label
    recall = RECALL + _spread(_RECALL_SPREAD)
    shown = present.sum(axis=0)
    wrong_rate = wrong.sum(axis=1) * recall * shown / np.maximum(len(scenes) - shown, 1)
    right_steps, wrong_steps = np.cumsum(right), np.cumsum(wrong, axis=1) / wrong.sum(axis=1, keepdims=True)
    rows = []
    for scene, is_true in zip(scenes, present, strict=True):
        rng = np.random.default_rng((seed, scene.number, MACHINE))
        proposed = rng.random(len(LABELS)) < np.where(is_true, recall, wrong_rate)
        quantiles = rng.random(len(LABELS))
        labels = []
        for index in np.flatnonzero(proposed):
            steps = right_steps if is_true[index] else wrong_steps[index]
            level = min(int(np.searchsorted(steps, quantiles[index])), len(_LEVELS) - 1)
            labels.append(Row(scene.image_id, "machine", LABELS[index], f"{_LEVELS[level]:g}"))
        rows += sorted(labels, key=lambda row: (-float(row.confidence), row.label))
    return rows


def verify_labels(scenes: Sequence[Scene], proposals: Sequence[Row], seed: int) -> list[Row]:
    """The human verdicts: 1 if the annotator considers a label present, otherwise 0."""
    proposed = {(row.image_id, row.label) for row in proposals}
    rows = []
    for scene in scenes:
        rng = np.random.default_rng((seed, scene.number, HUMAN))
        is_seen = rng.random() < VERIFIED_IMAGES
        true_labels = scene.labels()
        for label, (judge, err, crowd) in zip(LABELS, rng.random((len(LABELS), 3)).tolist(), strict=True):
            share = MISSED_ADDED if label in true_labels else ABSENT_ADDED
            if (scene.image_id, label) in proposed:
                share = VERIFIED_ROWS
            if is_seen and judge < share:
                verdict = (label in true_labels) != (err < HUMAN_ERROR)
                rows.append(Row(scene.image_id, SOURCES[crowd < CROWD], label, str(int(verdict))))
    return rows


def confirmed_labels(proposals: Sequence[Row], verdicts: Sequence[Row]) -> Mapping[str, list[str]]:
    """The labels of each image that the machine proposed and humans confirmed."""
    proposed = {(row.image_id, row.label) for row in proposals}
    labels: dict[str, list[str]] = {}
    for row in verdicts:
        if row.confidence == "1" and (row.image_id, row.label) in proposed:
            labels.setdefault(row.image_id, []).append(row.label)
    return labels


# --- Anomalies: each on an image of its own that has a confirmed label ----------------------------

QUALITY = 92
IMAGE_ANOMALIES = ("gone", "truncated", "cmyk", "greyscale", "exif_rotated", "png")
DUPLICATES, CONFLICTS = 4, 2  # duplicates of each kind
MALFORMED = ("too_few_fields", "image_id_not_hex", "confidence_not_a_number", "confidence_outside")
_STREAM = 4  # of random numbers, after annotators.HUMAN
_ORIENTATION, _TURN_CLOCKWISE = 0x0112, 6  # an EXIF tag, and its value that makes viewers turn the image

Line = tuple[str, ...]


class Anomalies:
    """Which image has which anomaly; InputError if too few images have a confirmed label."""

    def __init__(self, proposals: Sequence[Row], verdicts: Sequence[Row], seed: int) -> None:
        labels = confirmed_labels(proposals, verdicts)
        images = np.random.default_rng((seed, 0, _STREAM)).permutation(sorted(labels)).tolist()
        required = len(IMAGE_ANOMALIES) + 2 * DUPLICATES + CONFLICTS + len(MALFORMED)
        if len(images) < required:
            raise InputError(f"{required} scenes need a confirmed label, but {len(images)} have one: raise --images")
        free = iter(images)
        self.images: Mapping[str, str] = {next(free): kind for kind in IMAGE_ANOMALIES}
        self._duplicated = {next(free) for _ in range(DUPLICATES)}
        self._judged_twice = {next(free) for _ in range(DUPLICATES)}
        self._contradicted = {next(free) for _ in range(CONFLICTS)}
        self._malformed = {next(free): kind for kind in MALFORMED}
        self._label = {image_id: names[0] for image_id, names in labels.items()}

    def counts(self) -> dict[str, int]:
        """The number of each anomaly."""
        rows = {
            "duplicate_machine_rows": len(self._duplicated),
            "duplicate_human_rows": len(self._judged_twice),
            "conflicting_human_pairs": len(self._contradicted),
            **{f"malformed_{kind}": n for kind, n in Counter(self._malformed.values()).items()},
        }
        return rows | {f"image_{kind}": n for kind, n in Counter(self.images.values()).items()}

    def machine_lines(self, proposals: Sequence[Row]) -> list[Line]:
        """The machine's rows, still sorted by image; some duplicated, and some followed by a damaged copy."""
        lines: list[Line] = []
        for row in proposals:
            lines.append(row)
            if row.label == self._label.get(row.image_id):
                if row.image_id in self._duplicated:
                    lines.append(row)
                if row.image_id in self._malformed:
                    lines.append(_damage_row(row, self._malformed[row.image_id]))
        return sorted(lines, key=lambda line: line[0])

    def human_lines(self, verdicts: Sequence[Row]) -> list[Line]:
        """The human rows; after some, the other source's verdict, the same or the contrary."""
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


def _damage_row(row: Row, kind: str) -> Line:
    damaged: dict[str, Line] = {
        "too_few_fields": row[:3],
        "image_id_not_hex": row._replace(image_id=f"{row.image_id[:15]}g"),
        "confidence_not_a_number": row._replace(confidence="n/a"),
        "confidence_outside": row._replace(confidence="1.5"),
    }
    return damaged[kind]


def encode(pixels: Bytes, kind: str | None) -> bytes:
    """An image file of pixels, blue first; a JPEG, unless its anomaly is another format."""
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
    if kind == "png":
        return bytes(cv2.imencode(".png", pixels)[1])
    if kind == "cmyk":
        return _jpeg(image.convert("CMYK"))
    if kind == "greyscale":
        return _jpeg(image.convert("L"))
    if kind == "exif_rotated":
        exif = Image.Exif()
        exif[_ORIENTATION] = _TURN_CLOCKWISE
        return _jpeg(image.transpose(Image.Transpose.ROTATE_90), exif)  # Pillow turns against the clock
    data = bytes(cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1])
    return data[: len(data) * 3 // 5] if kind == "truncated" else data


def _jpeg(image: Image.Image, exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, exif=exif or Image.Exif())
    return file.getvalue()
