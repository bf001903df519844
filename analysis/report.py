"""The report: one page, complete in itself, that shows how far annotators agree and where they do not.

    concord report --dataset svhn --root out

The page holds its style, its plots and its pictures, so it can be opened without a network, mailed and archived.
"""

from collections.abc import Iterable
from typing import Any

from analysis import tables, thumbnails
from analysis.sections import SECTIONS, Comparison, Facts
from analysis.tables import Row, Sources
from analysis.texts import FILTERS, count, decimal, percent
from schemas import layout, products, storage
from schemas.settings import ReportSettings

PAGE_FILE = "index.html"
SHEET_IMAGES = 48
DISAGREEMENTS = 24


def write_report(settings: ReportSettings, root: str) -> dict[str, Any]:
    """Write `<root>/report/index.html`, and count what it shows.

    Raises:
        IncompleteError: something that it is drawn from is missing; the message says what to run.
    """
    sources = tables.find_sources(settings, root)
    facts = gather(sources, root, _fingerprint(settings, sources))
    page = render(facts).encode()
    folder = layout.report(root)
    storage.remove(storage.join(folder, products.MANIFEST))  # a page half replaced must not pass for the old one
    storage.write_bytes(storage.join(folder, PAGE_FILE), page)
    counts = _counts(facts, len(page))
    products.write_manifest(folder, {"dataset": settings.dataset, "fingerprint": facts.fingerprint, "counts": counts})
    return counts


def fingerprint(settings: ReportSettings, root: str) -> str:
    """Of all that the page would be drawn from now.

    Raises:
        IncompleteError: something of it is missing.
    """
    return _fingerprint(settings, tables.find_sources(settings, root))


def is_current(settings: ReportSettings, root: str) -> bool:
    """Whether the page is there, drawn from just what it would be drawn from now.

    Raises:
        IncompleteError: something that it is drawn from is missing.
    """
    folder = layout.report(root)
    if storage.stat(storage.join(folder, PAGE_FILE)) is None:
        return False
    return products.is_current(folder, fingerprint(settings, root))


def _fingerprint(settings: ReportSettings, sources: Sources) -> str:
    return products.fingerprint(
        "report",
        settings=settings.identity(),
        images=sources.images.fingerprint,
        pairs=[(pair.a, pair.b, pair.split, pair.fingerprint) for pair in sources.pairs],
        unfinished=sources.unfinished,
        models=[(card["name"], card["fingerprint"]) for card in sources.models],
        labels=[(found.annotator, found.split, found.manifest["fingerprint"]) for found in sources.label_sets],
    )


def gather(sources: Sources, root: str, identity: str) -> Facts:
    """Read everything that the page shows, each image shard at most once."""
    comparisons = tuple(
        Comparison(pair, pair.summary(), pair.confusion(), tables.digest(pair, DISAGREEMENTS)) for pair in sources.pairs
    )
    sheets: dict[str, list[Row]] = {}
    pictures: dict[tuple[str, str], str | None] = {}
    for split in dict.fromkeys(pair.split for pair in sources.pairs):
        pairs = [pair for pair in sources.pairs if pair.split == split]
        sheets[split] = tables.first_labelled(sources.images, pairs, SHEET_IMAGES)
        different = [row for entry in comparisons if entry.pair.split == split for row in entry.digest.disagreements]
        loaded = thumbnails.load(sources.images, split, (row["image_id"] for row in [*sheets[split], *different]))
        pictures |= {(split, image_id): picture for image_id, picture in loaded.items()}
    return Facts(sources, comparisons, sheets, pictures, tables.rejects(sources, root), identity)


def render(facts: Facts) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    built = [(section, section.build(facts)) for section in SECTIONS]
    shown = [(section, data) for section, data in built if data is not None]
    return environment.get_template("report.html.j2").render(images=facts.images, sections=shown)


def _counts(facts: Facts, page_bytes: int) -> dict[str, Any]:
    return {
        "pairs": len(facts.comparisons),
        "models": len(facts.sources.models),
        "images": len(facts.thumbnails),
        "unreadable": sum(picture is None for picture in facts.thumbnails.values()),
        "disagreements": sum(len(entry.digest.disagreements) for entry in facts.comparisons),
        "rejected": sum(row["n"] for row in facts.rejects),
        "bytes": page_bytes,
    }


def headline(root: str, dataset: str) -> list[str]:
    """How far each pair of annotators agrees, in a line each.

    Raises:
        IncompleteError: there are no agreement tables.
    """
    pairs, _ = tables.find_pairs(root, dataset)
    return [" ".join(_headline(pair, pair.summary())) for pair in pairs]


def _headline(pair: tables.Pair, summary: Row) -> Iterable[str]:
    n, known = summary["n"], summary["n_truth"]
    if not n:
        yield f"{pair.a} and {pair.b} have no {pair.split} image in common"
        return
    yield f"{pair.a} and {pair.b} agree on {percent(summary['observed'])} of {count(n)} {pair.split} images"
    kappa = "not defined" if summary["kappa"] is None else decimal(summary["kappa"], 2)
    yield f"(Cohen's kappa {kappa})" + (";" if known else "")
    if known:
        among = "" if known == n else f" on {count(known)} images"
        yield f"accuracy against {pair.truth}{among}:"
        yield f"{pair.a} {decimal(summary['accuracy_a'])}, {pair.b} {decimal(summary['accuracy_b'])}"
