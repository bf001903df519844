"""XXH64 of many texts at once, by arithmetic on whole arrays: texts of one length make a matrix of words.

https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words = npt.NDArray[np.uint64]
P1, P2, P3, P4, P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
_STRIPE = 32
_ROWS = 1 << 14  # hashed at a time: they stay in the processor's cache


def hashes(texts: pa.Array, seed: int) -> Words:
    """The hash of the UTF-8 bytes of each text.

    Args:
        texts: (n,) Arrow strings or binaries, none of them null.
        seed: of the hash.
    """
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    if not len(texts):
        return np.zeros(0, np.uint64)
    if lengths.min() == lengths.max():  # as many ids are: nothing to put in order, and then back
        return _of_one_length(texts, int(lengths[0]), seed)
    order = np.argsort(lengths, kind="stable")
    lengths, texts = lengths[order], texts.take(pa.array(order))
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    parts = zip(starts, np.diff(starts, append=len(texts)), strict=True)
    found = np.empty(len(texts), np.uint64)
    found[order] = np.concatenate(
        [_of_one_length(texts.slice(start, rows), int(lengths[start]), seed) for start, rows in parts]
    )
    return found


def _of_one_length(texts: pa.Array, length: int, seed: int) -> Words:
    _, offsets, data = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type) else np.int32
    begin = int(np.frombuffer(offsets, width)[texts.offset]) if length else 0
    size = length * len(texts)
    letters = np.frombuffer(data, np.uint8, size, begin) if length else np.zeros(0, np.uint8)
    rows = letters.reshape(len(texts), length)
    return np.concatenate([_hashed(rows[at : at + _ROWS], seed) for at in range(0, len(rows), _ROWS)])


def _hashed(rows: npt.NDArray[np.uint8], seed: int) -> Words:
    """Hashes of texts (n, length) of one length."""
    count, length = rows.shape
    stripes = length // _STRIPE * _STRIPE
    state = _striped(rows, stripes, seed) if stripes else np.full(count, _sum(seed, P5), np.uint64)
    state += np.uint64(length)
    for at in range(stripes, length - 7, 8):
        state = rotated(state ^ _round(_words(rows, at, 8) * P2), 27) * P1 + P4
    at = length - length % 8
    if length - at >= 4:
        state = rotated(state ^ (_words(rows, at, 4) * P1), 23) * P2 + P3
        at += 4
    for place in range(at, length):
        state = rotated(state ^ (rows[:, place] * P5), 11) * P1
    return avalanche(state)


def _striped(rows: npt.NDArray[np.uint8], stripes: int, seed: int) -> Words:
    """What the whole stripes of 32 bytes come to."""
    begin = (_sum(seed, P1, P2), _sum(seed, P2), _sum(seed), _sum(seed, -int(P1)))
    lanes = [np.full(len(rows), value, np.uint64) for value in begin]
    for at in range(0, stripes, _STRIPE):
        lanes = [_round(lane + _words(rows, at + 8 * place, 8) * P2) for place, lane in enumerate(lanes)]
    state: Words = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) + rotated(lanes[3], 18)
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
    return rotated(sums, 31) * P1


def rotated(words: Words, bits: int) -> Words:
    """Words with their bits turned to the left."""
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def avalanche(state: Words) -> Words:
    """The last step: every bit of the state reaches every bit of the hash."""
    state = (state ^ (state >> np.uint64(33))) * P2
    state = (state ^ (state >> np.uint64(29))) * P3
    return state ^ (state >> np.uint64(32))
