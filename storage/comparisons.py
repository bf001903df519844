"""Comparisons of two annotators, as `agree` leaves them: which there are, and where both were sure, and differ."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from schemas import layout
from schemas.manifests import PairsManifest
from storage import products, stores
from storage.products import ShardFolder

_READERS = 8  # shards in memory at once, at most


def find(root: str, dataset: str) -> dict[tuple[str, str, str], PairsManifest | None]:
    """The manifest of each comparison that was begun, by (a, b, split); None where it is not whole."""
    keys = stores.partitions(layout.pairs(root, dataset, "", "", ""), 3)
    return {
        (a, b, split): products.find_manifest(layout.pairs(root, dataset, a, b, split), PairsManifest)
        for a, b, split in keys
    }


def most_confident(pairs: pa.Table, limit: int) -> pa.Table:
    """The rows of a comparison whose labels differ, those first on which the less sure of the two was most sure.

    Equal ones are ranked by image id.
    """
    different = pairs.filter(pc.not_equal(pairs["label_a"], pairs["label_b"]))
    least = pc.min_element_wise(different["confidence_a"], different["confidence_b"])
    ranked = different.append_column("least", least).sort_by([("least", "descending"), ("image_id", "ascending")])
    return ranked.slice(0, limit).drop_columns("least")


def disagreements(root: str, dataset: str, key: tuple[str, str, str], limit: int) -> list[str]:
    """The images of a comparison (a, b, split) that `most_confident` puts first, in that order; none without pairs."""
    folder = layout.pairs(root, dataset, *key)
    manifest = products.require_manifest(folder, PairsManifest, "comparison", "run concord agree")
    if not manifest.has_pairs:
        return []
    shards = ShardFolder(folder, manifest.shards, manifest.fingerprint)
    with ThreadPoolExecutor(_READERS) as pool:
        parts = list(pool.map(lambda shard: most_confident(shards.read(shard), limit), range(shards.shards)))
    found: list[str] = most_confident(pa.concat_tables(parts), limit)["image_id"].to_pylist()
    return found
