"""The report: a page a dataset, complete in itself, that shows how far annotators agree and what people confirmed.

    concord report --dataset svhn --root out

The page holds its style, its plots and its pictures, so it can be opened without a network, mailed and archived.
`front.py` lists the pages of all datasets.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from analysis import coverage, front, looks, markdown, photographs, tables, thumbnails
from analysis.compared import Comparison
from analysis.confirmation import Confirmation, shown_names
from analysis.formatting import count, decimal, percent
from analysis.rendering import PAGE_FILE, source, template
from analysis.sections import SECTIONS, Facts
from analysis.tables import Row, Sources
from schemas import layout
from schemas.settings import ReportSettings
from storage import products, stores

SHEET_IMAGES = 48
DISAGREEMENTS = 24
PHOTOGRAPH = 192  # pixels of a photograph's longer side


def write_report(settings: ReportSettings, root: str) -> dict[str, Any]:
    """Write `<root>/report/<dataset>/index.html`, its summary, and the list of all pages; count what the page shows.

    Raises:
        IncompleteError: something that it is drawn from is missing; the message says what to run.
    """
    sources = tables.find_sources(settings, root)
    facts = gather(sources, root, _fingerprint(settings, sources))
    page = render(facts).encode()
    folder = layout.report(root, settings.dataset)
    stores.remove(stores.join(folder, products.MANIFEST))  # a page half replaced must not pass for the old one
    stores.remove_partial_files(folder)
    headlines = [
        *_headlines(sources.pairs, sources.confirmation),
        *(study.headline() for study in sources.studies),
    ]
    stores.write_bytes(stores.join(folder, markdown.SUMMARY_FILE), markdown.summary(facts, headlines).encode())
    stores.write_bytes(stores.join(folder, PAGE_FILE), page)
    counts = _counts(facts, len(page))
    identity = {"dataset": settings.dataset, "fingerprint": facts.fingerprint}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    shown = {
        "title": facts.title,
        "headline": headlines,
        "made": made,
        "counts": counts,
    }
    products.write_manifest(folder, {**identity, **shown})
    front.write(root)
    return counts


def fingerprint(settings: ReportSettings, root: str) -> str:
    """Of all that the page would be drawn from now.

    Raises:
        IncompleteError: something of it is missing.
    """
    return _fingerprint(settings, tables.find_sources(settings, root))


def is_current(settings: ReportSettings, root: str) -> bool:
    """Whether the page is there, drawn from just what it would be drawn from now, and listed.

    Raises:
        IncompleteError: something that it is drawn from is missing.
    """
    folder = layout.report(root, settings.dataset)
    if stores.stat(stores.join(folder, PAGE_FILE)) is None:
        return False
    return products.is_current(folder, fingerprint(settings, root)) and front.is_current(root)


def _fingerprint(settings: ReportSettings, sources: Sources) -> str:
    return products.fingerprint(
        "report",
        settings=settings.identity(),
        images=sources.images and sources.images.fingerprint,
        pairs=[(pair.a, pair.b, pair.split, pair.fingerprint) for pair in sources.pairs],
        unfinished=sources.unfinished,
        confirmation=sources.confirmation and sources.confirmation.fingerprint,
        models=[(card["name"], card["fingerprint"]) for card in sources.models],
        studies=[(study.name, study.fingerprint) for study in sources.studies],
        explanations=[
            (one.annotator, one.split, one.manifest["fingerprint"], one.stale) for one in sources.explanations
        ],
        together=[(one.split, one.annotators, one.fingerprint) for one in sources.together],
        labels=[(found.annotator, found.split, found.manifest["fingerprint"]) for found in sources.label_sets],
    )


def gather(sources: Sources, root: str, identity: str) -> Facts:
    """Read everything that the page shows, each image shard at most twice."""
    comparisons = tuple(
        Comparison(pair, pair.summary(), pair.confusion(), tables.digest(pair, DISAGREEMENTS)) for pair in sources.pairs
    )
    sheets, pictures = _sheets(sources, comparisons, root)
    rejected, looked = tables.rejects(sources, root), looks.read(sources, root)
    return Facts(sources, comparisons, sheets, pictures, rejected, identity, looked)


def _sheets(
    sources: Sources, comparisons: tuple[Comparison, ...], root: str
) -> tuple[dict[str, list[Row]], dict[tuple[str, str], str | None]]:
    """The images of the contact sheets by split, and thumbnails of these and of all other images on the page."""
    images = sources.images
    if images is None:
        return {}, {}
    sheets: dict[str, list[Row]] = {}
    pictures: dict[tuple[str, str], str | None] = {}
    if not comparisons:
        classes = sources.confirmation.figures("class") if sources.confirmation else []
        sheets = photographs.sheets(sources, root, shown_names(classes), SHEET_IMAGES)
    for split in dict.fromkeys(pair.split for pair in sources.pairs):
        pairs = [pair for pair in sources.pairs if pair.split == split]
        sheets[split] = tables.first_labelled(images, pairs, SHEET_IMAGES)
    for split, shown in sheets.items():
        different = [row for entry in comparisons if entry.pair.split == split for row in entry.digest.disagreements]
        wanted = (row["image_id"] for row in [*shown, *different])
        largest = thumbnails.LARGEST if comparisons else PHOTOGRAPH
        loaded = thumbnails.load(images, split, wanted, largest)
        pictures |= {(split, image_id): picture for image_id, picture in loaded.items()}
    return sheets, pictures


def render(facts: Facts) -> str:
    """The page."""
    built = [(section, section.build(facts)) for section in SECTIONS]
    shown = [(section, data) for section, data in built if data is not None]
    sources = facts.sources
    leads = [*coverage.headline(sources.pairs), *(study.headline() for study in sources.studies)]
    given = {"title": facts.title, "leads": leads, "sections": shown, "script": source("sort.js")}
    page: str = template("report.html.j2").render(**given)
    return page


def _counts(facts: Facts, page_bytes: int) -> dict[str, Any]:
    sources = facts.sources
    return {
        "pairs": len(facts.comparisons),
        "verdicts": sources.confirmation.overall["verified"] if sources.confirmation else 0,
        "models": len(sources.models),
        "images": len(facts.thumbnails),
        "unreadable": sum(picture is None for picture in facts.thumbnails.values()),
        "disagreements": sum(len(entry.digest.disagreements) for entry in facts.comparisons),
        "rejected": sum(row["n"] for row in facts.rejects),
        "bytes": page_bytes,
    }


def headline(root: str, dataset: str) -> list[str]:
    """How far each pair of annotators agrees, in a line each, and what people confirmed.

    Raises:
        IncompleteError: nothing of it is finished.
    """
    pairs, _, confirmation = tables.find_results(root, dataset)
    return _headlines(pairs, confirmation)


def _headlines(pairs: Iterable[tables.Pair], confirmation: Confirmation | None) -> list[str]:
    confirmed = [] if confirmation is None else [confirmation.headline()]
    compared = list(pairs)
    return [*(" ".join(_headline(pair, pair.summary())) for pair in compared), *coverage.headline(compared), *confirmed]


def _headline(pair: tables.Pair, summary: Row) -> Iterable[str]:
    n, known = summary["n"], summary["n_reference"]
    if not n:
        yield f"{pair.a} and {pair.b} have no {pair.split} image in common"
        return
    several = pair.several  # then decisions are what is agreed on
    of = f"{count(summary['n_compared'])} decisions on {count(n)}" if several else count(n)
    yield f"{pair.a} and {pair.b} agree on {percent(summary['observed_agreement'])} of {of} {pair.split} images"
    yield f"({_chance_corrected(summary)})" + (";" if known else "")
    if known:
        among = "" if several or known == n else f" on {count(known)} images"
        yield f"{'micro F1' if several else 'accuracy'} against {pair.truth}{among}:"
        name = "micro_f1" if several else "accuracy"
        yield f"{pair.a} {decimal(summary[f'{name}_a'])}, {pair.b} {decimal(summary[f'{name}_b'])}"


def _chance_corrected(summary: Row) -> str:
    """Cohen's kappa with its interval, and beside it AC1, for kappa misleads where one label is nearly all."""
    kappa = "not defined" if summary["cohen_kappa"] is None else decimal(summary["cohen_kappa"], 2)
    if summary.get("cohen_kappa_low") is not None:
        kappa += f", 95 % interval {decimal(summary['cohen_kappa_low'], 2)}-{decimal(summary['cohen_kappa_high'], 2)}"
    ac1 = summary.get("gwet_ac1")
    return f"Cohen's kappa {kappa}" + ("" if ac1 is None else f"; AC1 {decimal(ac1, 2)}")
