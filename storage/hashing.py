"""Shards, splits and folds, which follow from an image's id alone, and fast XXH64 of many texts at once.

The hash is XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) of the UTF-8 id, with independent
seeds: 0 gives the shard, 1 the split, 2 whether an image is kept out of a training, 3 the fold, 4 whether it belongs to
the pool that machines label for each other.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

MIN_SHARDS = 8
SHARD_SEED = 0
SPLIT_SEED = 1
HELD_OUT_SEED = 2
FOLD_SEED = 3
POOL_SEED = 4


def image_hashes(image_ids: Sequence[str], seed: int = SHARD_SEED) -> npt.NDArray[np.uint64]:
    """The 64-bit hash of each image id."""
    hashes = (xxhash.xxh64_intdigest(image_id.encode(), seed) for image_id in image_ids)
    return np.fromiter(hashes, dtype=np.uint64, count=len(image_ids))


def shard_of(hashes: npt.NDArray[np.uint64], shards: int) -> npt.NDArray[np.int64]:
    """The shard of each hash: its top bits, so that shards are contiguous in hash order."""
    if shards < 1 or shards & (shards - 1):
        raise ValueError(f"the number of shards must be a power of two, got {shards}")
    bits = shards.bit_length() - 1
    if bits == 0:
        return np.zeros(len(hashes), dtype=np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def rows_by_shard(hashes: npt.NDArray[np.uint64], shards: int) -> list[npt.NDArray[np.int64]]:
    """The rows of each shard, in hash order; rows of equal hashes keep their order."""
    order = np.argsort(hashes, kind="stable")
    bounds = np.searchsorted(shard_of(hashes[order], shards), np.arange(shards + 1))
    return [order[bounds[shard] : bounds[shard + 1]] for shard in range(shards)]


def shard_count(at_least: float) -> int:
    """The smallest power of two that is no less than this number, and no less than 8."""
    return 1 << math.ceil(math.log2(max(MIN_SHARDS, at_least)))


def split_of(image_ids: Sequence[str], fractions: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """The split of each image, by its salted hash; `fractions` are each split's share, and add up to 1."""
    return split_at(image_hashes(image_ids, SPLIT_SEED), fractions)


def split_at(hashes: npt.NDArray[np.uint64], fractions: Mapping[str, float]) -> npt.NDArray[np.str_]:
    """The split of each image by its hash with `SPLIT_SEED`; see `split_of`."""
    position = hashes.astype(np.float64) / 2.0**64
    bounds = np.cumsum(list(fractions.values()))
    names = np.array(list(fractions), dtype=np.str_)
    return names[np.minimum(np.searchsorted(bounds, position, side="right"), len(names) - 1)]


def is_held_out(image_ids: Sequence[str], fraction: float) -> npt.NDArray[np.bool_]:
    """Whether each image belongs to the fraction that is kept out of a training."""
    return _is_in_top(image_ids, HELD_OUT_SEED, fraction)


def fold_of(image_ids: Sequence[str], folds: int) -> npt.NDArray[np.int64]:
    """The fold of each image, 0 to folds - 1."""
    return (image_hashes(image_ids, FOLD_SEED) % np.uint64(folds)).astype(np.int64)


def is_in_pool(image_ids: Sequence[str], fraction: float) -> npt.NDArray[np.bool_]:
    """Whether each image belongs to the fraction that machines label for each other, without human labels."""
    return _is_in_top(image_ids, POOL_SEED, fraction)


def _is_in_top(image_ids: Sequence[str], seed: int, fraction: float) -> npt.NDArray[np.bool_]:
    return image_hashes(image_ids, seed).astype(np.float64) / 2.0**64 >= 1 - fraction


# --- XXH64 by arithmetic on whole arrays: texts of one length make a matrix of words ---------------

Words = npt.NDArray[np.uint64]
P1, P2, P3 = map(np.uint64, (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
P4, P5 = map(np.uint64, (0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5))
_STRIPE = 32
_ROWS = 1 << 14  # hashed together: they stay in the processor's cache


def hash_texts(texts: pa.Array, seed: int) -> Words:
    """The hash of the UTF-8 bytes of each text: (n,) Arrow strings or binaries without nulls."""
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    if not len(texts):
        return np.zeros(0, np.uint64)
    if lengths.min() == lengths.max():  # as ids often are: nothing to sort
        return _hash_equal_lengths(texts, int(lengths[0]), seed)
    order = np.argsort(lengths, kind="stable")
    lengths, texts = lengths[order], texts.take(pa.array(order))
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    parts = zip(starts, np.diff(starts, append=len(texts)), strict=True)
    hashes = np.empty(len(texts), np.uint64)
    hashes[order] = np.concatenate(
        [_hash_equal_lengths(texts.slice(start, rows), int(lengths[start]), seed) for start, rows in parts]
    )
    return hashes


def _hash_equal_lengths(texts: pa.Array, length: int, seed: int) -> Words:
    _, offsets, data = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type) else np.int32
    begin = int(np.frombuffer(offsets, width)[texts.offset]) if length else 0
    size = length * len(texts)
    letters = np.frombuffer(data, np.uint8, size, begin) if length else np.zeros(0, np.uint8)
    rows = letters.reshape(len(texts), length)
    return np.concatenate([_hash_rows(rows[at : at + _ROWS], seed) for at in range(0, len(rows), _ROWS)])


def _hash_rows(rows: npt.NDArray[np.uint8], seed: int) -> Words:
    """Hashes of texts (n, length) of one length."""
    count, length = rows.shape
    stripes = length // _STRIPE * _STRIPE
    state = _hash_stripes(rows, stripes, seed) if stripes else np.full(count, _sum(seed, P5), np.uint64)
    state += np.uint64(length)
    for at in range(stripes, length - 7, 8):
        state = rotate_left(state ^ _round(_words(rows, at, 8) * P2), 27) * P1 + P4
    at = length - length % 8
    if length - at >= 4:
        state = rotate_left(state ^ (_words(rows, at, 4) * P1), 23) * P2 + P3
        at += 4
    for column in range(at, length):
        state = rotate_left(state ^ (rows[:, column] * P5), 11) * P1
    return avalanche(state)


def _hash_stripes(rows: npt.NDArray[np.uint8], stripes: int, seed: int) -> Words:
    """The state after the whole stripes of 32 bytes."""
    begin = (_sum(seed, P1, P2), _sum(seed, P2), _sum(seed), _sum(seed, -int(P1)))
    lanes = [np.full(len(rows), value, np.uint64) for value in begin]
    for at in range(0, stripes, _STRIPE):
        lanes = [_round(lane + _words(rows, at + 8 * number, 8) * P2) for number, lane in enumerate(lanes)]
    state: Words = (
        rotate_left(lanes[0], 1) + rotate_left(lanes[1], 7) + rotate_left(lanes[2], 12) + rotate_left(lanes[3], 18)
    )
    for lane in lanes:
        state = (state ^ _round(lane * P2)) * P1 + P4
    return state


def _sum(*parts: int | np.uint64) -> np.uint64:
    """The sum of some numbers, modulo 2^64."""
    return np.uint64(sum(map(int, parts)) % 2**64)


def _words(rows: npt.NDArray[np.uint8], at: int, size: int) -> Words:
    """A little-endian word of each text, of 4 or 8 bytes."""
    return rows[:, at : at + size].view(f"<u{size}")[:, 0].astype(np.uint64)


def _round(sums: Words) -> Words:
    """A round of the hash, of lanes to which words, times P2, have been added."""
    return rotate_left(sums, 31) * P1


def rotate_left(words: Words, bits: int) -> Words:
    """Words with their bits rotated to the left."""
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def avalanche(state: Words) -> Words:
    """The last step: every bit of the state reaches every bit of the hash."""
    state = (state ^ (state >> np.uint64(33))) * P2
    state = (state ^ (state >> np.uint64(29))) * P3
    return state ^ (state >> np.uint64(32))


# --- Image ids of 16 hexadecimal digits, as in Open Images: 64-bit numbers, eight digits per word ---

DIGITS = 16


def _repeat_byte(byte: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(int.from_bytes(bytes([byte]) * 8, "big"))


_ONE, _SIX, _LOW, _HIGH, _ZERO = (_repeat_byte(byte) for byte in (0x01, 0x06, 0x0F, 0xF0, 0x30))
_NINE, _GAP = np.uint64(9), np.uint64(ord("a") - ord("9") - 1)
_FOLDS = (
    (np.uint64(4), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(8), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(16), np.uint64(0x00000000FFFFFFFF)),
)


def parse_hex_ids(texts: npt.NDArray[np.uint8]) -> tuple[Words, npt.NDArray[np.bool_]]:
    """The numbers (n,) of ids, and which texts are ids: 16 hexadecimal digits, of either case.

    Args:
        texts: (n * 16,) the bytes of n texts of 16 bytes; the number of a text that is no id is meaningless.
    """
    words = texts.view(">u8").astype(np.uint64)
    letters = (words >> np.uint64(6)) & _ONE
    nibbles = (words & _LOW) + letters * _NINE
    beyond_nine = ((nibbles + _SIX) >> np.uint64(4)) & _ONE
    folded = words | (letters << np.uint64(5))
    wrong = ((nibbles + _ZERO + beyond_nine * _GAP) ^ folded) | (nibbles & _HIGH)
    for shift, mask in _FOLDS:
        nibbles = (nibbles | (nibbles >> shift)) & mask
    words, valid = nibbles.reshape(-1, 2), (wrong == 0).reshape(-1, 2)
    return (words[:, 0] << np.uint64(32)) | words[:, 1], valid.all(axis=1)


def _digits(numbers: Words) -> Words:
    """(n, 2) words of the ASCII digits of numbers (n,), lower-case; the first digit in the highest byte."""
    words = np.stack([numbers >> np.uint64(32), numbers & np.uint64(0xFFFFFFFF)], axis=1)
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        words = (words | (words << np.uint64(shift))) & np.uint64(mask)
    beyond_nine = ((words + _SIX) >> np.uint64(4)) & _ONE
    return words + _ZERO + beyond_nine * _GAP


def hex_id_texts(numbers: Words) -> pa.Array:
    """The ids of numbers (n,), as Arrow strings."""
    data = pa.py_buffer(_digits(numbers).astype(">u8").tobytes())
    offsets = pa.py_buffer(np.arange(0, DIGITS * (len(numbers) + 1), DIGITS, dtype=np.int32).tobytes())
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, offsets, data])


def hash_hex_ids(numbers: Words, seed: int) -> Words:
    """XXH64 of the ids of numbers (n,), as `image_hashes` of their texts; the specification's case of 16 bytes."""
    lanes = _digits(numbers).byteswap()  # the specification reads words little-endian
    state = np.full(len(numbers), np.uint64(seed) + P5 + np.uint64(DIGITS), dtype=np.uint64)
    for lane in (lanes[:, 0], lanes[:, 1]):
        state = rotate_left(state ^ (rotate_left(lane * P2, 31) * P1), 27) * P1 + P4
    return avalanche(state)
