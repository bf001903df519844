"""What no manifest knows, what was begun and is not whole, and what was made from other things than are there."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analysis.verify.findings import Finding
from analysis.verify.inventory import Inventory, table_of
from analysis.verify.models import is_beside
from schemas import layout
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from schemas.manifests import NO_IMAGES
from storage import model_cards, stores
from storage.products import MANIFEST
from storage.tables import Table

_OF_CONFIRM = ("confirm_joined", "confirm_read", "machine_precision", "labels_per_image", "verdict_sources")
_COMMANDS = {"pairs": "agree", "features": "features", "explanations": "explain", "index": "convert"}
_PAGE = "index.html"


def find(found: Inventory, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Every folder that is not whole, once, and every file that nothing speaks of."""
    known = found.known | {claim.path(name) for claim in found.claims for name in claim.names}
    claimed = {claim.folder for claim in found.claims}
    unfinished: dict[str, str] = {}
    for path in sorted(set(found.files) - known):
        folder, _, name = path.rpartition("/")
        table = table_of(tables, path)
        if name.endswith(".partial"):
            yield Finding(path, "a killed run left it half written", "remove it", is_warning=True)
        elif (stage := _unfinished(found, path, table, claimed)) != "":
            unfinished.setdefault(_product(path), stage)
        elif not _is_free(found, path):
            yield Finding(path, "no manifest knows it", "remove it, or move it away", is_warning=True)
    for folder, stage in unfinished.items():
        marker = model_cards.CARD_FILE if folder.startswith("models/") else MANIFEST
        yield Finding(folder, f"is not whole: it has no {marker}", f"run concord {stage} again")


def _product(path: str) -> str:
    """The folder that a manifest would declare whole."""
    parts = path.split("/")
    return "/".join(parts[:3]) if parts[0] in ("images", "models") else stores.parent(path)


def _unfinished(found: Inventory, path: str, table: Table | None, claimed: set[str]) -> str:
    """The stage that has to go on, where a file is part of a product that is not whole; else nothing."""
    top, folder = path.partition("/")[0], stores.parent(path)
    product = _product(path)
    if top == "images" and f"{product}/{MANIFEST}" not in found.files:
        return "convert"
    if top == "models" and f"{product}/{model_cards.CARD_FILE}" not in found.files:
        return "train"
    if top == "report":
        return "report" if path.endswith(f"/{_PAGE}") and path.count("/") == 2 and _alone(found, folder) else ""
    if table is None or folder in claimed or f"{folder}/{MANIFEST}" in found.files:
        return ""
    if table.name == "labels":
        return labeller(found.files, path)
    return "confirm" if table.name in _OF_CONFIRM else _COMMANDS.get(table.name, "")


def _alone(found: Inventory, folder: str) -> bool:
    return f"{folder}/{MANIFEST}" not in found.files


def labeller(files: Iterable[str], path: str) -> str:
    """The stage that writes a label set whose manifest is not there."""
    annotator = path.split("annotator=")[1].partition("/")[0]
    if annotator in (MACHINE, CONFIRMED):
        return "confirm"
    imported = stores.parent(path).replace("labels/", "rejects/import/", 1)
    if any(other.startswith(f"{imported}/") for other in files):
        return "import"
    return "convert" if annotator == HUMAN else "label"


def _is_free(found: Inventory, path: str) -> bool:
    """Whether a file may be there although no manifest speaks of it."""
    top = path.partition("/")[0]
    if top in ("report", "runs"):
        return True
    if top == "images":
        return path.endswith(".labels.txt")  # the names of classes, for tensorflow_datasets
    if top == "explanations":
        return path.endswith(f"/{layout.SHEET}") and not _alone(found, stores.parent(path))
    if top == "models":
        folders = [stores.parent(card) for card in found.cards]
        inside = [path[len(folder) + 1 :] for folder in folders if path.startswith(f"{folder}/")]
        return any(is_beside(name) for name in inside)
    return False


def stale(found: Inventory) -> Iterator[Finding]:
    """Products that are whole, but were made from something else than is there now."""
    homes: dict[str, set[str]] = {}
    sets: dict[str, str] = {}
    for path, manifest in found.manifests.items():
        if path.startswith("images/") or ("settings" in manifest and path.startswith("labels/")):
            homes.setdefault(str(manifest.get("dataset")), set()).add(str(manifest.get("fingerprint")))
        if path.startswith("labels/"):
            sets[stores.parent(path)] = str(manifest.get("fingerprint"))
    for path, manifest in found.manifests.items():
        yield from _stale_labels(path, manifest, homes)
        if path.startswith("agreement/pairs/"):
            yield from _stale_pairs(path, manifest, sets)


def _stale_labels(path: str, manifest: Mapping[str, Any], homes: Mapping[str, set[str]]) -> Iterator[Finding]:
    made_from = str(manifest.get("images", NO_IMAGES))
    dataset = path.partition("dataset=")[2].partition("/")[0]
    if "split=" in path and dataset in homes and made_from not in (NO_IMAGES, *homes[dataset]):
        said = "was made from another conversion of the dataset than is there"
        yield Finding(stores.parent(path), said, "run the stage that writes it again", is_warning=True)


def _stale_pairs(path: str, manifest: Mapping[str, Any], sets: Mapping[str, str]) -> Iterator[Finding]:
    for annotator, made_from in manifest.get("labels", {}).items():
        folder = layout.labels("", str(manifest["dataset"]), annotator, str(manifest["split"])).strip("/")
        if sets.get(folder, made_from) != made_from:
            said = f"was made from other labels of {annotator!r} than are there"
            yield Finding(stores.parent(path), said, "run concord agree again", is_warning=True)
