"""Products: folders of shards that belong together, the manifests that declare them complete, and what is finished.

Every shard carries the fingerprint of what it was made from; `_concord.json`, written last, declares the product
complete. A stage first removes whatever does not carry its fingerprint, then writes only the missing shards.
"""

import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

import schemas
from schemas import layout, tables
from schemas.errors import IncompleteError, InputError, StorageError
from schemas.layout import IMAGENET
from schemas.manifests import (
    ConfirmationManifest,
    ImagesManifest,
    LabelsManifest,
    Manifest,
    PairsManifest,
    ScoresManifest,
    ShardCount,
    TableFiles,
)
from storage import hashing, parquet, small_files, stores

# Products: folders of shards that belong together, and how a stage knows what is already done.

MANIFEST = "_concord.json"
M = TypeVar("M", bound=Manifest)


class AnyManifest(Manifest, extra="ignore"):
    """A manifest of any kind; only what all of them have is read."""


def fingerprint(stage: str, **parts: Any) -> str:
    """The stage, and a short hash of everything that its product depends on: code version, inputs and settings.

    Every shard carries it, so that an unfinished product also names the stage that has to continue it.
    """
    recipe = {"stage": stage, "code": schemas.__version__, **parts}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()
    return f"{stage}-{digest[:16]}"


def stage_of(tag: str) -> str:
    """The stage that a fingerprint names; empty for any other text."""
    return tag.rpartition("-")[0]


def input_identity(path: str) -> dict[str, Any]:
    """The name, size and time of an input file, which identify its content; InputError if it is missing or empty."""
    status = stores.stat(path)
    if status is None:
        raise InputError(f"no such file: {path}")
    if status.size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy it again")
    return {"name": path.rsplit("/", 1)[-1], "size": status.size, "modified": status.modified}


def weights_identity(weights: str) -> Any:
    """What identifies a network's initial weights: empty, a name, or a file's `input_identity`."""
    return weights if weights in ("", IMAGENET) else input_identity(weights)


def resolve_weights(weights: str) -> str:
    """The same weights; a file as an absolute path, which workers can open as well."""
    return weights if weights in ("", IMAGENET) else stores.absolute(weights)


@dataclass(frozen=True)
class ShardReport:
    """The count of one shard: records in, records out, and rejected by reason; in = out + rejected.

    Attributes:
        shapes: height, width and channels of its images; two different ones are enough to show that sizes differ.
    """

    records_in: int = 0
    records_out: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    payload_bytes: int = 0
    shapes: tuple[tuple[int, int, int], ...] = ()

    def counts(self) -> dict[str, Any]:
        """The counts as manifests state them: in, out, and rejected by reason."""
        return {"in": self.records_in, "out": self.records_out, "rejected": dict(self.rejected)}

    def to_json(self) -> str:
        """The text that the shard's metadata holds."""
        shapes = {"shapes": self.shapes} if self.shapes else {}
        return json.dumps({**self.counts(), "bytes": self.payload_bytes, **shapes})

    @staticmethod
    def from_json(text: str) -> "ShardReport":
        """The report that `to_json` wrote; StorageError for any other text."""
        try:
            parts = json.loads(text)
            shapes = tuple((height, width, channels) for height, width, channels in parts.get("shapes", ()))
            return ShardReport(parts["in"], parts["out"], dict(parts["rejected"]), parts["bytes"], shapes)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StorageError(f"a shard's counts are damaged ({text[:100]!r}): rebuild it with --force") from error


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
        """Read one shard of a finer (or the same) division into `shards`, a power of two.

        Rows lie in hash order of their `image_id`, so a finer shard is a part of one of these; `columns`, if not all,
        have to contain it.
        """
        if shards < self.shards:
            raise InputError(f"{self.folder} has {self.shards} shards and cannot be read as {shards}")
        rows = self.read(shard * self.shards // shards, columns)
        if shards == self.shards:
            return rows
        if "image_id" not in rows.column_names:
            raise IncompleteError(f"{self.path(shard)} has no column 'image_id': Concord did not write it")
        hashes = hashing.image_hashes(rows["image_id"].to_pylist())
        return rows.filter(pa.array(hashing.shard_of(hashes, shards) == shard))

    def report(self, shard: int) -> ShardReport:
        """The counts of one finished shard."""
        return ShardReport.from_json(parquet.read_tags(self.path(shard))[1])

    def done(self) -> dict[int, ShardReport]:
        """The finished shards, with their counts."""
        present = stores.list_files(self.folder)
        shards = [shard for shard in range(self.shards) if layout.parquet_shard(shard, self.shards) in present]
        tags = stores.map_threads(parquet.read_tags, map(self.path, shards))
        reports = {}
        for shard, (fingerprint, text) in zip(shards, tags, strict=True):
            if fingerprint == self.fingerprint:
                with contextlib.suppress(StorageError):  # damaged counts: it is built again
                    reports[shard] = ShardReport.from_json(text)
        return reports

    def is_whole(self) -> bool:
        """Whether the product is declared complete with this fingerprint, and all its shards can be opened."""
        return is_current(self.folder, self.fingerprint) and len(self.done()) == self.shards

    def rows(self) -> int:
        """Number of rows in all shards, from their footers."""
        return sum(stores.map_threads(parquet.row_count, map(self.path, range(self.shards))))

    def committed(self) -> int:
        """Number of shard files, whatever they contain; cheap, for progress."""
        return sum(name.endswith(".parquet") for name in stores.list_files(self.folder))

    def prepare(self, afresh: bool = False) -> dict[int, ShardReport]:
        """Remove everything but finished shards of this fingerprint, or those too if `afresh`; return what stays."""
        stores.check_no_link(self.folder)
        stores.remove(stores.join(self.folder, MANIFEST))
        done = {} if afresh else self.done()
        keep = {layout.parquet_shard(shard, self.shards) for shard in done}
        for name in stores.list_files(self.folder):
            if name not in keep:
                stores.remove(stores.join(self.folder, name))
        return done

    def table_files(self, root: str, table: str, rows: int | None = None, counted: str = "") -> TableFiles:
        """What a manifest states of these shards, some of which may have no file; see `TableFiles`."""
        present = stores.list_files(self.folder)
        names = (layout.parquet_shard(shard, self.shards) for shard in range(self.shards))
        paths = [stores.join(self.folder, name) for name in names if name in present]
        folder, hashes = layout.relative(root, self.folder), parquet.footer_hashes(paths)
        return TableFiles(table=table, folder=folder, files=hashes, rows=rows, counted=counted)


def single_table_file(root: str, table: str, path: str) -> TableFiles:
    """What a manifest states of a table that consists of one file."""
    folder = layout.relative(root, stores.parent(path))
    return TableFiles(table=table, folder=folder, files=parquet.footer_hashes([path]))


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Declare a product complete; call it after everything else is written."""
    small_files.write_json(stores.join(folder, MANIFEST), manifest.model_dump(mode="json"))


def find_manifest(folder: str, kind: type[M]) -> M | None:
    """A product's manifest; None if the product is missing or unfinished, StorageError if the file is no manifest."""
    path = stores.join(folder, MANIFEST)
    content = small_files.find_json(path)
    return None if content is None else parse_manifest(path, content, kind)


def parse_manifest(path: str, content: Mapping[str, Any], kind: type[M]) -> M:
    """The manifest that a JSON object states; StorageError if an entry is missing, unknown, or of the wrong type."""
    if "stage" not in content:
        raise StorageError(f"{path} names no stage, as an earlier version wrote it: remove it, and build it again")
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
    """Whether a product is complete and has the fingerprint that it would be built with now."""
    manifest = find_manifest(folder, AnyManifest)
    return manifest is not None and manifest.fingerprint == expected


def require_manifest(folder: str, kind: type[M], what: str, hint: str) -> M:
    """A product's manifest; IncompleteError, with a hint on how to build it, if it is missing or unfinished."""
    manifest = find_manifest(folder, kind)
    if manifest is None:
        raise IncompleteError(f"there is no complete {what} in {folder}: {hint}")
    return manifest


def label_set(root: str, dataset: str, annotator: str, split: str) -> ShardFolder:
    """A finished label set; IncompleteError if it is missing or unfinished."""
    manifest = label_manifest(root, dataset, annotator, split)
    return ShardFolder(layout.labels(root, dataset, annotator, split), manifest.shards, manifest.fingerprint)


def states_presence_alone(labels: ShardFolder) -> bool:
    """Whether a label set states only what images have: then what it does not state, they do not have."""
    return all(pc.all(tables.present(labels.read(shard))).as_py() in (True, None) for shard in range(labels.shards))


def label_manifest(root: str, dataset: str, annotator: str, split: str) -> LabelsManifest:
    """The manifest of a finished label set; IncompleteError if it is missing or unfinished."""
    what = f"label set of {annotator!r} for split {split!r} of {dataset!r}"
    hint = "run concord convert (human labels), concord label (a model's) or concord import (anybody's)"
    return require_manifest(layout.labels(root, dataset, annotator, split), LabelsManifest, what, hint)


class _ShardedManifest(AnyManifest):
    shards: ShardCount


def shard_folder(folder: str) -> ShardFolder:
    """Any finished folder of shards; IncompleteError if it is missing or unfinished."""
    manifest = require_manifest(folder, _ShardedManifest, "product", "run the stage that writes it")
    return ShardFolder(folder, manifest.shards, manifest.fingerprint)


@dataclass(frozen=True)
class ImageSet:
    """A finished set of images: its manifest, and the paths of its shards."""

    root: str
    dataset: str
    version: str
    manifest: ImagesManifest

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its source and of the settings it was converted with."""
        return self.manifest.fingerprint

    @property
    def shards(self) -> int:
        """Number of shards of every split."""
        return self.manifest.shards

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the integer labels."""
        return self.manifest.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels; InputError if the images have different sizes."""
        height, width, channels = self.manifest.image_shape or (None, None, None)
        if height is None or width is None or channels is None:
            raise InputError(
                f"the images of {self.dataset!r} have different sizes, but a network takes one: set --image-size"
            )
        return height, width, channels

    def images_in(self, split: str) -> int:
        """Number of images in a split; InputError if there is no such split."""
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
    """A finished set of images; IncompleteError if it is missing or unfinished."""
    folder = layout.images(root, dataset, version)
    manifest = require_manifest(folder, ImagesManifest, f"dataset {dataset!r}", "run concord convert first")
    for split in manifest.splits:
        layout.check_inside(stores.join(folder, MANIFEST), split)
    return ImageSet(root, dataset, version, manifest)


# --- Comparisons of two annotators ---------------------------------------------------------------


def find_comparisons(root: str, dataset: str) -> dict[tuple[str, str, str], PairsManifest | None]:
    """The manifest of each comparison that was begun, by (a, b, split); None if it is unfinished."""
    keys = stores.partitions(layout.pairs(root, dataset, "", "", ""), 3)
    return {
        (a, b, split): find_manifest(layout.pairs(root, dataset, a, b, split), PairsManifest) for a, b, split in keys
    }


def rank_disagreements(pairs: pa.Table, limit: int) -> pa.Table:
    """The rows of a comparison whose labels differ, ranked by the lower of the two confidences; ties by image id."""
    rows = pairs.filter(pc.not_equal(pairs["label_a"], pairs["label_b"]))
    rows = rows.append_column("lower", pc.min_element_wise(rows["confidence_a"], rows["confidence_b"]))
    ranked = rows.sort_by([("lower", "descending"), ("image_id", "ascending")])
    return ranked.slice(0, limit).drop_columns("lower")


def list_disagreements(root: str, dataset: str, key: tuple[str, str, str], limit: int) -> list[str]:
    """The images that `rank_disagreements` puts first in a comparison (a, b, split); none if it kept no pairs."""
    folder = layout.pairs(root, dataset, *key)
    manifest = require_manifest(folder, PairsManifest, "comparison", "run concord agree")
    if not manifest.has_pairs:
        return []
    shards = ShardFolder(folder, manifest.shards, manifest.fingerprint)

    def rank_shard(shard: int) -> pa.Table:
        return rank_disagreements(shards.read(shard), limit)

    parts = stores.map_threads(rank_shard, range(shards.shards), threads=8)  # so many shards are in memory at once
    image_ids: list[str] = rank_disagreements(pa.concat_tables(parts), limit)["image_id"].to_pylist()
    return image_ids
