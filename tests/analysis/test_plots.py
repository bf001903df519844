"""Learning curves: every epoch drawn, the same bytes each time, and words for those who do not see them."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from analysis import plots
from tests.analysis.small_root import HISTORY


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_plot_is_xml_with_a_title_and_needs_nothing(metric: str) -> None:
    svg = plots.learning_curve(HISTORY, metric, 2)
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
        return plots.learning_curve({"loss": values, "val_loss": values}, "loss", None).count("<use ")

    ticks_and_keys = markers(3) - 2 * 3
    assert markers(3) - markers(2) in {2, 3, 4}  # two series, and perhaps another tick
    assert ticks_and_keys > 0


def test_same_numbers_same_bytes_and_ids_of_their_own() -> None:
    first, again = (plots.learning_curve(HISTORY, "loss", 2) for _ in range(2))
    assert first == again
    other = plots.learning_curve(HISTORY, "accuracy", 2)
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, other), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {(name, "") for name in known} | {
            ("", name) for name in known
        }


def test_colours_are_the_pages_own() -> None:
    svg = plots.learning_curve(HISTORY, "loss", 2)
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert "currentColor" in svg
    assert not set(re.findall(r"#[0-9a-f]{6}\b", svg)) & {"#010101", "#020202", "#030303"}


def test_divergent_and_short_histories_are_drawn() -> None:
    assert plots.learning_curve({"loss": [1.0, math.nan, math.inf], "val_loss": [math.nan] * 3}, "loss", None)
    assert plots.learning_curve({"loss": [1.0]}, "loss", 1)
