"""The tables of what people confirmed: of one making, and laid out class by class."""

import pytest

from analysis.report import verdicts
from analysis.report.page import list_headlines
from analysis.tables import Confirmation, Row, display_names, find_confirmation
from schemas import layout
from schemas.errors import IncompleteError
from tests.support.manifests import confirmation_manifest
from tests.support.small_root import change_manifest
from tests.support.verdict_root import DATASET, VerdictRoot


def test_tables_of_another_making_are_refused(own_verdicts: VerdictRoot) -> None:
    change_manifest(layout.confirmation(own_verdicts.root, DATASET), fingerprint="another")
    with pytest.raises(
        IncompleteError, match=r"statistics/machine_precision/animals.parquet has fingerprint .* is another"
    ):
        list_headlines(own_verdicts.root, DATASET)
    found = find_confirmation(own_verdicts.root, DATASET)
    assert found is not None
    for table in (found.labels_per_image, found.sources):
        with pytest.raises(IncompleteError, match=r"animals.parquet has fingerprint .* is another"):
            table()


def test_dataset_without_verdicts_has_no_confirmation(own_verdicts: VerdictRoot) -> None:
    assert find_confirmation(own_verdicts.root, "nobody") is None


def test_headline_of_a_single_label(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"machine_rows": 5, "verified": 1, "confirmed": 1}
    row |= {"precision": 1.0, "precision_low": 0.2065, "precision_high": 1.0}  # type: ignore[dict-item]
    monkeypatch.setattr(Confirmation, "overall", row)
    found = Confirmation("root", "few", confirmation_manifest("few", "f", counts={"images": 1, "classes": 1}))
    assert verdicts.headline(found) == (
        "humans confirmed 1 of the 1 machine label that they reviewed "
        "(precision 1.000, 95 % interval 0.206 to 1.000): 1 image, 1 class"
    )


def test_grid_has_the_tenths_in_which_anybody_looked() -> None:
    classes: list[Row] = [{"label": "a"}, {"label": "b"}]
    cells: list[Row] = [
        {"label": "a", "decile": 5, "verified": 0},
        {"label": "a", "decile": 7, "verified": 2},
        {"label": "b", "decile": 4, "verified": 1},
    ]
    found = verdicts.build_grid(classes, cells)
    assert found["deciles"] == [4, 7]
    assert found["rows"] == [(classes[0], [None, cells[1]]), (classes[1], [cells[2], None])]


def test_classes_of_the_same_name_are_told_apart() -> None:
    rows: list[Row] = [
        {"label": "/m/1", "display_name": "Apple"},
        {"label": "/m/2", "display_name": "Apple"},
        {"label": "/m/3", "display_name": " Pear\n tree "},
        {"label": "/m/4", "display_name": None},
    ]
    assert display_names(rows) == {"/m/1": "Apple (/m/1)", "/m/2": "Apple (/m/2)", "/m/3": "Pear tree", "/m/4": "/m/4"}
