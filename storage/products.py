"""Products: folders of shards that belong together, and how a stage knows what is already done.

Every shard carries the fingerprint of what it was made from; `_concord.json`, written last, says that a product is
complete. A stage first sweeps away whatever does not fit its fingerprint, then makes only the missing shards.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError

import schemas
from schemas import layout
from schemas.errors import IncompleteError, InputError, StorageError
from schemas.layout import IMAGENET
from schemas.manifests import (
    ConfirmationManifest,
    ImagesManifest,
    LabelsManifest,
    Manifest,
    PairsManifest,
    ScoresManifest,
    TableFiles,
)
from storage import hashing, json_files, parquet, stores

MANIFEST = "_concord.json"
M = TypeVar("M", bound=Manifest)
_READERS = 16  # footers read at once: they are small, and object stores answer slowly


class AnyManifest(Manifest, extra="ignore"):
    """A manifest of whatever kind, of which only that is read which all have."""


def fingerprint(stage: str, **parts: Any) -> str:
    """The stage, and a short hash of everything that its product follows from: code version, inputs and settings.

    Every shard carries it, so that an unfinished one, too, names the stage that has to go on.
    """
    recipe = {"stage": stage, "code": schemas.__version__, **parts}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()
    return f"{stage}-{digest[:16]}"


def stage_of(tag: str) -> str:
    """The stage that a fingerprint names; empty where it is none."""
    return tag.rpartition("-")[0]


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

    def counts(self) -> dict[str, Any]:
        """As manifests state them: in, out, and rejected by reason."""
        return {"in": self.records_in, "out": self.records_out, "rejected": dict(self.rejected)}

    def to_json(self) -> str:
        """As kept in the shard's metadata."""
        return json.dumps(
            {**self.counts(), "bytes": self.payload_bytes, **({"shapes": self.shapes} if self.shapes else {})}
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

    def table_files(self, root: str, table: str, rows: int | None = None, counted: str = "") -> TableFiles:
        """What a manifest states of these shards, of which some may have no file; see `TableFiles`."""
        present = stores.list_files(self.folder)
        names = (layout.parquet_shard(shard, self.shards) for shard in range(self.shards))
        paths = [stores.join(self.folder, name) for name in names if name in present]
        return TableFiles(
            table=table,
            folder=layout.relative(root, self.folder),
            files=parquet.footer_hashes(paths),
            rows=rows,
            counted=counted,
        )


def lone_table_file(root: str, table: str, path: str) -> TableFiles:
    """What a manifest states of a table that is one file."""
    folder = layout.relative(root, stores.parent(path))
    return TableFiles(table=table, folder=folder, files=parquet.footer_hashes([path]))


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Declare a product complete: its manifest is written last of all."""
    json_files.write(stores.join(folder, MANIFEST), manifest.model_dump(mode="json"))


def find_manifest(folder: str, kind: type[M]) -> M | None:
    """A product's manifest, or None where the product is missing or unfinished; StorageError where it is none."""
    path = stores.join(folder, MANIFEST)
    content = json_files.find(path)
    return None if content is None else parse_manifest(path, content, kind)


def parse_manifest(path: str, content: Mapping[str, Any], kind: type[M]) -> M:
    """The manifest that a JSON object states.

    Raises:
        StorageError: an entry is missing, unknown, or of another type than it has to be.
    """
    if "stage" not in content:
        raise StorageError(
            f"{path} does not name its stage, as an earlier version wrote it: remove it, and build it again"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StorageError(f"{path}: {where}: {first['msg']}: remove it, and build it again") from error


_KINDS: tuple[tuple[str, type[Manifest]], ...] = (
    (r"images/[^/]+/[^/]+", ImagesManifest),
    (r"labels/dataset=[^/]+/annotator=[^/]+", ImagesManifest),
    (r"labels/dataset=[^/]+", ConfirmationManifest),
    (r"labels/dataset=[^/]+/annotator=[^/]+/split=[^/]+", LabelsManifest),
    (r"agreement/pairs/.*", PairsManifest),
    (r"(features|explanations)/.*", ScoresManifest),
)


def kind_of(path: str) -> type[Manifest]:
    """The class of the manifest at a path under a root."""
    folder = path.removesuffix(f"/{MANIFEST}")
    return next((kind for shape, kind in _KINDS if re.fullmatch(shape, folder)), AnyManifest)


def is_current(folder: str, expected: str) -> bool:
    """Whether a product is complete and made from just what it would be made from now."""
    manifest = find_manifest(folder, AnyManifest)
    return manifest is not None and manifest.fingerprint == expected


def require_manifest(folder: str, kind: type[M], what: str, remedy: str) -> M:
    """A product's manifest.

    Raises:
        IncompleteError: the product is missing or unfinished.
    """
    manifest = find_manifest(folder, kind)
    if manifest is None:
        raise IncompleteError(f"there is no complete {what} in {folder}: {remedy}")
    return manifest


def label_set(root: str, dataset: str, annotator: str, split: str) -> ShardFolder:
    """A finished label set, to be read.

    Raises:
        IncompleteError: it is missing or unfinished.
    """
    manifest = label_manifest(root, dataset, annotator, split)
    return ShardFolder(layout.labels(root, dataset, annotator, split), manifest.shards, manifest.fingerprint)


def label_manifest(root: str, dataset: str, annotator: str, split: str) -> LabelsManifest:
    """What the manifest of a finished label set states; IncompleteError where it is missing or unfinished."""
    what = f"label set of {annotator!r} for split {split!r} of {dataset!r}"
    remedy = "run concord convert (human labels), concord label (a model's) or concord import (anybody's)"
    return require_manifest(layout.labels(root, dataset, annotator, split), LabelsManifest, what, remedy)


class _ShardedManifest(AnyManifest):
    shards: int


def shard_folder(folder: str) -> ShardFolder:
    """A finished folder of shards, to be read; IncompleteError where it is none."""
    manifest = require_manifest(folder, _ShardedManifest, "product", "run the stage that writes it")
    return ShardFolder(folder, manifest.shards, manifest.fingerprint)


@dataclass(frozen=True)
class ImageSet:
    """A finished set of images, to be read: its manifest, and where its shards lie."""

    root: str
    dataset: str
    version: str
    manifest: ImagesManifest

    @property
    def fingerprint(self) -> str:
        """Of the source and the settings it was converted from."""
        return self.manifest.fingerprint

    @property
    def shards(self) -> int:
        """Shards of every split."""
        return self.manifest.shards

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the integer labels."""
        return self.manifest.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels.

        Raises:
            InputError: the images are of different sizes.
        """
        height, width, channels = self.manifest.image_shape or (None, None, None)
        if height is None or width is None or channels is None:
            raise InputError(
                f"the images of dataset {self.dataset!r} are of different sizes; a network takes one: give --image-size"
            )
        return height, width, channels

    def images_in(self, split: str) -> int:
        """How many images a split holds.

        Raises:
            InputError: there is no such split.
        """
        splits = self.manifest.splits
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
    manifest = require_manifest(folder, ImagesManifest, f"dataset {dataset!r}", "run concord convert first")
    for split in manifest.splits:
        layout.check_inside(stores.join(folder, MANIFEST), split)
    return ImageSet(root, dataset, version, manifest)
