"""Image ids of 16 hexadecimal digits, as Open Images has them: 64-bit numbers, eight digits in a machine word.

Tens of millions of rows are read a second, so this works on whole arrays: a word of eight ASCII digits becomes its
number by arithmetic on all eight at once ("SIMD within a register", https://en.wikipedia.org/wiki/SWAR).
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.xxh64 import P1, P2, P4, P5, avalanche, rotated

Words = npt.NDArray[np.uint64]
DIGITS = 16


def _each(byte: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(int.from_bytes(bytes([byte]) * 8, "big"))


_ONE, _SIX, _LOW, _HIGH, _ZERO = (_each(byte) for byte in (0x01, 0x06, 0x0F, 0xF0, 0x30))
_NINE, _GAP = np.uint64(9), np.uint64(ord("a") - ord("9") - 1)
_FOLDS = (
    (np.uint64(4), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(8), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(16), np.uint64(0x00000000FFFFFFFF)),
)


def parse(texts: npt.NDArray[np.uint8]) -> tuple[Words, npt.NDArray[np.bool_]]:
    """The numbers of ids, and which of them are ids at all: 16 hexadecimal digits, of either case.

    Args:
        texts: (n * 16,) the bytes of n texts of 16 bytes, one after the other.

    Returns:
        two arrays (n,); the number of what is no id means nothing.
    """
    words = texts.view(">u8").astype(np.uint64)
    letters = (words >> np.uint64(6)) & _ONE
    nibbles = (words & _LOW) + letters * _NINE
    beyond_nine = ((nibbles + _SIX) >> np.uint64(4)) & _ONE
    folded = words | (letters << np.uint64(5))
    wrong = ((nibbles + _ZERO + beyond_nine * _GAP) ^ folded) | (nibbles & _HIGH)
    for shift, mask in _FOLDS:
        nibbles = (nibbles | (nibbles >> shift)) & mask
    halves, right = nibbles.reshape(-1, 2), (wrong == 0).reshape(-1, 2)
    return (halves[:, 0] << np.uint64(32)) | halves[:, 1], right[:, 0] & right[:, 1]


def _digits(numbers: Words) -> Words:
    """(n, 2) words of the ASCII digits of numbers (n,), lower-case; the first digit in the highest byte."""
    words = np.stack([numbers >> np.uint64(32), numbers & np.uint64(0xFFFFFFFF)], axis=1)
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F)):
        words = (words | (words << np.uint64(shift))) & np.uint64(mask)
    beyond_nine = ((words + _SIX) >> np.uint64(4)) & _ONE
    return words + _ZERO + beyond_nine * _GAP


def texts(numbers: Words) -> pa.Array:
    """The ids of numbers (n,), as Arrow strings."""
    data = pa.py_buffer(_digits(numbers).astype(">u8").tobytes())
    offsets = pa.py_buffer(np.arange(0, DIGITS * (len(numbers) + 1), DIGITS, dtype=np.int32).tobytes())
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, offsets, data])


def hashes(numbers: Words, seed: int) -> Words:
    """XXH64 of the ids of numbers (n,): what `hashing.image_hashes` gives for their texts.

    https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, for an input of 16 bytes.
    """
    lanes = _digits(numbers).byteswap()  # the specification reads words little-endian
    state = np.full(len(numbers), np.uint64(seed) + P5 + np.uint64(DIGITS), dtype=np.uint64)
    for lane in (lanes[:, 0], lanes[:, 1]):
        state = rotated(state ^ (rotated(lane * P2, 31) * P1), 27) * P1 + P4
    return avalanche(state)
