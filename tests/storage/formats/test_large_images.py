"""Photographs of more pixels than their file has bytes for, and of many: nothing is made up, nor held several times."""

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from schemas.errors import Problem, Reason
from storage.formats.images import Photograph, prepare
from tests.support.photo_files import AS_IT_IS, picture, problem, tiff_sized, written


def tiff_of_tiles(tiles: int, width: int) -> bytes:
    """Grey, of 16x16 tiles side by side, by hand, since Pillow writes none."""
    after = 8 + 2 + 12 * 9 + 4
    at = after + 8 * tiles
    tags = [(256, 1, width), (257, 1, 16), (258, 1, 8), (259, 1, 1), (262, 1, 1), (322, 1, 16), (323, 1, 16)]
    tags += [(324, tiles, after if tiles > 1 else at), (325, tiles, after + 4 * tiles if tiles > 1 else 256)]
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags)
    places = struct.pack(f"<{2 * tiles}I", *(at + 256 * tile for tile in range(tiles)), *([256] * tiles))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + places + b"\x77" * 256 * tiles


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (tiff_sized(13, 8), "1 of 3 strips"),
        (written(picture(), "TIFF", tiffinfo={284: 2}), "1 of 3 strips"),
        (tiff_of_tiles(2, 40), "2 of 3 tiles"),
    ],
)
def test_a_tiff_whose_strips_do_not_reach_is_not_filled_with_black(content: bytes, detail: str) -> None:
    assert problem(content) == Problem(Reason.IMAGE_TRUNCATED, f"tiff: {detail}")


def test_a_tiff_of_tiles_is_whole() -> None:
    found = prepare(tiff_of_tiles(3, 40), AS_IT_IS)
    assert isinstance(found, Photograph), found
    assert np.all(cv2.imdecode(np.frombuffer(found.content, np.uint8), cv2.IMREAD_UNCHANGED) == 0x77)


MEASURED = """
import sys
from pathlib import Path
from storage.formats.images import Photograph, TargetFormat, prepare
from tests.support.peaks import peak
peaks = []
for path in sys.argv[1:]:
    assert isinstance(prepare(Path(path).read_bytes(), TargetFormat()), Photograph)
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""
OPTIONS: dict[str, dict[str, Any]] = {"TIFF": {"compression": "tiff_adobe_deflate"}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("form", ["TIFF", "GIF", "BMP", "WEBP"])
def test_a_large_picture_is_not_held_several_times(tmp_path: Path, form: str) -> None:
    """Besides the file, four bytes a pixel as it is decoded, and three as it is kept."""
    for name, side in (("small", 100), ("large", 4000)):
        image = picture("P" if form == "GIF" else "RGB").resize((side, side), Image.Resampling.NEAREST)
        image.save(tmp_path / name, form, **OPTIONS.get(form, {}))
    paths = [str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, check=True)
    assert 3 * 4000**2 < int(done.stdout) - (tmp_path / "large").stat().st_size < 8 * 4000**2
