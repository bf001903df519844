"""What lies under a root: its files, its manifests, and what they say that there is."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from analysis.verify import claims, models
from analysis.verify.claims import Claim
from analysis.verify.findings import Finding
from schemas import layout
from schemas.errors import InputError, StorageError
from storage import json_files, model_cards, stores
from storage.products import MANIFEST
from storage.tables import Table

_READERS = 16  # manifests read at once
_FOLDERS = {
    *("images", "index", "labels", "models", "features", "explanations", "agreement", "statistics", "rejects"),
    *("report", "runs"),
}
LONE = {  # tables whose files have no manifest, and the command that makes them
    "annotators": "concord agree",
    "calibration": "concord agree",
    "coverage": "concord agree",
    "coverage_curve": "concord agree",
    "queue": "concord queue",
    "label_errors": "concord label-errors",
    "generations": "concord generations",
}


@dataclass
class Inventory:
    """Everything of Concord's under a root; paths are under the root.

    Attributes:
        files: size in bytes of each file.
        manifests: what each `_concord.json` says.
        cards: what each `model.json` says.
        claims: the Parquet files that there have to be.
        known: every other path that something speaks of.
        findings: manifests that cannot be read, or whose counts do not close.
    """

    root: str
    files: dict[str, int]
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


def dataset_of(path: str) -> str:
    """The dataset that a file under a root is of; empty where it is of none."""
    top, *rest = path.split("/")
    named = [part.partition("=")[2] for part in rest if part.startswith("dataset=")]
    if named or not rest:
        return named[0] if named else ""
    if top in ("images", "models", "report"):
        return rest[0] if len(rest) > 1 else ""
    return rest[-1].partition(".")[0].partition("-")[0] if top in ("agreement", "statistics") else ""


def take(root: str, tables: Mapping[str, Table], dataset: str = "") -> Inventory:
    """List a root, and read its manifests.

    Args:
        root: local, `gs://` or `s3://`.
        tables: every table, by its name.
        dataset: the only one to look at; empty for all.

    Raises:
        InputError: there is nothing of Concord's.
    """
    there = {path: status.size for path, status in stores.list_tree(root).items() if path.split("/")[0] in _FOLDERS}
    files = {path: size for path, size in there.items() if not dataset or dataset_of(path) == dataset}
    if not files:
        of = f" of dataset {dataset!r}" if dataset else ""
        raise InputError(f"there is nothing{of} in {root}: run concord run first, or give another --root")
    found = Inventory(root, files)
    _read_manifests(found)
    for path, manifest in found.manifests.items():
        _claim(found, path, manifest)
    for path, card in found.cards.items():
        found.claims += models.of_card(path, card)
    _claim_lone(found, tables)
    return found


def _read_manifests(found: Inventory) -> None:
    names = (MANIFEST, model_cards.CARD_FILE)
    paths = [path for path in sorted(found.files) if path.rpartition("/")[2] in names]
    with ThreadPoolExecutor(_READERS) as pool:
        for path, content in zip(paths, pool.map(lambda path: _read(found.root, path), paths), strict=True):
            if isinstance(content, Finding):
                found.findings.append(content)
            elif content is not None and path.endswith(model_cards.CARD_FILE):
                found.cards[path] = content
            elif content is not None:
                found.manifests[path] = content
    found.known |= set(paths)


def _read(root: str, path: str) -> dict[str, Any] | Finding | None:
    try:
        return json_files.find(stores.join(root, path))
    except StorageError as error:
        return Finding(path, f"cannot be read ({error})", "remove it, and run the stage that writes it again")


def _claim(found: Inventory, path: str, manifest: dict[str, Any]) -> None:
    """Note what a manifest speaks of."""
    reader = claims.kind_of(path)
    try:
        found.findings += claims.accounts(path, manifest)
        found.claims += reader(path, manifest) if reader else []
        if path.startswith("images/"):
            found.known |= {f"{stores.parent(path)}/{name}" for name in (*image_files(manifest), *METADATA)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"does not say what a manifest says ({type(error).__name__}: {error})"
        found.findings.append(Finding(path, said, "remove it, and run the stage that writes it again"))


METADATA = ("dataset_info.json", "features.json")  # by which tensorflow_datasets opens a folder of images


def image_files(manifest: Mapping[str, Any]) -> list[str]:
    """The names of all TFRecord shards of a dataset."""
    count, dataset = manifest["shards"], manifest["dataset"]
    return [
        layout.tfrecord_shard(dataset, split, shard, count) for split in manifest["splits"] for shard in range(count)
    ]


def _claim_lone(found: Inventory, tables: Mapping[str, Table]) -> None:
    """Note the files of tables that no manifest speaks of."""
    claimed = {claim.path(name) for claim in found.claims for name in claim.names}
    for path in sorted(set(found.files) - claimed):
        table = table_of(tables, path)
        if table is not None and table.name in LONE:
            folder, _, name = path.rpartition("/")
            found.claims.append(Claim(table.name, folder, (name,), "", "", LONE[table.name]))


def table_of(tables: Mapping[str, Table], path: str) -> Table | None:
    """The table that a file under a root is of; None where it is of none."""
    if not path.endswith(".parquet") or path.rpartition("/")[2].startswith("."):
        return None
    return next((table for table in tables.values() if table.holds(path)), None)
