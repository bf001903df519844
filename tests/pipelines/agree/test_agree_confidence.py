"""What `agree` tells of confidence and of many annotators: tables that pandas, by itself, finds the same."""

import shutil
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import brier_score_loss

from schemas import layout
from schemas.settings.agree import AgreeSettings
from schemas.stage import Context
from tests.support.comparisons import MACHINES, SETS, compare, join_machines
from tests.support.label_sets import write_label_set
from tests.support.stages import agree


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root in which the machines were compared on the test split. Read it only."""
    folder = str(tmp_path_factory.mktemp("sure"))
    for split, frames in SETS.items():
        for name, frame in frames.items():
            write_label_set(folder, "drawn", name, frame, split=split)
    compare(folder, *MACHINES)
    return folder


def rows(root: str, name: str, *annotators: str) -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(layout.agreement_table(root, name, "drawn", annotators, "test")).to_pandas()
    return found


def test_thresholds_are_chosen_on_validation_and_judged_on_test(root: str) -> None:
    table = rows(root, "coverage", "x", "y")
    sure = table[(table["rule"] == "agree_and_confident") & table["threshold"].notna()]
    assert set(sure["threshold_split"]) == {"validation"}
    assert len(sure) >= 3
    assert sure["coverage"].is_monotonic_decreasing and sure["coverage"].nunique() > 2
    for row in sure.to_dict("records"):
        for split, accuracy in (("validation", row["threshold_split_accuracy"]), ("test", row["accuracy"])):
            pair = join_machines(split)
            accepted = pair[(pair["label_a"] == pair["label_b"]) & (pair["least"] >= np.float32(row["threshold"]))]
            known = accepted[accepted["reference"].notna()]
            assert accuracy == pytest.approx((known["label_a"] == known["reference"]).mean())
            if split == "test":
                assert row["coverage"] == pytest.approx(len(accepted) / len(pair))
        assert row["threshold_split_accuracy"] >= row["target"]


def test_a_machine_alone_is_judged_by_all_of_its_labels(root: str) -> None:
    table = pd.concat([rows(root, "coverage", name) for name in MACHINES])
    assert table.groupby("annotator_a").size().to_dict() == dict.fromkeys(MACHINES, 5)
    assert set(table["rule"]) == {"one"} and table["annotator_b"].isna().all()
    row = table.query("annotator_a == 'x' and target == 0.9").iloc[0]
    frame = SETS["test"]["x"]
    assert row["n"] == len(frame)
    assert row["coverage"] == pytest.approx((frame["confidence"] >= np.float32(row["threshold"])).mean())


def test_reliability_is_each_machines_own(root: str) -> None:
    parts = [rows(root, "calibration", name) for name in MACHINES]
    table = pd.concat(parts).query("scope == 'all'").set_index("annotator")
    assert list(table.index) == list(MACHINES)
    for name in MACHINES:
        frame = SETS["test"][name].merge(SETS["test"]["human"], on="image_id", suffixes=("", "_true"))
        right = frame["label"] == frame["label_true"]
        assert table.loc[name, "n"] == len(frame)
        assert table.loc[name, "brier"] == pytest.approx(brier_score_loss(right, frame["confidence"]))
        assert table.loc[name, "n_calibrated"] == 0


def test_many_annotators_agree_as_krippendorff_says(root: str) -> None:
    measures = rows(root, "measures", *MACHINES).query("scope == 'all'").set_index("measure")
    labels = [SETS["test"][name].set_index("image_id")["label"].astype(float).rename(name) for name in MACHINES]
    wide = pd.concat(labels, axis=1)
    expected = krippendorff.alpha(reliability_data=wide.to_numpy().T, level_of_measurement="nominal")
    assert set(measures["annotator_a"]) == {"x,y,z"} and measures["annotator_b"].isna().all()
    assert measures.loc["n_rated", "value"] == len(wide)
    assert measures.loc["krippendorff_alpha", "value"] == pytest.approx(expected)


def test_the_joint_histogram_counts_every_image(root: str) -> None:
    table, pair = rows(root, "joint_confidence", "x", "y").query("scope == 'bin'"), join_machines("test")
    assert table["n"].sum() == len(pair)
    agree = pair["label_a"] == pair["label_b"]
    assert table["n_agree"].sum() == agree.sum()
    high = table.query("bin_a == 9 and bin_b == 9")["n"].sum()
    assert high == ((pair["confidence_a"] > 0.9) & (pair["confidence_b"] > 0.9)).sum()


def test_without_a_validation_split_no_threshold_is_chosen(tmp_path: Path) -> None:
    for name, frame in SETS["test"].items():
        write_label_set(str(tmp_path), "drawn", name, frame)
    compare(str(tmp_path), "x", "y")
    assert len(rows(str(tmp_path), "coverage", "x", "y")) == 0
    assert len(rows(str(tmp_path), "coverage", "x")) == 0
    assert len(rows(str(tmp_path), "coverage_curve", "x", "y")) == 100
    assert set(rows(str(tmp_path), "coverage_curve", "y")["annotator_a"]) == {"y"}


def test_thresholds_follow_the_validation_labels(tmp_path: Path) -> None:
    def run() -> Any:
        settings = AgreeSettings(dataset="drawn", annotators=("x", "y"), reference="human")
        return agree(settings, Context(str(tmp_path)))[0].built

    for split, frames in SETS.items():
        for name, frame in frames.items():
            write_label_set(str(tmp_path), "drawn", name, frame, split=split)
    assert run()
    assert not run()
    write_label_set(str(tmp_path), "drawn", "x", SETS["validation"]["x"].iloc[:500], split="validation")
    assert run(), "thresholds of other labels were kept"


def test_other_groups_leave_what_is_there_alone(root: str, tmp_path: Path) -> None:
    place = str(shutil.copytree(root, tmp_path / "root"))
    assert [one.built for one in compare(place, "x", "y")] == [False], "a group of others made it again"
    assert [one.built for one in compare(place, "y", "z", splits=("validation", "test"))] == [True, False]
    assert [one.built for one in compare(place, *MACHINES)] == [False] * 3
    assert set(rows(place, "measures", *MACHINES)["label"].dropna()) == set("0123")
