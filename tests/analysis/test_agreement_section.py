"""Every two annotators and the truth as a matrix, all of them together, and how their intervals were made."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from analysis import tables
from analysis.report.agreement import build_matrices
from analysis.report.formatting import UNDEFINED
from analysis.report.page import is_current
from analysis.tables import count_against_reference, find_groups
from metrics.measures import Figure, chance_corrected
from schemas import layout
from schemas.manifests import PairsManifest
from schemas.settings.report import ReportSettings
from storage import parquet, products, stores
from tests.support.comparisons import MACHINES
from tests.support.measure_rows import by_scope
from tests.support.pages import Outline, find_comparisons, page_of
from tests.support.small_root import DATASET, SmallRoot

DRAWN = ReportSettings(dataset="drawn")


def manifests(root: str) -> list[PairsManifest]:
    return [one for one in products.find_comparisons(root, "drawn").values() if one]


@pytest.mark.parametrize("seed", range(5))
def test_kappa_and_its_interval_are_those_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 40, (4, 4)) + 60 * np.eye(4, dtype=int) * (seed % 2)
    counts = Counter({(str(i), str(j)): int(table[i, j]) for i in range(4) for j in range(4) if table[i, j]})
    oracle = cohens_kappa(table)
    found = chance_corrected.kappa_of_counts(counts)
    assert (found.value, found.low, found.high) == pytest.approx((oracle.kappa, oracle.kappa_low, oracle.kappa_upp))


def test_kappa_where_chance_says_everything() -> None:
    why = "chance alone agrees on everything"
    assert chance_corrected.kappa_of_counts({("a", "a"): 7}) == Figure("cohen_kappa", None, undefined_because=why)
    found = chance_corrected.kappa_of_counts({("a", "a"): 7, ("b", "b"): 2})
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_every_two_and_the_truth_are_in_the_matrix(pristine: SmallRoot) -> None:
    found = find_comparisons(pristine.root, DATASET)
    (matrix,) = build_matrices(found)
    assert (matrix.split, matrix.names) == ("test", ("cnn1", "cnn2", "human"))
    known = [row for row in pristine.rows if row["reference"] is not None]
    told = {
        ("cnn1", "cnn2"): ([row["label_a"] for row in pristine.rows], [row["label_b"] for row in pristine.rows]),
        ("cnn1", "human"): ([row["label_a"] for row in known], [row["reference"] for row in known]),
        ("cnn2", "human"): ([row["label_b"] for row in known], [row["reference"] for row in known]),
    }
    for i, row in enumerate(matrix.names):
        for j, column in enumerate(matrix.names):
            cell = matrix.rows[i][j]
            if i == j:
                assert cell is None
                continue
            one, other = told.get((row, column)) or told[column, row]
            assert cell is not None
            assert cell.n == len(one)
            assert cell.observed[0] == pytest.approx(accuracy_score(one, other))
            assert cell.kappa[0] == pytest.approx(cohen_kappa_score(one, other))
            assert cell.shade == max(cell.kappa[0] or 0, 0)


def test_cells_tell_their_intervals(compared: str) -> None:
    page = page_of(compared, "drawn")
    titles = re.findall(r'<td title="([^"]*)"', page)
    assert len(titles) == 4 * 3
    for title in titles:
        within = rf"95 % interval [\d.]+{UNDEFINED}[\d.]+"
        assert re.fullmatch(rf"\w+ and \w+ agree on [\d.]+ % of [\d,]+; {within}; kappa [\d.]+; {within}", title), title
    text = Outline(page).text("agreement")
    assert "95 % intervals of same label and accuracy: Wilson; of Cohen's kappa: Fleiss, Cohen & Everitt 1969" in text
    assert "of alpha and Fleiss' kappa: Gwet 2014" in text
    rows = Outline(page).table("Agreement in figures")
    assert len({len(row) for row in rows}) == 1
    assert re.fullmatch(rf"0\.\d{{3}}0\.\d{{3}}{UNDEFINED}0\.\d{{3}}", rows[1][rows[0].index("AC1")])


def test_two_alone_without_a_truth_need_no_matrix(pristine: SmallRoot) -> None:
    found = [replace(entry, digest=tables.Digest((), ())) for entry in find_comparisons(pristine.root, DATASET)]
    assert count_against_reference(found) == {}
    assert build_matrices(found) == []


def test_all_together_are_the_most_that_are_compared_from_the_same_labels(compared: str, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    shutil.copytree(compared, root)
    (found,) = find_groups(root, "drawn", manifests(root))
    path = layout.agreement_table(root, "measures", "drawn", MACHINES, "test")
    whole, _ = by_scope(parquet.read(path))
    assert (found.split, found.annotators) == ("test", MACHINES)
    assert found.figures == {name: value for name, value in whole.items() if not name.endswith("_why")}
    assert found.methods["krippendorff_alpha"].startswith("Gwet 2014")
    table = Outline(page_of(root, "drawn")).table("Group agreement")
    shown = f"{whole['krippendorff_alpha']:.3f}"
    shown += f"{whole['krippendorff_alpha_low']:.3f}{UNDEFINED}{whole['krippendorff_alpha_high']:.3f}"
    assert table[1][table[0].index("Krippendorff\N{RIGHT SINGLE QUOTATION MARK}s alpha")] == shown
    assert is_current(DRAWN, root)
    parquet.write(path, parquet.read(path), "another")
    assert not is_current(DRAWN, root)


def test_all_together_of_other_labels_or_without_their_comparisons_are_left_out(compared: str) -> None:
    told = manifests(compared)
    assert len(told) == 3
    assert find_groups(compared, "drawn", told[1:]) == ()
    changed = told[0].model_copy(update={"labels": dict.fromkeys(told[0].labels, "another")})
    assert find_groups(compared, "drawn", [changed, *told[1:]]) == ()
    assert find_groups(compared, "draw", told) == ()
    assert len(find_groups(compared, "drawn", told)) == 1


def test_without_the_table_there_is_no_word_of_all_together(compared: str, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    shutil.copytree(compared, root)
    stores.remove(layout.agreement_table(root, "measures", "drawn", MACHINES, "test"))
    assert "Group agreement" not in page_of(root, "drawn")
