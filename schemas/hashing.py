"""Where an image belongs: its shard and its split follow from its id alone.

The hash is XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) of the UTF-8 id: seed 0 places an
image in a shard, seed 1 in a split, seed 2 among those held out of a training, seed 3 in a fold, seed 4 in the pool
that machines label for each other: five drawings that know nothing of each other.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

LEAST_SHARDS = 8
SHARD_SEED = 0
SPLIT_SEED = 1
HELD_OUT_SEED = 2
FOLD_SEED = 3
POOL_SEED = 4


def image_hashes(image_ids: Sequence[str], seed: int = SHARD_SEED) -> npt.NDArray[np.uint64]:
    """The 64-bit hash of each image id, in the order given."""
    hashes = (xxhash.xxh64_intdigest(image_id.encode(), seed) for image_id in image_ids)
    return np.fromiter(hashes, dtype=np.uint64, count=len(image_ids))


def shard_of(hashes: npt.NDArray[np.uint64], shards: int) -> npt.NDArray[np.int64]:
    """The shard of each hash: its top bits, so that shards are contiguous in hash order.

    Raises:
        ValueError: `shards` is not a power of two.
    """
    if shards < 1 or shards & (shards - 1):
        raise ValueError(f"the number of shards must be a power of two, got {shards}")
    bits = shards.bit_length() - 1
    if bits == 0:
        return np.zeros(len(hashes), dtype=np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def rows_by_shard(hashes: npt.NDArray[np.uint64], shards: int) -> list[npt.NDArray[np.int64]]:
    """The rows of each shard, in hash order; of equal hashes, in the order given."""
    order = np.argsort(hashes, kind="stable")
    bounds = np.searchsorted(shard_of(hashes[order], shards), np.arange(shards + 1))
    return [order[bounds[shard] : bounds[shard + 1]] for shard in range(shards)]


def shard_count(wanted: float) -> int:
    """The least power of two that is no less than wanted, and never fewer than 8."""
    return 1 << math.ceil(math.log2(max(LEAST_SHARDS, wanted)))


def split_of(image_ids: Sequence[str], fractions: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """The split of each image, drawn by its salted hash in the proportions given.

    Args:
        image_ids: the ids.
        fractions: split name to share of the images; the shares add up to 1.
    """
    return split_at(image_hashes(image_ids, SPLIT_SEED), fractions)


def split_at(hashes: npt.NDArray[np.uint64], fractions: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """The split of each image by its hash with `SPLIT_SEED`; see `split_of`."""
    position = hashes.astype(np.float64) / 2.0**64
    bounds = np.cumsum(list(fractions.values()))
    names = np.array(list(fractions), dtype=np.str_)
    return names[np.minimum(np.searchsorted(bounds, position, side="right"), len(names) - 1)]


def held_out(image_ids: Sequence[str], fraction: float) -> npt.NDArray[np.bool_]:
    """Whether each image belongs to a share that is held out of a training."""
    return image_hashes(image_ids, HELD_OUT_SEED).astype(np.float64) / 2.0**64 >= 1 - fraction


def fold_of(image_ids: Sequence[str], folds: int) -> npt.NDArray[np.int64]:
    """The fold of each image, 0 to folds - 1."""
    return (image_hashes(image_ids, FOLD_SEED) % np.uint64(folds)).astype(np.int64)


def in_pool(image_ids: Sequence[str], share: float) -> npt.NDArray[np.bool_]:
    """Whether each image belongs to the share that machines label for each other, and people do not."""
    return image_hashes(image_ids, POOL_SEED).astype(np.float64) / 2.0**64 >= 1 - share
