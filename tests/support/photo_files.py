"""Photographs written for the tests, and what becomes of bad ones."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from schemas.errors import Problem, Reason
from storage.formats.images import TargetFormat, prepare

AS_IT_IS = TargetFormat()


def picture(mode: str = "RGB", height: int = 6, width: int = 8) -> Image.Image:
    values = np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


def written(image: Image.Image, form: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def tiff_sized(height: int, width: int) -> bytes:
    content = written(picture(), "TIFF")
    for tag, before, after in ((256, 8, width), (257, 6, height)):
        entry = struct.pack("<HHII", tag, 4, 1, before)
        assert content.count(entry) == 1
        content = content.replace(entry, struct.pack("<HHII", tag, 4, 1, after))
    return content


def problem(content: bytes, wanted: TargetFormat = AS_IT_IS) -> Problem:
    found = prepare(content, wanted)
    assert isinstance(found, Problem), found
    assert len(found.detail) <= 200 and found.detail.splitlines() == [found.detail]
    return found


def reason(content: bytes, wanted: TargetFormat = AS_IT_IS) -> Reason:
    return problem(content, wanted).reason
