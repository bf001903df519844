"""Products: folders of shards that belong together, and how a stage knows what is already done.

Every shard carries the fingerprint of what it was made from; `_concord.json`, written last, says that a product is
complete. A stage first sweeps away whatever does not fit its fingerprint, then makes only the missing shards.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

import schemas
from schemas import layout
from schemas.errors import IncompleteError, InputError, StorageError
from schemas.layout import IMAGENET
from storage import hashing, json_files, parquet, stores

MANIFEST = "_concord.json"
SEALS, OWN = "seals", "shards"  # in a manifest: of the files that it speaks of, by table; its own shards
MOST_SHARDS = 1 << 20
_TYPES = {"fingerprint": str, "shards": int, "classes": list, "task": str, "splits": dict, "image_shape": list}
_READERS = 16  # footers read at once: they are small, and object stores answer slowly


def fingerprint(stage: str, **parts: Any) -> str:
    """A short hash of everything that a product follows from: stage, code version, inputs and settings."""
    recipe = {"stage": stage, "code": schemas.__version__, **parts}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_identity(path: str) -> dict[str, Any]:
    """What tells one state of an input file from another: name, size, modification time in nanoseconds.

    Raises:
        InputError: there is no such file, or it is empty.
    """
    status = stores.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    if status.size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy it again")
    return {"name": path.rsplit("/", 1)[-1], "size": status.size, "modified": status.modified}


def weights_identity(weights: str) -> Any:
    """What tells one choice of a network's first weights from another: none, a name, or a file's identity.

    Raises:
        InputError: there is no such file, or it is empty.
    """
    return weights if weights in ("", IMAGENET) else input_identity(weights)


def weights_place(weights: str) -> str:
    """The same choice, a file by a path that workers find as well."""
    return weights if weights in ("", IMAGENET) else stores.absolute(weights)


@dataclass(frozen=True)
class ShardReport:
    """The count of one shard: records in, records out, and rejected by reason; in = out + rejected.

    Attributes:
        shapes: height, width and channels of its images; no more than two different ones, which say that they differ.
    """

    records_in: int = 0
    records_out: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    payload_bytes: int = 0
    shapes: tuple[tuple[int, int, int], ...] = ()

    def to_json(self) -> str:
        """As kept in the shard's metadata."""
        return json.dumps(
            {
                "in": self.records_in,
                "out": self.records_out,
                "rejected": dict(self.rejected),
                "bytes": self.payload_bytes,
                **({"shapes": self.shapes} if self.shapes else {}),
            }
        )

    @staticmethod
    def from_json(text: str) -> "ShardReport":
        """The report that `to_json` wrote; StorageError where it is another text."""
        try:
            parts = json.loads(text)
            shapes = tuple((height, width, channels) for height, width, channels in parts.get("shapes", ()))
            return ShardReport(parts["in"], parts["out"], dict(parts["rejected"]), parts["bytes"], shapes)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StorageError(f"a shard's counts are damaged ({text[:100]!r}): make it again with --force") from error


def total(reports: list[ShardReport]) -> ShardReport:
    """The sum of shard reports."""
    rejected: Counter[str] = Counter()
    for report in reports:
        rejected.update(report.rejected)
    return ShardReport(
        sum(report.records_in for report in reports),
        sum(report.records_out for report in reports),
        dict(sorted(rejected.items())),
        sum(report.payload_bytes for report in reports),
        tuple(sorted({shape for report in reports for shape in report.shapes}))[:2],
    )


def _report(text: str) -> ShardReport | None:
    """The report that a shard carries; None where it is damaged."""
    try:
        return ShardReport.from_json(text)
    except StorageError:
        return None


@dataclass(frozen=True)
class ShardFolder:
    """A folder of Parquet shards with one fingerprint and one shard count."""

    folder: str
    shards: int
    fingerprint: str

    def path(self, shard: int) -> str:
        """Path of one shard."""
        return stores.join(self.folder, layout.parquet_shard(shard, self.shards))

    def write(self, shard: int, table: pa.Table, report: ShardReport) -> None:
        """Write one shard, with its counts."""
        parquet.write(self.path(shard), table, self.fingerprint, report.to_json())

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one shard, all of it or some columns; it must carry this folder's fingerprint."""
        return parquet.read(self.path(shard), self.fingerprint, columns=columns)

    def read_part(self, shard: int, shards: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of one shard of a finer (or the same) division into `shards`, a power of two.

        Columns, if not all, are to hold `image_id`. Rows lie in hash order of it, so a finer shard is a part of one of
        these.
        """
        if shards < self.shards:
            raise InputError(f"{self.folder} has {self.shards} shards, and cannot be read as {shards}")
        rows = self.read(shard * self.shards // shards, columns)
        if shards == self.shards:
            return rows
        if "image_id" not in rows.column_names:
            raise IncompleteError(f"{self.path(shard)} has no column 'image_id': it is no shard of Concord's")
        hashes = hashing.image_hashes(rows["image_id"].to_pylist())
        return rows.filter(pa.array(hashing.shard_of(hashes, shards) == shard))

    def report(self, shard: int) -> ShardReport:
        """The counts of one finished shard."""
        return ShardReport.from_json(parquet.read_tags(self.path(shard))[1])

    def done(self) -> dict[int, ShardReport]:
        """The finished shards, with their counts."""
        present = stores.list_files(self.folder)
        candidates = [shard for shard in range(self.shards) if layout.parquet_shard(shard, self.shards) in present]
        with ThreadPoolExecutor(_READERS) as pool:
            tags = pool.map(lambda shard: parquet.read_tags(self.path(shard)), candidates)
        ours = (
            (shard, report) for shard, (tag, report) in zip(candidates, tags, strict=True) if tag == self.fingerprint
        )
        found = {shard: _report(text) for shard, text in ours}
        return {shard: report for shard, report in found.items() if report is not None}

    def is_whole(self) -> bool:
        """Whether the product is declared complete, made from just this, and all its shards are there and open."""
        return is_current(self.folder, self.fingerprint) and len(self.done()) == self.shards

    def rows(self) -> int:
        """How many rows all shards hold, by their footers."""
        with ThreadPoolExecutor(_READERS) as pool:
            return sum(pool.map(lambda shard: parquet.row_count(self.path(shard)), range(self.shards)))

    def committed(self) -> int:
        """How many shard files are there, whatever they hold; cheap, to show progress."""
        return sum(name.endswith(".parquet") for name in stores.list_files(self.folder))

    def prepare(self, afresh: bool = False) -> dict[int, ShardReport]:
        """Make the folder hold nothing but finished shards of this fingerprint, and return them.

        Args:
            afresh: keep none at all.
        """
        stores.check_no_link(self.folder)
        stores.remove(stores.join(self.folder, MANIFEST))
        done = {} if afresh else self.done()
        keep = {layout.parquet_shard(shard, self.shards) for shard in done}
        for name in stores.list_files(self.folder):
            if name not in keep:
                stores.remove(stores.join(self.folder, name))
        return done

    def seals(self) -> dict[str, str]:
        """The seal of each shard that is there, by its file's name."""
        present = stores.list_files(self.folder)
        names = (layout.parquet_shard(shard, self.shards) for shard in range(self.shards))
        return parquet.footer_hashes([stores.join(self.folder, name) for name in names if name in present])

    def complete(self, beside: Mapping[str, Mapping[str, str]] | None = None, **facts: Any) -> None:
        """Declare the product whole: its manifest is written, last of all.

        Args:
            beside: the seals of what was made with it, by table and by file name.
            facts: what the manifest says more.
        """
        sealed = {OWN: self.seals(), **(beside or {})}
        write_manifest(self.folder, {"fingerprint": self.fingerprint, "shards": self.shards, SEALS: sealed, **facts})


def write_manifest(folder: str, facts: Mapping[str, Any]) -> None:
    """Write a product's manifest."""
    json_files.write(stores.join(folder, MANIFEST), facts)


def find_manifest(folder: str) -> dict[str, Any] | None:
    """A product's manifest, or None where the product is missing or unfinished; StorageError where it is none."""
    path = stores.join(folder, MANIFEST)
    manifest = json_files.find(path)
    if manifest is not None:
        json_files.check_types(path, manifest, _TYPES, ("fingerprint",))
        if not 1 <= (1 if manifest.get("shards") is None else manifest["shards"]) <= MOST_SHARDS:
            raise StorageError(f"{path} says that there are {manifest['shards']} shards: remove it, and make it again")
    return manifest


def is_current(folder: str, expected: str) -> bool:
    """Whether a product is complete and made from just what it would be made from now."""
    manifest = find_manifest(folder)
    return manifest is not None and manifest["fingerprint"] == expected


def require_manifest(folder: str, what: str, remedy: str) -> dict[str, Any]:
    """A product's manifest.

    Raises:
        IncompleteError: the product is missing or unfinished.
    """
    manifest = find_manifest(folder)
    if manifest is None:
        raise IncompleteError(f"there is no complete {what} in {folder}: {remedy}")
    return manifest


def label_set(root: str, dataset: str, annotator: str, split: str) -> ShardFolder:
    """A finished label set, to be read.

    Raises:
        IncompleteError: it is missing or unfinished.
    """
    folder = layout.labels(root, dataset, annotator, split)
    what = f"label set of {annotator!r} for split {split!r} of {dataset!r}"
    manifest = require_manifest(
        folder, what, "run concord convert (people's labels), concord label (a model's) or concord import (anybody's)"
    )
    return _whole(folder, manifest)


def _whole(folder: str, manifest: dict[str, Any]) -> ShardFolder:
    json_files.check_types(stores.join(folder, MANIFEST), manifest, {}, ("shards",))
    return ShardFolder(folder, manifest["shards"], manifest["fingerprint"])


def shard_folder(folder: str) -> ShardFolder:
    """A finished folder of shards, to be read; IncompleteError where it is none."""
    return _whole(folder, require_manifest(folder, "product", "run the stage that writes it"))


@dataclass(frozen=True)
class ImageSet:
    """A finished set of images, to be read: its manifest, and where its shards lie."""

    root: str
    dataset: str
    version: str
    manifest: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of the source and the settings it was converted from."""
        return str(self.manifest["fingerprint"])

    @property
    def shards(self) -> int:
        """Shards of every split."""
        return int(self.manifest["shards"])

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the integer labels."""
        return list(self.manifest["classes"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels.

        Raises:
            InputError: the images are of different sizes.
        """
        height, width, channels = self.manifest["image_shape"]
        if height is None or width is None:
            raise InputError(
                f"the images of dataset {self.dataset!r} are of different sizes; a network takes one: give --image-size"
            )
        return height, width, channels

    def images_in(self, split: str) -> int:
        """How many images a split holds.

        Raises:
            InputError: there is no such split.
        """
        splits = self.manifest["splits"]
        if split not in splits:
            raise InputError(f"dataset {self.dataset!r} has no split {split!r}; its splits are {', '.join(splits)}")
        return int(splits[split]["out"])

    def tfrecord(self, split: str, shard: int) -> str:
        """Path of a TFRecord shard."""
        folder = layout.images(self.root, self.dataset, self.version)
        return stores.join(folder, layout.tfrecord_shard(self.dataset, split, shard, self.shards))

    def index(self, split: str) -> ShardFolder:
        """The index of a split."""
        return ShardFolder(layout.index(self.root, self.dataset, split), self.shards, self.fingerprint)


def image_set(root: str, dataset: str, version: str) -> ImageSet:
    """A finished set of images.

    Raises:
        IncompleteError: it is missing or unfinished.
    """
    folder = layout.images(root, dataset, version)
    manifest = require_manifest(folder, f"dataset {dataset!r}", "run concord convert first")
    path = stores.join(folder, MANIFEST)
    json_files.check_types(path, manifest, {}, ("shards", "classes", "splits"))
    for split in manifest["splits"]:
        layout.check_inside(path, split)
    return ImageSet(root, dataset, version, manifest)
