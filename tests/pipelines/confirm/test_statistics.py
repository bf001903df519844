"""What the counts tell, against SciPy's intervals and DuckDB's sums over the single rows."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from metrics import intervals
from pipelines.confirm import statistics
from pipelines.confirm.statistics import Tallies
from schemas import tables
from schemas.errors import IncompleteError

# --- Shares and their intervals -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 7), (1, 1000), (999, 1000), (750_000, 1_934_243)]
)
def test_the_interval_is_wilsons(successes: int, trials: int) -> None:
    share, low, high = intervals.wilson_intervals(np.array([float(successes)]), np.array([float(trials)]))
    expected = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert share[0] == successes / trials
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low[0] <= share[0] <= high[0] <= 1


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_interval_is_wilsons_for_any_counts(successes: int, more: int) -> None:
    trials = successes + more
    _, low, high = intervals.wilson_intervals(np.array([float(successes)]), np.array([float(trials)]))
    expected = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_tried_has_no_share() -> None:
    assert np.isnan(np.stack(intervals.wilson_intervals(np.zeros(1), np.zeros(1)))).all()


# --- Tables -------------------------------------------------------------------------------------

WHAT = ["machine_rows", "confirmed", "rejected", "dropped", "duplicate_rows"]
MARKS = st.lists(
    st.tuples(st.sampled_from(WHAT), st.sampled_from(["/m/1", "/m/2", "é"]), st.integers(0, 9)), max_size=60
)

BY_SCOPE = """
SELECT scope, label, decile, count(*) AS machine_rows,
  count(*) FILTER (what = 'confirmed') AS confirmed, count(*) FILTER (what = 'rejected') AS rejected,
  count(*) FILTER (what IN ('confirmed', 'rejected')) AS verified,
  count(*) FILTER (what IN ('dropped', 'duplicate_rows')) AS excluded,
  count(*) FILTER (what = 'machine_rows') AS without_verdict,
  confirmed / nullif(verified, 0) AS precision
FROM (
  SELECT 'all' AS scope, NULL::VARCHAR AS label, NULL::INTEGER AS decile, what FROM marks
  UNION ALL SELECT 'decile', NULL, decile, what FROM marks
  UNION ALL SELECT 'class', label, NULL, what FROM marks
  UNION ALL SELECT 'class_decile', label, decile, what FROM marks
) GROUP BY ALL ORDER BY scope, label, decile"""


def counts_of(marks: list[tuple[str, str, int]]) -> Tallies:
    """Counts of machine rows, each of which came to one end, as the reader and the join count them."""
    counts: Tallies = {}
    for what, label, decile in marks:
        for key in {("machine_rows", label, decile), (what, label, decile)}:
            counts[key] = counts.get(key, 0) + 1
    return counts


@settings(max_examples=15)
@given(MARKS)
def test_rows_add_up_as_in_duckdb(some: list[tuple[str, str, int]]) -> None:
    names = {"/m/1": "Apple"}
    found = statistics.label_table(counts_of(some), "d", names)
    assert found.schema.equals(tables.MACHINE_PRECISION)
    rows = found.to_pylist()
    assert {row["dataset"] for row in rows} == {"d"}
    assert {(row["label"], row["display_name"]) for row in rows if row["display_name"]} <= {("/m/1", "Apple")}
    columns = zip(*some, strict=True) if some else ((), (), ())
    types = (pa.string(), pa.string(), pa.int32())
    marks = pa.table(dict(zip(("what", "label", "decile"), map(pa.array, columns, types), strict=True)))
    expected = duckdb.connect().register("marks", marks).sql(BY_SCOPE).to_arrow_table().to_pylist()
    order = lambda row: (row["scope"], row["label"] or "", -1 if row["decile"] is None else row["decile"])  # noqa: E731
    kept = [{name: row[name] for name in expected[0]} for row in rows] if expected else []
    assert sorted(kept, key=order) == sorted(expected, key=order)
    assert expected or [row["scope"] for row in rows] == ["all"]


def test_each_scope_adds_up_to_all() -> None:
    marks = [(WHAT[n % 5], f"/m/{n % 3}", n % 10) for n in range(200)]
    rows = statistics.label_table(counts_of(marks), "d", {}).to_pylist()
    for name in ("machine_rows", "confirmed", "rejected", "verified", "excluded", "without_verdict"):
        sums = {scope: sum(row[name] for row in rows if row["scope"] == scope) for scope in {r["scope"] for r in rows}}
        assert set(sums) == {"all", "class", "decile", "class_decile"}
        assert len(set(sums.values())) == 1
    for row in rows:
        assert row["machine_rows"] == row["verified"] + row["excluded"] + row["without_verdict"]
        assert (row["precision"] is None) == (row["precision_low"] is None) == (row["verified"] == 0)


def test_tables_of_images_and_sources() -> None:
    counts: Tallies = {
        ("labels_per_image", "human", 2): 5,
        ("labels_per_image", "confirmed", 1): 7,
        ("labels_per_image", "confirmed", 10): 1,
        ("human_rows", "verification", 1): 3,
        ("human_rows", "verification", 0): 4,
        ("human_rows", "", 1): 9,
        ("read", "human", 0): 16,
    }
    per_image = statistics.per_image_table(counts, "d")
    assert per_image.schema.equals(tables.LABELS_PER_IMAGE)
    assert [tuple(row.values()) for row in per_image.to_pylist()] == [
        ("d", "confirmed", 1, 7),
        ("d", "confirmed", 10, 1),
        ("d", "human", 2, 5),
    ]
    sources = statistics.source_table(counts, "d")
    assert sources.schema.equals(tables.VERDICT_SOURCES)
    assert [tuple(row.values()) for row in sources.to_pylist()] == [("d", "", 9, 0), ("d", "verification", 3, 4)]


# --- Where every row went -----------------------------------------------------------------------

WHOLE: Tallies = {
    ("read", "machine", 0): 100,
    ("malformed", "machine:row_malformed", 0): 3,
    ("malformed", "machine:confidence_outside", 0): 2,
    ("narrowed", "machine:images", 0): 10,
    ("narrowed", "machine:classes", 0): 5,
    ("machine_rows", "/m/1", 9): 50,
    ("machine_rows", "/m/2", 0): 30,
    ("duplicate", "machine", 0): 4,
    ("confirmed", "/m/1", 9): 8,
    ("rejected", "/m/2", 0): 6,
    ("dropped", "/m/1", 9): 1,
    ("read", "human", 0): 40,
    ("malformed", "human:row_malformed", 0): 1,
    ("human_rows", "verification", 1): 39,
    ("duplicate", "human", 0): 2,
    ("conflict", "human", 0): 1,
    ("images", "", 0): 7,
    ("other_labels", "", 0): 3,
    ("set_rows", "machine", 0): 20,
    ("set_rows", "human", 0): 11,
    ("set_repeated", "human", 0): 2,
}


def test_the_reconciliation() -> None:
    found: dict[str, Any] = statistics.reconcile(WHOLE)
    assert found["machine"] == {
        "read": 100,
        "malformed": {"confidence_outside": 2, "row_malformed": 3},
        "narrowed": {"classes": 5, "images": 10},
        "unmatched": 61,
        "duplicate": 4,
        "matched": 15,
    }
    assert (found["human"]["unmatched"], found["human"]["narrowed"]) == (22, {})
    assert (found["in"], found["malformed"]) == (140, {"confidence_outside": 2, "row_malformed": 4})
    for side in ("machine", "human"):
        parts = [part if isinstance(part, int) else sum(part.values()) for part in list(found[side].values())[1:]]
        assert sum(parts) == found[side]["read"]
    names = ("matched", "confirmed", "rejected", "dropped", "conflicts", "other_labels", "images", "classes")
    assert [found[name] for name in names] == [15, 8, 6, 1, 1, 3, 7, 1]
    assert found["label_sets"] == {"human": {"rows": 11, "repeated": 2}, "machine": {"rows": 20, "repeated": 0}}


@pytest.mark.parametrize("key", [key for key in WHOLE if key[0] in ("read", "malformed", "narrowed", "machine_rows")])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_count_that_is_one_off_is_noticed(key: tuple[str, str, int], change: int) -> None:
    with pytest.raises(IncompleteError, match=r"rows of (machine|human) were read, but .*; run with --force"):
        statistics.reconcile({**WHOLE, key: WHOLE[key] + change})


def test_more_that_matched_than_was_of_interest_is_noticed() -> None:
    with pytest.raises(IncompleteError, match="39 counted"):
        statistics.reconcile({**WHOLE, ("duplicate", "human", 0): 25})


def test_nothing_read() -> None:
    found = statistics.reconcile({})
    assert (found["in"], found["matched"], found["images"], found["classes"], found["malformed"]) == (0, 0, 0, 0, {})
