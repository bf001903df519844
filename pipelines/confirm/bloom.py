"""A Bloom filter that is broadcast: which keys may be among many, in a bit array of fixed size.

Two bits a key (Bloom 1970, https://doi.org/10.1145/362686.362692). What it lets through is joined exactly afterwards,
so its false positives (1 or 2 in a hundred) cost a little time and no correctness.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt

BITS_A_KEY = 12  # at least
LEAST_BITS, MOST_BITS = 13, 31  # as powers of two: 1 KiB to 256 MiB
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)

Keys = npt.NDArray[np.uint64]


def bits_for(keys: int) -> int:
    """The size of a filter for so many keys, as a power of two of bits."""
    return min(max((keys * BITS_A_KEY).bit_length(), LEAST_BITS), MOST_BITS)


def _places(keys: Keys, bits: int) -> tuple[Keys, Keys]:
    mixed = keys * _FIRST
    shift = np.uint64(64 - bits)
    return mixed >> shift, ((mixed ^ (mixed >> np.uint64(32))) * _SECOND) >> shift


def may_hold(filter_bytes: npt.NDArray[np.uint8], keys: Keys) -> npt.NDArray[np.int64]:
    """The rows whose keys may be in the filter: all that are, and a few that are not."""
    first, second = _places(keys, len(filter_bytes).bit_length() + 2)
    rows = np.flatnonzero(_bits(filter_bytes, first))
    hits: npt.NDArray[np.int64] = rows[_bits(filter_bytes, second[rows]) != 0]
    return hits


def _bits(filter_bytes: npt.NDArray[np.uint8], places: Keys) -> npt.NDArray[np.uint8]:
    bytes_there: npt.NDArray[np.uint8] = filter_bytes[places >> np.uint64(3)]
    return (bytes_there >> (places & np.uint64(7)).astype(np.uint8)) & np.uint8(1)


def add(filter_bytes: npt.NDArray[np.uint8], keys: Keys) -> None:
    """Put keys into a filter, in place."""
    for places in _places(keys, len(filter_bytes).bit_length() + 2):
        byte, bit = places >> np.uint64(3), (places & np.uint64(7)).astype(np.uint8)
        for number in range(8):  # one bit at a time, so that it does not matter if a byte comes twice
            at = byte[bit == number]
            filter_bytes[at] |= np.uint8(1 << number)


@dataclass(eq=False)
class BuildFilter(beam.CombineFn):  # type: ignore[misc]
    """Combines arrays of keys (uint64, as bytes) into one filter (as bytes)."""

    bits: int

    def create_accumulator(self) -> npt.NDArray[np.uint8]:
        """An empty filter."""
        return np.zeros(1 << (self.bits - 3), dtype=np.uint8)

    def add_input(self, accumulator: npt.NDArray[np.uint8], element: bytes) -> npt.NDArray[np.uint8]:
        """Put the keys in."""
        add(accumulator, np.frombuffer(element, np.uint64))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """What any of them holds."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged |= accumulator
        return merged

    def extract_output(self, accumulator: npt.NDArray[np.uint8]) -> bytes:
        """The filter, as it is broadcast."""
        return accumulator.tobytes()
