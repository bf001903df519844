"""Photographs that cannot be stored: every reason, and cut and damaged files of every format."""

import io
import struct
import threading
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from schemas.errors import Problem, Reason
from storage.formats.images import Photograph, TargetFormat, prepare
from tests.support.photo_files import AS_IT_IS, picture, problem, reason, tiff_sized, written

SCALED = TargetFormat(max_side=5)  # everything has to be decoded


def several(form: str, **options: Any) -> bytes:
    return written(picture(), form, save_all=True, append_images=[picture("L").convert("RGB")], **options)


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def jpeg_sized(height: int, width: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


JPEG = written(picture(), "JPEG")
THUMBNAIL = written(picture(height=4, width=4), "JPEG")
WITH_THUMBNAIL = written(picture(), "JPEG", exif=b"Exif\0\0" + THUMBNAIL)
PNG = written(picture(), "PNG")
WHOLE = {
    "jpeg": JPEG,
    "progressive jpeg": written(picture(), "JPEG", progressive=True),
    "jpeg with a thumbnail": WITH_THUMBNAIL,
    "jpeg of inks": written(picture("CMYK"), "JPEG"),
    "png": PNG,
    "png with a palette": written(picture("P"), "PNG", transparency=3),
    "gif": written(picture("P"), "GIF", transparency=3),
    "bmp": written(picture(), "BMP"),
    "tiff": written(picture(), "TIFF"),
    "packed tiff": written(picture(), "TIFF", compression="tiff_lzw"),
    "tiff of 16 bits": written(Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8) * 999), "TIFF"),
    "webp": written(picture(), "WEBP"),
    "lossless webp": written(picture("RGBA"), "WEBP", lossless=True, exif=b"Exif\0\0" + bytes(20)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_of_these_are_whole(name: str) -> None:
    for wanted in (AS_IT_IS, SCALED):
        assert isinstance(prepare(WHOLE[name], wanted), Photograph)


@pytest.mark.parametrize("setting", [{"max_side": -1}, {"quality": 0}, {"quality": 101}, {"max_pixels": 0}])
def test_what_cannot_be_wanted(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"max_side=-1|quality=0|quality=101|max_pixels=0"):
        TargetFormat(**setting)


# --- No image -----------------------------------------------------------------------------------


def test_nothing() -> None:
    assert problem(b"") == Problem(Reason.IMAGE_EMPTY, "0 bytes")


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
        b"\n\n" + JPEG,
        b"BMW, Audi, Volvo and others",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"GIF is a format",
        b"\0\0\0\x18ftypheic" + bytes(50),
        b"\xff\xd8",
        b"\x89PNG",
        bytes(1000),
    ],
)
def test_no_image_at_all(content: bytes) -> None:
    found = problem(content)
    assert found.reason == Reason.NOT_AN_IMAGE
    assert repr(content[:9])[2:-1] in found.detail


# --- Cut short ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on a TIFF whose tags' values are cut off
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("wanted", [AS_IT_IS, SCALED])
def test_no_part_of_a_file_passes_for_the_whole(name: str, wanted: TargetFormat) -> None:
    content = WHOLE[name]
    for length in range(1, len(content)):
        assert isinstance(prepare(content[:length], wanted), Problem), length


@pytest.mark.parametrize("name", [name for name in WHOLE if "tiff" not in name])
def test_what_is_cut_short_is_called_so(name: str) -> None:
    content = WHOLE[name]
    magic = {"jpe": 3, "png": 8, "gif": 6, "bmp": 18, "web": 16}
    first = next(length for start, length in magic.items() if start in name)
    assert {reason(content[:length]) for length in range(first, len(content))} == {Reason.IMAGE_TRUNCATED}


def test_a_tiff_without_its_pixels_or_tags_is_cut_short() -> None:
    for name in ("tiff", "packed tiff"):  # whose tags come first, and last
        content = WHOLE[name]
        start = int.from_bytes(content[4:8], "little")
        values = start + 2 + 12 * content[start] + 4  # which follow the tags
        pixels = range(values + 30, len(content)) if start == 8 else range(0)
        assert {reason(content[:length]) for length in (*range(4, values), *pixels)} == {Reason.IMAGE_TRUNCATED}


def test_a_thumbnails_end_is_not_the_photographs() -> None:
    after = WITH_THUMBNAIL.index(THUMBNAIL) + len(THUMBNAIL)
    assert WITH_THUMBNAIL[:after].endswith(b"\xff\xd9")
    assert reason(WITH_THUMBNAIL[:after]) == Reason.IMAGE_TRUNCATED
    assert reason(WITH_THUMBNAIL[:-2]) == Reason.IMAGE_TRUNCATED
    assert reason(WITH_THUMBNAIL[:-2] + bytes(5000)) == Reason.IMAGE_TRUNCATED  # filled up by zeros


# --- Several pictures ---------------------------------------------------------------------------

ANIMATED = {
    "gif": several("GIF"),
    "png": several("PNG"),
    "png of a frame": PNG.replace(chunk(b"IEND", b""), chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"IEND", b"")),
    "webp": several("WEBP"),
    "tiff": several("TIFF"),
    "tiff that begins with a preview": written(picture(), "TIFF", tiffinfo={254: 1}),
}


@pytest.mark.parametrize("name", ANIMATED)
def test_several_pictures_are_no_photograph(name: str) -> None:
    assert reason(ANIMATED[name]) == Reason.IMAGE_ANIMATED


# --- Too large ----------------------------------------------------------------------------------


def webp_sized(height: int, width: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X\x0a\0\0\0" + bytes(4) + canvas + written(picture(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def bmp_sized(height: int, width: int) -> bytes:
    return WHOLE["bmp"][:18] + struct.pack("<ii", width, height) + WHOLE["bmp"][26:]


GIF_SCREEN = WHOLE["gif"][:6] + struct.pack("<HH", 60000, 60000) + WHOLE["gif"][10:]
GIF_FRAME = WHOLE["gif"].index(b"\x2c\0\0\0\0\x08\0\x06\0") + 5
BOMBS = {
    "png": png_header(60000, 60000) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""),
    "cut png": png_header(60000, 60000),
    "palette": png_header(60000, 60000, 8, 3) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
    "jpeg": jpeg_sized(60000, 60000),
    "gif": GIF_SCREEN,
    "frame of a gif": WHOLE["gif"][:GIF_FRAME] + struct.pack("<HH", 60000, 60000) + WHOLE["gif"][GIF_FRAME + 4 :],
    "bmp": bmp_sized(60000, 60000),
    "upside-down bmp": bmp_sized(-60000, 60000),
    "webp": webp_sized(60000, 60000),
    "tiff": tiff_sized(60000, 60000),
}


@pytest.fixture
def undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)


@pytest.mark.usefixtures("undecodable")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_known_by_its_header(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = problem(BOMBS[name])
    assert found.reason == Reason.IMAGE_TOO_LARGE
    assert "60000x60000" in found.detail


@pytest.mark.usefixtures("undecodable")
def test_the_fixture_sees_decoding() -> None:
    assert {problem(content, SCALED).detail.rpartition(" ")[2] for content in WHOLE.values()} == {"decoded"}


@pytest.mark.parametrize("name", WHOLE)
def test_the_last_pixel_is_one_too_many(name: str) -> None:
    assert isinstance(prepare(WHOLE[name], TargetFormat(max_pixels=48)), Photograph)
    assert problem(WHOLE[name], TargetFormat(max_pixels=47)).detail == "8x6 pixels, more than 47"
    assert reason(WHOLE[name], TargetFormat(max_pixels=47)) == Reason.IMAGE_TOO_LARGE


def test_pillow_warns_of_no_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own limit is another one: here lower, so that every image would be a bomb."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, content in WHOLE.items():
            found = prepare(content, AS_IT_IS)
            if name == "gif":  # where Pillow's limit cannot be avoided
                assert isinstance(found, Problem) and found.reason == Reason.IMAGE_TOO_LARGE
            else:
                assert isinstance(found, Photograph)


# --- Damaged ------------------------------------------------------------------------------------

FRAME = JPEG.index(b"\xff\xc0")
SCAN = JPEG.index(b"\xff\xda")
UNDECODABLE = {
    "jpeg of no width": jpeg_sized(6, 0),
    "jpeg of no height": jpeg_sized(0, 8),
    "jpeg of 12 bits": JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :],
    "jpeg without loss": JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1),
    "jpeg with a short frame header": JPEG[: FRAME + 3] + b"\x08" + JPEG[FRAME + 4 :],
    "jpeg with a long frame header": JPEG[: FRAME + 9] + b"\1" + JPEG[FRAME + 10 :],
    "jpeg sampled 5 times": JPEG[: FRAME + 11] + b"\x51" + JPEG[FRAME + 12 :],
    "jpeg without a frame header": JPEG[:FRAME] + JPEG[SCAN:],
    "jpeg in a jpeg": JPEG[:20] + JPEG,
    "jpeg without a picture": JPEG[:SCAN] + b"\xff\xd9",
    "jpeg with a segment of no length": JPEG[:20] + b"\xff\xfe\0\1" + JPEG[20:],
    "png of no width": png_header(0, 6) + PNG[33:],
    "png of 3 bits": png_header(8, 6, 3) + PNG[33:],
    "png of colour type 5": png_header(8, 6, 8, 5) + PNG[33:],
    "png of 4-bit colours": png_header(8, 6, 4) + PNG[33:],
    "png with a damaged header": PNG[:20] + b"\1" + PNG[21:],
    "png without its header": PNG[:8] + PNG[33:].rjust(40, b"\0"),
    "png without a picture": png_header(8, 6) + chunk(b"IEND", b""),
    "png without its palette": png_header(8, 6, 8, 3) + PNG[33:],
    "png of alpha, but too few bytes": png_header(8, 6, 8, 6) + PNG[33:],
    "gif of no width": b"GIF89a\0\0\6\0\0\0\0!\xfe\0;",
    "gif without a frame": b"GIF89a\1\0\1\0\0\0\0;",
    "gif with an unknown block": WHOLE["gif"][:-1] + b"\x99;",
    "bmp of no height": bmp_sized(0, 8),
    "tiff of floats": written(picture("F"), "TIFF"),
    "tiff of 32 bits": written(picture("I"), "TIFF"),
    "webp of another size within": webp_sized(20, 20),
    "webp without a picture": b"RIFF\x0c\0\0\0WEBPEXIF" + bytes(4),
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_a_damaged_header_or_picture(name: str) -> None:
    assert reason(UNDECODABLE[name]) == Reason.IMAGE_UNDECODABLE


def test_a_second_frame_header_does_not_count() -> None:
    """Decoders refuse such a file; what counts here is that its size is not taken from there."""
    twice = JPEG[:SCAN] + jpeg_sized(60000, 60000)[FRAME : FRAME + 19] + JPEG[SCAN:]
    assert prepare(twice, AS_IT_IS) == Photograph(twice, "jpeg", 6, 8, 3, None)
    assert reason(twice, SCALED) == Reason.IMAGE_UNDECODABLE


def test_damage_matters_only_where_the_picture_is_decoded() -> None:
    at = PNG.index(b"IDAT") + 12
    damaged = PNG[:at] + bytes([PNG[at] ^ 255]) + PNG[at + 1 :]
    assert prepare(damaged, AS_IT_IS) == Photograph(damaged, "png", 6, 8, 3, None)
    assert problem(damaged, SCALED) == Problem(Reason.IMAGE_UNDECODABLE, "OpenCV cannot decode it")


def test_a_decoder_that_disagrees_with_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((8, 6, 3), np.uint8))
    assert reason(PNG, SCALED) == Reason.IMAGE_UNDECODABLE


def test_an_encoder_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    assert reason(PNG, SCALED) == Reason.IMAGE_UNDECODABLE


def test_details_are_short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no\nmemory " * 100)

    monkeypatch.setattr(cv2, "imdecode", fail)
    found = problem(PNG, SCALED)
    assert found.detail.startswith("png: MemoryError: no memory no memory")
    assert found.reason == Reason.IMAGE_UNDECODABLE


# --- Whatever the bytes -------------------------------------------------------------------------


def holds(content: bytes, wanted: TargetFormat) -> None:
    """Whether it is a problem, or a photograph that is what it says."""
    found = prepare(content, wanted)
    if isinstance(found, Problem):
        problem(content, wanted)
    elif found.changed:
        image = Image.open(io.BytesIO(found.content))
        assert (image.height, image.width, len(image.getbands())) == (found.height, found.width, found.channels)
    else:
        assert found.content is content


STARTS = [b"", *(content[:length] for content in WHOLE.values() for length in (4, 16, 40, 100))]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on the tags of damaged TIFFs
@settings(max_examples=500)
@given(st.sampled_from(STARTS), st.binary(max_size=200), st.sampled_from([AS_IT_IS, SCALED]))
def test_arbitrary_bytes_raise_nothing(start: bytes, rest: bytes, wanted: TargetFormat) -> None:
    holds(start + rest, wanted)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=1000)
@given(st.data())
def test_flipped_bytes_raise_nothing(data: st.DataObject) -> None:
    content = bytearray(WHOLE[data.draw(st.sampled_from([*WHOLE]))])
    places = st.integers(0, len(content) - 1)
    for at, value in data.draw(st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=4)).items():
        content[at] = value
    holds(bytes(content), data.draw(st.sampled_from([AS_IT_IS, SCALED, TargetFormat(max_pixels=10**6)])))


# --- Threads ------------------------------------------------------------------------------------


def test_many_threads_find_what_one_does() -> None:
    contents = [*WHOLE.values(), *ANIMATED.values(), *BOMBS.values(), *UNDECODABLE.values()]
    alone = [prepare(content, SCALED) for content in contents]
    together: dict[int, list[object]] = {}

    def work(number: int) -> None:
        together[number] = [prepare(content, SCALED) for content in contents * 5]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(together[number] == alone * 5 for number in range(6))
