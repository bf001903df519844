"""Shards of images with damaged records, made readable: TensorFlow reads a shard no further than its first damage.

Each record is read where the index says that it lies. A shard that holds anything else than these is copied, its
damaged records empty, and the images of those are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas import storage, tfrecord
from schemas.products import ImageSet


@dataclass(frozen=True)
class Damaged:
    """A record that cannot be read: its shard, its row in the index, and whose image it was."""

    path: str
    row: int
    image_id: str

    def __str__(self) -> str:
        return f"{self.path}, record {self.row} ({self.image_id})"


DamagedRows = Mapping[int, tuple[Damaged, ...]]  # by the number of the shard


def readable(images: ImageSet, split: str, shard: int, copy: str, scratch: str) -> tuple[str, tuple[Damaged, ...]]:
    """A local path from which TensorFlow reads a record for each row of the index, and which of them are empty.

    Args:
        images: the dataset.
        split: of it.
        shard: of the split.
        copy: where the shard lies on this machine.
        scratch: a folder of one's own.
    """
    content = storage.read_bytes(copy)
    index = images.index(split).read(shard)
    places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    payloads = [tfrecord.payload_at(content, offset, length) for offset, length in places]
    framed = sum(tfrecord.HEADER_BYTES + len(payload or b"") + tfrecord.FOOTER_BYTES for payload in payloads)
    if None not in payloads and framed == len(content):
        return copy, ()
    mended = storage.join(scratch, f"{split}-{shard}")
    storage.write_parts(mended, (tfrecord.frame(payload or b"") for payload in payloads))
    path, ids = images.tfrecord(split, shard), index["image_id"].to_pylist()
    return mended, tuple(Damaged(path, row, ids[row]) for row, payload in enumerate(payloads) if payload is None)
