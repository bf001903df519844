"""The queue as tools for people take it: a module a tool, and the pictures that all of them show.

concord queue --annotators cnn1,cnn2 --dataset svhn --export label-studio --root out
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from analysis import thumbnails
from analysis.tables import Row
from schemas import layout
from schemas.rejects import Reason
from schemas.settings.queue import CSV, FIFTYONE, LABEL_STUDIO, QueueSettings
from storage import parquet, products, stores
from storage.products import ImageSet

_log = logging.getLogger("concord")
_READERS = 8  # shards that pictures are cut from at once, at most
_PICTURE = re.compile(r"\d{6,}\.(png|jpg)")
_SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg"}


@dataclass(frozen=True)
class Queue:
    """A queue that is to be exported.

    Attributes:
        images: of the dataset.
        rows: of the queue whose pictures are there, in order.
        pictures: name of each image's picture in the folder of pictures.
        folder: where the export goes.
        settings: of the queue.
    """

    images: ImageSet
    rows: Sequence[Row]
    pictures: Mapping[str, str]
    folder: str
    settings: QueueSettings

    def shown_name(self, label: str) -> str:
        """A label as people know it."""
        return str(self.images.manifest.get("display_names", {}).get(label, label))


def folder_of(settings: QueueSettings, root: str) -> str:
    """Where the export goes."""
    return settings.output or layout.queue_export(root, settings.dataset, settings.split, settings.export)


def fingerprint(settings: QueueSettings, queue: str) -> str:
    """Of an export of a queue with this fingerprint."""
    return products.fingerprint("queue_export", queue=queue, tool=settings.export, image_url=settings.image_url)


def is_current(settings: QueueSettings, root: str, queue: str) -> bool:
    """Whether the export is there, of the queue with this fingerprint."""
    return products.is_current(folder_of(settings, root), fingerprint(settings, queue))


def write(settings: QueueSettings, root: str, queue: str) -> dict[str, Any]:
    """Write the queue for a tool, with its pictures, and count its rows; those whose image is damaged are left out.

    Args:
        settings: of the queue, with the tool.
        root: where everything lies.
        queue: fingerprint of the queue's table.

    Raises:
        IncompleteError: the table is another one's, or an image is not in the index.
    """
    images = products.image_set(root, settings.dataset, settings.version)
    tool, folder = _tool(settings.export), folder_of(settings, root)
    rows = parquet.read(layout.queue(root, settings.dataset, settings.split), queue).to_pylist()
    stores.remove(stores.join(folder, products.MANIFEST))  # halves of two exports must not pass for one
    stores.remove_partial_files(folder, below=True)
    pictures = write_pictures(images, settings.split, rows, stores.join(folder, tool.PICTURES))
    shown = {image_id: name for image_id, name in pictures.items() if not isinstance(name, Reason)}
    kept = [row for row in rows if row["image_id"] in shown]
    tool.write(Queue(images, kept, shown, folder, settings))
    lost = {row["rank"]: row["image_id"] for row in rows if row["image_id"] not in shown}
    for reason, count in (rejected := Counter(str(pictures[image_id]) for image_id in lost.values())).items():
        first = next(image_id for image_id in lost.values() if pictures[image_id] == reason)
        _log.info("queue: left out of the export: %d rows (%s), such as image %r", count, reason, first)
    counts = {"in": len(rows), "out": len(kept), "rejected": dict(sorted(rejected.items()))}
    products.write_manifest(folder, {"fingerprint": fingerprint(settings, queue), "counts": counts})
    return counts


def _tool(name: str) -> Any:
    """The module that writes for a tool; it has `PICTURES`, a folder's name, and `write(queue)`."""
    from analysis.exports import csv_file, fiftyone, label_studio

    return {LABEL_STUDIO: label_studio, FIFTYONE: fiftyone, CSV: csv_file}[name]


def write_pictures(images: ImageSet, split: str, rows: Sequence[Row], folder: str) -> dict[str, str | Reason]:
    """Write the picture of each image, byte for byte as it is stored, and remove those of an earlier queue.

    Returns:
        the name of each file by image id, its first rank and its format's suffix; or why there is none.
    """
    ranks = {row["image_id"]: row["rank"] for row in reversed(rows)}
    by_shard = thumbnails.by_shard(ranks, images.shards)

    def cut(shard: int) -> dict[str, str | Reason]:
        names: dict[str, str | Reason] = {}
        for image_id, encoded in thumbnails.stored(images, split, shard, by_shard[shard]):
            kind = suffix(encoded or b"")
            if encoded is None or not kind:
                names[image_id] = Reason.RECORD_DAMAGED if encoded is None else Reason.NOT_AN_IMAGE
                continue
            names[image_id] = name = f"{ranks[image_id]:06d}.{kind}"
            stores.write_bytes(stores.join(folder, name), encoded)
        return names

    with ThreadPoolExecutor(_READERS) as pool:
        written = {image_id: name for names in pool.map(cut, by_shard) for image_id, name in names.items()}
    for name in set(stores.list_files(folder)) - set(written.values()):
        if _PICTURE.fullmatch(name):
            stores.remove(stores.join(folder, name))
    return written


def suffix(encoded: bytes) -> str:
    """The suffix of an encoded image's file; empty where it is neither PNG nor JPEG, the formats of all shards."""
    return next((name for start, name in _SUFFIXES.items() if encoded.startswith(start)), "")
