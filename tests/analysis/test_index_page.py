"""The list of all pages: what is there, linked, in their own words, and drawn anew with each of them."""

import json
import os
import re
from pathlib import Path

import pytest

from analysis.report import page
from analysis.report.page import is_current, list_headlines, write_report
from schemas import layout
from schemas.settings.report import ReportSettings
from storage import stores
from tests.support.pages import Outline
from tests.support.small_root import change_manifest
from tests.support.verdict_root import DATASET, UNSEEN, VerdictRoot


def listing(root: str) -> str:
    return Path(root, "report", "index.html").read_text()


def links(root: str) -> list[str]:
    return [found["href"] for tag, found in Outline(listing(root)).tags if tag == "a"]


@pytest.fixture
def listed(own_verdicts: VerdictRoot) -> str:
    """A root with two pages, the later name first."""
    for dataset in (UNSEEN, DATASET):
        write_report(ReportSettings(dataset=dataset), own_verdicts.root)
    return own_verdicts.root


def test_every_page_is_linked_by_name_and_told_of(listed: str) -> None:
    assert links(listed) == [f"{DATASET}/index.html", f"{UNSEEN}/index.html"]
    assert all(Path(listed, "report", link).is_file() for link in links(listed))
    text = Outline(listing(listed)).text("")
    for dataset in (DATASET, UNSEEN):
        assert f"{dataset}: what humans confirmed {list_headlines(listed, dataset)[0]}" in text
    made = json.loads(stores.read_bytes(stores.join(layout.report(listed, DATASET), "_concord.json")))["written"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", made)
    assert f'<time datetime="{made}">' in listing(listed)
    assert "2 datasets" in text
    assert "48 images · 3 records rejected · written" in text


def test_list_needs_nothing_from_outside(listed: str) -> None:
    found = Outline(listing(listed))
    assert found.open == []
    assert not re.search("https?://", listing(listed))
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "base"} == set()


def test_what_pages_tell_is_text_never_markup(listed: str) -> None:
    change_manifest(layout.report(listed, UNSEEN), title="<b>bold</b>", headlines=["a & b", "<i>c</i>"])
    page.write_index(listed)
    assert "<b>bold" not in listing(listed)
    assert "<b>bold</b> a & b <i>c</i>" in Outline(listing(listed)).text("")


def test_earlier_pages_stay_listed_and_unfinished_ones_are_not(listed: str) -> None:
    os.makedirs(Path(listed, "report", "halfway"))
    Path(listed, "report", "halfway", "index.html").write_text("half a page")
    stores.remove(stores.join(listed, "statistics", "machine_precision", f"{UNSEEN}.parquet"))  # cannot be drawn again
    write_report(ReportSettings(dataset=DATASET), listed)
    assert links(listed) == [f"{DATASET}/index.html", f"{UNSEEN}/index.html"]


def test_a_page_that_is_not_listed_is_not_current(listed: str) -> None:
    settings = ReportSettings(dataset=DATASET)
    assert is_current(settings, listed)
    whole = listing(listed)
    Path(listed, "report", "index.html").write_text(whole.replace(DATASET, "another"))
    assert not is_current(settings, listed)
    stores.remove(stores.join(listed, "report", "index.html"))
    assert not is_current(settings, listed)
    write_report(settings, listed)
    assert is_current(settings, listed)
    assert links(listed) == re.findall(r'<a href="([^"]*)"', whole)


def test_pages_that_show_little_are_listed_all_the_same(listed: str) -> None:
    change_manifest(layout.report(listed, UNSEEN), title=UNSEEN, headlines=[], counts={"pairs": 1})
    page.write_index(listed)
    assert f"{UNSEEN} 1 comparison ·" in Outline(listing(listed)).text("")
