"""Photographs as they come, made fit to be stored: kept byte for byte where that will do, else turned and scaled.

What is kept is never decoded: its size, its kind and its end stand in its JPEG markers or PNG chunks, which take
microseconds to read. All decoding, scaling and encoding is OpenCV's, or Pillow's for the rarer formats. Colour profiles
(ICC) are not applied: pixels keep the values that every decoder gives for them.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from schemas.rejects import Problem, Reason, UnfitError
from storage.formats.image_headers import PIL_CLASSES, Header, library, read_header

CHANGES = ("format", "coding", "cmyk", "palette", "16_bit", "bit_depth", "alpha", "rotated", "scaled")

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Wanted:
    """How photographs are to be stored."""

    max_side: int = 0  # pixels of the longest side after scaling down (never up); 0: the size stays
    quality: int = 95  # JPEG quality of what is re-encoded
    max_pixels: int = 100_000_000  # more is a decompression bomb

    def __post_init__(self) -> None:
        if self.max_side < 0 or not 1 <= self.quality <= 100 or self.max_pixels < 1:
            raise ValueError(f"max_side must be 0 or more, quality 1 to 100, max_pixels 1 or more, got {self}")


@dataclass(frozen=True)
class Photograph:
    """An image fit to be stored: 8 bit, grey or RGB, upright."""

    content: bytes  # encoded, as it is to be stored
    format: str  # "jpeg" or "png"
    height: int  # of `content`, as are width and channels
    width: int
    channels: int  # 1 or 3
    changed: str | None  # None where `content` is what came; else why it is not: words of `CHANGES`, joined by "+"


_REDUCED = {  # by how much, and OpenCV's flags for colour and for grey
    8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
}


def prepare(content: bytes, wanted: Wanted) -> Photograph | Problem:
    """The photograph as it is to be stored, or why it cannot be; never raises, whatever the bytes.

    Kept as they came are 8-bit grey and colour JPEG (not CMYK) and PNG (no palette, no transparency), upright and no
    larger than wanted. Else JPEG and lossy WebP become JPEG, and all others PNG; what is transparent becomes white.
    May be called by many threads at once.
    """
    try:
        header = read_header(content, wanted.max_pixels)
        changes = [*header.changes]
        if header.orientation != 1:
            changes.append("rotated")
        if 0 < wanted.max_side < max(header.height, header.width):
            changes.append("scaled")
        if not changes:
            return Photograph(content, header.kind, header.height, header.width, header.channels, None)
        with library(header.kind):
            reduction = _reduction(header, wanted.max_side)
            pixels = _reduced(content, header, reduction) if reduction > 1 else _decode(content, header)
            if pixels.shape[:2] != (-(-header.height // reduction), -(-header.width // reduction)):
                raise UnfitError(Reason.IMAGE_UNDECODABLE, f"decoded, it is another size: {pixels.shape[:2]}")
            pixels = _upright(_scaled(pixels, header, wanted.max_side), header.orientation)
            encoded = _encode(pixels, header.stored, wanted.quality)
    except UnfitError as unfit:
        return unfit.problem
    height, width = pixels.shape[:2]
    return Photograph(encoded, header.stored, height, width, 1 if pixels.ndim == 2 else 3, "+".join(changes))


# --- Pixels: uint8, (height, width) or (height, width, 3), blue first as OpenCV has it -----------


def _decode(content: bytes, header: Header) -> Pixels:
    if header.kind in {"png", "webp"} or (header.kind == "jpeg" and not header.changes):
        pixels = _by_opencv(content)
        if header.key is not None:  # which OpenCV leaves to us
            alpha = np.where(pixels == header.key, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
            pixels = np.dstack([pixels, alpha])
        return _flat(pixels, header.channels == 1)
    image = PIL_CLASSES[header.kind](io.BytesIO(content))
    if isinstance(image, TiffImageFile):
        if max(image.tag_v2.get(258, (1,))) > 8:  # bits, which Pillow would cut to 8
            pixels = _by_opencv(content)
            return _flat(cv2.bitwise_not(pixels, pixels) if image.tag_v2.get(262) == 0 else pixels)  # white is zero
        # Where memory is there already, Pillow does not hold the size against a limit of its own.
        image.im = Image.new(image.mode, (image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH])).im
    image.load()
    return _plain(image)


def _plain(image: Image.Image) -> Pixels:
    """As Pillow converts it, a few rows at a time: each step on the whole would need as much memory again."""
    grey = image.mode in {"1", "L", "LA"}
    mode = "RGBA" if image.has_transparency_data else "L" if grey else "RGB"
    width, height = image.size
    pixels = np.empty((height, width) if grey else (height, width, 3), np.uint8)
    for rows in _rows(height, width):
        part = image._new(image.im.crop((0, rows.start, width, rows.stop)))  # image.crop warns of bombs
        found = _flat(np.asarray(part.convert(mode)), grey)
        pixels[rows] = found if grey else cv2.cvtColor(found, cv2.COLOR_RGB2BGR)
    return pixels


def _rows(height: int, width: int) -> Iterator[slice]:
    """Of some ten thousand pixels each."""
    step = max(1, 65_536 // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _reduction(header: Header, max_side: int) -> int:
    """By how much a JPEG can be reduced while it is decoded: to no less than twice the wanted side, as Pillow does."""
    if header.kind != "jpeg" or header.changes or not max_side:
        return 1
    longest = max(header.height, header.width)
    return next((by for by in _REDUCED if longest >= 2 * max_side * by), 1)


def _reduced(content: bytes, header: Header, by: int) -> Pixels:
    """Decoded at a fraction of its size, from the low frequencies alone: that takes half the time."""
    flag = _REDUCED[by][header.channels == 1] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if pixels is None:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, "OpenCV cannot decode it")
    return pixels


def _by_opencv(content: bytes) -> Pixels:
    """As the file has it: perhaps with an alpha channel, perhaps of 16 bits, and not turned."""
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, "OpenCV cannot decode it")
    return pixels


def _flat(pixels: Pixels, grey: bool = False) -> Pixels:
    """As 8 bits, what is transparent before white, rounded once.

    Of 2 or 4 channels the last is alpha, not premultiplied; the others are all the same where `grey`.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"pixels of type {pixels.dtype} have no fixed white")
    opaque = pixels.ndim == 2 or pixels.shape[2] == 3
    if opaque and pixels.dtype == np.uint8:
        return pixels
    white = float(np.iinfo(pixels.dtype).max)
    shape = pixels.shape if opaque else (*pixels.shape[:2], 1 if grey or pixels.shape[2] == 2 else 3)
    seen = np.empty(shape, np.uint8)
    for rows in _rows(*pixels.shape[:2]):  # the whole as wider numbers might need gigabytes
        part = pixels[rows]
        if opaque:
            seen[rows] = (part + np.uint32(128)) // 257
        else:
            seen[rows] = np.rint(255 - (white - part[..., : shape[2]]) * (part[..., -1:] * (255 / white**2)))
    return seen if opaque or shape[2] == 3 else seen[..., 0]


def _scaled(pixels: Pixels, header: Header, max_side: int) -> Pixels:
    sides = header.height, header.width
    longest = max(sides)
    if not 0 < max_side < longest:
        return pixels
    height, width = (max(1, (2 * side * max_side + longest) // (2 * longest)) for side in sides)
    scaled: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return scaled


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turned by EXIF's orientation (CIPA DC-008, 4.6.5.1)."""
    turned: Pixels = cv2.transpose(pixels) if orientation >= 5 else pixels
    around = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)  # as OpenCV names the axes; -1 is both
    return turned if around is None else cv2.flip(turned, around)


def _encode(pixels: Pixels, form: str, quality: int) -> bytes:
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality) if form == "jpeg" else ()
    written, encoded = cv2.imencode(f".{form}", pixels, settings)
    if not written:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"{pixels.shape} pixels cannot be written as {form}")
    return bytes(encoded.tobytes())


# Pictures at another size.


def resized(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pixels at another height and width: along an axis that shrinks averaged, along one that grows interpolated."""
    (height, width), (tall, wide) = pixels.shape[:2], size
    smaller = cv2.resize(pixels, (min(width, wide), min(height, tall)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)
