"""Where people need not be asked, on the page: the two machines that take most off people, at each accuracy."""

from pathlib import Path

import pytest

from analysis.report.confidence import build_calibration
from analysis.report.coverage import build_entries, find_best, headline, read
from analysis.tables import Pair
from schemas import layout
from schemas.manifests import PairsManifest
from storage import products
from tests.support.comparisons import MACHINES, SETS, compare
from tests.support.label_sets import write_label_set


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """The comparisons of three machines, thresholds chosen on another split."""
    root = str(tmp_path_factory.mktemp("covered"))
    for split, frames in SETS.items():
        for name, frame in frames.items():
            write_label_set(root, "drawn", name, frame, split=split)
    compare(root, *MACHINES)
    names = [("x", "y"), ("x", "z"), ("y", "z")]
    folders = {pair: layout.pairs(root, "drawn", *pair, "test") for pair in names}
    return [
        Pair(root, "drawn", *pair, "test", products.require_manifest(folder, PairsManifest, "", ""))
        for pair, folder in folders.items()
    ]


def test_the_page_shows_the_pair_of_the_headline(pairs: list[Pair]) -> None:
    ((pair, kind),) = find_best(pairs)
    shares = {
        (one.a, one.b): row["coverage"]
        for one in pairs
        for row in read(one)
        if (row["rule"], row["target"]) == ("agree_and_confident", 0.98)
    }
    assert shares[pair.a, pair.b] == max(shares.values()) > min(shares.values())
    (entry,) = build_entries(pairs)
    assert entry["headline"] == headline(pairs)
    assert (entry["confidence"], entry["chosen_on"], entry["split"]) == (kind, "validation", "test")
    called = [f"{pair.a} and {pair.b} agree confidently", f"{pair.a} alone", f"{pair.b} alone"]
    assert [row["accepts"] for row in entry["rows"]] == [name for name in called for _ in range(5)]
    assert all(name in entry["plot"] for name in called)
    assert "<title>Accuracy of" in entry["plot"]


def test_the_page_shows_how_far_confidence_can_be_trusted(pairs: list[Pair]) -> None:
    (entry,) = build_calibration(pairs)
    assert [row["annotator"] for row in entry["rows"]] == list(MACHINES)
    assert entry["split"] == "test" and len(entry["plots"]) == 3
    for name, shown, row in zip(MACHINES, entry["plots"], entry["rows"], strict=True):
        frame = SETS["test"][name].merge(SETS["test"]["human"], on="image_id", suffixes=("", "_true"))
        assert row["accuracy"] == pytest.approx((frame["label"] == frame["label_true"]).mean())
        assert f"raw confidence is off by {row['ece']:.3f} on average" in shown
        assert "calibrated confidence" not in shown, "no label set is calibrated"


def test_without_thresholds_there_is_nothing_to_show(tmp_path: Path) -> None:
    for name, frame in SETS["test"].items():
        write_label_set(str(tmp_path), "drawn", name, frame)
    compare(str(tmp_path), "x", "y")
    manifest = products.require_manifest(layout.pairs(str(tmp_path), "drawn", "x", "y", "test"), PairsManifest, "", "")
    assert build_entries([Pair(str(tmp_path), "drawn", "x", "y", "test", manifest)]) == []
