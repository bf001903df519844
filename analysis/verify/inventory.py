"""What lies under a root: its files, its manifests, and the tables' files that these vouch for."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from schemas import layout
from schemas.errors import ConcordError, InputError, StorageError
from schemas.layout import HUMAN, MACHINE
from schemas.manifests import ImagesManifest, Manifest, ModelCard, TableFiles
from storage import model_cards, parquet, products, small_files, stores
from storage.products import MANIFEST
from storage.tables import Table

METADATA = ("dataset_info.json", "features.json")  # by which tensorflow_datasets opens a folder of images
_READERS = 16  # manifests read at once
_FOLDERS = {
    *("images", "index", "labels", "models", "features", "explanations", "agreement", "statistics", "rejects"),
    *("machine_precision", "report", "runs"),
}


@dataclass(frozen=True, order=True)
class Finding:
    """Something that is missing or altered, or, as a warning, something that nothing vouches for.

    Attributes:
        path: of the file or folder, under the root.
        what: is wrong with it.
        remedy: what to do.
        is_warning: whether nothing is missing or altered by it.
    """

    path: str
    what: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.what}: {self.remedy}"


@dataclass(frozen=True)
class Expected:
    """Tables' files that a manifest vouches for, or a table that is complete by itself.

    Attributes:
        files: of one table in one folder.
        manifest: its path under the root; empty for a table that is complete by itself.
        fingerprint: that each file has to carry; empty for any.
        stage: which made them.
        counts: that the files' own reports have to add up to; empty for none.
    """

    files: TableFiles
    manifest: str
    fingerprint: str
    stage: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Path of one of the files, under the root."""
        return f"{self.files.folder}/{name}"

    def remedy(self, name: str = "") -> str:
        """How to rebuild what is missing, or the file that is altered: a stage keeps whatever else is complete."""
        removed = [name] if name else []
        removed += [self.manifest] if self.manifest else []
        return f"remove {' and '.join(removed)}, and run {command(self.stage)} again"


@dataclass
class Inventory:
    """Everything of Concord's under a root; paths are under the root.

    Attributes:
        files: size in bytes of each file.
        manifests: each `_concord.json`.
        cards: each `model.json`.
        expected: the Parquet files that there have to be.
        known: every other path that something vouches for.
        findings: manifests that cannot be read, or whose counts do not close.
    """

    root: str
    files: dict[str, int]
    manifests: dict[str, Manifest] = field(default_factory=dict)
    cards: dict[str, ModelCard] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


def command(stage: str) -> str:
    """The command of a stage."""
    return f"concord {stage.replace('_', '-')}"


def dataset_of(path: str) -> str:
    """The dataset that a file under a root is of; empty where it is of none."""
    top, *rest = path.split("/")
    named = [part.partition("=")[2] for part in rest if part.startswith("dataset=")]
    if named or not rest:
        return named[0] if named else ""
    if top in ("images", "models", "report"):
        return rest[0] if len(rest) > 1 else ""
    lone = top in ("agreement", "statistics", "machine_precision")
    return rest[-1].partition(".")[0].partition("-")[0] if lone else ""


def list_root(root: str, tables: Mapping[str, Table], dataset: str = "") -> Inventory:
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
    inventory = Inventory(root, files)
    _read_manifests(inventory)
    for path, manifest in inventory.manifests.items():
        inventory.findings += _check_sums(path, manifest)
        inventory.expected += _expected_of(path, manifest)
        if path.startswith("images/") and isinstance(manifest, ImagesManifest):
            names = (*image_files(manifest), *METADATA)
            inventory.known |= {f"{stores.parent(path)}/{name}" for name in names}
    for path, card in inventory.cards.items():
        inventory.expected += _expected_of(path, card)
    _add_lone_tables(inventory, tables)
    return inventory


def _expected_of(path: str, manifest: Manifest) -> Iterator[Expected]:
    for files in manifest.tables:
        counts: Mapping[str, Any] = manifest.counts
        if "splits" in counts:  # then those of the files' own split count
            counts = counts["splits"].get(files.folder.rpartition("split=")[2], {})
        checked = counts if files.counted == "out" and "in" in counts and manifest.stage != "confirm" else {}
        yield Expected(files, path, manifest.fingerprint, manifest.stage, checked)


def _read_manifests(inventory: Inventory) -> None:
    names = (MANIFEST, model_cards.CARD_FILE)
    paths = [path for path in sorted(inventory.files) if path.rpartition("/")[2] in names]
    with ThreadPoolExecutor(_READERS) as pool:
        contents = pool.map(lambda path: _read(inventory.root, path), paths)
        for path, content in zip(paths, contents, strict=True):
            if isinstance(content, Finding):
                inventory.findings.append(content)
            elif isinstance(content, ModelCard):
                inventory.cards[path] = content
            elif content is not None:
                inventory.manifests[path] = content
    inventory.known |= set(paths)


def _read(root: str, path: str) -> Manifest | Finding | None:
    try:
        content = small_files.find_json(stores.join(root, path))
        if content is None:
            return None
        if path.endswith(model_cards.CARD_FILE):
            return model_cards.parse_card(path, content)
        return products.parse_manifest(path, content, products.kind_of(path))
    except StorageError as error:
        return Finding(path, f"cannot be read ({error})", "remove it, and run the stage that writes it again")


def image_files(manifest: ImagesManifest) -> list[str]:
    """The names of all TFRecord shards of a dataset."""
    return [
        layout.tfrecord_shard(manifest.dataset, split, shard, manifest.shards)
        for split in manifest.splits
        for shard in range(manifest.shards)
    ]


def _add_lone_tables(inventory: Inventory, tables: Mapping[str, Table]) -> None:
    """Expect what tables of one file state of themselves: no manifest vouches for them."""
    vouched = {one.path(name) for one in inventory.expected for name in one.files.files}
    for path in sorted(set(inventory.files) - vouched):
        table = table_of(tables, path)
        if table is not None and is_lone(path):
            folder, _, name = path.rpartition("/")
            files = TableFiles(table=table.name, folder=folder, files={name: ""})
            inventory.expected.append(Expected(files, "", "", stage_of_file(inventory.root, path) or "agree"))


def is_lone(path: str) -> bool:
    """Whether a table's file at this path is complete by itself."""
    return path.startswith("agreement/") and not path.startswith("agreement/pairs/")


def stage_of_file(root: str, path: str) -> str:
    """The stage that a Parquet file's own fingerprint names; empty where it cannot be read, or carries none."""
    try:
        return products.stage_of(parquet.read_tags(stores.join(root, path))[0])
    except ConcordError:
        return ""


def table_of(tables: Mapping[str, Table], path: str) -> Table | None:
    """The table that a file under a root is of; None where it is of none."""
    if not path.endswith(".parquet") or path.rpartition("/")[2].startswith("."):
        return None
    return next((table for table in tables.values() if table.holds(path)), None)


def _check_sums(path: str, manifest: Manifest) -> Iterator[Finding]:
    """Where the counts of a manifest do not close: in = out + rejected."""
    counts = manifest.counts
    parts = {"": counts, **{f" of split {split}": part for split, part in counts.get("splits", {}).items()}}
    remedy = "it was edited; run the stage that writes it again with --force"
    for where, part in parts.items():
        if "in" in part and "out" in part:
            gone = sum(sum((part.get(key) or {}).values()) for key in ("rejected", "unpaired"))
            if part["in"] != part["out"] + gone:
                what = f"its counts{where} do not close: {part['in']} in, {part['out']} out, {gone} rejected"
                yield Finding(path, what, remedy)
    for side in (MACHINE, HUMAN):
        part = counts.get(side, {})
        if "read" in part:
            gone = sum(sum(part[key].values()) for key in ("malformed", "narrowed"))
            rest = sum(part[key] for key in ("unmatched", "duplicate", "matched"))
            if part["read"] != gone + rest:
                what = f"its counts of {side} do not close: {part['read']} read, {gone + rest} accounted for"
                yield Finding(path, what, remedy)
