"""What two machines take off people, in a line: the most images at the accuracy asked for."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.report.coverage import headline
from analysis.tables import Pair
from schemas import layout
from schemas.tables import AGREE_AND_CONFIDENT, COVERAGE
from storage import parquet
from tests.support.manifests import pairs_manifest

ROW: dict[str, Any] = {
    "dataset": "d",
    "split": "test",
    "annotator_a": "x",
    "annotator_b": "y",
    "rule": AGREE_AND_CONFIDENT,
    "confidence": "calibrated",
    "target": 0.98,
    "threshold_split": "validation",
    "threshold": 0.75,
    "threshold_split_known": 50,
    "threshold_split_accuracy": 0.98,
    "n": 200,
    "accepted": 120,
    "known": 100,
    "correct": 97,
    "coverage": 0.6,
    "coverage_low": 0.53,
    "coverage_high": 0.67,
    "accuracy": 0.97,
    "accuracy_low": 0.915,
    "accuracy_high": 0.99,
}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes the coverage of a comparison, and returns it."""

    def write(b: str, *rows: dict[str, Any], fingerprint: str = "f") -> Pair:
        content = pa.Table.from_pylist([{**ROW, "annotator_b": b, **row} for row in rows], schema=COVERAGE)
        parquet.write(layout.agreement_table(str(tmp_path), "coverage", "d", ("x", b), "test"), content, fingerprint)
        return Pair(str(tmp_path), "d", "x", b, "test", pairs_manifest("d", "x", b, "test", "f"))

    return write


def test_the_pair_that_takes_most_off_people_is_told_of(written: Any) -> None:
    less = written("y", {})
    more = written(
        "z",
        {"coverage": 0.7, "confidence": "raw"},
        {"coverage": 0.9, "target": 0.9},
        {"coverage": 1.0, "rule": "agree"},
    )
    (line,) = headline([less, more])
    assert line == (
        "70.0 % of the test images can be accepted without human review: x and z agree there, both with raw confidence "
        "of at least 0.7500 (chosen on validation); accuracy 0.970 (95 % interval 0.915 to 0.990)"
    )


def test_where_no_threshold_will_do_every_image_needs_a_person(written: Any) -> None:
    none = {"threshold": None, "coverage": 0.0, "accuracy": None}
    (line,) = headline([written("y", none)])
    assert line == "No threshold reaches 98 %: every image needs human review"
    unknown = {"accuracy": None, "accuracy_low": None, "accuracy_high": None}
    assert headline([written("y", none, unknown)])[0].endswith("chosen on validation); their accuracy is not known")


def test_without_thresholds_nothing_is_said(written: Any, tmp_path: Path) -> None:
    assert headline([written("y")]) == []
    assert headline([written("y", {}, fingerprint="other")]) == []
    gone = pairs_manifest("d", "x", "gone", "test", "f")
    assert headline([Pair(str(tmp_path), "d", "x", "gone", "test", gone)]) == []
