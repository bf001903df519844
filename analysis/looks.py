"""Where networks looked: the pictures that `concord explain` leaves, as a page can hold them."""

from collections.abc import Mapping
from typing import Any

from analysis import tables, thumbnails
from analysis.tables import Row, Sources
from schemas import layout
from storage.products import ShardFolder

Looks = Mapping[tuple[str, str], Mapping[str, Row]]

LARGEST = 160  # pixels of a picture's longer side


def read(sources: Sources, root: str) -> dict[tuple[str, str], dict[str, Row]]:
    """By annotator and split, and then by image: `label`, `confidence`, and `picture` and `heat` as data URIs.

    Images are in the order in which they were asked about. Explanations that are stale are left out.

    Raises:
        IncompleteError: a shard is missing, or was made from something else than its manifest says.
    """
    found = {}
    for one in sources.explanations:
        if not one.stale:
            folder = layout.explanations(root, sources.dataset, one.annotator, one.split)
            shards = ShardFolder(folder, one.manifest["shards"], one.manifest["fingerprint"])
            rows = tables.read_parts(shards, one.manifest, "run concord explain again").to_pylist()
            by_image = {row["image_id"]: _shown(row) for row in rows}
            asked = [image_id for image_id in one.manifest["asked"] if image_id in by_image]
            found[one.annotator, one.split] = {image_id: by_image[image_id] for image_id in asked}
    return found


def _shown(row: Row) -> dict[str, Any]:
    picture = thumbnails.data_uri(row["picture"], LARGEST)
    return {**row, "picture": picture, "heat": thumbnails.data_uri(row["heat"], LARGEST, exact=False)}
