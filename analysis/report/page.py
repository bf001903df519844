"""The report: one page per dataset, complete in itself, that shows how much annotators agree and what humans confirmed.

    concord report --dataset svhn --root out

The page holds its style, its plots and its images, so it can be opened without a network, mailed and archived. A
summary in Markdown lies beside it, and an index page lists the pages of all datasets. A section of the page is a file
beside this one, known by its name, with `TITLE`, `ORDER` (the lowest comes first) and

    build_section(sources) -> dict | None   what its template, `section_<name>.html.j2`, lays out as `data`; None for
                                            nothing to show. `totals` in it are added to the counts of the page

It may have `list_headlines(sources)` (with `LEAD = True` also on top of the page) and `write_markdown(sources)`.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import resources
from types import ModuleType
from typing import Any

from markupsafe import Markup

from analysis import report
from analysis.report.formatting import FILTERS
from analysis.tables import Row, Sources, find_sources
from schemas import layout, plugins
from schemas.manifests import ReportManifest
from schemas.settings.report import ReportSettings
from schemas.stage import Context, Driver, Plan, Product, State
from storage import products, stores

PAGE_FILE, SUMMARY_FILE = "index.html", "summary.md"
_FOLDER = "templates"
_INDEX_COUNTS = ("pairs", "models", "images", "rejected")


def load_sections() -> dict[str, ModuleType]:
    """The section modules by name, in the order of the page."""
    names = [name for name in plugins.names(report) if plugins.defines(report, name, "TITLE")]
    modules = {name: plugins.load(report, "section", name) for name in names}
    return dict(sorted(modules.items(), key=lambda entry: (entry[1].ORDER, entry[0])))


def write_report(settings: ReportSettings, root: str) -> dict[str, Any]:
    """Write `<root>/report/<dataset>/index.html`, its summary, and the index page; count what the page shows.

    Raises:
        IncompleteError: something that it is made from is missing; the message says what to run.
    """
    return _write_page(find_sources(settings, root))


def _write_page(sources: Sources) -> dict[str, Any]:
    page, totals = render_page(sources)
    encoded = page.encode()
    folder = layout.report(sources.root, sources.dataset)
    stores.remove(stores.join(folder, products.MANIFEST))  # a page half replaced must not pass for the old one
    stores.remove_partial_files(folder)
    headlines = list(_headlines(sources))
    stores.write_bytes(stores.join(folder, SUMMARY_FILE), _render_summary(sources, headlines).encode())
    stores.write_bytes(stores.join(folder, PAGE_FILE), encoded)
    counts = {
        "pairs": len(sources.pairs),
        "verdicts": sources.confirmation.overall["verified"] if sources.confirmation else 0,
        "models": len(sources.models),
        **totals,
        "bytes": len(encoded),
    }
    manifest = ReportManifest(
        stage="report",
        product=sources.dataset,
        fingerprint=sources.fingerprint,
        counts=counts,
        dataset=sources.dataset,
        title=title_of(sources),
        headlines=headlines,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    products.write_manifest(folder, manifest)
    write_index(sources.root)
    return counts


def is_current(settings: ReportSettings, root: str) -> bool:
    """Whether the page is there, made from just what it would be made from now, and on the index page.

    Raises:
        IncompleteError: something that it is made from is missing.
    """
    return _is_current(find_sources(settings, root))


def _is_current(sources: Sources) -> bool:
    folder, path = layout.report(sources.root, sources.dataset), _index_path(sources.root)
    if stores.stat(stores.join(folder, PAGE_FILE)) is None or not products.is_current(folder, sources.fingerprint):
        return False
    return stores.stat(path) is not None and bytes(stores.read_bytes(path)) == _render_index(sources.root)


def list_headlines(root: str, dataset: str) -> list[str]:
    """What there is to say of a dataset, in a line each, such as how much each pair of annotators agrees.

    Raises:
        IncompleteError: nothing of it is finished.
    """
    return list(_headlines(find_sources(ReportSettings(dataset=dataset), root)))


def _headlines(sources: Sources, leads_only: bool = False) -> Iterator[str]:
    for section in load_sections().values():
        if hasattr(section, "list_headlines") and (getattr(section, "LEAD", False) or not leads_only):
            yield from section.list_headlines(sources)


def title_of(sources: Sources) -> str:
    """What the page is about."""
    about = "what the networks learned"
    if sources.pairs:
        about = "how much the annotators agree"
    elif sources.studies:
        about = "do machines teach machines?"
    elif sources.confirmation:
        about = "what humans confirmed"
    return f"{sources.dataset}: {about}"


def render_page(sources: Sources) -> tuple[str, dict[str, int]]:
    """The page, and how many images, disagreements and rejected records its sections show."""
    contents = {name: (module.TITLE, module.build_section(sources)) for name, module in load_sections().items()}
    sections = [(name, title, data) for name, (title, data) in contents.items() if data is not None]
    totals = {"images": 0, "unreadable": 0, "disagreements": 0, "rejected": 0}
    for _, _, data in sections:
        totals |= data.get("totals", {})
    leads = list(_headlines(sources, leads_only=True))
    page: str = load_template("report.html.j2").render(
        title=title_of(sources), leads=leads, sections=sections, script=read_template_file("sort.js")
    )
    return page, totals


def _render_summary(sources: Sources, headlines: list[str]) -> str:
    """The page in short, in Markdown, for a pull request or a chat: the headlines and the figures behind them."""
    parts = [f"# {title_of(sources)}", "\n".join(f"- {line}" for line in headlines)]
    for section in load_sections().values():
        if hasattr(section, "write_markdown"):
            parts.append(section.write_markdown(sources))
    return "\n\n".join(part for part in parts if part) + "\n"


def write_index(root: str) -> None:
    """Write the index page, `<root>/report/index.html`: every page that is there."""
    stores.remove_partial_file(_index_path(root))
    stores.write_bytes(_index_path(root), _render_index(root))


def _index_path(root: str) -> str:
    return stores.join(layout.report(root), PAGE_FILE)


def _render_index(root: str) -> bytes:
    page: str = load_template("index.html.j2").render(entries=_index_entries(root), page_file=PAGE_FILE)
    return page.encode()


def _index_entries(root: str) -> list[Row]:
    """What the manifests of the finished pages say, by name."""
    entries: list[Row] = []
    for dataset in stores.list_folders(layout.report(root)):
        manifest = products.find_manifest(layout.report(root, dataset), ReportManifest)
        if manifest is not None:
            entries.append({**manifest.model_dump(), "counts": dict.fromkeys(_INDEX_COUNTS, 0) | manifest.counts})
    return entries


def load_template(name: str) -> Any:
    """A template of `templates/`, ready to be rendered; what it is filled with is text, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("analysis", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "sha256": sha256}
    return environment.get_template(name)


def read_template_file(name: str) -> Markup:
    """A file of `templates/` that stands in a page as it is, such as a script."""
    return Markup((resources.files("analysis") / _FOLDER / name).read_text())


def sha256(script: str) -> str:
    """What a page's security policy names a script by: the only one that a browser then runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class ReportDriver(Driver[ReportSettings]):
    """Writes the page, its summary and the index page."""

    def reads(self, settings: ReportSettings, root: str) -> Iterable[str]:
        """Whatever there is of the dataset."""
        dataset = settings.dataset
        return [
            layout.images(root, dataset, settings.version),
            layout.confirmation(root, dataset),
            layout.generations(root),
            layout.parent(layout.model(root, dataset, "x")),
            layout.parent(layout.parent(layout.explanations(root, dataset, "x", "y"))),
            layout.comparisons(root, dataset),
        ]

    def writes(self, settings: ReportSettings, root: str) -> Iterable[str]:
        """The folder of the page."""
        return (layout.report(root, settings.dataset),)

    def plan(self, settings: ReportSettings, context: Context) -> Plan:
        """Whether the page is there, made from just what it would be made from now."""
        sources = find_sources(settings, context.root)
        if _is_current(sources) and not context.force:
            manifest = products.find_manifest(layout.report(context.root, settings.dataset), ReportManifest)
            return Plan(settings, (Product(settings.dataset, State.DONE, manifest.counts if manifest else {}),))
        return Plan(settings, (Product(settings.dataset, State.TO_DO),), sources)

    def make(self, work: Sources, context: Context) -> dict[str, int]:
        """Write it."""
        _write_page(work)
        return {}

    def commit(self, work: Sources, product: Product) -> dict[str, Any]:
        """What the page shows."""
        folder = layout.report(work.root, work.dataset)
        return products.require_manifest(folder, ReportManifest, "report", "run concord report").counts


DRIVER = ReportDriver()
