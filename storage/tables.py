"""Every table that Concord writes: what a row is, where its files lie under a root, and which columns they have.

Adding a table is adding an entry to `_TABLES`: its page in `docs/`, its view, what `concord query` knows of it and the
check of its files follow.
"""

import glob
import operator
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    "annotator": "whose they are: human, machine, confirmed, or the name of a network",
    "a": "first annotator",
    "b": "second annotator",
    "backbone": "network, weights and layer that the features are of",
    "side": "whose file the row is from: machine or human",
    "model": "name of the model",
}
_READERS = 16  # footers read at once: they are small, and object stores answer slowly
_KEY = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Table:
    """A table: Parquet files in one folder or in many.

    Attributes:
        name: by which SQL calls it.
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
        """The partition keys, columns that only the path tells, in its order; always text."""
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
        keys = [tables.described(key, pa.string(), KEYS[key], nullable=False) for key in self.keys]
        return pa.schema([*self.schema, *keys])

    def files(self, root: str) -> list[str]:
        """Its files under a root, sorted; none where the table is not there yet."""
        return stores.glob(stores.join(glob.escape(root), self.pattern))

    def values(self, root: str, path: str) -> dict[str, str]:
        """The values of the partition keys of one of its files."""
        found = re.fullmatch(self._shape, path[len(stores.join(root, "")) :])
        return found.groupdict() if found else {}

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
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(parquet.read_schema, paths))
        for path, schema in zip(paths, found, strict=True):
            parquet.check_schema(path, schema, self.schema, others=bool(self.others))
        if not self.others:
            return self.columns
        plain = [pa.schema([field.with_nullable(True).remove_metadata() for field in schema]) for schema in found]
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


def _table(*folders: str) -> str:
    return "/".join((*folders, "*.parquet"))


_NETWORK = ("dataset", "annotator", "split")
_STATISTICS = layout.statistics_table("", "{table}", "*").strip("/")
_REJECTS = [
    Table(f"rejects_{stage}", f"{what} that {stage} turned away", tables.REJECTS, _shards(folder, *keys))
    for stage, what, folder, keys in (
        ("convert", "a record", layout.convert_rejects, ("dataset", "split")),
        ("label", "an image", layout.label_rejects, _NETWORK),
        ("confirm", "a row of a CSV file", layout.confirm_rejects, ("dataset", "side")),
        ("features", "an image", layout.feature_rejects, ("dataset", "backbone", "split")),
        ("explain", "an image", layout.explain_rejects, _NETWORK),
        ("import", "a row of a file", layout.import_rejects, _NETWORK),
    )
]
_SURENESS = (
    Table(
        "calibration",
        "an annotator and a bin of its confidence, or all of them: how often it is right when it is how sure",
        tables.CALIBRATION,
        _table("agreement", "calibration"),
    ),
    Table(
        "joint_confidence",
        "two annotators and a bin of both's confidence, or all of them",
        tables.JOINT_CONFIDENCE,
        _table("agreement", "joint_confidence"),
    ),
    Table(
        "coverage",
        "an accuracy to reach: from which confidence on images need no person, and how right they are",
        tables.COVERAGE,
        _table("agreement", "coverage"),
    ),
    Table(
        "coverage_curve",
        "a threshold of confidence: how many images it accepts, and how right they are",
        tables.COVERAGE_CURVE,
        _table("agreement", "coverage_curve"),
    ),
)
_LOOKED_AT = (
    Table(
        "generations",
        "a network that a machine or people taught, or the mean over seeds: how right it is, and what was saved",
        tables.GENERATIONS,
        _table("agreement", "generations"),
    ),
    Table(
        "queue",
        "an image that people should look at",
        tables.QUEUE,
        layout.queue("", "{dataset}", "*").strip("/"),
    ),
    Table(
        "label_errors",
        "an image whose label may be wrong",
        tables.LABEL_ERRORS,
        _shards_of(layout.label_errors("", "{dataset}", "{annotator}", "{split}")),
    ),
)
_TABLES = (
    Table(
        "labels",
        "an image and a label that an annotator gave it",
        tables.LABELS,
        _shards(layout.labels, "dataset", "annotator", "split"),
    ),
    Table(
        "index",
        "an image: where its bytes lie, and what they are",
        tables.INDEX,
        _shards(layout.index, "dataset", "split"),
    ),
    Table(
        "pairs",
        "an image that two annotators labelled",
        tables.PAIRS,
        _shards(layout.pairs, "dataset", "a", "b", "split"),
    ),
    Table("confusion", "two labels that two annotators gave", tables.CONFUSION, _table("agreement", "confusion")),
    *_SURENESS,
    *_LOOKED_AT,
    *_REJECTS,
    Table(
        "statistics",
        "a class, a decile of confidence, both, or all: what people confirmed of a machine's labels",
        tables.LABEL_STATISTICS,
        _STATISTICS.format(table="labels"),
    ),
    Table(
        "labels_per_image",
        "a number of labels: how many images have so many",
        tables.LABELS_PER_IMAGE,
        _STATISTICS.format(table="labels_per_image"),
    ),
    Table(
        "verdict_sources",
        "a source of people's verdicts",
        tables.VERDICT_SOURCES,
        _STATISTICS.format(table="sources"),
    ),
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
        "an image as a frozen backbone sees it",
        tables.FEATURES,
        _shards(layout.features, "dataset", "backbone", "split"),
    ),
    Table(
        "explanations",
        "an image, and where a network looked in it",
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


def registry(summary: pa.Schema | None = None, annotators: pa.Schema | None = None) -> dict[str, Table]:
    """Every table, by its name.

    Args:
        summary: the columns of the summary, those of the measures among them; None where they are not known, and any
            may be there.
        annotators: the same of the table of many annotators.
    """
    others = "" if summary else "the figures of each measure"
    measured = (
        Table(
            "summary",
            "two annotators on one split, or one label of theirs: how far they agree",
            summary or tables.summary([]),
            _table("agreement", "summary"),
            others,
        ),
        Table(
            "annotators",
            "all annotators of one split together, or one label of theirs: how far they agree",
            annotators or tables.annotators([]),
            _table("agreement", "annotators"),
            others,
        ),
    )
    return {table.name: table for table in (*_TABLES[:3], *measured, *_TABLES[3:])}
