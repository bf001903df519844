"""Tallies add up as Python's counters do, in any order and through any number of hands."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.confirm import join
from pipelines.confirm.join import AddTallies, Key
from storage.parquet import from_ipc

KEYS = st.tuples(st.sampled_from(["read", "é", ""]), st.sampled_from(["machine", "a,b", ""]), st.integers(0, 3))
COUNTERS = st.lists(st.dictionaries(KEYS, st.integers(0, 2**40), max_size=6), max_size=6)


def counted(tally: pa.Table) -> dict[Key, int]:
    """What a tally says; its keys are in order, and none comes twice."""
    assert tally.schema.equals(join.TALLY_SCHEMA)
    rows = [tuple(row.values()) for row in tally.to_pylist()]
    keys = [row[:3] for row in rows]
    assert keys == sorted(set(keys))
    return {(what, name, number): n for what, name, number, n in rows}


def total(counters: list[dict[Key, int]]) -> dict[Key, int]:
    whole: Counter[Key] = Counter()
    for one in counters:
        whole.update(one)
    return {key: n for key, n in whole.items() if n}


@given(COUNTERS)
def test_tallies_add_up(counters: list[dict[Key, int]]) -> None:
    parts = [join.tally(one) for one in counters]
    assert counted(join.add_tallies(parts)) == total(counters)
    assert join.add_tallies(parts).equals(join.add_tallies(parts[::-1]))
    assert counted(from_ipc(join.encode_tallies(parts))) == total(counters)


@given(COUNTERS, st.integers(1, 3))
def test_the_combiner_adds_up_whichever_way_it_is_used(counters: list[dict[Key, int]], hands: int) -> None:
    combine = AddTallies()
    accumulators = []
    for hand in range(hands):
        accumulator = combine.create_accumulator()
        for one in counters[hand::hands]:
            accumulator = combine.add_input(accumulator, join.encode_tallies([join.tally(one)]))
        accumulators.append(combine.compact(accumulator) if hand else accumulator)
    merged = combine.merge_accumulators(accumulators)
    assert counted(from_ipc(combine.extract_output(merged))) == total(counters)


def test_a_worker_holds_only_so_many() -> None:
    combine = AddTallies()
    accumulator = combine.create_accumulator()
    for _ in range(1000):
        accumulator = combine.add_input(accumulator, join.encode_tallies([join.tally({("read", "machine", 0): 3})]))
        assert len(accumulator) <= 33
    assert counted(from_ipc(combine.extract_output(accumulator))) == {("read", "machine", 0): 3000}


def test_zeros_are_left_out() -> None:
    assert join.tally({("a", "", 0): 0, ("b", "", 0): 2}).to_pylist() == [
        {"what": "b", "name": "", "number": 0, "n": 2}
    ]
    assert join.tally({}).equals(join.TALLY_SCHEMA.empty_table())
    assert join.add_tallies([]).equals(join.TALLY_SCHEMA.empty_table())


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=5))
def test_a_grid(rows: list[list[int]]) -> None:
    names = [f"class {number}" for number in range(len(rows))]
    grid = np.array(rows, dtype=np.int64).reshape(len(rows), 4)
    expected = {("w", names[r], c): n for r, row in enumerate(rows) for c, n in enumerate(row) if n}
    assert counted(join.tally_grid("w", pa.array(names, pa.string()), grid)) == expected
