"""Photographs made fit: what is kept, and what is re-encoded; against Pillow's decoding and whole-number arithmetic."""

import io
import statistics
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from storage.formats.images import CHANGES, Photograph, TargetFormat, prepare

Array = npt.NDArray[Any]
ORIENTATIONS = range(1, 9)
AS_IT_IS = TargetFormat()


def scene(height: int = 48, width: int = 64) -> Image.Image:
    """Smooth, so that JPEG keeps it, yet of another colour in each corner: no turn or swap of channels goes unseen."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return Image.fromarray(np.stack([220 * x, 200 * y, 180 * (1 - x) * (1 - y)], -1).astype(np.uint8))


def noise(*shape: int, bits: int = 8) -> Array:
    return np.random.default_rng(5).integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16)


def written(image: Image.Image, form: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(values: Array, colour: int, depth: int, *more: bytes) -> bytes:
    """A PNG by hand, of (height, width, channels): Pillow writes neither 16-bit colours nor their transparency."""
    height, width, _ = values.shape
    if depth < 8:
        packed = [
            int("".join(f"{value:0{depth}b}" for value in row.flat), 2).to_bytes(width * depth // 8) for row in values
        ]
    else:
        packed = [row.astype(">u2" if depth == 16 else "u1").tobytes() for row in values]
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + data + chunk(b"IEND", b"")


def exif_block(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """EXIF with an orientation after another tag."""
    make = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    turn = struct.pack(order + "HHIHH", 0x0112, kind, 1, orientation, 0)
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IH", 8, 2) + make + turn + bytes(4)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def good(content: bytes, wanted: TargetFormat = AS_IT_IS) -> Photograph:
    """What becomes of the image; that it is what it says of itself."""
    found = prepare(content, wanted)
    assert isinstance(found, Photograph), found
    image = opened(found.content)
    assert found.format == {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}[image.format or ""]
    assert (image.height, image.width) == (found.height, found.width)
    assert image.mode == {1: "L", 3: "RGB"}[found.channels]
    assert found.changed is None or [c for c in CHANGES if c in found.changed.split("+")] == found.changed.split("+")
    return found


def pixels(content: bytes) -> Array:
    return np.asarray(opened(content)).astype(int)


def distance(content: bytes, expected: Image.Image) -> float:
    """Mean difference of values; infinite where the shapes differ."""
    seen, wanted = pixels(content), np.asarray(expected).astype(int)
    return float(np.abs(seen - wanted).mean()) if seen.shape == wanted.shape else np.inf


# --- Kept as they came --------------------------------------------------------------------------

GREY = scene().convert("L")
JPEG = written(scene(), "JPEG", quality=90)
PNG = written(scene(), "PNG")
FRAME, SCAN = JPEG.index(b"\xff\xc0"), JPEG.index(b"\xff\xda")
THUMBNAIL = written(scene(12, 16), "JPEG")
KEPT = {
    "jpeg": JPEG,
    "grey jpeg": written(GREY, "JPEG"),
    "progressive": written(scene(), "JPEG", progressive=True),
    "grey progressive": written(GREY, "JPEG", progressive=True),
    "red, green, blue without YCbCr": written(scene(), "JPEG", keep_rgb=True),
    "every pixel's colour": written(scene(), "JPEG", subsampling=0),
    "extended": JPEG.replace(b"\xff\xc0", b"\xff\xc1", 1),
    "tables first": JPEG[:FRAME] + JPEG[FRAME + 19 : SCAN] + JPEG[FRAME : FRAME + 19] + JPEG[SCAN:],
    "with restarts": written(scene(), "JPEG", restart_marker_rows=1),
    "profile of several segments": written(scene(), "JPEG", icc_profile=noise(150_000).tobytes()),
    "thumbnail": written(scene(), "JPEG", exif=b"Exif\0\0" + THUMBNAIL),
    "upright": written(scene(), "JPEG", exif=b"Exif\0\0" + exif_block(1)),
    "several pictures in one jpeg": written(scene(), "MPO", save_all=True, append_images=[GREY.convert("RGB")]),
    "fill bytes": JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],
    "stray bytes between segments": JPEG[:20] + b"\0\x12\xff\0\xff\xd3" + JPEG[20:],
    "padding after the end": JPEG + bytes(100_000),
    "garbage after the end": JPEG + b"<html>" * 1000,
    "png": PNG,
    "grey png": written(GREY, "PNG"),
    "upright png": png(noise(5, 7, 3), 2, 8, chunk(b"eXIf", exif_block(1))),
    "garbage after the png": PNG + b"\xff\xd8\xff\xd9",
    "profile in the png": written(scene(), "PNG", icc_profile=b"profile"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_will_do_is_kept_byte_for_byte(name: str) -> None:
    content = KEPT[name]
    found = good(content, TargetFormat(max_side=64))
    assert found.content is content
    assert (found.changed, found.channels) == (None, 1 if "grey" in name else 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, in the test's own look at it
@pytest.mark.parametrize(
    "exif",
    [
        exif_block(0),
        exif_block(9),
        exif_block(6, kind=4),
        exif_block(6)[:30],
        exif_block(6)[:5],
        b"",
        b"XX*\0" + bytes(40),
    ],
)
def test_an_orientation_that_cannot_be_read_changes_nothing(exif: bytes) -> None:
    assert good(written(scene(), "JPEG", exif=b"Exif\0\0" + exif)).changed is None
    assert good(png(noise(5, 7, 3), 2, 8, chunk(b"eXIf", exif))).changed is None


# --- Turned -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_is_turned_upright(orientation: int, order: str) -> None:
    for image in (scene(), GREY, scene().convert("CMYK")):
        content = written(image, "JPEG", quality=95, exif=b"Exif\0\0" + exif_block(orientation, order))
        upright = ImageOps.exif_transpose(opened(content))
        found = good(content)
        expected = (["cmyk"] if image.mode == "CMYK" else []) + (["rotated"] if orientation > 1 else [])
        assert (found.changed or "") == "+".join(expected)
        assert distance(found.content, upright if image.mode == "L" else upright.convert("RGB")) < 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_png_a_webp_and_a_tiff_are_turned_upright(orientation: int) -> None:
    exif = exif_block(orientation)
    contents = {
        "rotated": png(noise(5, 7, 3), 2, 8, chunk(b"eXIf", exif)),
        "palette+rotated": written(scene().quantize(16), "PNG", exif=exif),
        "format+rotated": written(scene(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif),
        "format": written(scene(), "TIFF", tiffinfo={0x0112: orientation}),
    }
    for changed, content in contents.items():
        found = good(content)
        assert (found.changed or "rotated") == (changed.removesuffix("+rotated") if orientation == 1 else changed)
        raw = opened(content)
        upright = raw if raw.format == "TIFF" else ImageOps.exif_transpose(raw)  # which Pillow has turned by itself
        assert distance(found.content, upright.convert("RGB")) == 0


def test_only_the_first_exif_of_a_jpeg_counts() -> None:
    content = written(scene(), "JPEG", exif=b"Exif\0\0" + exif_block(6))
    second = struct.pack(">HH", 0xFFE1, 2 + 6 + len(exif_block(3))) + b"Exif\0\0" + exif_block(3)
    at = content.index(b"\xff\xdb")
    assert good(content[:at] + second + content[at:]) == good(content)


# --- Of other kinds -----------------------------------------------------------------------------


def test_inks_become_colours() -> None:
    plain = written(scene().convert("CMYK"), "JPEG", quality=95)  # Adobe's marker, and so inverted inks
    found = good(plain, TargetFormat(quality=95))
    assert (found.format, found.changed) == ("jpeg", "cmyk")
    assert distance(found.content, scene()) < 3
    at = plain.index(b"Adobe") + 11
    of_luma = plain[:at] + b"\2" + plain[at + 1 :]  # the same data read as YCCK
    assert distance(good(of_luma).content, opened(of_luma).convert("RGB")) < 3
    assert distance(of_luma, opened(plain)) > 20


def rounded(numerators: Array, denominator: int) -> Array:
    """The nearest whole numbers, a half upwards, without any floats."""
    return (2 * numerators + denominator) // (2 * denominator)


def test_every_16_bit_grey_is_rounded_to_8() -> None:
    every = np.arange(65536).reshape(256, 256, 1)
    found = good(png(every, 0, 16))
    assert (found.format, found.channels, found.changed) == ("png", 1, "16_bit")
    assert np.array_equal(pixels(found.content), rounded(every[..., 0], 257))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("keyed", [False, True])
def test_transparency_becomes_white(colour: int, channels: int, depth: int, keyed: bool) -> None:
    values, white = noise(70, 9, channels, bits=depth), 2**depth - 1
    values[:, :2] = values[3, 4]  # several pixels of the colour that a key makes transparent
    keyed = keyed and colour in {0, 2}
    key = [chunk(b"tRNS", struct.pack(f">{channels}H", *values[3, 4].tolist()))] if keyed else []
    found = good(png(values, colour, depth, *key))
    big = values.astype(np.int64)
    colours, alpha = (big[..., :-1], big[..., -1:]) if colour >= 4 else (big, np.full((70, 9, 1), white))
    if keyed:
        alpha = np.where((big == big[3, 4]).all(-1, keepdims=True), 0, white)
    expected = rounded(255 * (colours * alpha + white * (white - alpha)), white * white)
    assert np.array_equal(pixels(found.content), expected[..., 0] if channels < 3 else expected)
    words = (["16_bit"] if depth == 16 else []) + (["alpha"] if keyed or colour >= 4 else [])
    assert (found.changed or "") == "+".join(words)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("keyed", [False, True])
def test_few_bits_become_8(depth: int, keyed: bool) -> None:
    values = noise(5, 16, 1) % 2**depth
    found = good(
        png(values, 0, depth, *([chunk(b"tRNS", b"\xff\x01")] if keyed else []))
    )  # of whose bits the last count
    shades = values[..., 0].astype(int) * 255 // (2**depth - 1)
    assert np.array_equal(pixels(found.content), np.where(values[..., 0] == 1, 255, shades) if keyed else shades)
    assert found.changed == ("bit_depth+alpha" if keyed else "bit_depth")


def on_white(image: Image.Image) -> Image.Image:
    colours = np.asarray(image.convert("RGBA")).astype(int)
    seen = rounded(colours[..., :3] * colours[..., 3:] + 255 * (255 - colours[..., 3:]), 255)
    return Image.fromarray(seen.astype(np.uint8))


SHEER = Image.fromarray(noise(9, 12, 4), "RGBA")
PALETTE = scene().quantize(16)
OTHERS = {
    "palette": (written(PALETTE, "PNG"), "png", "palette"),
    "palette with alpha": (written(PALETTE, "PNG", transparency=bytes(range(0, 256, 16))), "png", "palette+alpha"),
    "gif": (written(PALETTE, "GIF"), "png", "format"),
    "gif with a transparent colour": (written(PALETTE, "GIF", transparency=3), "png", "format"),
    "black and white gif": (written(GREY.convert("1"), "GIF"), "png", "format"),
    "gif with a comment": (written(PALETTE, "GIF", comment=b"x" * 700), "png", "format"),
    "bmp": (written(scene(), "BMP"), "png", "format"),
    "grey bmp": (written(GREY, "BMP"), "png", "format"),
    "bmp palette": (written(PALETTE, "BMP"), "png", "format"),
    "webp": (written(scene(), "WEBP"), "jpeg", "format"),
    "lossless webp": (written(scene(), "WEBP", lossless=True), "png", "format"),
    "webp with a profile": (written(scene(), "WEBP", icc_profile=b"odd"), "jpeg", "format"),
    "webp with alpha": (written(SHEER.resize((64, 48)), "WEBP", exact=True), "jpeg", "format"),
    "lossless webp with alpha": (written(SHEER, "WEBP", lossless=True, exact=True), "png", "format"),
    **{
        f"{'grey ' if mode in 'L1LA' else ''}tiff of {mode}, {packing}": (
            written(scene().convert(mode), "TIFF", compression=packing), "png", "format"
        )
        for mode in ("RGB", "L", "1", "P", "LA", "CMYK")
        for packing in (None, "tiff_lzw", "tiff_deflate", "packbits")
    },
    "tiff with alpha": (written(SHEER, "TIFF"), "png", "format"),
    "tiff of jpeg": (written(scene(), "TIFF", compression="jpeg"), "png", "format"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_look_as_pillow_shows_them(name: str) -> None:
    content, form, changed = OTHERS[name]
    found = good(content, TargetFormat(quality=100, max_side=1000))  # and are never enlarged
    assert (found.format, found.changed) == (form, changed)
    assert found.channels == (1 if "grey" in name or "black" in name else 3)
    shown = on_white(opened(content)).convert("L" if found.channels == 1 else "RGB")
    assert distance(found.content, shown) <= (0 if form == "png" else 3)


@pytest.mark.parametrize("white", [0, 1])
def test_a_tiff_of_16_bits_is_rounded_to_8(white: int) -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = good(written(Image.fromarray(every), "TIFF", tiffinfo={262: white}))  # 0: white is zero
    assert np.array_equal(pixels(found.content), rounded((every if white else 65535 - every).astype(int), 257))


def tiff_of_16_bits(values: Array, orientation: int) -> bytes:
    """By hand, since Pillow writes no 16-bit colours."""
    height, width, channels = values.shape
    after = 8 + 2 + 12 * 11 + 4
    tags = [(256, width), (257, height), (258, after), (259, 1), (262, 2), (273, after + 8), (274, orientation)]
    tags += [(277, channels), (278, height), (279, values.nbytes), (338, 2)]  # 338: alpha, not premultiplied
    tags = [tag for tag in tags if tag[0] != 338 or channels == 4]
    entries = [struct.pack("<HHII", tag, 3, channels if tag == 258 else 1, value) for tag, value in tags]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries)
    return head.ljust(after, b"\0") + struct.pack("<4H", 16, 16, 16, 16) + values.astype("<u2").tobytes()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_of_16_bit_colours_is_rounded_and_turned(channels: int, orientation: int) -> None:
    values = noise(6, 8, channels, bits=16)
    found = good(tiff_of_16_bits(values, orientation))
    big = values.astype(np.int64)
    alpha = big[..., 3:] if channels == 4 else np.full((6, 8, 1), 65535)
    seen = rounded(255 * (big[..., :3] * alpha + 65535 * (65535 - alpha)), 65535**2)
    seen = seen.transpose(1, 0, 2) if orientation >= 5 else seen
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    assert np.array_equal(pixels(found.content), np.flip(seen, flips.get(orientation, ())))


# --- Scaled -------------------------------------------------------------------------------------


@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 160))
@example(1, 150, 4)
def test_the_longest_side_is_as_wanted_and_the_other_in_proportion(height: int, width: int, most: int) -> None:
    found = good(png(np.full((height, width, 1), 77), 0, 8), TargetFormat(max_side=most))
    if max(height, width) <= most:
        assert (found.height, found.width, found.changed) == (height, width, None)
        return
    assert (max(found.height, found.width), found.changed) == (most, "scaled")
    for side, before in ((found.height, height), (found.width, width)):
        exact = Fraction(before * most, max(height, width))
        assert side == 1 or abs(side - exact) <= Fraction(1, 2)
    assert np.all(pixels(found.content) == 77)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_scaled_pixel_is_the_mean_of_what_it_covers(mode: str) -> None:
    values = noise(40, 60, 3 if mode == "RGB" else 1)
    found = good(png(values, 2 if mode == "RGB" else 0, 8), TargetFormat(max_side=15))
    means = values.reshape(10, 4, 15, 4, -1).astype(float).mean((1, 3))
    assert (found.format, found.changed) == ("png", "scaled")
    assert np.abs(pixels(found.content).reshape(means.shape) - means).max() <= 0.5


@pytest.mark.parametrize("name", [name for name in KEPT if "png" not in name])
def test_a_scaled_jpeg_looks_the_same(name: str) -> None:
    found, image = good(KEPT[name], TargetFormat(max_side=32)), opened(KEPT[name])
    assert (found.format, found.changed, found.height, found.width) == ("jpeg", "scaled", 24, 32)
    assert distance(found.content, image.resize((32, 24), Image.Resampling.BOX)) < 3


def test_every_change_is_named() -> None:
    content = png(noise(30, 20, 4, bits=16), 6, 16, chunk(b"eXIf", exif_block(8)))
    found = good(content, TargetFormat(max_side=15))
    assert (found.changed, found.height, found.width) == ("16_bit+alpha+rotated+scaled", 10, 15)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_the_quality_is_as_wanted(quality: int) -> None:
    sources = {"jpeg": JPEG, "cmyk": written(scene().convert("CMYK"), "JPEG"), "webp": written(scene(), "WEBP")}
    for content in sources.values():
        found = good(content, TargetFormat(max_side=32, quality=quality))
        by_pillow = Image.open(io.BytesIO(written(scene(), "JPEG", quality=quality)))
        assert Image.open(io.BytesIO(found.content)).quantization == by_pillow.quantization  # type: ignore[attr-defined]


# --- Real photographs ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def photographs(shared_data: Path) -> list[bytes]:
    paths = sorted((shared_data / "photos").rglob("*.jpg"))
    assert len(paths) == 46 + 61 + 60
    return [path.read_bytes() for path in paths]


def test_real_photographs_are_kept(photographs: list[bytes]) -> None:
    for content in photographs:
        found, by_pillow = prepare(content, AS_IT_IS), Image.open(io.BytesIO(content))
        assert by_pillow.mode == "RGB"
        assert found == Photograph(content, "jpeg", by_pillow.height, by_pillow.width, 3, None)


def test_real_photographs_scale_as_in_pillow(photographs: list[bytes]) -> None:
    far = []
    for content in photographs[::8]:
        found, image = good(content, TargetFormat(max_side=256)), opened(content)
        assert (found.changed, max(found.height, found.width)) == ("scaled", 256)
        far.append(distance(found.content, image.resize((found.width, found.height), Image.Resampling.BOX)))
    assert statistics.mean(far) < 4 and max(far) < 8
