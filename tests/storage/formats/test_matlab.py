"""Arrays of MATLAB files against SciPy's reader, and files that ask for more than they have."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schemas.errors import InputError
from storage.formats import matlab

KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"]
SHAPES = arrays.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=5)


def saved(packed: bool = False, **content: Any) -> bytes:
    sink = io.BytesIO()
    scipy.io.savemat(sink, content, do_compression=packed)
    return sink.getvalue()


@settings(max_examples=60)
@given(st.data(), st.booleans())
def test_arrays_are_those_that_scipy_reads(data: st.DataObject, packed: bool) -> None:
    kinds = st.sampled_from(KINDS).map(np.dtype)
    found = {name: data.draw(arrays.arrays(data.draw(kinds), data.draw(SHAPES))) for name in ("X", "y")}
    content = saved(packed, other="text", cells=np.array([1, "a"], object), **found)
    expected = scipy.io.loadmat(io.BytesIO(content))
    for name, values in matlab.read("x.mat", io.BytesIO(content), ("y", "X")).items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == expected[name].dtype


def test_values_of_several_reads_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "_PART_BYTES", 100)
    values = np.random.default_rng(2).integers(0, 9, (7, 11, 13), dtype=np.uint8)
    for packed in (False, True):
        np.testing.assert_array_equal(matlab.read("x", io.BytesIO(saved(packed, X=values)), ("X",))["X"], values)


def test_files_of_the_other_byte_order_are_read() -> None:
    def part(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = (6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 2, 3)), (1, b"X"), (3, struct.pack(">6h", *range(6)))
    body = b"".join(part(*one) for one in parts)
    content = b"MATLAB 5.0".ljust(124) + b"\1\0MI" + struct.pack(">II", 14, len(body)) + body
    expected = scipy.io.loadmat(io.BytesIO(content))["X"]
    np.testing.assert_array_equal(matlab.read("x", io.BytesIO(content), ("X",))["X"], expected)
    assert expected.tolist() == [[0, 2, 4], [1, 3, 5]]


def bomb(unpacked: int, told: int) -> bytes:
    """One packed variable of zeros that says that it has so many."""
    head = struct.pack("<II", 14, 56 + told)[:8]
    head += struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIii", 5, 8, told >> 10, 1 << 10)
    head += struct.pack("<HH4s", 1, 1, b"X") + struct.pack("<II", 2, told)
    packed = zlib.compress(head + bytes(unpacked), 9)
    return saved(y=1)[:128] + struct.pack("<II", 15, len(packed)) + packed


def test_a_variable_that_cannot_be_as_large_as_it_says_is_refused() -> None:
    assert matlab.read("x", io.BytesIO(bomb(1 << 20, 1 << 20)), ("X",))["X"].shape == (1024, 1024)
    with pytest.raises(InputError, match=r"x: X states 2,147,483,648 bytes, but only 1,\d\d\d are stored"):
        matlab.read("x", io.BytesIO(bomb(1 << 20, 1 << 31)), ("X",))
    with pytest.raises(InputError, match=r"X ends after 1,048,576 of 1,048,600 bytes|has shape"):
        matlab.read("x", io.BytesIO(bomb(1 << 20, 1_048_600)), ("X",))
    plain = bytearray(saved(X=np.zeros((100, 10), np.uint8)))
    at = plain.rindex(struct.pack("<II", 2, 1000))
    plain[at + 4 : at + 8] = struct.pack("<I", 1 << 31)
    with pytest.raises(InputError, match="X"):
        matlab.read("x", io.BytesIO(bytes(plain)), ("X",))


@pytest.mark.parametrize("values", ["text", np.array([1j]), np.array([1, "a"], object), {"a": 1}])
def test_what_are_no_real_numbers_is_refused(values: Any) -> None:
    with pytest.raises(InputError, match=r"x: X holds (text|no real numbers .*), but must hold an array of numbers"):
        matlab.read("x", io.BytesIO(saved(X=values)), ("X",))


def test_names_from_a_file_do_no_harm() -> None:
    content = bytearray(saved(other=1))
    at = content.index(b"other")
    content[at : at + 5] = b"\x1b[2J\n"
    with pytest.raises(InputError, match=r"^x has no variable 'X'; it has: .*x1b\[2J"):
        matlab.read("x", io.BytesIO(bytes(content)), ("X",))
