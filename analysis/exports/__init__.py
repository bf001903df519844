"""The queue as review tools take it: a module per tool, known by its name, and the images that all of them show.

    concord queue --annotators cnn1,cnn2 --dataset svhn --export label-studio --root out

The module of a tool has `IMAGE_FOLDER`, the name of the folder of images, `write(queue)`, and `TAKES_IMAGE_URL = True`
where it can refer to images by their address.
"""

import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from analysis import thumbnails
from analysis.tables import Row
from schemas import layout, plugins
from schemas.errors import Reason
from schemas.manifests import Manifest
from schemas.settings.queue import QueueSettings
from storage import parquet, products, stores
from storage.products import ImageSet

_log = logging.getLogger("concord")
_READERS = 8  # shards that images are read from at once, at most
_IMAGE_FILE = re.compile(r"\d{6,}\.(png|jpg)")
_SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg"}


@dataclass(frozen=True)
class Queue:
    """A queue to be exported.

    Attributes:
        images: of the dataset.
        rows: of the queue whose images are there, in order.
        image_files: name of each image's file in the folder of images.
        folder: where the export goes.
        settings: of the queue.
    """

    images: ImageSet
    rows: Sequence[Row]
    image_files: Mapping[str, str]
    folder: str
    settings: QueueSettings

    def display_name(self, label: str) -> str:
        """The display name of a label."""
        return self.images.manifest.display_names.get(label, label)


def export_folder(settings: QueueSettings, root: str) -> str:
    """Where the export goes."""
    return settings.output or layout.queue_export(root, settings.dataset, settings.split, settings.export)


def fingerprint(settings: QueueSettings, queue: str) -> str:
    """Of an export of a queue with this fingerprint."""
    return products.fingerprint("queue", queue=queue, tool=settings.export, image_url=settings.image_url)


def is_current(settings: QueueSettings, root: str, queue: str) -> bool:
    """Whether the export is there, of the queue with this fingerprint."""
    return products.is_current(export_folder(settings, root), fingerprint(settings, queue))


def write_export(settings: QueueSettings, root: str, queue: str) -> dict[str, Any]:
    """Write the queue for a tool, with its images, and count its rows; those whose image is damaged are excluded.

    Args:
        settings: of the queue, with the tool.
        root: where everything lies.
        queue: fingerprint of the queue's table.

    Raises:
        IncompleteError: the table is another one's, or an image is not in the index.
    """
    images = products.image_set(root, settings.dataset, settings.version)
    tool = plugins.load(sys.modules[__name__], "export", settings.export)
    folder = export_folder(settings, root)
    rows = parquet.read(layout.queue(root, settings.dataset, settings.split), queue).to_pylist()
    stores.remove(stores.join(folder, products.MANIFEST))  # parts of two exports must not pass for one
    stores.remove_partial_files(folder, below=True)
    files = write_images(images, settings.split, rows, stores.join(folder, tool.IMAGE_FOLDER))
    written = {image_id: name for image_id, name in files.items() if not isinstance(name, Reason)}
    kept = [row for row in rows if row["image_id"] in written]
    tool.write(Queue(images, kept, written, folder, settings))
    lost = {row["rank"]: row["image_id"] for row in rows if row["image_id"] not in written}
    for reason, count in (rejected := Counter(str(files[image_id]) for image_id in lost.values())).items():
        first = next(image_id for image_id in lost.values() if files[image_id] == reason)
        _log.info("queue: excluded from the export: %d rows (%s), such as image %r", count, reason, first)
    counts = {"in": len(rows), "out": len(kept), "rejected": dict(sorted(rejected.items()))}
    product = f"{settings.dataset}/{settings.split}/{settings.export}"
    tag = fingerprint(settings, queue)
    products.write_manifest(folder, Manifest(stage="queue", product=product, fingerprint=tag, counts=counts))
    return counts


def write_images(images: ImageSet, split: str, rows: Sequence[Row], folder: str) -> dict[str, str | Reason]:
    """Write each image, byte for byte as it is stored, and remove those of an earlier queue.

    Returns:
        the name of each file by image id, its first rank and its format's suffix; or why there is none.
    """
    ranks = {row["image_id"]: row["rank"] for row in reversed(rows)}
    by_shard = thumbnails.group_by_shard(ranks, images.shards)

    def write_shard(shard: int) -> dict[str, str | Reason]:
        names: dict[str, str | Reason] = {}
        for image_id, encoded in thumbnails.read_encoded(images, split, shard, by_shard[shard]):
            kind = find_suffix(encoded or b"")
            if encoded is None or not kind:
                names[image_id] = Reason.RECORD_DAMAGED if encoded is None else Reason.NOT_AN_IMAGE
                continue
            names[image_id] = name = f"{ranks[image_id]:06d}.{kind}"
            stores.write_bytes(stores.join(folder, name), encoded)
        return names

    with ThreadPoolExecutor(_READERS) as pool:
        written = {image_id: name for names in pool.map(write_shard, by_shard) for image_id, name in names.items()}
    for name in set(stores.list_files(folder)) - set(written.values()):
        if _IMAGE_FILE.fullmatch(name):
            stores.remove(stores.join(folder, name))
    return written


def find_suffix(encoded: bytes) -> str:
    """The suffix of an encoded image's file; empty where it is neither PNG nor JPEG, the formats of all shards."""
    return next((name for start, name in _SUFFIXES.items() if encoded.startswith(start)), "")
