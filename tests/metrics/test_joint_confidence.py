"""The confidences of two annotators together, against DuckDB."""

import random
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import calibration
from metrics.calibration import UNKNOWN
from schemas.tables import JOINT_CONFIDENCE

KEYS = {"dataset": "d", "split": "test", "a": "cnn1", "b": "cnn2", "confidence": "raw"}
sure = st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]) | st.none()
mark = st.sampled_from([0, 1, None])
images = st.lists(st.tuples(sure, sure, st.booleans(), mark, mark), max_size=40)
TYPES = {"sa": pa.float32(), "sb": pa.float32(), "agree": pa.bool_(), "ca": pa.int8(), "cb": pa.int8()}


def arrays(some: list[Any]) -> tuple[Any, ...]:
    a, b, agree, right_a, right_b = zip(*some, strict=True) if some else ((), (), (), (), ())
    said = [np.array([np.nan if one is None else one for one in column], np.float32) for column in (a, b)]
    marks = [np.array([UNKNOWN if one is None else one for one in column], np.int8) for column in (right_a, right_b)]
    return (*said, np.array(agree, np.bool_), *marks)


def by_duckdb(some: list[Any], keys: str) -> list[tuple[Any, ...]]:
    columns = list(zip(*some, strict=True)) if some else [()] * 5
    rows = pa.table({name: pa.array(one, kind) for (name, kind), one in zip(TYPES.items(), columns, strict=True)})
    place = "greatest(0, ceil({}::double * 10) - 1)::int"
    known = "ca IS NOT NULL AND cb IS NOT NULL"
    query = f"""
        SELECT {place.format("sa")} AS x, {place.format("sb")} AS y, count(*) AS n, count(*) FILTER (agree),
            count(*) FILTER ({known}), count(*) FILTER ({known} AND ca = 1), count(*) FILTER ({known} AND cb = 1),
            avg(sa::double) FILTER (agree), avg(sb::double) FILTER (agree),
            avg(sa::double) FILTER (NOT agree), avg(sb::double) FILTER (NOT agree)
        FROM rows WHERE sa IS NOT NULL AND sb IS NOT NULL GROUP BY {keys} ORDER BY {keys}"""
    if keys == "()":
        query = query.replace(place.format("sa"), "NULL").replace(place.format("sb"), "NULL")
    assert rows.num_rows == len(some)
    found: list[tuple[Any, ...]] = duckdb.sql(query.replace("ORDER BY ()", "")).fetchall()
    return found


@given(images)
def test_cells_are_those_of_duckdb(some: list[Any]) -> None:
    table = calibration.joint_table(calibration.count_joint(*arrays(some)), KEYS)
    assert table.schema.equals(JOINT_CONFIDENCE, check_metadata=True)
    found = [tuple(row.values())[6:] for row in table.to_pylist()]
    [whole] = by_duckdb(some, "()") or [(None, None, *[0] * 5, *[None] * 4)]
    assert found[0] == pytest.approx(whole, abs=1e-9)
    assert [row[:7] for row in found[1:]] == [row[:7] for row in by_duckdb(some, "x, y")]


@given(images, st.integers(0, 2**32 - 1))
def test_counts_merge_bit_for_bit_in_any_order(some: list[Any], seed: int) -> None:
    columns, drawn = arrays(some), random.Random(seed)
    cuts = sorted(drawn.randint(0, len(some)) for _ in range(2))
    bounds = list(zip([0, *cuts], [*cuts, len(some)], strict=True))
    parts = [calibration.count_joint(*(column[low:high] for column in columns)) for low, high in bounds]
    drawn.shuffle(parts)
    found, whole = (
        calibration.merge_joint([calibration.merge_joint([]), calibration.merge_joint(parts[:2]), *parts[2:]]),
        calibration.count_joint(*columns),
    )
    np.testing.assert_array_equal(found.cells, whole.cells)
    np.testing.assert_array_equal(found.sums, whole.sums)


def test_where_they_agree_they_are_surer() -> None:
    some = [(0.9, 1.0, True, 1, 1), (0.7, 0.5, True, 0, 0), (0.4, 0.2, False, 1, 0), (0.5, None, True, 1, 1)]
    whole = calibration.joint_table(calibration.count_joint(*arrays(some)), KEYS).to_pylist()[0]
    assert [whole[name] for name in ("n", "n_agree", "n_known", "n_correct_a", "n_correct_b")] == [3, 2, 3, 2, 1]
    means = [whole[f"mean_{where}_{side}"] for where in ("agree", "differ") for side in "ab"]
    assert means == pytest.approx([0.8, 0.75, 0.4, 0.2])
