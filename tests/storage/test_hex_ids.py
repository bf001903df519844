"""Image ids as numbers, against Python's own reading and writing of hexadecimals and the xxhash library."""

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from storage import hashing

NUMBERS = st.lists(st.integers(0, 2**64 - 1), max_size=20)
DIGITS = st.text("0123456789abcdefABCDEF", min_size=16, max_size=16)


def words(numbers: list[int]) -> hashing.Words:
    return np.array(numbers, dtype=np.uint64)


def parsed(texts: list[bytes]) -> tuple[list[int], list[bool]]:
    numbers, right = hashing.parse_hex_ids(np.frombuffer(b"".join(texts), np.uint8))
    assert str(numbers.dtype) == "uint64"
    assert numbers.shape == right.shape == (len(texts),)
    return numbers.tolist(), right.tolist()


@given(st.lists(DIGITS, max_size=20))
def test_what_python_reads_as_hexadecimal(texts: list[str]) -> None:
    assert parsed([text.encode() for text in texts]) == ([int(text, 16) for text in texts], [True] * len(texts))


@pytest.mark.parametrize("place", range(hashing.DIGITS))
def test_every_byte_in_every_place(place: int) -> None:
    """A wrong byte is seen wherever it stands, and disturbs no neighbour."""
    id_text = b"0123456789abcDEF"
    odd = [id_text[:place] + bytes([byte]) + id_text[place + 1 :] for byte in range(256)]
    numbers, right = parsed([text for one in odd for text in (b"f" * 16, one, b"0" * 16)])
    assert right[0::3] == right[2::3] == [True] * 256
    assert (set(numbers[0::3]), set(numbers[2::3])) == ({2**64 - 1}, {0})
    digits = b"0123456789abcdefABCDEF"
    assert right[1::3] == [byte in digits for byte in range(256)]
    for byte in digits:
        assert numbers[1 + 3 * byte] == int(odd[byte], 16)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_any_bytes_at_all(texts: list[bytes]) -> None:
    digits = set(b"0123456789abcdefABCDEF")
    numbers, right = parsed(texts)
    assert right == [set(text) <= digits for text in texts]
    assert [n for n, good in zip(numbers, right, strict=True) if good] == [
        int(text, 16) for text in texts if set(text) <= digits
    ]


def test_a_part_of_a_larger_buffer_is_read_where_it_begins() -> None:
    text = np.frombuffer(b"xyz" + b"00000000000000ff" + b"more", np.uint8)
    numbers, right = hashing.parse_hex_ids(text[3:19])
    assert (numbers.tolist(), right.tolist()) == ([255], [True])


@given(NUMBERS)
def test_texts_are_what_python_writes(numbers: list[int]) -> None:
    texts = hashing.hex_id_texts(words(numbers))
    texts.validate(full=True)
    assert (str(texts.type), texts.null_count) == ("string", 0)
    assert texts.to_pylist() == [f"{number:016x}" for number in numbers]


@given(NUMBERS)
def test_texts_are_read_back(numbers: list[int]) -> None:
    texts = hashing.hex_id_texts(words(numbers)).to_pylist()
    assert parsed([text.encode() for text in texts]) == (numbers, [True] * len(numbers))


@given(NUMBERS, st.sampled_from([hashing.SHARD_SEED, hashing.SPLIT_SEED, 2, 2**31]))
def test_hashes_are_those_of_the_texts(numbers: list[int], seed: int) -> None:
    found = hashing.hash_hex_ids(words(numbers), seed)
    assert found.dtype == np.uint64
    assert found.tolist() == [xxhash.xxh64_intdigest(f"{number:016x}".encode(), seed) for number in numbers]
    ids = hashing.hex_id_texts(words(numbers)).to_pylist()
    assert found.tolist() == hashing.image_hashes(ids, seed).tolist()


@pytest.mark.parametrize("number", [0, 1, 9, 10, 15, 16, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_the_edges(number: int) -> None:
    assert hashing.hex_id_texts(words([number])).to_pylist() == [f"{number:016x}"]
    assert parsed([f"{number:016X}".encode()]) == ([number], [True])
    assert hashing.hash_hex_ids(words([number]), 1).tolist() == [xxhash.xxh64_intdigest(f"{number:016x}".encode(), 1)]
