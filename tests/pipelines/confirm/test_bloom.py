"""The Bloom filter: what was put in is found, little else is, and parts put together are the whole."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.confirm import bloom

KEYS = st.lists(st.integers(0, 2**64 - 1), max_size=60)


def words(keys: list[int]) -> npt.NDArray[np.uint64]:
    return np.array(keys, dtype=np.uint64)


def drawn(count: int, seed: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def filled(keys: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint8]:
    combine = bloom.BuildFilter(bits)
    content = combine.extract_output(combine.add_input(combine.create_accumulator(), keys.tobytes()))
    assert len(content) == 2**bits // 8
    return np.frombuffer(content, np.uint8)


@given(KEYS, st.integers(bloom.LEAST_BITS, 17))
def test_every_key_that_was_put_in_is_found(keys: list[int], bits: int) -> None:
    keys = [*keys, 0, 2**64 - 1]
    assert bloom.may_hold(filled(words(keys), bits), words(keys)).tolist() == list(range(len(keys)))


@pytest.mark.parametrize("step", [1, 2, 2**20, 2**32 + 1, 2**48])
def test_every_one_of_many_regular_keys_is_found(step: int) -> None:
    keys = np.arange(20_000, dtype=np.uint64) * np.uint64(step)
    content = filled(keys, bloom.bits_for(len(keys)))
    assert len(bloom.may_hold(content, keys)) == 20_000
    others = keys + np.uint64(20_000) * np.uint64(step)
    assert len(bloom.may_hold(content, others)) < 0.04 * 20_000


@pytest.mark.parametrize("count", [10_000, 43_690, 60_000, 87_380])
def test_false_positives_are_as_rare_as_theory_says(count: int) -> None:
    """Bloom 1970: with k bits a key of m, n keys let (1 - e^(-kn/m))^k of the others through."""
    bits = bloom.bits_for(count)
    content = filled(drawn(count, 1), bits)
    tried = 400_000
    found = len(bloom.may_hold(content, drawn(tried, 2)))
    expected = tried * (1 - math.exp(-2 * count / 2**bits)) ** 2
    assert abs(found - expected) < 5 * math.sqrt(expected) + 0.02 * expected
    assert found / tried < 0.025


def test_what_may_be_in_it_are_numbers_of_rows_in_order() -> None:
    content = filled(words([5, 7]), 20)
    assert bloom.may_hold(content, words([1, 5, 2, 7, 5])).tolist() == [1, 3, 4]
    assert bloom.may_hold(content, words([])).tolist() == []
    assert bloom.may_hold(filled(words([]), 13), drawn(1000, 3)).tolist() == []


@given(st.lists(KEYS, max_size=5))
def test_parts_put_together_are_the_whole(parts: list[list[int]]) -> None:
    combine = bloom.BuildFilter(13)
    accumulators = []
    for part in parts:
        accumulator = combine.create_accumulator()
        for half in (part[::2], part[1::2]):
            accumulator = combine.add_input(accumulator, words(half).tobytes())
        accumulators.append(accumulator)
    merged = combine.extract_output(combine.merge_accumulators(accumulators))
    assert merged == filled(words([key for part in parts for key in part]), 13).tobytes()


@given(KEYS)
def test_keys_that_come_twice_change_nothing(keys: list[int]) -> None:
    assert filled(words(keys + keys), 13).tobytes() == filled(words(keys), 13).tobytes()


@pytest.mark.parametrize(
    ("keys", "bits"), [(-5, 13), (0, 13), (1, 13), (682, 13), (683, 14), (10_000_000, 27), (1 << 40, 31)]
)
def test_sizes_are_powers_of_two_of_at_least_twelve_bits_a_key(keys: int, bits: int) -> None:
    assert bloom.bits_for(keys) == bits
    assert 2**bits >= 12 * keys or bits == bloom.MOST_BITS
