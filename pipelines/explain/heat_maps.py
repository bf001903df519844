"""Draw heat maps: the regions that drove a prediction, laid over the image, and a contact sheet of many.

Heat has the colours of viridis, from dark blue to yellow: their lightness grows evenly, so that they are also read
correctly with colour blindness and in grey (https://bids.github.io/colormap/). The image below is grey, so that every
colour is heat.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

LEAST_SIDE = 128  # pixels of the longer side: smaller images are enlarged, each pixel to a square
HEAT_SHARE = 0.6  # of the colours in a blend; the rest is the image
_MAP = cv2.COLORMAP_VIRIDIS
_INK, _SOFT, _PAPER = (27, 31, 36), (89, 97, 107), (255, 255, 255)
_GAP, _LINE, _COLUMN = 14, 18, 4  # pixels between images, of a line of text, and images per row


def encode_image(pixels: Bytes) -> bytes:
    """An image (height, width, 1 or 3) as a PNG file, enlarged where it is small."""
    return _encode_png(_enlarge(pixels))


def overlay_heat(pixels: Bytes, heat: npt.NDArray[np.float32]) -> bytes:
    """Heat (height, width), from 0 to 1, over its image, as a PNG file of the size of `encode_image`."""
    large = _enlarge(pixels)
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY) if large.shape[2] == 3 else large[..., 0]
    smooth = cv2.resize(heat, (large.shape[1], large.shape[0]), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(np.rint(smooth * 255).astype(np.uint8), _MAP), cv2.COLOR_BGR2RGB)
    mixed = HEAT_SHARE * colours + (1 - HEAT_SHARE) * grey[..., None]
    return _encode_png(np.rint(mixed).astype(np.uint8))


def _enlarge(pixels: Bytes) -> Bytes:
    factor = max(1, -(-LEAST_SIDE // max(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _encode_png(pixels: Bytes) -> bytes:
    """Grey or red, green, blue pixels as a PNG file."""
    ordered = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels
    done, content = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not done:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be encoded as PNG")
    return bytes(content)


def draw_sheet(title: str, rows: Sequence[dict[str, Any]]) -> bytes:
    """A contact sheet as a PNG file: each image beside its heat, and below them its label, confidence and id.

    Args:
        title: what it shows.
        rows: of schema `EXPLANATIONS`.
    """
    from PIL import Image, ImageDraw

    pairs = [
        [Image.open(io.BytesIO(row[name]), formats=("PNG",)).convert("RGB") for name in ("image", "heat_map")]
        for row in rows
    ]
    side = max((max(one.size) for pair in pairs for one in pair), default=LEAST_SIDE)
    columns = max(1, min(_COLUMN, len(rows), 2400 // (2 * side + 2 * _GAP)))
    cell = (2 * side + 2 * _GAP, side + 2 * _LINE + _GAP)
    head = 3 * _LINE + _GAP
    size = (max(columns * cell[0] + _GAP, 560), head + -(-len(rows) // columns) * cell[1])
    whole = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(whole)
    _draw_head(whole, draw, title)
    for number, (row, (plain, heat)) in enumerate(zip(rows, pairs, strict=True)):
        left, top = _GAP + number % columns * cell[0], head + number // columns * cell[1]
        whole.paste(plain, (left, top))
        whole.paste(heat, (left + side + 4, top))
        caption = f"{row['label']}  {row['confidence']:.3f}"
        draw.text((left, top + side + 2), _shorten(draw, caption, 2 * side, bold=True), _INK, _font(bold=True))
        draw.text((left, top + side + 2 + _LINE), _shorten(draw, row["image_id"], 2 * side), _SOFT, _font())
    sink = io.BytesIO()
    whole.save(sink, format="PNG", optimize=True)
    return sink.getvalue()


def _draw_head(whole: Any, draw: Any, title: str) -> None:
    """The title, and what the colours mean."""
    from PIL import Image

    draw.text((_GAP, _GAP), title, _INK, _font(bold=True, size=16))
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None].repeat(10, axis=0), _MAP)[..., ::-1]
    top = _GAP + _LINE + 10
    draw.text((_GAP, top), "support for the label: none", _SOFT, _font())
    left = _GAP + round(draw.textlength("support for the label: none", _font())) + 8
    whole.paste(Image.fromarray(np.ascontiguousarray(ramp)), (left, top + 3))
    draw.text((left + 256 + 8, top), "most", _SOFT, _font())


def _shorten(draw: Any, text: str, width: int, bold: bool = False) -> str:
    """The text, its middle removed where it is too wide."""
    kept = len(text)
    while draw.textlength(shown := _cut(text, kept), _font(bold=bold)) > width and kept > 4:
        kept -= 1
    return shown


def _cut(text: str, kept: int) -> str:
    if kept >= len(text):
        return text
    return f"{text[: kept // 2]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - kept // 2 :]}"


def _font(bold: bool = False, size: int = 13) -> Any:
    """DejaVu Sans, which comes with matplotlib: it looks the same everywhere."""
    import matplotlib as mpl
    from PIL import ImageFont

    path = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
