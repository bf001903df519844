"""Take anybody's labels as a label set: from a vendor, an annotator or another system.

    concord import --input 'vendor-*.csv' --columns image_id=ImageID,label=LabelName --dataset svhn --annotator vendor \
        --split test --root out

Byte ranges of CSV files and row groups of Parquet files are read and checked side by side, and their rows are shuffled
to their shards, those that were refused as well: so one task sees all rows of an image, keeps the first, and writes the
shard's rejects and then its labels, which commit it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import runner
from pipelines.import_labels.rows import PLACE_BITS, REFUSED, ROWS, CsvPart, ImportRules, Part, check, read
from schemas import layout, tables
from schemas.errors import Reason
from schemas.manifests import MULTILABEL
from storage import hashing
from storage.formats import csv_lines
from storage.formats.csv_lines import MAX_SHOWN
from storage.hashing import SHARD_SEED
from storage.parquet import drop_unused_labels, from_ipc, to_ipc
from storage.products import ShardFolder, ShardReport

_MAX_BUFFERED = 4 << 20  # rows that a worker holds before it sends them to their shards


@dataclass(frozen=True)
class ImportPlan:
    """What is to be imported, and where it goes: fixed before it starts, and sent to every worker.

    Attributes:
        files: the input files, by number.
        index: of the images that there are; None where a dataset has none.
        missing: the shards still to be made.
    """

    root: str
    dataset: str
    annotator: str
    split: str
    files: tuple[str, ...]
    parts: tuple[Part, ...]
    rules: ImportRules
    index: ShardFolder | None
    shards: int
    fingerprint: str
    missing: frozenset[int] = frozenset()

    @property
    def labels(self) -> ShardFolder:
        """Where the label set goes."""
        folder = layout.labels(self.root, self.dataset, self.annotator, self.split)
        return ShardFolder(folder, self.shards, self.fingerprint)

    @property
    def rejects(self) -> ShardFolder:
        """Where the rows go that were refused."""
        folder = layout.import_rejects(self.root, self.dataset, self.annotator, self.split)
        return ShardFolder(folder, self.shards, self.fingerprint)


@dataclass(eq=False)
class ImportLabels(beam.PTransform):  # type: ignore[misc]
    """Read all parts, and write the shards that are missing."""

    plan: ImportPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The number of each shard, as it is written."""
        rows = begin | beam.Create(self.plan.parts) | "Read" >> beam.FlatMap(read_part, self.plan)
        every_shard = begin | "Shards" >> beam.Create([(shard, b"") for shard in sorted(self.plan.missing)])
        return (
            (rows, every_shard)
            | beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_shard, self.plan)
        )


def read_part(part: Part, plan: ImportPlan) -> Iterator[tuple[int, bytes]]:
    """Read and check a part; yield batches for the missing shards, of schema `ROWS` or `REFUSED`."""
    runner.count_element("import.read", part.size)
    buffered: list[pa.Table] = []
    for raw, malformed in read(part):
        rows, refused = check(raw, plan.rules)
        yield from by_shard(pa.concat_tables([malformed, refused]), plan)
        buffered.append(rows)
        if sum(map(len, buffered)) > _MAX_BUFFERED:
            yield from by_shard(pa.concat_tables(buffered), plan)
            buffered = []
    yield from by_shard(pa.concat_tables([ROWS.empty_table(), *buffered]), plan)


def by_shard(rows: pa.Table, plan: ImportPlan) -> Iterator[tuple[int, bytes]]:
    """Rows with a column `image_id`, as an Arrow batch for each missing shard that has any of them."""
    if not len(rows):
        return
    [batch] = rows.unify_dictionaries().combine_chunks().to_batches()
    shards = hashing.shard_of(hashing.hash_texts(batch.column("image_id"), SHARD_SEED), plan.shards)
    small = shards.astype(np.uint16) if plan.shards <= 1 << 16 else shards  # these sort several times as fast
    order = np.argsort(small, kind="stable")
    bounds = np.searchsorted(shards[order], np.arange(plan.shards + 1))
    for shard in sorted(plan.missing):
        if bounds[shard] < bounds[shard + 1]:
            some = batch.take(pa.array(order[bounds[shard] : bounds[shard + 1]]))
            yield shard, to_ipc(_lean(some), "zstd")  # a local runner holds all of it in memory


def _lean(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without labels that none of its rows has."""
    if batch.schema != ROWS:
        return batch
    label = batch.column("label")
    lean = drop_unused_labels(label.indices.to_numpy(zero_copy_only=False), label.dictionary)
    return batch.set_column(1, ROWS.field("label"), lean)


def write_shard(grouped: tuple[int, Iterable[bytes]], plan: ImportPlan) -> int:
    """Write the rejects of one shard, and last its labels, which commit it."""
    shard, values = grouped
    batches = [from_ipc(batch) for batch in values if batch]
    runner.count_element("import.write", sum(batch.nbytes for batch in batches))
    rows = pa.concat_tables([ROWS.empty_table(), *(batch for batch in batches if batch.schema == ROWS)])
    refused = [batch for batch in batches if batch.schema == REFUSED]
    images = _column(plan.index.read(shard), "image_id") if plan.index else None
    labels, others = settle(rows, plan, images)
    rejects = reject_table(pa.concat_tables([others, *refused]), plan)
    report = ShardReport(len(labels) + len(rejects), len(labels), tables.reject_counts(rejects))
    plan.rejects.write(shard, rejects, report)
    plan.labels.write(shard, labels, report)
    runner.count_records("import", report)
    return shard


def settle(rows: pa.Table, plan: ImportPlan, images: pa.Array | None) -> tuple[pa.Table, pa.Table]:
    """The label set's rows of a shard, and those refused for what other rows, or the dataset, say.

    Args:
        rows: of schema `ROWS`, in any order.
        plan: of the stage.
        images: the images that there are; None for any.

    Returns:
        rows of schema `LABELS` in hash order, the labels of an image by name; and rows of schema `REFUSED`.
    """
    rows = rows.unify_dictionaries().combine_chunks()
    rows = rows.take(pa.array(np.argsort(_column(rows, "order").to_numpy(zero_copy_only=False))))
    refused = REFUSED.empty_table()
    if images is not None:
        known = pc.is_in(rows["image_id"], value_set=images)
        refused = _unknown(rows.filter(pc.invert(known)), plan)
        rows = rows.filter(known)
    codes = _codes(_column(rows, "image_id"))
    label = _column(rows, "label")
    numbers = label.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    several = plan.rules.task == MULTILABEL
    keys = _codes(pa.array(codes * len(label.dictionary) + numbers)) if several else codes
    first = is_first(keys)
    reason = Reason.LABEL_REPEATED if several else Reason.IMAGE_REPEATED
    repeated = _repeated(rows, np.flatnonzero(first)[keys], ~first, reason, plan)
    ranks = np.argsort(np.argsort(np.array(label.dictionary.to_pylist(), dtype=object), kind="stable"))
    kept = np.flatnonzero(first)
    hashes = hashing.hash_texts(_column(rows, "image_id"), SHARD_SEED)
    kept = kept[np.lexsort((ranks[numbers[kept]], codes[kept], hashes[kept]))]
    chosen = rows.take(pa.array(kept))
    columns = {name: chosen[name] for name in ("image_id", "confidence")}
    labels = tables.label_rows({**columns, "label": chosen["label"].cast(pa.string())})
    return labels, pa.concat_tables([refused, repeated])


def _column(table: pa.Table, name: str) -> pa.Array:
    return pa.concat_arrays([pa.array([], table.schema.field(name).type), *table[name].chunks])


def _codes(values: pa.Array) -> npt.NDArray[np.int64]:
    """A number for each value, counted up from 0 as values first appear."""
    codes: npt.NDArray[np.int64] = values.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def is_first(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where each of some numbers appears first, which are counted up as they do."""
    before = np.maximum.accumulate(np.append(-1, codes))[:-1]
    first: npt.NDArray[np.bool_] = codes > before
    return first


def _refused(rows: pa.Table, reason: Reason, detail: pa.Array) -> pa.Table:
    reasons = pa.array([str(reason)]).take(pa.array(np.zeros(len(rows), np.int8)))
    ids = pc.utf8_slice_codeunits(rows["image_id"], 0, MAX_SHOWN)
    return pa.table([ids, rows["order"], reasons, detail], schema=REFUSED)


def _unknown(rows: pa.Table, plan: ImportPlan) -> pa.Table:
    detail = pc.binary_join_element_wise(f"split {plan.split} of {plan.dataset} has no image", _shown(rows), " ")
    return _refused(rows, Reason.IMAGE_UNKNOWN, detail)


def _shown(rows: pa.Table) -> pa.Array:
    """The ids of rows, fit to be shown."""
    return pa.array(
        [csv_lines.escape_text(image_id.encode()) for image_id in rows["image_id"].to_pylist()], pa.string()
    )


def _repeated(
    rows: pa.Table, firsts: npt.NDArray[np.int64], which: npt.NDArray[np.bool_], reason: Reason, plan: ImportPlan
) -> pa.Table:
    """The rows that repeat others, with the label of each, and with what came first."""
    label = _column(rows, "label")
    names = [csv_lines.escape_text(name.encode()) for name in label.dictionary.to_pylist()]
    shown = pa.array(names, pa.string()).take(label.indices)
    places = np.flatnonzero(which)
    first = pa.array(firsts[places])
    source, position = _places(_column(rows, "order").take(first), plan)
    row, others = pa.array(places), shown.take(first)
    words = [f"{plan.rules.columns[1]} is ", shown.take(row), "; the first is ", others, " (", position, " of ", source]
    return _refused(rows.take(row), reason, pc.binary_join_element_wise(*words, ")", ""))


def _places(orders: pa.Array, plan: ImportPlan) -> tuple[pa.Array, pa.Array]:
    """File and position of some rows."""
    numbers = orders.to_numpy(zero_copy_only=False)
    files = (numbers >> np.uint64(PLACE_BITS)).astype(np.int64)
    lines = {part.file for part in plan.parts if isinstance(part, CsvPart)}
    kinds = pa.array(["byte" if file in lines else "row" for file in range(len(plan.files))], pa.string())
    places = pa.array(numbers & np.uint64((1 << PLACE_BITS) - 1)).cast(pa.string())
    at = pa.array(files)
    return pa.array(plan.files, pa.string()).take(at), pc.binary_join_element_wise(kinds.take(at), places, " ")


def reject_table(refused: pa.Table, plan: ImportPlan) -> pa.Table:
    """Rows of schema `REFUSED` as rejects, in the order of files and rows."""
    refused = refused.sort_by("order")
    source, position = _places(_column(refused, "order"), plan)
    columns = [refused["image_id"], source, position, refused["reason"], refused["detail"]]
    return pa.table(columns, schema=tables.REJECTS)
