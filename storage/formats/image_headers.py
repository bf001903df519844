"""Headers of images, read before anything is decoded: kind, size, and why the bytes cannot be stored as they are.

The markers of JPEG and the chunks of PNG and GIF are read here, which takes microseconds; Pillow reads the headers of
the rarer formats.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from PIL import Image
from PIL import TiffImagePlugin as Tiff
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from schemas.errors import Reason, UnfitError


@dataclass(frozen=True)
class Header:
    """What the header states of an image."""

    kind: str
    height: int  # before it is turned upright, as is width
    width: int
    channels: int = 3  # exact only for images that are kept
    changes: tuple[str, ...] = ("format",)  # why the bytes cannot be stored as they are
    orientation: int = 1  # EXIF's, 1 to 8
    stored: str = "png"
    key: int | None = None  # of a grey PNG: the value, once decoded, that means transparent


@contextmanager
def reject_errors(kind: str) -> Iterator[None]:
    """Turn any error of a library into an UnfitError: Pillow's parsers raise a dozen types on damaged bytes."""
    try:
        yield
    except UnfitError:
        raise
    except Exception as error:
        reason = Reason.IMAGE_TRUNCATED if "truncated" in str(error).lower() else Reason.IMAGE_UNDECODABLE
        raise UnfitError(reason, f"{kind}: {type(error).__name__}: {error}") from error


def read_header(content: bytes, limit: int) -> Header:
    """The header of a file; UnfitError if it is no image, cannot be stored, or has more than `limit` pixels."""
    if not content:
        raise UnfitError(Reason.IMAGE_EMPTY, "0 bytes")
    for magic, read in _READERS:
        if magic.match(content):
            return read(content, limit)
    raise UnfitError(Reason.NOT_AN_IMAGE, f"begins with {content[:32]!r}")


def _check_size(height: int, width: int, limit: int) -> None:
    if height < 1 or width < 1:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"{width}x{height} pixels by its header")
    if height * width > limit:
        raise UnfitError(Reason.IMAGE_TOO_LARGE, f"{width}x{height} pixels, more than {limit:,}")


def _orientation(exif: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1 if there is none that can be read. The layout is TIFF 6.0's, pages 13 to 16."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, at)
            if (tag, kind, count) == (0x0112, 3, 1):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # truncated
        pass
    return 1


# A marker that a segment follows. Decoders, too, skip fill bytes, whatever else precedes a marker, and TEM and RST.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, which are not DHT, JPG and DAC
_PLAIN_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, with Huffman coding


def _jpeg(content: bytes, limit: int) -> Header:
    """The header of a JPEG, which must be complete. The markers are those of ITU-T T.81, Annex B.

    A JPEG is complete if an EOI follows its first scan: coded data never contain the bytes of one, while previews,
    which have an EOI of their own, lie before the scan (EXIF) or after the image's own end (MPF).
    """
    frame, orientation, at = None, None, 2
    while match := _MARKER.search(content, at):
        marker, at = match[1][0], match.end()
        if marker in {0xD8, 0xD9}:
            raise UnfitError(Reason.IMAGE_UNDECODABLE, f"jpeg: marker FF{marker:X} before the image")
        end = at + int.from_bytes(content[at : at + 2])
        if end > len(content) or len(content) < at + 2:
            break
        if end < at + 2:
            raise UnfitError(Reason.IMAGE_UNDECODABLE, f"jpeg: segment of length {end - at} at byte {at}")
        if marker in _FRAMES and frame is None:
            frame = _jpeg_frame(marker, content[at + 2 : end], limit)
        elif marker == 0xE1 and orientation is None and content.startswith(b"Exif\0\0", at + 2):
            orientation = _orientation(content[at + 8 : end])
        elif marker == 0xDA:
            if frame is None:
                raise UnfitError(Reason.IMAGE_UNDECODABLE, "jpeg: no frame header before the scan")
            if content.rfind(b"\xff\xd9", end) < 0:
                raise UnfitError(Reason.IMAGE_TRUNCATED, "jpeg: no end of image (FFD9) after the scan")
            return Header("jpeg", *frame, orientation or 1, "jpeg")
        at = end
    raise UnfitError(Reason.IMAGE_TRUNCATED, f"jpeg: ends before its image begins, after {len(content):,} bytes")


def _jpeg_frame(marker: int, segment: bytes, limit: int) -> tuple[int, int, int, tuple[str, ...]]:
    """Height, width, channels, and why the bytes cannot be stored as they are."""
    if len(segment) < 9 or len(segment) != 6 + 3 * segment[5]:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"jpeg: frame header of {len(segment)} bytes")
    bits, height, width, components = struct.unpack_from(">BHHB", segment)
    _check_size(height, width, limit)
    if any(not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4) for sampling in segment[7::3]):
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"jpeg: sampling factors {segment[7::3].hex()}")
    changes = [] if marker in _PLAIN_FRAMES and bits == 8 and components in {1, 3, 4} else ["coding"]
    return height, width, components, (*changes, *(["cmyk"] if components == 4 else []))


_PNG_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}  # by colour type


def _png(content: bytes, limit: int) -> Header:
    """The header of a PNG, which must be complete. The chunks follow the W3C's PNG specification, third edition."""
    height, width, depth, colour = _png_frame(content, limit)
    chunks: dict[bytes, bytes] = {}
    at = 33
    while b"IEND" not in chunks:
        name = content[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if end > len(content) or len(name) < 4:
            raise UnfitError(Reason.IMAGE_TRUNCATED, f"png: ends before its IEND, after {len(content):,} bytes")
        if name == b"acTL":
            raise UnfitError(Reason.IMAGE_ANIMATED, f"png: {int.from_bytes(content[at + 8 : at + 12])} frames")
        chunks[name] = content[at + 8 : end - 4] if name in {b"eXIf", b"tRNS"} else b""
        at = end
    if b"IDAT" not in chunks:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, "png: no IDAT")
    changes = ["palette"] if colour == 3 else [] if depth == 8 else ["16_bit" if depth == 16 else "bit_depth"]
    if b"tRNS" in chunks or colour in {4, 6}:
        changes.append("alpha")
    key, maximum = None, 2**depth - 1
    if colour == 0 and b"tRNS" in chunks:
        key = (int.from_bytes(chunks[b"tRNS"][:2]) & maximum) * max(maximum, 255) // maximum
    channels = 1 if colour in {0, 4} else 3
    return Header("png", height, width, channels, tuple(changes), _orientation(chunks.get(b"eXIf", b"")), key=key)


def _png_frame(content: bytes, limit: int) -> tuple[int, int, int, int]:
    """Height, width, bit depth and colour type, from the IHDR."""
    if len(content) < 33:
        raise UnfitError(Reason.IMAGE_TRUNCATED, f"png: ends within its header, after {len(content)} bytes")
    width, height, depth, colour, *_, checksum = struct.unpack_from(">IIBBBBBI", content, 16)
    if content[8:16] != b"\0\0\0\rIHDR" or zlib.crc32(content[12:29]) != checksum:
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"png: damaged header {content[8:33].hex()}")
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise UnfitError(Reason.IMAGE_UNDECODABLE, f"png: {depth} bits of colour type {colour}")
    _check_size(height, width, limit)
    return height, width, depth, colour


def _gif(content: bytes, limit: int) -> Header:
    """The header of a GIF of one frame, which must be complete. The blocks are those of GIF89a."""
    limit = min(limit, Image.MAX_IMAGE_PIXELS or limit)  # beyond, Pillow warns or refuses
    at, frames = 6, 0
    try:
        width, height, flags = struct.unpack_from("<HHB", content, at)
        at = 13 + (6 << (flags & 7)) * (flags >> 7)
        while content[at] != 0x3B:  # the trailer
            if content[at] == 0x21:  # an extension
                at += 2
            elif content[at] == 0x2C:
                left, top, across, down, flags = struct.unpack_from("<HHHHB", content, at + 1)
                height, width = max(height, top + down), max(width, left + across)
                at, frames = at + 11 + (6 << (flags & 7)) * (flags >> 7), frames + 1
            else:
                raise UnfitError(Reason.IMAGE_UNDECODABLE, f"gif: block {content[at]:02X} at byte {at}")
            if frames == 2:
                raise UnfitError(Reason.IMAGE_ANIMATED, "gif: 2 frames or more")
            _check_size(height, width, limit)
            while content[at]:  # sub-blocks, each with its length before it
                at += 1 + content[at]
            at += 1
    except (IndexError, struct.error) as error:
        raise UnfitError(Reason.IMAGE_TRUNCATED, f"gif: ends too early, after {len(content):,} bytes") from error
    return Header("gif", height, width)


def _webp(content: bytes, limit: int) -> Header:
    """The header of a WebP of one image. The chunks are those of RFC 9649."""
    end, at = 8 + int.from_bytes(content[4:8], "little"), 12
    if end > len(content):
        raise UnfitError(Reason.IMAGE_TRUNCATED, f"webp: {len(content):,} bytes of {end:,}")
    if content[12:16] == b"VP8X":  # before any memory is allocated for it
        width, height = (1 + int.from_bytes(content[start : start + 3], "little") for start in (24, 27))
        _check_size(height, width, limit)
    while at < end and content[at : at + 4] not in {b"VP8 ", b"VP8L"}:
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return _other("webp", content, limit, "jpeg" if content[at : at + 4] == b"VP8 " else "png")


def _tiff(content: bytes, limit: int) -> Header:
    """The header of a TIFF of one image; its tags, which often come last, must be there."""
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", content.ljust(8, b"\0"), 4)
    (entries,) = struct.unpack_from(order + "H", content[start : start + 2].ljust(2, b"\0"))
    if start + 2 + 12 * entries + 4 > len(content):
        raise UnfitError(Reason.IMAGE_TRUNCATED, f"tiff: {len(content):,} bytes, its tags lie beyond")
    return _other("tiff", content, limit)


def _check_strips(image: Tiff.TiffImageFile) -> None:
    """Raise UnfitError if a strip or tile of a TIFF is missing, which Pillow would leave black.

    The tags are TIFF 6.0's, pages 39 to 41 and 66 to 68.
    """
    tags = image.tag_v2
    tiled = Tiff.TILEOFFSETS in tags
    height, width = tags[Tiff.IMAGELENGTH], tags[Tiff.IMAGEWIDTH]  # as stored; Pillow's are those of the turned image
    high = tags.get(Tiff.TILELENGTH if tiled else Tiff.ROWSPERSTRIP, height)
    wide = tags.get(Tiff.TILEWIDTH, width) if tiled else width
    layers = tags.get(Tiff.SAMPLESPERPIXEL, 1) if tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 else 1
    expected = -(-height // max(1, high)) * -(-width // max(1, wide)) * layers
    actual = len(tags.get(Tiff.TILEOFFSETS if tiled else Tiff.STRIPOFFSETS, ()))
    if actual < expected:
        raise UnfitError(Reason.IMAGE_TRUNCATED, f"tiff: {actual:,} of {expected:,} {'tiles' if tiled else 'strips'}")


PIL_CLASSES = {
    "bmp": BmpImageFile,
    "gif": GifImageFile,
    "jpeg": JpegImageFile,
    "tiff": Tiff.TiffImageFile,
    "webp": WebPImageFile,
}


def _other(kind: str, content: bytes, limit: int, stored: str = "png") -> Header:
    """The header as Pillow reads it; not by Image.open, which warns of bombs at a limit of its own."""
    with reject_errors(kind):
        image = PIL_CLASSES[kind](io.BytesIO(content))
        _check_size(image.height, image.width, limit)
        if isinstance(image, Tiff.TiffImageFile):
            _check_strips(image)
        images = getattr(image, "n_frames", 1)
        preview = isinstance(image, Tiff.TiffImageFile) and image.tag_v2.get(254, 0) & 1  # as cameras' raw files begin
        exif = image.info.get("exif", b"")  # none of a TIFF, whose tags both Pillow and OpenCV obey by themselves
    if images > 1 or preview:
        raise UnfitError(Reason.IMAGE_ANIMATED, f"{kind}: {images} images" + ", the first a preview" * preview)
    orientation = _orientation(exif.removeprefix(b"Exif\0\0"))
    return Header(kind, image.height, image.width, orientation=orientation, stored=stored)


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes, int], Header]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"II\*\0|MM\0\*"), _tiff),
    (re.compile(rb"BM.{12}[\x0c\x10(48@l|]\0\0\0", re.DOTALL), partial(_other, "bmp")),  # the sizes its header may have
)
