"""Small versions of images, as data URIs: only their own records are read, at the offsets of the index."""

import base64
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from analysis import tables
from schemas.errors import IncompleteError
from storage import stores
from storage.hashing import image_hashes, shard_of
from storage.products import ImageSet
from storage.tfrecord import decode_example, read_payload

LARGEST = 96  # pixels of a thumbnail's longer side
_QUALITY = 85  # of what is scaled down, and has lost its own pixels anyway
_PLAIN_MODES = ("L", "LA", "RGB", "RGBA")
_FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")  # for some of the others, Pillow starts programs
MOST_PIXELS = 100_000_000
_PNG = b"\x89PNG\r\n\x1a\n"


def load(images: ImageSet, split: str, image_ids: Iterable[str], largest: int = LARGEST) -> dict[str, str | None]:
    """A thumbnail of each image; None where its record is damaged or cannot be decoded.

    Raises:
        IncompleteError: an image is not in the index, or a shard is missing.
    """
    thumbnails: dict[str, str | None] = {}
    for shard, ids in group_by_shard(image_ids, images.shards).items():
        for image_id, encoded in read_encoded(images, split, shard, ids):
            thumbnails[image_id] = make_thumbnail(encoded, largest)
    return thumbnails


def group_by_shard(image_ids: Iterable[str], shards: int) -> dict[int, list[str]]:
    """The ids of each shard that has any of these, each once."""
    ids = sorted(set(image_ids))
    groups: dict[int, list[str]] = defaultdict(list)
    for image_id, shard in zip(ids, shard_of(image_hashes(ids), shards).tolist(), strict=True):
        groups[shard].append(image_id)
    return dict(sorted(groups.items()))


def read_encoded(images: ImageSet, split: str, shard: int, image_ids: list[str]) -> Iterator[tuple[str, bytes | None]]:
    """The encoded images of one shard, each read at its offset in the index; None where its record is damaged.

    Raises:
        IncompleteError: an image is not in the index, or the shard is missing.
    """
    index = tables.read_shard(images.index(split), shard, "run concord convert first")
    records = index.filter(pc.is_in(index["image_id"], value_set=pa.array(image_ids))).sort_by("offset").to_pylist()
    absent = sorted(set(image_ids) - {record["image_id"] for record in records})
    if absent:
        raise IncompleteError(
            f"image {absent[0]!r} has labels, but is not in the index of split {split!r} of {images.dataset!r}: "
            "run concord label and concord agree again"
        )
    path = images.tfrecord(split, shard)
    if stores.stat(path) is None:
        raise IncompleteError(f"{path} is missing: run concord convert --force")
    with stores.open_input(path) as file:
        for record in records:
            payload = read_payload(file, record["offset"], record["length"])
            yield record["image_id"], None if payload is None else decode_example(payload)[0]


def make_thumbnail(encoded: bytes | None, largest: int) -> str | None:
    """A thumbnail of an encoded image; None where it cannot be decoded."""
    if encoded is None:
        return None
    try:
        return to_data_uri(encoded, largest)
    except Exception:  # on damaged bytes, Pillow's parsers raise a dozen types of error
        return None


def to_data_uri(encoded: bytes, largest: int = LARGEST, exact: bool = True) -> str:
    """An encoded image as a data URI: as a PNG of the same pixels, or scaled down in proportion, as a JPEG.

    Args:
        encoded: of any format and size.
        largest: pixels that the longer side may have.
        exact: whether what is not scaled keeps its very pixels; a JPEG is smaller.

    Raises:
        OSError, ValueError: it is of no such format, or larger than any that Concord stores.
    """
    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
        if math.prod(image.size) > MOST_PIXELS:
            raise ValueError(f"{image.size} pixels")
        small = max(image.size) <= largest
        if not small:
            image.draft(None, (largest, largest))  # a JPEG can be decoded at a half, a quarter or an eighth
        image.load()  # a truncated file fails here, rather than in the reader's browser
        if small and exact and encoded.startswith(_PNG):
            return _join_uri("png", encoded)
        plain = image if image.mode in _PLAIN_MODES else image.convert(_plain_mode(image))
        plain.thumbnail((largest, largest), Image.Resampling.LANCZOS)
        plain.info.clear()  # profiles and comments are no pixels
        opaque = plain.mode in ("L", "RGB")
        sink = io.BytesIO()
        if (small and exact) or not opaque:
            plain.save(sink, format="PNG", optimize=True)
            return _join_uri("png", sink.getvalue())
        plain.save(sink, format="JPEG", optimize=True, quality=_QUALITY)
        return _join_uri("jpeg", sink.getvalue())


def _plain_mode(image: Image.Image) -> str:
    return "RGBA" if "transparency" in image.info else "RGB"


def _join_uri(kind: str, encoded: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
