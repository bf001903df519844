"""Machines that teach machines, as the report shows them: which rows, what the plot says, what else is left out."""

import re
from pathlib import Path

import pytest

from analysis.report import generations
from analysis.report.page import is_current, list_headlines, write_report
from analysis.tables import Study, find_studies
from schemas import layout
from schemas.settings.report import ReportSettings
from storage import stores
from tests.support.pages import page_of
from tests.support.small_root import DATASET, SmallRoot
from tests.support.study_table import study_rows, write_study


def test_one_seed_is_shown_with_its_own_interval_and_several_by_their_mean() -> None:
    rows = study_rows((1,))
    for one in rows:
        if one["seed"] is None:
            one["accuracy_low"] = one["accuracy_high"] = None
    [shown] = [one for one in generations.average_over_seeds(Study("x", "f", tuple(rows))) if one["generation"] == 0]
    assert (shown["seed"], shown["accuracy_low"]) == (1, 0.3)
    [shown] = [
        one
        for one in generations.average_over_seeds(Study("x", "f", tuple(study_rows((1, 2)))))
        if one["generation"] == 0
    ]
    assert shown["seed"] is None


def test_the_plot_says_what_it_shows_and_parts_lines_without_colour() -> None:
    svg = str(generations.plot_accuracy(Study("x", "f", tuple(study_rows((1, 2))))))
    assert "<title>x: accuracy of each generation against human labels</title>" in svg
    [told] = re.findall("<desc>(.*?)</desc>", svg)
    assert "human labels, all images: 0.800 (0.300\N{EN DASH}0.900) from 120 labels" in told
    assert "generation 1, threshold 0: 0.650" in told
    assert "generation 1, threshold 0.9: left out: &lt;b&gt;" in told
    assert svg == str(generations.plot_accuracy(Study("x", "f", tuple(study_rows((1, 2))))))
    assert len({marker for _, marker, _ in generations._LINES}) == len({line for *_, line in generations._LINES}) == 4


def test_the_headline_tells_of_the_last_generation() -> None:
    found = generations.headline(Study("x", "f", tuple(study_rows((1, 2)))))
    assert found == "x, generation 1: accuracy 0.650 (threshold 0); trained on all human labels 0.800"


def test_a_study_compares_its_own_and_what_it_teaches() -> None:
    found = Study("x", "f", tuple(study_rows((1, 2))))
    assert found.compares("x_g1_c00_s1", "x_all_s1")
    assert found.compares("x_g1_c00_s1_of_its_teacher", "human")
    assert not found.compares("x_g1_c00_s1", "human")
    assert not found.compares("cnn1", "x_g1_c00_s1")


def test_the_page_has_the_section_and_leaves_out_what_it_is_made_of(small: SmallRoot, settings: ReportSettings) -> None:
    write_report(settings, small.root)
    assert 'id="generations"' not in page_of(small.root, DATASET)
    rows = study_rows((1, 2))
    rows[0]["annotator"], rows[3]["annotator"] = "cnn1", "cnn2"  # as if the root's two models were heirs
    write_study(small.root, rows)
    assert not is_current(settings, small.root)
    page = page_of(small.root, DATASET)
    assert 'id="generations"' in page
    assert "left out: &lt;b&gt;" in page
    assert 'id="agreement"' not in page
    assert 'id="learning"' not in page
    assert "do machines teach machines?" in page
    assert list_headlines(small.root, DATASET) == [
        "x, generation 1: accuracy 0.650 (threshold 0); trained on all human labels 0.800"
    ]


def test_a_study_of_another_dataset_and_a_name_that_is_longer_are_told_apart(tmp_path: Path) -> None:
    write_study(str(tmp_path), study_rows((1,)))
    assert [one.name for one in find_studies(str(tmp_path), DATASET)] == ["x"]
    assert find_studies(str(tmp_path), DATASET[:-1]) == ()
    assert find_studies(str(tmp_path / "nothing"), DATASET) == ()
    stores.write_bytes(layout.generations_table(str(tmp_path), DATASET, "y"), b"no table")
    with pytest.raises(Exception, match="is damaged"):
        find_studies(str(tmp_path), DATASET)


def test_a_mean_over_fewer_seeds_says_so() -> None:
    rows = study_rows((1, 2))
    next(one for one in rows if one["seed"] is None and one["cut"] == 0.0)["note"] = "left out: 1 of 2 seeds"
    [shown] = [generations.build_entry(Study("x", "f" * 16, tuple(rows)))]
    called = [one["title"] for one in shown["rows"] if one["accuracy"] is not None]
    assert called[-1] == "generation 1, threshold 0 (left out: 1 of 2 seeds)"
    assert not any("left out" in one for one in called[:-1])
