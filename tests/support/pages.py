"""What a browser would see of a page."""

import base64
import hashlib
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis import tables
from analysis.report.page import write_report
from analysis.tables import Comparison
from schemas.settings.report import ReportSettings

VOID = {"meta", "img", "br", "link", "input", "hr"}
Cells = list[list[str]]


@dataclass
class Table:
    """The texts of a table's cells, row by row, without its caption."""

    caption: str = ""
    rows: Cells = field(default_factory=list)


class Outline(HTMLParser):
    """Tags with their attributes, their nesting, the text of each section with those within it, and every table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: Counter[str] = Counter()
        self.sections = [""]
        self.open: list[str] = []
        self.pieces: dict[str, list[str]] = {}
        self.tables: list[Table] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "section":
            self.sections.append(found["id"])
        if tag == "table":
            self.tables.append(Table())
        if tag == "tr":
            self.tables[-1].rows.append([])
        if tag in {"td", "th"}:
            self.tables[-1].rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self.sections.pop()

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            return
        for name in self.sections[1:] or self.sections:
            self.pieces.setdefault(name, []).append(data.strip())
        if "caption" in self.open:
            self.tables[-1].caption += data
        elif {"td", "th"} & set(self.open):
            self.tables[-1].rows[-1][-1] += data

    def text(self, section: str) -> str:
        return " ".join(" ".join(self.pieces[section]).split())

    def table(self, caption: str) -> Cells:
        """The rows of the one table whose caption begins so."""
        (found,) = [table for table in self.tables if table.caption.startswith(caption)]
        return found.rows


def only_script(page: str) -> str:
    """The page's one script, which its security policy names; it runs no other, and asks for nothing."""
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert page.count("<script") == page.count("<script>") == 1
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-" + digest + "'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    return str(script)


def page_of(root: str, dataset: str) -> str:
    """The page of a dataset, written anew."""
    write_report(ReportSettings(dataset=dataset), root)
    return Path(root, "report", dataset, "index.html").read_text()


def section(page: str, name: str) -> str:
    """The markup of a section."""
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def shown_ids(page: str, name: str) -> list[str]:
    """The ids of the images that a section shows."""
    return [found.replace("&amp;", "&") for found in re.findall(r'<p class="id">([^<]*)</p>', section(page, name))]


def decode_pixels(uri: str | None) -> npt.NDArray[np.uint8]:
    """The pixels of an image that stands in a page."""
    assert uri is not None
    kind, _, data = uri.partition(",")
    assert kind in {"data:image/png;base64", "data:image/jpeg;base64"}
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def find_comparisons(root: str, dataset: str) -> tuple[Comparison, ...]:
    """The comparisons of a dataset, as the report finds them."""
    return tables.find_sources(ReportSettings(dataset=dataset), root).comparisons
