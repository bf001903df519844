"""Four networks on real house numbers, people as the truth: every table is what pandas and scikit-learn make of it."""

import itertools
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, cohen_kappa_score, precision_recall_fscore_support

from analysis.report import page as report_page
from schemas import layout
from schemas.settings.agree import AgreeSettings
from schemas.settings.convert import ConvertSettings
from schemas.settings.label import LabelSettings
from schemas.settings.report import ReportSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Context
from tests.support.stages import agree, convert, label, train

pytestmark = pytest.mark.chains

NETWORKS = ("ann1", "ann2", "cnn1", "cnn2")


@pytest.fixture(scope="module")
def root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root in which four networks learnt a little, labelled, and were compared. Read it only."""
    folder = str(tmp_path_factory.mktemp("real"))
    source = str(shared_data / "svhn_cropped" / "SVHN_single_grey1.h5")
    convert(ConvertSettings(dataset="grey", source="svhn_h5", input=(source,)), Context(folder))
    train([TrainSettings(dataset="grey", network=name, epochs=3, batch_size=64) for name in NETWORKS], Context(folder))
    label(LabelSettings(dataset="grey", models=NETWORKS, splits=("validation", "test")), Context(folder))
    agree(AgreeSettings(dataset="grey", annotators=NETWORKS, reference="human"), Context(folder))
    return folder


@pytest.fixture(scope="module")
def wide(root: str) -> dict[str, pd.DataFrame]:
    """For each split, a row an image: each annotator's label and confidences, by pandas alone."""
    found = {}
    for split in ("validation", "test"):
        parts = []
        for name in (*NETWORKS, "human"):
            frame = pd.concat(
                pd.read_parquet(path)
                for path in sorted(Path(layout.labels(root, "grey", name, split)).glob("*.parquet"))
            )
            columns = frame.set_index("image_id")[["label", "confidence", "confidence_calibrated"]]
            parts.append(columns.add_suffix(f"_{name}"))
        found[split] = pd.concat(parts, axis=1)
    return found


def rows(root: str, table: str, *annotators: str) -> pd.DataFrame:
    found: pd.DataFrame = pq.read_table(layout.agreement_table(root, table, "grey", annotators, "test")).to_pandas()
    return found


@pytest.mark.parametrize("pair", itertools.combinations(NETWORKS, 2), ids="-".join)
def test_figures_are_scikit_learns(root: str, wide: dict[str, pd.DataFrame], pair: tuple[str, str]) -> None:
    test = wide["test"]
    a, b, truth = (test[f"label_{name}"] for name in (*pair, "human"))
    whole = rows(root, "summary", *pair).iloc[0]
    measures = rows(root, "measures", *pair).set_index(["scope", "label", "measure"])["value"]
    assert (whole["n"], whole["n_agree"]) == (2000, (a == b).sum())
    assert whole["cohen_kappa"] == pytest.approx(
        cohen_kappa_score(a, b), abs=1e-12, nan_ok=True
    )  # two that give one label
    for side, given in (("a", a), ("b", b)):
        assert whole[f"accuracy_{side}"] == pytest.approx(accuracy_score(truth, given))
        scores = precision_recall_fscore_support(truth, given, labels=list("0123456789"), zero_division=np.nan)
        for digit in "0123456789":
            for name, values in zip(("precision", "recall", "f1"), scores, strict=False):
                value = measures.loc["class", digit, f"{name}_{side}"]
                np.testing.assert_allclose(value, values[int(digit)], err_msg=f"{name} {digit}")
    confusion = rows(root, "confusion", *pair).set_index(["label_a", "label_b"])["n"]
    expected = pd.DataFrame({"label_a": a, "label_b": b}).value_counts()
    assert confusion.sort_index().to_dict() == expected.sort_index().to_dict()


def test_all_four_together_agree_as_krippendorff_says(root: str, wide: dict[str, pd.DataFrame]) -> None:
    measures = rows(root, "measures", *NETWORKS).query("scope == 'all'").set_index("measure")["value"]
    labels = [wide["test"][f"label_{name}"].astype(float) for name in NETWORKS]
    expected = krippendorff.alpha(np.stack(labels), level_of_measurement="nominal")
    assert measures["krippendorff_alpha"] == pytest.approx(expected)


def test_calibration_and_thresholds_are_those_of_the_labels(root: str, wide: dict[str, pd.DataFrame]) -> None:
    test = wide["test"]
    for name in NETWORKS:
        (row,) = rows(root, "calibration", name).query("scope == 'all'").to_dict("records")
        right = test[f"label_{name}"] == test["label_human"]
        for suffix, column in (("", "confidence"), ("_calibrated", "confidence_calibrated")):
            assert row[f"brier{suffix}"] == pytest.approx(brier_score_loss(right, test[f"{column}_{name}"]), abs=1e-7)
    table = rows(root, "coverage", "cnn1", "cnn2").query("rule == 'agree_and_confident' and confidence == 'calibrated'")
    reached = table[table["threshold"].notna()].to_dict("records")
    assert reached, "no threshold was found for any accuracy"
    for row in reached:
        for split, accuracy in (("validation", row["threshold_split_accuracy"]), ("test", row["accuracy"])):
            frame = wide[split]
            least = frame[["confidence_calibrated_cnn1", "confidence_calibrated_cnn2"]].min(axis=1)
            taken = frame[(frame["label_cnn1"] == frame["label_cnn2"]) & (least >= np.float32(row["threshold"]))]
            assert accuracy == pytest.approx((taken["label_cnn1"] == taken["label_human"]).mean())
        assert row["coverage"] == pytest.approx(len(taken) / len(frame))


def test_the_report_says_what_can_be_accepted_without_review(root: str) -> None:
    report_page.write_report(ReportSettings(dataset="grey"), root)
    page = Path(root, "report", "grey", "index.html").read_text()
    assert 'id="coverage"' in page and 'id="calibration"' in page
    (line,) = [line for line in report_page.list_headlines(root, "grey") if "without human review" in line]
    assert line in page
