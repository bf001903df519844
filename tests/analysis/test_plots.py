"""Learning curves: every epoch drawn, the same bytes each time, and words for those who do not see them."""

import math
import re
import warnings
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from analysis.report import plots, verdicts
from analysis.report.formatting import UNDEFINED
from analysis.tables import Row
from tests.support.small_root import HISTORY


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_plot_is_xml_with_a_title_and_needs_nothing(metric: str) -> None:
    svg = plots.plot_learning_curve(HISTORY, metric, 2)
    tree = ET.fromstring(re.sub("xlink:href", "href", svg))
    assert tree.tag == "svg"
    title = tree.find("title")
    assert title is not None
    assert title.text == tree.get("aria-label") == plots.describe_curve(HISTORY, metric, 2)
    assert "http" not in svg
    texts = [element.text for element in tree.iter("text")]
    assert {"training", "validation", "best epoch: 2", "epoch", metric} <= set(texts)


def test_description_tells_the_numbers() -> None:
    words = "Accuracy by epoch: training from 0.300 to 0.900, validation from 0.400 to 0.500; best epoch 2."
    assert plots.describe_curve(HISTORY, "accuracy", 2) == words


def test_every_epoch_has_a_marker_in_each_series() -> None:
    def markers(epochs: int) -> int:
        values = [0.5] * epochs
        return plots.plot_learning_curve({"loss": values, "val_loss": values}, "loss", None).count("<use ")

    ticks_and_keys = markers(3) - 2 * 3
    assert markers(3) - markers(2) in {2, 3, 4}  # two series, and perhaps another tick
    assert ticks_and_keys > 0
    assert markers(41) < 20 < markers(40), "where there are too many, lines alone"


def test_same_numbers_same_bytes_and_ids_of_their_own() -> None:
    first, again = (plots.plot_learning_curve(HISTORY, "loss", 2) for _ in range(2))
    assert first == again
    other = plots.plot_learning_curve(HISTORY, "accuracy", 2)
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, other), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {(name, "") for name in known} | {
            ("", name) for name in known
        }


def test_colours_are_the_pages_own() -> None:
    svg = plots.plot_learning_curve(HISTORY, "loss", 2)
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert "currentColor" in svg
    assert not set(re.findall(r"#[0-9a-f]{6}\b", svg)) & {"#010101", "#020202", "#030303"}


def test_divergent_and_short_histories_are_drawn() -> None:
    assert plots.plot_learning_curve({"loss": [1.0, math.nan, math.inf], "val_loss": [math.nan] * 3}, "loss", None)
    assert plots.plot_learning_curve({"loss": [1.0]}, "loss", 1)


NASTY = ["<b>&", "$x_1^2$ $", "\\1 %s", "\N{CJK UNIFIED IDEOGRAPH-72AC}", 'a "quote" fill: #010101']


def figures(confirmed: int, rejected: int, **more: Any) -> Row:
    verified = confirmed + rejected
    known = {"precision": confirmed / verified, "precision_low": 0.1, "precision_high": 0.99} if verified else {}
    row = {"confirmed": confirmed, "rejected": rejected, "verified": verified, "excluded": 0, "without_verdict": 0}
    nothing = dict.fromkeys(("precision", "precision_low", "precision_high"))
    return {**row, "machine_rows": verified, **nothing, **known, **more}


def parsed(plot: verdicts.TitledPlot | None) -> ET.Element:
    assert plot is not None
    return ET.fromstring(plot.svg.replace("xlink:href", "href"))


def test_names_stand_as_they_are_in_plots_and_tooltips() -> None:
    rows = [figures(9 - place, place, name=name) for place, name in enumerate(NASTY)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = parsed(verdicts.plot_label_counts(rows))
    assert [text for text in (element.text for element in tree.iter("text")) if text in NASTY] == NASTY
    tips = [element.text or "" for group in tree.iter("g") for element in group.findall("title")]
    assert [tip.partition(": 9 machine")[0] for tip in tips] == NASTY
    assert (
        tips[1]
        .replace(UNDEFINED, "-")
        .endswith("8 confirmed, 1 rejected, 0 not reviewed; precision 0.889 (0.100-0.990) of 9 verdicts")
    )


def test_colours_of_every_plot_are_the_pages_own() -> None:
    rows = [figures(3, 1, decile=4, without_verdict=5, excluded=2, machine_rows=11)]
    svg = verdicts.plot_confidences(rows)
    assert svg is not None
    for name in ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "transparent"):
        assert f"fill: {name}" in svg.svg
    assert not re.search(r"#(0\d)\1\1\b", svg.svg)


def test_plots_without_anything_to_show_are_left_out() -> None:
    unseen = [figures(0, 0, decile=3, machine_rows=4, without_verdict=4)]
    assert verdicts.plot_precision(unseen) is None
    assert verdicts.plot_confidences([]) is None
    assert verdicts.plot_confidences(unseen) is not None
    assert verdicts.plot_labels_per_image({}) is None
    assert verdicts.plot_label_counts([]) is None
    assert verdicts.plot_class_precision([], 0.5, "best", "the best") is None


def test_the_part_with_verdicts_is_drawn_again_only_beside_a_larger_whole() -> None:
    def panels(**more: int) -> list[str]:
        texts = [
            element.text or ""
            for element in parsed(verdicts.plot_confidences([figures(2, 1, decile=9, **more)])).iter("text")
        ]
        return [text for text in texts if text in {"machine labels", "of them, reviewed"}]

    assert panels() == ["machine labels"]
    assert panels(machine_rows=9, without_verdict=6) == ["machine labels", "of them, reviewed"]


def test_images_with_very_many_labels_share_a_bar() -> None:
    tree = parsed(verdicts.plot_labels_per_image({1: 5, 25: 3, 26: 4, 300: 2}))
    tips = [element.text for group in tree.iter("g") for element in group.findall("title")]
    assert tips == ["1 confirmed label: 5 images", "25 or more confirmed labels: 9 images"]
    assert "25+" in {element.text for element in tree.iter("text")}


def test_large_numbers_are_brief_on_the_axes_and_exact_under_the_pointer() -> None:
    rows = [figures(1_200_000, 734_243, decile=9, machine_rows=78_977_695, without_verdict=77_043_452)]
    tree = parsed(verdicts.plot_confidences(rows))
    texts = {element.text for element in tree.iter("text")}
    assert any((text or "").endswith(" M") for text in texts)
    assert not any("000" in (text or "") for text in texts)
    (tip, again) = [element.text or "" for group in tree.iter("g") for element in group.findall("title")]
    assert tip == again
    assert "78,977,695 machine labels: 1,200,000 confirmed, 734,243 rejected, 77,043,452 not reviewed" in tip
