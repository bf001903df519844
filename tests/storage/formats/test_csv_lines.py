"""Blocks of CSV in parts: every line whole, in one part, in order."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.formats import csv_lines
from storage.formats.csv_ranges import Block


@given(st.lists(st.sampled_from([b"a", b"bb,c", b"\n", b"\r\n", b"\r"])).map(b"".join), st.integers(0, 9), st.binary())
def test_parts_are_the_block(lines: bytes, size: int, more: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_lines, "PART_BYTES", size)
        found = list(csv_lines.split_block(Block(lines + more, 100, len(lines))))
    assert b"".join(part.lines for part in found) == lines
    assert [part.offset for part in found] == [100 + sum(one.size for one in found[:n]) for n in range(len(found))]
    whole = [line for line in re.split(rb"[\r\n]", lines) if line]
    assert [line for part in found for line in re.split(rb"[\r\n]", part.lines) if line] == whole
    assert found
