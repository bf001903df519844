"""How sure both are, and how often each label was given: what pandas counts in the same label sets."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.report import confidence
from analysis.report.classes import build_label_counts
from analysis.report.formatting import UNDEFINED
from analysis.tables import Pair
from tests.support.comparisons import SETS, join_machines
from tests.support.pages import find_comparisons
from tests.support.small_root import CLASSES, DATASET, SmallRoot


def pair_of(root: str, a: str, b: str) -> Pair:
    (found,) = (entry.pair for entry in find_comparisons(root, "drawn") if (entry.pair.a, entry.pair.b) == (a, b))
    return found


def tenths(sure: "pd.Series[Any]") -> Any:
    return np.minimum((sure.astype(float) * 10).astype(int), 9)


def test_each_cell_counts_the_images_of_which_both_are_so_sure(compared: str) -> None:
    (entry,) = confidence.build_joint_confidence([pair_of(compared, "x", "y")])
    assert (entry["split"], len(entry["maps"]), len(entry["rows"])) == ("test", 1, 1)
    pair = join_machines("test")
    agree = pair["label_a"] == pair["label_b"]
    for shown, chosen, name in zip(entry["maps"][0], (pair[agree], pair[~agree]), ("agree", "differ"), strict=True):
        counts = Counter(zip(tenths(chosen["confidence_a"]), tenths(chosen["confidence_b"]), strict=True))
        for (a, b), n in counts.items():
            place = f"x {a / 10:.1f}{UNDEFINED}{(a + 1) / 10:.1f}, y {b / 10:.1f}{UNDEFINED}{(b + 1) / 10:.1f}"
            assert f"<title>{place}: {n} image{'s' * (n != 1)}</title>" in shown
        assert shown.count("<title>x ") == len(counts)
        assert f"they {name}: {len(chosen):,} images" in shown
    sure = (tenths(pair["confidence_a"]) == 9) & (tenths(pair["confidence_b"]) == 9)
    (line,) = entry["rows"]
    assert line["both_confident"] == pytest.approx(sure.mean())
    assert line["agree_where_confident"] == pytest.approx(agree[sure].mean())
    assert line["mean_differ_b"] == pytest.approx(pair["confidence_b"][~agree].mean(), abs=1e-6)


def test_the_fuller_a_cell_the_stronger_its_colour() -> None:
    shades = [confidence.opacity(n, 1000) for n in (1, 2, 10, 100, 999, 1000)]
    assert shades == sorted(set(shades))
    assert (shades[0], shades[-1]) == (0.15, 1.0)
    assert confidence.opacity(1, 1) == 1.0


def test_an_annotator_that_is_always_as_sure_is_left_out(compared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pair_of(compared, "x", "y")
    rows = [row for row in confidence.read_joint_confidence(pair) if row["bin_b"] in (None, 9)]
    monkeypatch.setattr(confidence, "read_joint_confidence", lambda _: rows)
    assert confidence.build_joint_confidence([pair]) == []


def test_without_the_table_there_is_nothing_to_show(pristine: SmallRoot) -> None:
    assert confidence.build_joint_confidence([entry.pair for entry in find_comparisons(pristine.root, DATASET)]) == []


def test_labels_are_counted_beside_the_truth(pristine: SmallRoot) -> None:
    (entry,) = build_label_counts(find_comparisons(pristine.root, DATASET), CLASSES)
    columns = {"human": "reference", "cnn1": "label_a", "cnn2": "label_b"}
    assert entry["names"] == list(columns)
    expected = [Counter(row[column] for row in pristine.rows if row[column]) for column in columns.values()]
    assert entry["rows"] == [(name, [counts[name] for counts in expected]) for name in CLASSES]
    assert entry["images"] == [counts.total() for counts in expected]
    share = expected[1]["plain"] / expected[1].total()
    assert f"cnn1 {100 * share:.1f} %" in entry["plot"]
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;: human" in entry["plot"]


def test_each_annotator_is_counted_where_most_of_its_labels_are(compared: str) -> None:
    (entry,) = build_label_counts(find_comparisons(compared, "drawn"), ())
    assert entry["names"] == ["human", "x", "y", "z"]
    frames = SETS["test"]
    x = max((frames["x"].merge(frames[other], on="image_id") for other in "yz"), key=len)
    counts = Counter(x["label_x"])
    assert [numbers[1] for _, numbers in entry["rows"]] == [counts[label] for label, _ in entry["rows"]]


def test_of_very_many_labels_the_most_frequent_are_shown(pristine: SmallRoot) -> None:
    (entry,) = find_comparisons(pristine.root, DATASET)
    many = [{"label_a": f"{n:03d}", "label_b": "000", "n": n + 1} for n in range(100)]
    entry.confusion[:] = many
    (found,) = build_label_counts([entry], ())
    assert found["of"] == 100 + len({row["reference"] for row in pristine.rows} - {None})
    assert len(found["rows"]) == 40
    assert found["rows"][0][0] == "000"
    assert [label for label, _ in found["rows"]][1:3] == ["099", "098"]
