"""XXH64 of whole arrays: the hashes of the xxhash package."""

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from storage import hashing

SEEDS = st.sampled_from([hashing.SHARD_SEED, hashing.SPLIT_SEED, 2**64 - 1])
TYPES = st.sampled_from([pa.string(), pa.large_string()])


@given(st.lists(st.text(max_size=100)), SEEDS, TYPES)
def test_texts_of_any_length(texts: list[str], seed: int, kind: pa.DataType) -> None:
    expected = [xxhash.xxh64_intdigest(one.encode(), seed) for one in texts]
    assert hashing.hash_texts(pa.array(texts, kind), seed).tolist() == expected


@pytest.mark.parametrize("length", range(70))
def test_every_length(length: int) -> None:
    texts = [bytes(np.random.default_rng(number).integers(0, 256, length, np.uint8)) for number in range(3)]
    found = hashing.hash_texts(pa.array(texts, pa.binary()), 0).tolist()
    assert found == [xxhash.xxh64_intdigest(one) for one in texts]


def test_a_slice_and_more_rows_than_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_ROWS", 7)
    texts = [f"{number:08d}" for number in range(50)] + [str(number) for number in range(50)]
    sliced = pa.array(texts).slice(3, 90)
    assert hashing.hash_texts(sliced, 0).tolist() == hashing.image_hashes(texts[3:93]).tolist()
    assert hashing.hash_texts(sliced.slice(0, 40), 0).tolist() == hashing.image_hashes(texts[3:43]).tolist()
