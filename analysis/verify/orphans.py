"""What nothing vouches for, what was begun and is not complete, and what was made from other things than are there."""

from collections.abc import Iterator, Mapping

from analysis.verify.contents import is_beside
from analysis.verify.inventory import Finding, Inventory, command, stage_of_file, table_of
from schemas import layout
from schemas.manifests import NO_IMAGES, DatasetManifest, LabelsManifest, PairsManifest
from storage import model_cards, stores
from storage.products import MANIFEST
from storage.tables import Table

_PAGE = "index.html"


def find_orphans(inventory: Inventory, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Every folder that is not complete, once, and every file that nothing vouches for."""
    vouched = {one.path(name) for one in inventory.expected for name in one.files.files}
    folders = {one.files.folder for one in inventory.expected}
    unfinished: dict[str, str] = {}
    for path in sorted(set(inventory.files) - inventory.known - vouched):
        product = _product(path)
        if path.endswith(".partial"):
            yield Finding(path, "a killed run left it half written", "remove it", is_warning=True)
        elif product in unfinished:
            continue
        elif stage := _unfinished(inventory, path, table_of(tables, path), folders):
            unfinished[product] = stage
        elif not _may_lie_there(inventory, path):
            yield Finding(path, "no manifest knows it", "remove it, or move it away", is_warning=True)
    for folder, stage in unfinished.items():
        marker = model_cards.CARD_FILE if folder.startswith("models/") else MANIFEST
        yield Finding(folder, f"is not complete: it has no {marker}", f"run {command(stage)} again")


def _product(path: str) -> str:
    """The folder that a manifest would declare complete."""
    parts = path.split("/")
    return "/".join(parts[:3]) if parts[0] in ("images", "models") else stores.parent(path)


def _unfinished(inventory: Inventory, path: str, table: Table | None, folders: set[str]) -> str:
    """The stage that has to go on, where a file is part of a product that is not complete; else nothing."""
    top, folder, product = path.partition("/")[0], stores.parent(path), _product(path)
    if top == "images" and f"{product}/{MANIFEST}" not in inventory.files:
        return "convert"
    if top == "models" and f"{product}/{model_cards.CARD_FILE}" not in inventory.files:
        return "train"
    if top == "report":
        page = path.endswith(f"/{_PAGE}") and path.count("/") == 2
        return "report" if page and f"{folder}/{MANIFEST}" not in inventory.files else ""
    if table is None or folder in folders or f"{folder}/{MANIFEST}" in inventory.files:
        return ""
    return "" if table.name.startswith("rejects_") else stage_of_file(inventory.root, path)


def _may_lie_there(inventory: Inventory, path: str) -> bool:
    """Whether a file may be there although no manifest vouches for it."""
    top = path.partition("/")[0]
    if top in ("report", "runs"):
        return True
    if top == "images":
        return path.endswith(".labels.txt")  # the names of classes, for tensorflow_datasets
    if top == "explanations":
        return path.endswith(f"/{layout.SHEET}") and f"{stores.parent(path)}/{MANIFEST}" in inventory.files
    if top == "models":
        folders = [stores.parent(card) for card in inventory.cards]
        inside = [path[len(folder) + 1 :] for folder in folders if path.startswith(f"{folder}/")]
        return any(is_beside(name) for name in inside)
    return False


def find_outdated(inventory: Inventory) -> Iterator[Finding]:
    """Products that are complete, but were made from something else than is there now."""
    datasets: dict[str, set[str]] = {}
    label_sets: dict[str, str] = {}
    for path, manifest in inventory.manifests.items():
        if isinstance(manifest, DatasetManifest):
            datasets.setdefault(manifest.dataset, set()).add(manifest.fingerprint)
        if isinstance(manifest, LabelsManifest):
            label_sets[stores.parent(path)] = manifest.fingerprint
    for path, manifest in inventory.manifests.items():
        if isinstance(manifest, PairsManifest):
            yield from _outdated_pairs(path, manifest, label_sets)
            continue
        source = getattr(manifest, "images", NO_IMAGES)
        dataset = path.partition("dataset=")[2].partition("/")[0]
        if dataset in datasets and source not in (NO_IMAGES, *datasets[dataset]):
            what = "was made from another conversion of the dataset than is there"
            yield Finding(stores.parent(path), what, f"run {command(manifest.stage)} again", is_warning=True)


def _outdated_pairs(path: str, manifest: PairsManifest, label_sets: Mapping[str, str]) -> Iterator[Finding]:
    for annotator, source in manifest.labels.items():
        folder = layout.labels("", manifest.dataset, annotator, manifest.split).strip("/")
        if label_sets.get(folder, source) != source:
            what = f"was made from other labels of {annotator!r} than are there"
            yield Finding(stores.parent(path), what, "run concord agree again", is_warning=True)
