"""Hashes, shards and splits: against XXH64 as published, and against plain integers."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from storage import hashing

PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
BITS = 2**64
IDS = [f"train-{row:07d}" for row in range(20_000)]


def _rotate(value: int, bits: int) -> int:
    value %= BITS
    return (value << bits | value >> (64 - bits)) % BITS


def _round(accumulator: int, lane: int) -> int:
    return _rotate(accumulator + lane * PRIMES[1], 31) * PRIMES[0] % BITS


def _lanes(data: bytes, seed: int) -> int:
    """The accumulator after all whole stripes of 32 bytes."""
    lanes = [seed + PRIMES[0] + PRIMES[1], seed + PRIMES[1], seed, seed - PRIMES[0]]
    for start in range(0, len(data) // 32 * 32, 8):
        lane = start // 8 % 4
        lanes[lane] = _round(lanes[lane], int.from_bytes(data[start : start + 8], "little"))
    total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
    for lane in lanes:
        total = ((total ^ _round(0, lane)) * PRIMES[0] + PRIMES[3]) % BITS
    return total


def xxh64(data: bytes, seed: int) -> int:
    """XXH64 step by step, after https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md."""
    total = (_lanes(data, seed) if len(data) >= 32 else seed + PRIMES[4]) + len(data)
    rest = data[len(data) // 32 * 32 :]
    while len(rest) >= 8:
        total = _rotate(total ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * PRIMES[0] + PRIMES[3]
        rest = rest[8:]
    if len(rest) >= 4:
        total = _rotate(total ^ int.from_bytes(rest[:4], "little") * PRIMES[0] % BITS, 23) * PRIMES[1] + PRIMES[2]
        rest = rest[4:]
    for byte in rest:
        total = _rotate(total ^ byte * PRIMES[4] % BITS, 11) * PRIMES[0]
    total %= BITS
    for shift, prime in ((33, PRIMES[1]), (29, PRIMES[2])):
        total = (total ^ total >> shift) * prime % BITS
    return total ^ total >> 32


# Published: xxHash's own sanity check (the empty input), python-xxhash's README, ClickHouse's tests.
@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        ("", 0, 0xEF46DB3751D8E999),
        ("", 2654435761, 0xAC75FDA2929B17EF),
        ("\0", 0, 0xE934A84ADB052768),
        ("a", 0, 0xD24EC4F1A98C6E5B),
        ("abc", 0, 0x44BC2CF5AD770999),
        ("ABC", 0, 0xE66AE7354FCFEE98),
        ("xxhash", 0, 0x32DD38952C4BC720),
        ("xxhash", 20141025, 0xB559B98D844E0635),
    ],
)
def test_hash_is_xxh64_as_published(text: str, seed: int, expected: int) -> None:
    assert hashing.image_hashes([text], seed).tolist() == [expected]
    assert xxh64(text.encode(), seed) == expected


@given(st.lists(st.text(max_size=80), max_size=8), st.integers(0, 2**64 - 1))
def test_hash_is_xxh64_step_by_step(texts: list[str], seed: int) -> None:
    assert hashing.image_hashes(texts, seed).tolist() == [xxh64(text.encode(), seed) for text in texts]


def test_places_never_change() -> None:
    """Every dataset in the world rests on these: a change here orphans all of them."""
    ids = ["train-0000000", "test-0000041", "test_32x32-0000007", "bild-ä"]
    hashes = hashing.image_hashes(ids)
    assert hashes.tolist() == [0xCCAAE20D49FA1207, 0xDC1A53D865D45A8C, 0x42189D8DEBF6F9C1, 0x3B5F5ADF63DCD530]
    assert hashing.shard_of(hashes, 8).tolist() == [6, 6, 2, 1]
    assert hashing.shard_of(hashes, 1024).tolist() == [818, 880, 264, 237]
    fractions = {"train": 0.25, "validation": 0.25, "test": 0.5}
    assert hashing.split_of(ids, fractions).tolist() == ["test", "train", "validation", "validation"]


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(0, 20))
def test_shard_is_the_top_bits(values: list[int], bits: int) -> None:
    shards = hashing.shard_of(np.array(values, dtype=np.uint64), 2**bits)
    assert shards.tolist() == [int(f"{value:064b}"[:bits] or "0", 2) for value in values]


def test_shards_lie_in_hash_order() -> None:
    hashes = np.sort(hashing.image_hashes(IDS))
    shards = hashing.shard_of(hashes, 64)
    assert (np.diff(shards) >= 0).all()
    assert set(shards.tolist()) == set(range(64))


@pytest.mark.parametrize("shards", [0, -8, 3, 6, 12, 1000])
def test_shards_must_be_a_power_of_two(shards: int) -> None:
    with pytest.raises(ValueError, match=f"power of two, got {shards}"):
        hashing.shard_of(np.zeros(1, dtype=np.uint64), shards)


def test_splits_have_the_shares_asked_for() -> None:
    fractions = {"train": 0.7, "validation": 0.1, "test": 0.2}
    counts = Counter(hashing.split_of(IDS, fractions).tolist())
    observed = [counts[name] for name in fractions]
    assert sum(observed) == len(IDS)
    assert stats.chisquare(observed, [len(IDS) * share for share in fractions.values()]).pvalue > 0.01


def test_split_is_where_the_salted_hash_falls() -> None:
    fractions = {"train": 0.7, "validation": 0.1, "test": 0.2}

    def expected(image_id: str) -> str:
        place = xxh64(image_id.encode(), 1) / BITS
        return "train" if place < 0.7 else "validation" if place < 0.7 + 0.1 else "test"

    assert hashing.split_of(IDS[:500], fractions).tolist() == [expected(image_id) for image_id in IDS[:500]]


def test_the_last_hash_has_a_split_though_shares_round_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tenths = {f"split{number}": 0.1 for number in range(10)}  # they add up to 0.9999999999999999
    assert set(hashing.split_of(IDS, tenths).tolist()) == set(tenths)
    monkeypatch.setattr(hashing, "image_hashes", lambda *_: np.array([0, BITS - 1], dtype=np.uint64))
    assert hashing.split_of(["first", "last"], tenths).tolist() == ["split0", "split9"]


def test_shard_and_split_are_independent() -> None:
    shards = hashing.shard_of(hashing.image_hashes(IDS), 8)
    splits = hashing.split_of(IDS, {"a": 0.5, "b": 0.3, "c": 0.2})
    table = [[int(((shards == shard) & (splits == split)).sum()) for split in "abc"] for shard in range(8)]
    assert sum(map(sum, table)) == len(IDS)
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_no_ids_have_no_places() -> None:
    assert hashing.image_hashes([]).tolist() == []
    assert hashing.split_of([], {"train": 1.0}).tolist() == []
