"""Strings of digits: lengths, places and edits as a loop over images counts them."""

from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score
from statsmodels.stats.proportion import proportion_confint

from metrics import agreement_tables, counts
from metrics.counts import SequenceCounts
from tests.support.measure_rows import by_scope

KEYS = {"dataset": "d", "split": "test", "annotator_a": "x", "annotator_b": "y"}
number = st.one_of(st.text("012", max_size=8), st.sampled_from(["12345+", "01201+", "123456"]))
rows = st.lists(st.tuples(number, number, st.none() | number), max_size=15)
Row = tuple[str, str, str | None]


def counted(some: list[Row]) -> SequenceCounts:
    columns = list(zip(*some, strict=True)) if some else [(), (), ()]
    names = ("label_a", "label_b", "reference")
    strings = {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
    ones = pa.array([1.0] * len(some), pa.float32())
    return SequenceCounts(counts.count_labels(pa.table({**strings, "confidence_a": ones, "confidence_b": ones})).cells)


def table(found: SequenceCounts) -> dict[str, Any]:
    whole, classes = by_scope(agreement_tables.pair_tables(found, KEYS)["measures"])
    assert classes == {}, "a string is no class"
    return whole


@cache
def edits(one: str, other: str) -> int:
    """Levenshtein's distance as he defines it."""
    if not one or not other:
        return len(one) + len(other)
    changed = edits(one[1:], other[1:]) + (one[0] != other[0])
    return min(changed, edits(one[1:], other) + 1, edits(one, other[1:]) + 1)


@given(rows)
@example([])
@example([("", "", "")])
@example([("", "12", None), ("201", "02", "0201")])
@example([("12345+", "123456", "12345")])
def test_every_figure_is_that_of_a_loop(some: list[Row]) -> None:
    row = table(counted(some))
    kinds = {"": [(a, b) for a, b, _ in some]}
    kinds |= {f"_{x}": [(r[k], r[2]) for r in some if r[2] is not None] for k, x in enumerate("ab")}  # type: ignore[misc]
    for of, pairs in kinds.items():
        if not pairs:
            names = (f"same_length{of}", f"mean_edit_distance{of}", f"same_digit_1{of}")
            assert {row.get(name) for name in names} == {None}
            assert (names[0] in row) == (of == ""), "without a reference there is nothing to report"
            continue
        distance = sum(edits(one, other) for one, other in pairs) / len(pairs)
        assert row[f"mean_edit_distance{of}"] == pytest.approx(distance)
        alike = [min(len(one), 6) == min(len(other), 6) for one, other in pairs]
        assert row[f"same_length{of}"] == pytest.approx(sum(alike) / len(alike))
        for place in range(5):
            digits = [tuple(text.rstrip("+")[place : place + 1] for text in pair) for pair in pairs]
            either = [pair for pair in digits if any(pair)]
            found = row[f"same_digit_{place + 1}{of}"]
            if either:
                agree = sum(one == other for one, other in either)
                assert found == pytest.approx(agree / len(either))
                low, _ = proportion_confint(agree, len(either), method="wilson")
                assert row[f"same_digit_{place + 1}{of}_low"] == pytest.approx(low, abs=1e-12)
            else:
                assert found is None
                assert row[f"same_digit_{place + 1}{of}_why"] == "no string is so long"


def test_whole_strings_are_compared_as_labels() -> None:
    some: list[Row] = [("12", "12", "12"), ("1", "12", "1"), ("", "", "5"), ("12", "21", None)]
    row = table(counted(some))
    a, b = [one[0] for one in some], [one[1] for one in some]
    assert (row["n"], row["n_agree"], row["observed_agreement"]) == (4, 2, accuracy_score(a, b))
    assert row["cohen_kappa"] == pytest.approx(cohen_kappa_score(a, b))
    assert (row["accuracy_a"], row["accuracy_b"], row["n_reference"]) == (2 / 3, 1 / 3, 3)
    assert not {"macro_f1_a", "micro_precision_a", "hamming_loss"} & set(row)


@given(rows, st.lists(st.integers(0, 2), min_size=15, max_size=15), st.permutations(range(3)))
def test_any_parts_in_any_order_give_the_same_table(some: list[Row], parts: list[int], order: list[int]) -> None:
    split = [counted([row for row, at in zip(some, parts, strict=False) if at == part]) for part in order]
    merged = SequenceCounts.merged([SequenceCounts.merged(split[:2]), split[2]])
    assert type(merged) is SequenceCounts
    assert agreement_tables.pair_tables(merged, KEYS) == agreement_tables.pair_tables(
        counted(some), KEYS
    )  # bit for bit
