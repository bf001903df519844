"""Check the bytes of images and models: TFRecord shards against their index, a model's files against its card."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from analysis.verify.inventory import Finding, command
from schemas import layout
from schemas.errors import ConcordError
from schemas.manifests import ModelFile
from storage import model_cards, stores, tfrecord

_PIECE = 8 << 20  # read at a time
_BESIDE = (model_cards.CARD_FILE, "validation.npz", layout.SWEEP_TABLE)
_LOGS = "logs/"
_WINDOW_BYTES = 8 << 20  # read at a time
_SHOWN = 20  # records of a shard that are named, at most


@dataclass(frozen=True)
class ImageFile:
    """A TFRecord shard that is there.

    Attributes:
        path: under the root.
        manifest: path of its manifest, under the root.
        size: in bytes.
        payload_bytes: the size that the index's report says; None where it says none.
    """

    path: str
    manifest: str
    size: int
    payload_bytes: int | None


def check_shard(root: str, file: ImageFile, index: pa.Table, quick: bool) -> list[Finding]:
    """Check one shard; `quick` reads nothing of it."""
    remedy = rebuild("convert", file.manifest, file.path)
    ends = index["offset"].to_numpy() + index["length"].to_numpy() + tfrecord.FOOTER_BYTES
    size = int(ends.max()) if len(index) else 0
    expected = np.append(0, ends[:-1]) + tfrecord.HEADER_BYTES if len(index) else ends
    if not np.array_equal(expected, index["offset"].to_numpy()):
        return [Finding(file.path, "its index leaves gaps between records, or lets them overlap", remedy)]
    wrong = []
    if file.size != size or file.payload_bytes not in (None, file.size):
        stated = size if file.payload_bytes is None else file.payload_bytes
        wrong.append(Finding(file.path, f"has {file.size:,} bytes, and its index says {stated:,}", remedy))
    if quick:
        return wrong
    try:
        with stores.open_input(stores.join(root, file.path)) as opened:
            bad = list(_bad_records(opened, index))
    except (ConcordError, OSError) as error:
        return [Finding(file.path, f"cannot be read ({error})", remedy)]
    more = [f"and {len(bad) - _SHOWN} more records"] if len(bad) > _SHOWN else []
    return wrong + [Finding(file.path, what, remedy) for what in bad[:_SHOWN] + more]


def _bad_records(file: IO[bytes], index: pa.Table) -> Iterator[str]:
    """What is wrong with each record that is not as its index says."""
    rows = index.select(["offset", "length", "image_id", "sha256"]).to_pydict()
    ends = np.add(rows["offset"], rows["length"]) + tfrecord.FOOTER_BYTES
    row = 0
    while row < len(ends):
        begin = rows["offset"][row] - tfrecord.HEADER_BYTES
        stop = max(int(np.searchsorted(ends, begin + _WINDOW_BYTES, side="right")), row + 1)
        file.seek(begin)
        window = file.read(int(ends[stop - 1]) - begin)
        for place in range(row, stop):
            problem = _problem(window, rows["offset"][place] - begin, rows, place)
            if problem:
                yield f"record {place} (image {rows['image_id'][place]!r}) {problem}"
        row = stop


def _problem(window: bytes, offset: int, rows: dict[str, list[Any]], place: int) -> str:
    """What is wrong with the record whose payload begins at `offset` in a window; empty where nothing is."""
    length, image_id = rows["length"][place], rows["image_id"][place]
    if len(window) < offset + length + tfrecord.FOOTER_BYTES:
        return "is cut off"
    if not tfrecord.header_fits(window, offset, length):
        return f"has another length, or its checksum, than the {length:,} bytes of its index"
    payload = tfrecord.payload_at(window, offset, length)
    if payload is None:
        return f"does not fit its checksum ({length:,} bytes at {rows['offset'][place]:,})"
    try:
        image, stored_id = tfrecord.decode_example(payload)
    except (DecodeError, IndexError, UnicodeDecodeError):
        return "holds no image"
    if stored_id != image_id:
        return f"holds image {stored_id!r} instead"
    return (
        "" if hashlib.sha256(image).hexdigest() == rows["sha256"][place] else "holds other bytes than its sha256 says"
    )


def check_model_file(root: str, path: str, card: str, stated: ModelFile, stage: str) -> list[Finding]:
    """Check one file of a model that is there.

    Args:
        root: local, `gs://` or `s3://`.
        path: of the file, under the root.
        card: path of `model.json`, under the root.
        stated: its size and hash, by the card.
        stage: that made the model.
    """
    digest, size = hashlib.sha256(), 0
    remedy = rebuild(stage, card)
    try:
        with stores.open_input(stores.join(root, path)) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
    except (ConcordError, OSError) as error:
        return [Finding(path, f"cannot be read ({error})", remedy)]
    if size != stated.size:
        return [Finding(path, f"has {size:,} bytes, and {model_cards.CARD_FILE} says {stated.size:,}", remedy)]
    if digest.hexdigest() != stated.sha256:
        return [Finding(path, f"was altered: its SHA-256 is not the one of {model_cards.CARD_FILE}", remedy)]
    return []


def rebuild(stage: str, manifest: str, file: str = "") -> str:
    """The remedy for a file that is missing, or, where it is named, altered."""
    removed = f"{file.rsplit('/', 1)[-1]} and {manifest}" if file else manifest
    return f"remove {removed}, and run {command(stage)} again"


def is_beside(name: str) -> bool:
    """Whether a training leaves a file of this name, within the model's folder, that no card lists."""
    return name in _BESIDE or name.startswith(_LOGS)
