"""Images of which people confirmed some labels and rejected others: the first ones of a label set."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from analysis.tables import LabelSet, Row, Sources, read_shard
from schemas import layout
from storage.products import ImageSet, ShardFolder

_PREFERRED = ("confirmed", "human")  # the first annotator that there is


def label_sets(sources: Sources) -> dict[str, LabelSet]:
    """The label set that tells what people confirmed, by split, in the order of the images' splits."""
    images = sources.images
    for annotator in _PREFERRED:
        found = {entry.split: entry for entry in sources.label_sets if entry.annotator == annotator}
        if found:
            return {split: found[split] for split in (images.manifest["splits"] if images else ()) if split in found}
    return {}


def sheets(sources: Sources, root: str, names: Mapping[str, str], limit: int) -> dict[str, list[Row]]:
    """The first labelled images of a dataset, in shard order, by split.

    Shard order is the order of a hash of the ids, so the first images are as good as drawn at random.

    Args:
        sources: of the report; without images there is nothing to show.
        root: where everything lies.
        names: how to call labels; others are called what they are.
        limit: how many images, at most, of all splits together.

    Returns:
        rows of `image_id` and `labels`: rows of `name`, `confirmed`, `confidence`, the confirmed ones first.
    """
    found: dict[str, list[Row]] = {}
    left = limit
    for split, entry in label_sets(sources).items():
        if sources.images is None or not left:
            break
        folder = layout.labels(root, sources.dataset, entry.annotator, split)
        labels = ShardFolder(folder, entry.manifest["shards"], entry.manifest["fingerprint"])
        images = list(_first(sources.images, split, labels, left))
        left -= len(images)
        if images:
            found[split] = [{"image_id": one, "labels": _labels(rows, names)} for one, rows in images]
    return found


def _first(images: ImageSet, split: str, labels: ShardFolder, limit: int) -> Iterable[tuple[str, list[Row]]]:
    """The first images that have labels, with the rows of their labels."""
    for shard in range(images.shards):
        rows = _rows_of_shard(labels, shard, images.shards)
        ids = read_shard(images.index(split), shard, "run concord convert first")["image_id"]
        chosen = ids.filter(pc.is_in(ids, value_set=rows["image_id"].combine_chunks())).slice(0, limit)
        by_image: dict[str, list[Row]] = {image_id: [] for image_id in chosen.to_pylist()}
        for row in rows.filter(pc.is_in(rows["image_id"], value_set=chosen.combine_chunks())).to_pylist():
            by_image[row["image_id"]].append(row)
        yield from by_image.items()
        limit -= len(by_image)
        if not limit:
            return


def _rows_of_shard(labels: ShardFolder, shard: int, shards: int) -> pa.Table:
    """The rows of the label set that speak of the images of a shard, be it cut into more or fewer shards itself.

    Shards are the top bits of one hash, and their numbers powers of two: the larger are whole numbers of the smaller.
    """
    first = shard * labels.shards // shards
    last = max(first + 1, (shard + 1) * labels.shards // shards)
    return pa.concat_tables([read_shard(labels, part, "run concord confirm again") for part in range(first, last)])


def _labels(rows: Iterable[Row], names: Mapping[str, str]) -> list[Row]:
    """Labels as they are shown: the confirmed ones first, of each kind the surest first."""
    shown = [
        {
            "name": names.get(row["label"], row["label"]),
            "confirmed": row["verdict"] == "confirmed" if row["verdict"] else row["confidence"] > 0,
            "confidence": row["confidence"] if row["verdict"] else None,  # people's own are 1 or 0
        }
        for row in rows
    ]
    return sorted(shown, key=lambda row: (not row["confirmed"], -(row["confidence"] or 0), row["name"]))
