"""What is wrong with the scenes' data on purpose: each oddity on an image of its own that has a confirmed label."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from pipelines.samples.scenes.annotators import SOURCES, Row, confirmed
from pipelines.samples.scenes.pictures import Bytes
from schemas.errors import InputError

QUALITY = 92
PICTURES = ("gone", "truncated", "cmyk", "greyscale", "exif_rotated", "png")
DUPLICATES, CONFLICTS = 4, 2  # duplicates of each kind
MALFORMED = ("too_few_fields", "image_id_not_hex", "confidence_not_a_number", "confidence_outside")
_STREAM = 4  # of random numbers, after annotators.HUMAN
_ORIENTATION, _TURN_CLOCKWISE = 0x0112, 6  # an EXIF tag, and its value that asks viewers to turn the picture

Line = tuple[str, ...]


class Oddities:
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
