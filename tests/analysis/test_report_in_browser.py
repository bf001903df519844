"""The pages in a browser, as wide as a desk's and as narrow as a phone: nothing asked for, clipped, or hidden.

Chromium has to be on the PATH; nothing is downloaded.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from analysis.report.formatting import UNDEFINED
from analysis.report.page import read_template_file
from tests.support import verdict_root
from tests.support.comparisons import MACHINES, SETS, compare
from tests.support.label_sets import write_label_set
from tests.support.pages import page_of
from tests.support.small_root import DATASET, SmallRoot
from tests.support.study_table import study_rows, write_study
from tests.support.verdict_root import VerdictRoot

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or google-chrome on the PATH")
DESK, PHONE = 1280, 390  # pixels of the page's width
LEAST = 9.0  # pixels that a plot's letters have on a phone
PAGES = ("small", "compared", "verdicts", "taught")

# Letters of plots: too small ones, those that leave their plot, and those that lie upon each other.
LETTERS = """([least, slack]) => {
  const found = [];
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const name = svg.querySelector("title").textContent, frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = texts.map((text) => text.getBoundingClientRect());
    texts.forEach((text, at) => {
      const scale = Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      const box = boxes[at], told = `${name}: "${text.textContent}"`;
      if (size < least) found.push(`${told} is ${size.toFixed(1)} px high`);
      if (box.left < frame.left - slack || box.right > frame.right + slack || box.top < frame.top - slack
          || box.bottom > frame.bottom + slack) found.push(`${told} leaves its plot`);
      for (let other = 0; other < at; other += 1) {
        const width = Math.min(box.right, boxes[other].right) - Math.max(box.left, boxes[other].left);
        const height = Math.min(box.bottom, boxes[other].bottom) - Math.max(box.top, boxes[other].top);
        if (width > slack && height > slack) found.push(`${told} lies upon "${texts[other].textContent}"`);
      }
    });
  }
  return found;
}"""

# What stands outside the window, unless it lies in a box that scrolls, and texts that their own box cuts off.
CLIPPED = """() => {
  const found = [], width = document.documentElement.clientWidth;
  for (const one of document.querySelectorAll("body *")) {
    if (one.closest("svg, .unseen, script") || !one.getClientRects().length) continue;
    const box = one.getBoundingClientRect(), told = `${one.tagName} ${one.className} "${one.textContent.slice(0, 40)}"`;
    if (!one.closest(".scroll") || one.matches(".scroll")) {
      if (box.left < -1 || box.right > width + 1) found.push(`${told} leaves the window`);
    }
    const hides = getComputedStyle(one).overflowX === "hidden";
    if (hides && one.scrollWidth > one.clientWidth) found.push(`${told} is cut off`);
  }
  return found;
}"""

# Images that do not show, once they are asked to.
BROKEN = """async () => {
  const images = [...document.images];
  images.forEach((image) => { image.loading = "eager"; });
  const shown = await Promise.allSettled(images.map((image) => image.decode()));
  return images.filter((_, at) => shown[at].status === "rejected").map((image) => image.alt);
}"""

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(
    pristine: SmallRoot, verdicts: VerdictRoot, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str]]:
    """Root and dataset of each page."""
    machines, taught = (str(tmp_path_factory.mktemp(name)) for name in ("machines", "taught"))
    for split, frames in SETS.items():
        for name, frame in frames.items():
            write_label_set(machines, "drawn", name, frame, split=split)
    compare(machines, *MACHINES)
    write_study(taught, study_rows((1, 2)))
    made = {"small": (pristine.root, DATASET), "verdicts": (verdicts.root, verdict_root.DATASET)}
    found = {**made, "compared": (machines, "drawn"), "taught": (taught, DATASET)}
    for root, dataset in found.values():
        page_of(root, dataset)
    return found


@pytest.fixture
def opened(browser: Browser, files: dict[str, tuple[str, str]]) -> Iterator[Opened]:
    """Opens a page, every fold of it, and keeps what goes wrong in `page.wrong`."""
    contexts = []

    def open_page(name: str, width: int, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page, (root, dataset) = context.new_page(), files[name]
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        uri = Path(root, "report", dataset, "index.html").as_uri()
        page.on("request", lambda asked: None if asked.url.startswith((uri, "data:")) else wrong.append(asked.url))
        page.goto(uri)
        page.wrong = wrong  # type: ignore[attr-defined]
        page.evaluate("() => document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_everything_is_there_to_be_read(opened: Opened, name: str, width: int) -> None:
    page = opened(name, width)
    assert page.wrong == []  # type: ignore[attr-defined]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CLIPPED) == []
    assert page.locator("svg[role=img]").count() > 0
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(LETTERS, [LEAST, 1.5]) == []


def test_letters_that_are_too_small_or_lie_upon_each_other_would_be_seen(opened: Opened) -> None:
    page = opened("small", PHONE)
    page.add_style_tag(content="svg text { font-size: 6px !important; } .curve { max-width: none; }")
    assert any("px high" in one for one in page.evaluate(LETTERS, [LEAST, 1.5]))
    page.add_style_tag(content="svg text { font-size: 40px !important; } h2 { width: 900px; }")
    found = page.evaluate(LETTERS, [LEAST, 1.5])
    assert any("lies upon" in one for one in found) and any("leaves its plot" in one for one in found)
    assert any("leaves the window" in one for one in page.evaluate(CLIPPED))


def column(page: Page, caption: str, number: int) -> list[str]:
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    return [text.strip() for text in table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()]


def figure(text: str) -> float:
    found = re.match(r"-?[\d.]+", text.replace(",", ""))
    return float(found[0]) if found else float("inf")


def test_a_click_sorts_upwards_then_downwards_then_back(opened: Opened) -> None:
    page = opened("compared", DESK)
    caption, number = "Agreement in figures", 7
    before, names = column(page, caption, number), column(page, caption, 2)
    heading = page.locator("table", has_text=caption).get_by_role("columnheader", name=re.compile("Cohen.s kappa"))
    button = heading.get_by_role("button")
    assert len({figure(one) for one in before}) == 3
    pairs = dict(zip(before, zip(names, column(page, caption, 3), strict=True), strict=True))
    for key, way, ascending in (("click", "ascending", True), ("Enter", "descending", False), ("Space", None, None)):
        if key == "click":
            button.click()
        else:
            button.press(key)
        now = column(page, caption, number)
        assert heading.get_attribute("aria-sort") == way
        assert now == (before if ascending is None else sorted(before, key=figure, reverse=not ascending))
        shown = zip(column(page, caption, 2), column(page, caption, 3), strict=True)
        assert list(shown) == [pairs[one] for one in now], "whole rows move"
    assert page.wrong == []  # type: ignore[attr-defined]


def test_numbers_are_sorted_as_numbers_and_totals_stay(opened: Opened) -> None:
    page = opened("compared", DESK)
    caption = "Label distribution"
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    before = column(page, caption, 1)
    assert before[-1] == "= all"
    table.get_by_role("button", name="human").click()
    counts = column(page, caption, 2)
    assert counts[:-1] == sorted(counts[:-1], key=figure) != sorted(counts[:-1], reverse=True)
    assert column(page, caption, 1)[-1] == "= all"
    table.get_by_role("button", name="label").click()
    assert column(page, caption, 1) == [*sorted(before[:-1]), "= all"]
    assert table.locator("[aria-sort]").count() == 1


def test_signs_commas_units_and_rows_of_sums(browser: Browser) -> None:
    numbers = ["1,234", "87", UNDEFINED, "-0.5", "12.5 %", "-2", "9 of 70", "", "1e3", "total: 0"]
    rows = "".join(f"<tr{' class=total' * ('total' in one)}><td>x</td><td>{one}</td></tr>" for one in numbers)
    wide = "<tr><td>y</td><td colspan=2>none will do</td></tr>"
    head = "<thead><tr><th>name</th><th class=number>n</th></tr></thead>"
    page = browser.new_page()
    page.set_content(f"<table><caption>t</caption>{head}<tbody>{wide}{rows}</tbody></table>")
    page.add_script_tag(content=read_template_file("sort.js"))
    up = ["-2", "-0.5", "9 of 70", "12.5 %", "87", "1e3", "1,234"]
    for known in (up, up[::-1]):
        page.get_by_role("button", name="n", exact=True).click()
        assert column(page, "t", 2) == [*known, "none will do", UNDEFINED, "", "total: 0"]
    page.close()


def test_what_is_not_known_comes_last_and_headings_of_two_lines_are_told_apart(opened: Opened) -> None:
    page = opened("verdicts", DESK)
    caption = "Machine labels by confidence"
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    button = table.get_by_role("button", name="95 % interval")
    heads = table.locator("thead button").all_inner_texts()
    at = heads.index("95 % interval") + 1  # the first one, of two lines, is that of the rows
    before = column(page, caption, at)[:-1]
    for reverse in (False, True):
        button.click()
        known = [one for one in column(page, caption, at)[:-1] if figure(one) < float("inf")]
        unknown = column(page, caption, at)[len(known) : -1]
        assert known == sorted(known, key=figure, reverse=reverse)
        assert sorted([*known, *unknown]) == sorted(before)
        assert set(unknown) <= {UNDEFINED}
    assert column(page, caption, 1)[-1] == "all"


def test_matrices_and_lists_of_settings_stay_as_they_are(opened: Opened) -> None:
    page = opened("small", DESK)
    assert page.locator("table.matrix").count() > 0
    assert page.locator("table.matrix button, table.as-it-is button").count() == 0


def test_without_script_the_page_is_the_same(opened: Opened) -> None:
    texts = [opened("compared", DESK, java_script_enabled=on).locator("main").text_content() for on in (True, False)]
    assert texts[0] == texts[1]
    assert opened("compared", DESK, java_script_enabled=False).locator("button").count() == 0
