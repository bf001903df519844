"""The list of all datasets' pages, `<root>/report/index.html`: drawn anew whenever one of them is written."""

from typing import Any

from analysis.rendering import PAGE_FILE, template
from schemas import layout
from storage import products, stores

_COUNTS = ("pairs", "models", "images", "rejected")


def write(root: str) -> None:
    """List every page that is there."""
    stores.remove_partial_file(_path(root))
    stores.write_bytes(_path(root), _render(root))


def is_current(root: str) -> bool:
    """Whether the list is there, and is of just the pages that are there."""
    return stores.stat(_path(root)) is not None and bytes(stores.read_bytes(_path(root))) == _render(root)


def _path(root: str) -> str:
    return stores.join(layout.report(root), PAGE_FILE)


def _render(root: str) -> bytes:
    page: str = template("front.html.j2").render(entries=_entries(root), page_file=PAGE_FILE)
    return page.encode()


def _entries(root: str) -> list[dict[str, Any]]:
    """What the finished pages tell of themselves, by name."""
    found = []
    for dataset in stores.list_folders(layout.report(root)):
        manifest = products.find_manifest(layout.report(root, dataset))
        if manifest is not None:
            counts = {**dict.fromkeys(_COUNTS, 0), **manifest.get("counts", {})}
            found.append(
                {"title": dataset, "headline": [], "made": "", **manifest, "dataset": dataset, "counts": counts}
            )
    return found
