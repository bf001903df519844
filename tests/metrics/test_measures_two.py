"""Two annotators: published tables to the digits printed, and random ones by scikit-learn, statsmodels and others."""

import math
import warnings
from typing import Any

import krippendorff
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, precision_recall_fscore_support
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from metrics import agreement_tables, counts
from metrics.counts import LabelCounts
from metrics.measures import Undefined, chance_corrected, overlap
from tests.support.measure_rows import by_scope

KEYS = {"dataset": "d", "split": "test", "annotator_a": "x", "annotator_b": "y"}
LABELS = ["0", "1", "7"]
Row = tuple[str, str, str | None]
rows = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "b alone"]), st.sampled_from([*LABELS, None])),
    max_size=25,
)


def counted(some: list[Row], sure: list[tuple[float, float]] | None = None) -> LabelCounts:
    a, b, truth = zip(*some, strict=True) if some else ((), (), ())
    sure = sure or [(1.0, 0.5)] * len(some)
    columns = {"label_a": a, "label_b": b, "reference": truth}
    strings = {name: pa.array(column, pa.string()) for name, column in columns.items()}
    confidences = {f"confidence_{x}": pa.array([one[i] for one in sure], pa.float32()) for i, x in enumerate("ab")}
    return counts.count_labels(pa.table({**strings, **confidences}))


def of_table(matrix: list[list[int]]) -> LabelCounts:
    cells = ((str(i), str(j), n) for i, line in enumerate(matrix) for j, n in enumerate(line))
    return counted([(a, b, None) for a, b, n in cells for _ in range(n)])


def summary(counts: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The figures of all labels, and those of each."""
    return by_scope(agreement_tables.pair_tables(counts, KEYS)["measures"])


def same(found: float | None, expected: float, why: str | None = None) -> None:
    """Equal but for the last digits; null where the oracle has no number."""
    if math.isnan(expected):
        assert found is None, why
    else:
        assert found == pytest.approx(expected, abs=1e-9), why  # confidences are in units of 2**-32


GWET = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]


def test_the_published_table_of_gwet() -> None:
    # K. Gwet, irrCAC: coefficients and standard errors as printed; kappa's is that of Fleiss, Cohen & Everitt, over n
    found = of_table(GWET)
    estimates = {
        "cohen_kappa": chance_corrected.cohen_kappa(found.table),
        "scott_pi": chance_corrected.fleiss_kappa(found.patterns),
        "gwet_ac1": chance_corrected.gwet_ac1(found.patterns),
        "krippendorff_alpha": chance_corrected.krippendorff_alpha(found.patterns),
    }
    printed = {
        "cohen_kappa": (0.7964094, 0.05891072),
        "scott_pi": (0.7962397, 0.05905473),
        "gwet_ac1": (0.8493305, 0.04321747),
        "krippendorff_alpha": (0.7972585, 0.05905473),
    }
    row, _ = summary(found)
    assert row["observed_agreement"] == 0.89
    for name, (value, error) in printed.items():
        estimate = estimates[name]
        assert not isinstance(estimate, Undefined) and estimate.error is not None
        assert (round(float(estimate.value), 7), round(estimate.error, 8)) == (value, error), name
        assert row[name] == float(estimate.value)
        assert row[f"{name}_high"] - row[f"{name}_low"] == pytest.approx(2 * 1.959964 * error, abs=1e-6)


def test_kappa_misleads_where_one_label_is_nearly_all() -> None:
    # Feinstein & Cicchetti 1990: 85 % agreement on 100, kappa 0.70 or 0.32 by how the labels are spread
    balanced, skewed = (summary(of_table(table))[0] for table in ([[40, 9], [6, 45]], [[80, 10], [5, 5]]))
    assert (balanced["observed_agreement"], skewed["observed_agreement"]) == (0.85, 0.85)
    assert (round(balanced["cohen_kappa"], 2), round(skewed["cohen_kappa"], 2)) == (0.70, 0.32)
    assert round(balanced["gwet_ac1"], 2) == 0.70
    assert skewed["gwet_ac1"] == pytest.approx((0.85 - 2 * 0.875 * 0.125) / (1 - 2 * 0.875 * 0.125))
    _, classes = summary(of_table([[80, 10], [5, 5]]))
    assert (classes["0"]["positive_agreement"], classes["0"]["negative_agreement"]) == (160 / 175, 10 / 25)


@given(rows)
@example([])
@example([("0", "0", "0")])
@example([("0", "1", "7")] * 3)
@example([("0", "0", None)] * 5 + [("1", "1", None)] * 5)
def test_chance_corrected_figures_are_the_oracles(some: list[Row]) -> None:
    whole, classes = summary(counted(some))
    a, b = [row[0] for row in some], [row[1] for row in some]
    _check(plain(whole), a, b, some)
    assert list(classes) == sorted({label for row in some for label in row if label is not None})
    for label, row in classes.items():
        _check(plain(row), [one == label for one in a], [one == label for one in b], some)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """The figures of one label by the names that they have over all labels."""
    names = {"n_same_decision": "n_agree"}
    return {names.get(name, name).removeprefix("one_vs_rest_"): value for name, value in row.items()}


def _check(row: dict[str, Any], a: list[Any], b: list[Any], some: list[Row]) -> None:
    """Against scikit-learn, statsmodels and krippendorff."""
    assert (row["n"], row["n_agree"]) == (len(some), sum(x == y for x, y in zip(a, b, strict=True)))
    if not some:
        names = ("observed_agreement", "cohen_kappa", "scott_pi", "krippendorff_alpha", "gwet_ac1")
        assert {row[name] for name in names} == {None}
        return
    assert row["observed_agreement"] == pytest.approx(accuracy_score(a, b))
    low, high = proportion_confint(row["n_agree"], row["n"], method="wilson")
    assert (row["observed_agreement_low"], row["observed_agreement_high"]) == pytest.approx((low, high), abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(row["cohen_kappa"], cohen_kappa_score(a, b))
    labels = sorted({*a, *b})
    if len(labels) == 1:
        assert row["scott_pi"] is row["krippendorff_alpha"] is None
        assert row["scott_pi_why"] == row["krippendorff_alpha_why"] == "chance alone agrees on everything"
        return
    codes = np.array([[labels.index(one) for one in column] for column in (a, b)])
    same(row["krippendorff_alpha"], krippendorff.alpha(codes.astype(float), level_of_measurement="nominal"))
    same(row["scott_pi"], _pi(codes, len(labels)))
    same(row["gwet_ac1"], _ac1(codes, len(labels)))
    _check_interval(row, codes, len(labels))


def _check_interval(row: dict[str, Any], codes: Any, size: int) -> None:
    """Kappa's interval against statsmodels, those of pi and AC1 against the formulas for two annotators."""
    table = np.zeros((size, size))
    np.add.at(table, tuple(codes), 1)
    if row["cohen_kappa"] is not None:
        error = cohens_kappa(table).std_kappa  # NaN: a root of what rounding put below 0
        error = 0.0 if math.isnan(error) else error
        ends = [max(row["cohen_kappa"] - 1.959964 * error, -1), min(row["cohen_kappa"] + 1.959964 * error, 1)]
        assert [row["cohen_kappa_low"], row["cohen_kappa_high"]] == pytest.approx(ends, abs=1e-6)
    for name, error in (("scott_pi", _pi_error(table)), ("gwet_ac1", _ac1_error(table))):
        ends = [max(row[name] - 1.959964 * error, -1), min(row[name] + 1.959964 * error, 1)]
        assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(ends, abs=1e-6), name


def _pi(codes: Any, size: int) -> float:
    shares = np.bincount(codes.ravel(), minlength=size) / codes.size
    observed, expected = (codes[0] == codes[1]).mean(), (shares**2).sum()
    return float((observed - expected) / (1 - expected))


def _ac1(codes: Any, size: int) -> float:
    shares = np.bincount(codes.ravel(), minlength=size) / codes.size
    observed, expected = (codes[0] == codes[1]).mean(), (shares * (1 - shares)).sum() / (size - 1)
    return float((observed - expected) / (1 - expected))


def _pi_error(table: Any) -> float:
    """Gwet 2008, equation for two raters: sums over the cells of the table."""
    n, cells = table.sum(), table / table.sum()
    shares = (cells.sum(0) + cells.sum(1)) / 2
    observed, expected = np.trace(cells), (shares**2).sum()
    pi = (observed - expected) / (1 - expected)
    on = (np.diag(cells) * shares).sum() - observed * expected
    off = (cells * ((shares[:, None] + shares) / 2) ** 2).sum() - expected**2
    spread = observed * (1 - observed) - 4 * (1 - pi) * on + 4 * (1 - pi) ** 2 * off
    return math.sqrt(max(spread, 0) / n) / float(1 - expected)


def _ac1_error(table: Any) -> float:
    n, cells, size = table.sum(), table / table.sum(), len(table)
    shares = (cells.sum(0) + cells.sum(1)) / 2
    observed, expected = np.trace(cells), (shares * (1 - shares)).sum() / (size - 1)
    ac1 = (observed - expected) / (1 - expected)
    on = (np.diag(cells) * (1 - shares)).sum() / (size - 1) - observed * expected
    off = (cells * ((1 - (shares[:, None] + shares) / 2) / (size - 1)) ** 2).sum() - expected**2
    spread = observed * (1 - observed) - 4 * (1 - ac1) * on + 4 * (1 - ac1) ** 2 * off
    return math.sqrt(max(spread, 0) / n) / float(1 - expected)


def test_the_intervals_of_specific_agreement_and_f1_follow_from_that_of_a_share() -> None:
    # both 12, one 4: of either, 12 / 16 are both, between p and q; so is 2 p / (1 + p) of 24 / 28
    ends = [2 * end / (1 + end) for end in proportion_confint(12, 16, method="wilson")]
    found = overlap("f1", 12, 4, "")
    assert (found.measure, found.value) == ("f1", 24 / 28)
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-12)


@given(rows)
@example([("0", "0", None)])
@example([("0", "1", "7")])
def test_precision_recall_and_f1_are_scikit_learns(some: list[Row]) -> None:
    whole, classes = summary(counted(some))
    known = [row for row in some if row[2] is not None]
    assert whole["n_reference"] == len(known)
    truth = [row[2] for row in known]
    for place, annotator in enumerate("ab"):
        names = [f"{figure}_{annotator}" for figure in ("precision", "recall", "f1")]
        given = [row[place] for row in known]
        if not known:
            known_only = {*names, *(f"{kind}_{name}" for name in names for kind in ("micro", "macro"))}
            assert not any(known_only & set(row) for row in (whole, *classes.values()))
            continue
        micro = precision_recall_fscore_support(truth, given, average="micro")
        macro = precision_recall_fscore_support(truth, given, average="macro", zero_division=0)
        for name, one, mean in zip(names, micro[:3], macro[:3], strict=True):
            assert (whole[f"micro_{name}"], whole[f"macro_{name}"]) == pytest.approx((one, mean))
        each = precision_recall_fscore_support(truth, given, labels=list(classes), zero_division=np.nan)
        for number, row in enumerate(classes.values()):
            for name, values in zip(names, each[:3], strict=True):
                same(row[name], values[number], name)
                assert (row[name] is None) == (row[f"{name}_why"] is not None)
        low, high = proportion_confint(whole[f"accuracy_{annotator}"] * len(known), len(known), method="wilson")
        ends = whole[f"accuracy_{annotator}_low"], whole[f"accuracy_{annotator}_high"]
        assert ends == pytest.approx((low, high), abs=1e-12)


@given(rows.filter(bool))
def test_intervals_hold_their_figure(some: list[Row]) -> None:
    whole, classes = summary(counted(some))
    for row in (whole, *classes.values()):
        for name in row:
            if name.endswith("_low") and row[name] is not None:
                figure = name.removesuffix("_low")
                assert row[name] - 1e-12 <= row[figure] <= row[f"{figure}_high"] + 1e-12, name


@given(rows, st.data())
def test_mean_confidence_where_they_agree_and_where_not(some: list[Row], data: Any) -> None:
    sure = [data.draw(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32))) for _ in some]
    whole, classes = summary(counted(some, sure))
    for place, annotator in enumerate("ab"):
        for name, agree in (("agree", True), ("differ", False)):
            of = [one[place] for row, one in zip(some, sure, strict=True) if (row[0] == row[1]) == agree]
            same(whole[f"mean_confidence_{annotator}_{name}"], np.mean(of) if of else math.nan, "all")
            for label, row in classes.items():
                given = [(one[place], r) for r, one in zip(some, sure, strict=True) if r[place] == label]
                mine = [one for one, r in given if (r[1 - place] == label) == agree]
                where = "both_present" if agree else f"only_{annotator}"
                same(row[f"mean_confidence_{annotator}_{where}"], np.mean(mine) if mine else math.nan, label)


@given(rows, st.lists(st.integers(0, 3), min_size=25, max_size=25), st.permutations(range(4)))
def test_any_parts_in_any_order_give_the_same_tables(some: list[Row], parts: list[int], order: list[int]) -> None:
    whole = counted(some)
    split = [counted([row for row, at in zip(some, parts, strict=False) if at == part]) for part in order]
    merged = LabelCounts.merged([LabelCounts.merged(split[:2]), *split[2:]])
    assert agreement_tables.pair_tables(merged, KEYS) == agreement_tables.pair_tables(whole, KEYS)  # bit for bit


def test_figures_are_exact_at_any_size() -> None:
    # 3e9 images, whose squares do not fit 64 bits, have the figures of 3,000: only the intervals shrink
    found = of_table([[2000, 200], [300, 500]])
    cells = found.cells.set_column(3, "n", pa.array([n * 10**6 for n in found.cells["n"].to_pylist()], pa.int64()))
    small, large = summary(found)[0], summary(LabelCounts(cells))[0]
    for name in ("observed_agreement", "chance_agreement", "cohen_kappa", "scott_pi", "gwet_ac1"):
        assert large[name] == small[name]
        width = [row[f"{name}_high"] - row[f"{name}_low"] for row in (small, large)]
        assert width[0] / width[1] == pytest.approx(1000, rel=1e-2)


def test_what_is_undefined_is_told_with_its_reason() -> None:
    tables = agreement_tables.pair_tables(counted([("0", "0", "1")] * 2), KEYS)
    (row,) = tables["summary"].to_pylist()
    assert row["undefined"] == (
        "cohen_kappa, krippendorff_alpha: chance alone agrees on everything; gwet_ac1: only one label occurs; "
        "mean_confidence_a_differ, mean_confidence_b_differ: they differ on nothing"
    )
    _, classes = by_scope(tables["measures"])
    assert (classes["0"]["recall_a"], classes["0"]["recall_a_why"]) == (None, "the reference never has it")
    (row,) = agreement_tables.pair_tables(of_table(GWET), KEYS)["summary"].to_pylist()
    assert row["undefined"] is None


@given(rows)
def test_the_summary_is_the_measures_of_all_labels(some: list[Row]) -> None:
    tables = agreement_tables.pair_tables(counted(some), KEYS)
    whole, _ = by_scope(tables["measures"])
    (row,) = tables["summary"].to_pylist()
    for name in set(row) - set(KEYS) - {"task", "n_compared", "undefined"}:
        assert row[name] == whole.get(name), name
    assert (row["task"], row["n_compared"]) == ("multiclass", len(some))
