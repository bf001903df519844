"""Photographs prepared for storage: kept byte for byte if possible, otherwise turned, scaled and encoded again.

A photograph that is kept is never decoded: its JPEG markers or PNG chunks, which take microseconds to read, state its
size and kind, and show whether it is complete. OpenCV decodes, scales and encodes, and Pillow decodes the rarer
formats. Colour profiles (ICC) are not applied: pixels keep the values that every decoder returns for them.
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

from schemas.errors import Problem, Reason, UnfitError
from storage.formats.image_headers import PIL_CLASSES, Header, read_header, reject_errors

CHANGES = ("format", "coding", "cmyk", "palette", "16_bit", "bit_depth", "alpha", "rotated", "scaled")

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class TargetFormat:
    """How photographs are stored."""

    max_side: int = 0  # pixels of the longest side after scaling down (never up); 0: the size stays
    quality: int = 95  # JPEG quality of what is re-encoded
    max_pixels: int = 100_000_000  # more is a decompression bomb

    def __post_init__(self) -> None:
        if self.max_side < 0 or not 1 <= self.quality <= 100 or self.max_pixels < 1:
            raise ValueError(f"max_side must be 0 or more, quality 1 to 100, max_pixels 1 or more, got {self}")


@dataclass(frozen=True)
class Photograph:
    """An image prepared for storage: 8 bit, grey or RGB, upright."""

    content: bytes  # encoded
    format: str  # "jpeg" or "png"
    height: int  # of `content`, as are width and channels
    width: int
    channels: int  # 1 or 3
    changed: str | None  # why `content` differs from the original: words of `CHANGES`, joined by "+"; None if not


_REDUCED = {  # by how much, and OpenCV's flags for colour and for grey
    8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
}


def prepare(content: bytes, target: TargetFormat) -> Photograph | Problem:
    """The photograph as it is stored, or why it cannot be; never raises, whatever the bytes. Thread-safe.

    8-bit grey and colour JPEG (not CMYK) and PNG (no palette, no transparency) are kept if they are upright and not too
    large. Otherwise JPEG and lossy WebP become JPEG, and all others PNG; transparency becomes white.
    """
    try:
        header = read_header(content, target.max_pixels)
        changes = [*header.changes]
        if header.orientation != 1:
            changes.append("rotated")
        if 0 < target.max_side < max(header.height, header.width):
            changes.append("scaled")
        if not changes:
            return Photograph(content, header.kind, header.height, header.width, header.channels, None)
        with reject_errors(header.kind):
            reduction = _reduction(header, target.max_side)
            pixels = _decode_reduced(content, header, reduction) if reduction > 1 else _decode(content, header)
            if pixels.shape[:2] != (-(-header.height // reduction), -(-header.width // reduction)):
                raise UnfitError(Reason.IMAGE_UNDECODABLE, f"decoded, it is another size: {pixels.shape[:2]}")
            pixels = _turn_upright(_scale(pixels, header, target.max_side), header.orientation)
            encoded = _encode(pixels, header.stored, target.quality)
    except UnfitError as unfit:
        return unfit.problem
    height, width = pixels.shape[:2]
    return Photograph(encoded, header.stored, height, width, 1 if pixels.ndim == 2 else 3, "+".join(changes))


# --- Pixels: uint8, (height, width) or (height, width, 3), blue first as in OpenCV ----------------


def _decode(content: bytes, header: Header) -> Pixels:
    if header.kind in {"png", "webp"} or (header.kind == "jpeg" and not header.changes):
        pixels = _decode_by_opencv(content)
        if header.key is not None:  # OpenCV ignores it
            alpha = np.where(pixels == header.key, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
            pixels = np.dstack([pixels, alpha])
        return _flatten(pixels, header.channels == 1)
    image = PIL_CLASSES[header.kind](io.BytesIO(content))
    if isinstance(image, TiffImageFile):
        if max(image.tag_v2.get(258, (1,))) > 8:  # bits, which Pillow would cut to 8
            pixels = _decode_by_opencv(content)
            return _flatten(cv2.bitwise_not(pixels, pixels) if image.tag_v2.get(262) == 0 else pixels)  # white is zero
        # If the memory exists already, Pillow does not check the size against a limit of its own.
        image.im = Image.new(image.mode, (image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH])).im
    image.load()
    return _decode_by_pillow(image)


def _decode_by_pillow(image: Image.Image) -> Pixels:
    """The pixels as Pillow converts them, a few rows at a time: each step on the whole would double the memory."""
    grey = image.mode in {"1", "L", "LA"}
    mode = "RGBA" if image.has_transparency_data else "L" if grey else "RGB"
    width, height = image.size
    pixels = np.empty((height, width) if grey else (height, width, 3), np.uint8)
    for rows in _rows(height, width):
        part = image._new(image.im.crop((0, rows.start, width, rows.stop)))  # image.crop warns of bombs
        flat = _flatten(np.asarray(part.convert(mode)), grey)
        pixels[rows] = flat if grey else cv2.cvtColor(flat, cv2.COLOR_RGB2BGR)
    return pixels


def _rows(height: int, width: int) -> Iterator[slice]:
    """Slices of rows, of some ten thousand pixels each."""
    step = max(1, 65_536 // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def _reduction(header: Header, max_side: int) -> int:
    """The factor by which a JPEG is reduced while it is decoded: to at least twice the target side, as in Pillow."""
    if header.kind != "jpeg" or header.changes or not max_side:
        return 1
    longest = max(header.height, header.width)
    return next((by for by in _REDUCED if longest >= 2 * max_side * by), 1)


def _decode_reduced(content: bytes, header: Header, by: int) -> Pixels:
    """Decode at a fraction of the size, from the low frequencies alone: that takes half the time."""
    return _decode_by_opencv(content, _REDUCED[by][header.channels == 1] | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode_by_opencv(content: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> Pixels:
    """The pixels as the file stores them: perhaps with an alpha channel, perhaps of 16 bits, and not turned."""
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, "OpenCV cannot decode it")
    return pixels


def _flatten(pixels: Pixels, grey: bool = False) -> Pixels:
    """The pixels as 8 bits on a white background, rounded once.

    The last of 2 or 4 channels is alpha, not premultiplied; the others are all the same if `grey`.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"pixels of type {pixels.dtype} have no fixed white")
    opaque = pixels.ndim == 2 or pixels.shape[2] == 3
    if opaque and pixels.dtype == np.uint8:
        return pixels
    white = float(np.iinfo(pixels.dtype).max)
    shape = pixels.shape if opaque else (*pixels.shape[:2], 1 if grey or pixels.shape[2] == 2 else 3)
    flat = np.empty(shape, np.uint8)
    for rows in _rows(*pixels.shape[:2]):  # all of them as wider numbers might need gigabytes
        part = pixels[rows]
        if opaque:
            flat[rows] = (part + np.uint32(128)) // 257
        else:
            flat[rows] = np.rint(255 - (white - part[..., : shape[2]]) * (part[..., -1:] * (255 / white**2)))
    return flat if opaque or shape[2] == 3 else flat[..., 0]


def _scale(pixels: Pixels, header: Header, max_side: int) -> Pixels:
    sides = header.height, header.width
    longest = max(sides)
    if not 0 < max_side < longest:
        return pixels
    height, width = (max(1, (2 * side * max_side + longest) // (2 * longest)) for side in sides)
    scaled: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return scaled


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels turned by EXIF's orientation (CIPA DC-008, 4.6.5.1)."""
    turned: Pixels = cv2.transpose(pixels) if orientation >= 5 else pixels
    around = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)  # as OpenCV names the axes; -1 is both
    return turned if around is None else cv2.flip(turned, around)


def _encode(pixels: Pixels, form: str, quality: int) -> bytes:
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality) if form == "jpeg" else ()
    written, encoded = cv2.imencode(f".{form}", pixels, settings)
    if not written:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"{pixels.shape} pixels cannot be written as {form}")
    return bytes(encoded.tobytes())


def resize(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pixels at another height and width: averaged along an axis that shrinks, interpolated along one that grows."""
    (height, width), (tall, wide) = pixels.shape[:2], size
    smaller = cv2.resize(pixels, (min(width, wide), min(height, tall)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)
