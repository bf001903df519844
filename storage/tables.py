"""Every table that Concord writes: what a row is, where its files lie under a root, and which columns they have.

Adding a table is adding an entry to `TABLES`: its section in `docs/tables.md`, its view, what `concord query` lists and
the check of its files follow.
"""

import glob
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import pyarrow as pa
import pyarrow.dataset as ds

from schemas import layout, tables
from schemas.errors import IncompleteError
from storage import parquet, stores

KEYS = {
    "dataset": "name of the dataset",
    "split": "split of the dataset",
    "annotator": "whose labels: human, machine, confirmed, or the name of a network",
    "annotator_a": "first annotator",
    "annotator_b": "second annotator",
    "backbone": "network, weights and layer that the features are of",
    "side": "whose file the row is from: machine or human",
    "model": "name of the model",
}
_KEY = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Table:
    """A table: Parquet files in one folder or in many.

    Attributes:
        name: its name in SQL.
        row: what a row is.
        schema: the columns of its files; other fields than quantities have no unit.
        place: path of its files under a root, with `{key}` for the value of each partition key.
        others: what further columns its files have, where their names depend on the run; empty for none.
    """

    name: str
    row: str
    schema: pa.Schema
    place: str
    others: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The partition keys, columns that only the path holds, in its order; always text."""
        return tuple(_KEY.findall(self.place))

    @property
    def is_hive(self) -> bool:
        """Whether every key stands in the path as `key=value`."""
        return all(f"{key}={{{key}}}" in self.place for key in self.keys)

    @property
    def folder(self) -> str:
        """The folder under a root below which all of its files lie."""
        return re.split(r"/[^/]*[{*]", self.place)[0]

    @property
    def pattern(self) -> str:
        """The glob of its files under a root."""
        return _KEY.sub("*", self.place)

    @property
    def columns(self) -> pa.Schema:
        """The columns of its files, and the partition keys after them."""
        keys = [tables.column(key, pa.string(), KEYS[key]) for key in self.keys]
        return pa.schema([*self.schema, *keys])

    def files(self, root: str) -> list[str]:
        """Its files under a root, sorted; none where the table is not there yet."""
        return stores.glob(stores.join(glob.escape(root), self.pattern))

    def values(self, root: str, path: str) -> dict[str, str]:
        """The values of the partition keys of one of its files."""
        match = re.fullmatch(self._shape, path[len(stores.join(root, "")) :])
        return match.groupdict() if match else {}

    def holds(self, path: str) -> bool:
        """Whether a path under a root is that of one of its files."""
        return re.fullmatch(self._shape, path) is not None

    @cached_property
    def _shape(self) -> str:
        """The regular expression of its files' paths, a group for each partition key."""
        shape = re.escape(self.place).replace(r"\*", "[^/]*")
        for key in self.keys:
            shape = shape.replace(re.escape(f"{{{key}}}"), f"(?P<{key}>[^/]*)")
        return shape

    def open(self, root: str, files: Sequence[str] | None = None) -> ds.Dataset:
        """All of its rows under a root, to be read in batches; no rows where the table is not there yet.

        Args:
            root: local, `gs://` or `s3://`.
            files: those of its files to read; None for all.

        Raises:
            IncompleteError: a file is damaged, or has other columns; the message names file and column.
        """
        paths = self.files(root) if files is None else files
        columns = self._checked(paths)
        filesystem, _ = stores.arrow_path(root)
        form, parts = ds.ParquetFileFormat(default_fragment_scan_options=_VERIFYING), []
        for path in paths:
            known = [ds.field(key) == value for key, value in self.values(root, path).items()]
            where = reduce(operator.and_, known) if known else None
            parts.append(form.make_fragment(stores.arrow_path(path)[1], filesystem, partition_expression=where))
        return ds.FileSystemDataset(parts, columns, form, filesystem)

    def _checked(self, paths: Sequence[str]) -> pa.Schema:
        """The columns of all files, each of which has to fit."""
        schemas = stores.map_threads(parquet.read_schema, paths)
        for path, schema in zip(paths, schemas, strict=True):
            parquet.check_schema(path, schema, self.schema, others=bool(self.others))
        if not self.others:
            return self.columns
        plain = [pa.schema([field.with_nullable(True).remove_metadata() for field in schema]) for schema in schemas]
        try:
            together = pa.unify_schemas([pa.schema([]), *plain], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise IncompleteError(
                f"the files of table {self.name} under {self.folder} have columns of one name and other kinds: {error}"
            ) from error
        more = [field for field in together if field.name not in self.columns.names]
        return pa.schema([*self.schema, *more, *(self.columns.field(key) for key in self.keys)])


_VERIFYING = ds.ParquetFragmentScanOptions(page_checksum_verification=True)


def _shards(folder: Callable[..., str], *keys: str) -> str:
    """Where the shards of a table lie whose folder has these keys, as `layout` says."""
    return folder("", *(f"{{{key}}}" for key in keys)).strip("/") + "/*.parquet"


def _shards_of(path: str) -> str:
    """Where the files beside a path lie."""
    return stores.parent(path).strip("/") + "/*.parquet"


_NETWORK = ("dataset", "annotator", "split")
_REJECTS = [
    Table(f"rejects_{stage}", f"{what} that {stage} rejected", tables.REJECTS, _shards(folder, *keys))
    for stage, what, folder, keys in (
        ("convert", "a record", layout.convert_rejects, ("dataset", "split")),
        ("label", "an image", layout.label_rejects, _NETWORK),
        ("confirm", "a row of a CSV file", layout.confirm_rejects, ("dataset", "side")),
        ("features", "an image", layout.feature_rejects, ("dataset", "backbone", "split")),
        ("explain", "an image", layout.explain_rejects, _NETWORK),
        ("import", "a row of a file", layout.import_rejects, _NETWORK),
    )
]
_AGREEMENT = [
    Table(name, row, schema, f"agreement/{name}/*.parquet")
    for name, row, schema in (
        ("summary", "two annotators on one split: how much they agree", tables.SUMMARY),
        (
            "measures",
            "a measure of two annotators on one split, or of all of them together, over all labels or of one",
            tables.MEASURES,
        ),
        ("confusion", "two labels that two annotators gave", tables.CONFUSION),
        (
            "calibration",
            "an annotator and a bin of its confidence, or all of them: its accuracy by confidence",
            tables.CALIBRATION,
        ),
        ("joint_confidence", "two annotators and a bin of both confidences, or all of them", tables.JOINT_CONFIDENCE),
        (
            "coverage",
            "a target accuracy: from which confidence on images can be accepted without human review, and how accurate "
            "they are",
            tables.COVERAGE,
        ),
        (
            "coverage_curve",
            "a threshold of confidence: how many images it accepts, and how accurate they are",
            tables.COVERAGE_CURVE,
        ),
        (
            "generations",
            "a network trained on labels of a machine or of humans, or the mean over seeds: its accuracy, and the "
            "labels saved",
            tables.GENERATIONS,
        ),
    )
]
_CONFIRM = [
    Table(name, row, schema, layout.statistics_table("", name, "*").strip("/"))
    for name, row, schema in (
        (
            "machine_precision",
            "a class, a decile of confidence, both, or all: how many labels of a machine human annotators confirmed",
            tables.MACHINE_PRECISION,
        ),
        ("labels_per_image", "a number of labels: how many images have so many", tables.LABELS_PER_IMAGE),
        ("verdict_sources", "a source of human verdicts", tables.VERDICT_SOURCES),
    )
]
_TABLES = (
    Table("labels", "an image and a label that an annotator gave it", tables.LABELS, _shards(layout.labels, *_NETWORK)),
    Table(
        "index",
        "an image: where its bytes lie, and what they are",
        tables.INDEX,
        _shards(layout.index, "dataset", "split"),
    ),
    Table(
        "pairs",
        "an image that two annotators labelled; multilabel: an image and a label",
        tables.PAIRS,
        _shards(layout.pairs, "dataset", "annotator_a", "annotator_b", "split"),
    ),
    *_AGREEMENT,
    Table("queue", "an image to review", tables.QUEUE, layout.queue("", "{dataset}", "*").strip("/")),
    Table(
        "label_errors",
        "an image whose label may be wrong",
        tables.LABEL_ERRORS,
        _shards_of(layout.label_errors("", *(f"{{{key}}}" for key in _NETWORK))),
    ),
    *_REJECTS,
    *_CONFIRM,
    Table(
        "confirm_read",
        "a count of what confirm read, from which the statistics follow",
        tables.TALLY,
        layout.confirm_reading("", "*").strip("/"),
    ),
    Table(
        "confirm_joined",
        "a count of what confirm joined in one shard, from which the statistics follow",
        tables.TALLY,
        _shards(layout.confirm_counts, "dataset"),
    ),
    Table(
        "features",
        "an image as a frozen backbone encodes it",
        tables.FEATURES,
        _shards(layout.features, "dataset", "backbone", "split"),
    ),
    Table(
        "explanations",
        "an image, and the regions of it that drove a network's prediction",
        tables.EXPLANATIONS,
        _shards(layout.explanations, *_NETWORK),
    ),
    Table(
        "sweep",
        "a run of a sweep",
        tables.SWEEP,
        stores.join(layout.model("", "{dataset}", "{model}"), layout.SWEEP_TABLE).strip("/"),
        "the settings in which runs differ, and every figure of validation and evaluation",
    ),
)
TABLES = {table.name: table for table in _TABLES}
