"""Join machine-made label rows with human verdicts on them, and keep what humans confirmed or rejected.

    concord confirm --machine 'machine-*.csv' --human 'human-*.csv' --classes class-descriptions.csv \
        --dataset open_images --root out

Byte ranges of the CSV files are parsed side by side. Human rows fill a Bloom filter, which is broadcast; the few
machine rows that pass it fill another, through which human rows have to pass in turn. Only what has passed is
shuffled to its shard and joined there, exactly. One task then writes each shard: its part of every label set, and last
its counts, which commit it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from apache_beam.utils import shared

from pipelines import runner
from pipelines.confirm import bloom
from pipelines.confirm import join as tallies
from pipelines.confirm.join import DECILES, SIDE, AddTallies, Key, VerdictRules, deciles, join, label_table
from pipelines.confirm.label_rows import LabelRows, listed_ids, parse
from schemas import layout, tables
from schemas.layout import CONFIRMED, HUMAN, MACHINE
from storage import hashing, parquet
from storage.formats.csv_ranges import Layout as CsvLayout
from storage.formats.csv_ranges import Range, read_blocks
from storage.parquet import drop_unused_labels, from_ipc, to_ipc
from storage.products import ShardFolder, ShardReport

_ROWS, _KEYS, _TALLY = "rows", "keys", "tally"
_MAX_BUFFERED = 4 << 20  # rows that a worker holds before it sends them to their shards
_Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Narrowing:
    """Which rows are of interest: of some labels, of some images, of a confident machine; None for any.

    Attributes:
        images: ranges of the file that lists the images.
    """

    labels: frozenset[str] | None
    images: tuple[Range, ...] | None
    min_confidence: float
    _loaded: shared.Shared = field(default_factory=shared.Shared, compare=False, repr=False)

    def keeps_image(self, images: _Numbers) -> npt.NDArray[np.bool_]:
        """Which images are of interest; the list is read once a worker."""
        listed: _Listed = self._loaded.acquire(self._read)
        new = np.append(True, images[1:] != images[:-1])[: len(images)]  # files keep an image's rows together
        runs = images[new]
        places = np.minimum(np.searchsorted(listed.images, runs), max(len(listed.images) - 1, 0))
        known = listed.images[places] == runs if len(listed.images) else np.zeros(len(runs), dtype=bool)
        kept: npt.NDArray[np.bool_] = known[np.cumsum(new) - 1]
        return kept

    def _read(self) -> "_Listed":
        return _Listed(listed_images(self.images or ()))


@dataclass
class _Listed:
    """Sorted numbers of images, in an object that can be shared."""

    images: _Numbers


def listed_images(ranges: Sequence[Range]) -> _Numbers:
    """The images that a file lists, sorted, each once."""
    parts = [listed_ids(block, part.layout, part.path) for part in ranges for block in read_blocks(part)]
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))


@dataclass(frozen=True)
class ConfirmPlan:
    """What is to be joined, and where it goes: fixed before it starts, and sent to every worker.

    Attributes:
        fractions: the splits, and their shares of the images.
        filter_bits: size of the Bloom filter, as a power of two.
        missing: the shards still to be made.
    """

    root: str
    dataset: str
    machine: tuple[Range, ...]
    human: tuple[Range, ...]
    narrowing: Narrowing
    rules: VerdictRules
    fractions: dict[str, float]
    shards: int
    filter_bits: int
    fingerprint: str
    missing: frozenset[int]

    @property
    def annotators(self) -> tuple[str, ...]:
        """The label sets that are written."""
        return (CONFIRMED,) if self.rules.label_sets == "none" else (CONFIRMED, MACHINE, HUMAN)

    def labels(self, annotator: str, split: str) -> ShardFolder:
        """Where a label set goes."""
        return ShardFolder(layout.labels(self.root, self.dataset, annotator, split), self.shards, self.fingerprint)

    def counts(self) -> ShardFolder:
        """Where each shard's counts go; they commit it."""
        return ShardFolder(layout.confirm_counts(self.root, self.dataset), self.shards, self.fingerprint)

    def rejects(self, side: str) -> ShardFolder:
        """Where the rejects of one side's files go, a file for each range that has any."""
        ranges = len(self.machine if side == MACHINE else self.human)
        return ShardFolder(layout.confirm_rejects(self.root, self.dataset, side), ranges, self.fingerprint)


@dataclass(eq=False)
class ConfirmLabels(beam.PTransform):  # type: ignore[misc]
    """Read both sides, and write the shards that are missing and the tally of what was read."""

    plan: ConfirmPlan

    def expand(self, begin: beam.Pipeline) -> beam.PCollection:
        """The number of each shard, as it is written."""
        human_filter = (
            begin
            | beam.Create(self.plan.human)
            | beam.FlatMap(read_keys, self.plan)
            | "HumanKeys" >> _Filter(self.plan)
        )
        machine = begin | "MachineRows" >> _Rows(MACHINE, self.plan, human_filter)
        met = machine[_KEYS] | "Met" >> _Filter(self.plan)
        human = begin | "HumanRows" >> _Rows(HUMAN, self.plan, met)
        _ = (
            (human[_TALLY], machine[_TALLY])
            | "Tallies" >> beam.Flatten()
            | "AddUp" >> beam.CombineGlobally(AddTallies())
            | "WriteTally" >> beam.Map(write_tally, self.plan)
        )
        every_shard = begin | "Shards" >> beam.Create([(shard, ("", b"")) for shard in sorted(self.plan.missing)])
        return (
            (human[_ROWS], machine[_ROWS], every_shard)
            | "BothSides" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_shard, self.plan)
        )


class _Filter(beam.PTransform):  # type: ignore[misc]
    """Keys to a Bloom filter that is broadcast."""

    def __init__(self, plan: ConfirmPlan) -> None:
        self.bits = plan.filter_bits

    def expand(self, keys: beam.PCollection) -> Any:
        """The filter, as a side input."""
        return beam.pvalue.AsSingleton(keys | beam.CombineGlobally(bloom.BuildFilter(self.bits)))


class _Rows(beam.PTransform):  # type: ignore[misc]
    """Read the ranges of one side: `rows` by shard that pass a filter, their `keys`, and a `tally`."""

    def __init__(self, side: str, plan: ConfirmPlan, other_side: Any) -> None:
        self.side, self.plan, self.other_side = side, plan, other_side

    def expand(self, begin: beam.Pipeline) -> Any:
        """The three outputs, by name."""
        ranges = self.plan.machine if self.side == MACHINE else self.plan.human
        read = beam.FlatMap(read_range, self.side, self.plan, self.other_side)
        return begin | beam.Create(ranges) | read.with_outputs(_KEYS, _TALLY, main=_ROWS)


def read_keys(part: Range, plan: ConfirmPlan) -> Iterator[bytes]:
    """The keys of the human rows in a range, for the filter that the machine's rows have to pass."""
    runner.count_element("confirm.read_keys", part.stop - part.start)
    reader = Reader(HUMAN, plan, np.zeros(0, np.uint8))
    columns = CsvLayout(part.layout.fields, part.layout.columns[:3])  # whose verdict it is does not matter yet
    for block in read_blocks(part) if plan.rules.label_sets != "all" else ():
        for piece in parse(block, columns, part.path, verdicts=True)[0]:
            yield reader.keys(reader.narrowed(piece, 0)).tobytes()


def read_range(part: Range, side: str, plan: ConfirmPlan, other_side: bytes) -> Iterator[Any]:
    """Read a range; yield its rows that may match, by shard, and tagged their keys and the tally of all rows.

    Args:
        part: the range.
        side: `machine` or `human`.
        plan: of the stage.
        other_side: the Bloom filter of the other side's keys.
    """
    runner.count_element(f"confirm.read_{side}", part.stop - part.start)
    reader = Reader(side, plan, np.frombuffer(other_side, np.uint8))
    order = part.number << 40
    for block in read_blocks(part):
        pieces, rejected = parse(block, part.layout, part.path, verdicts=side == HUMAN)
        reader.reject(rejected)
        for piece in pieces:
            reader.read(piece, order)
            order += len(piece)
        if reader.buffered > _MAX_BUFFERED:
            yield from reader.by_shard()
    yield from reader.by_shard()
    reader.write_rejects(part)
    if side == MACHINE:
        yield from (beam.pvalue.TaggedOutput(_KEYS, keys.tobytes()) for keys in reader.passed)
    yield beam.pvalue.TaggedOutput(_TALLY, reader.tally())


@dataclass(frozen=True)
class Ordered:
    """Rows of a piece, and the place of each in the input."""

    rows: LabelRows
    orders: _Numbers

    def take(self, places: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Ordered":
        """Some of the rows."""
        return Ordered(self.rows.take(places), self.orders[places])

    def batch(self) -> pa.RecordBatch:
        """The rows as a batch of schema `SIDE`."""
        label = drop_unused_labels(self.rows.labels, self.rows.label_names)
        return pa.record_batch([self.rows.images, label, self.rows.confidences, self.orders], schema=SIDE)


class Reader:
    """Narrows, counts and filters the rows of one side.

    Attributes:
        counts: of what was read and filtered out.
        passed: keys of the rows that passed the filter.
        buffered: how many rows passed, and have not been sent yet.
    """

    def __init__(self, side: str, plan: ConfirmPlan, other_side: npt.NDArray[np.uint8]) -> None:
        self.side, self.plan, self.other_side = side, plan, other_side
        self.counts: Counter[Key] = Counter()
        self._counted: list[tuple[pa.Array, npt.NDArray[np.int64]]] = []
        self.passed: list[_Numbers] = []
        self.buffered = 0
        self._names, self._hashes = pa.array([], pa.string()), np.zeros(0, np.uint64)
        self._rows: list[pa.RecordBatch] = []
        self._rejects: list[pa.Table] = [tables.REJECTS.empty_table()]

    def read(self, piece: LabelRows, first: int) -> None:
        """Take in a piece whose first row has this place in the input."""
        self.counts["read", self.side, 0] += len(piece)
        rows = self.narrowed(piece, first)
        self._count(rows.rows)
        if self.plan.rules.label_sets != "all":
            keys = self.keys(rows)
            places = bloom.may_hold(self.other_side, keys)
            rows = rows.take(places)
            self.passed.append(keys[places])
        self._rows.append(rows.batch())
        self.buffered += len(rows.rows)

    def reject(self, rejected: pa.Table) -> None:
        """Take in malformed rows."""
        self.counts["read", self.side, 0] += rejected.num_rows
        for reason, n in tables.reject_counts(rejected).items():
            self.counts["malformed", f"{self.side}:{reason}", 0] += n
        self._rejects.append(rejected)

    def write_rejects(self, part: Range) -> None:
        """Write the malformed rows of a range, if it has any, and count what was read."""
        rejected = pa.concat_tables(self._rejects)
        reasons = tables.reject_counts(rejected)
        runner.count_records("confirm", ShardReport(self.counts["read", self.side, 0], 0, reasons))
        if rejected.num_rows:
            self.plan.rejects(self.side).write(part.number, rejected, ShardReport(rejected.num_rows, 0, reasons))

    def by_shard(self) -> Iterator[tuple[int, tuple[str, bytes]]]:
        """Send the buffered rows: an Arrow batch of schema `SIDE` for each missing shard that has any."""
        rows = pa.Table.from_batches(self._rows, SIDE).unify_dictionaries().combine_chunks()
        self._rows, self.buffered = [], 0
        if not len(rows):
            return
        columns = [rows[name].chunk(0).to_numpy(zero_copy_only=False) for name in ("image", "value", "order")]
        label = rows["label"].chunk(0)
        codes = label.indices.to_numpy(zero_copy_only=False)
        shards = hashing.shard_of(hashing.hash_hex_ids(columns[0], hashing.SHARD_SEED), self.plan.shards)
        small = shards.astype(np.uint16) if self.plan.shards <= 1 << 16 else shards  # these sort several times as fast
        order = np.argsort(small, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(self.plan.shards + 1))
        for shard in sorted(self.plan.missing):
            some = order[bounds[shard] : bounds[shard + 1]]
            if len(some):
                image, value, place = (column[some] for column in columns)
                batch = pa.record_batch(
                    [image, drop_unused_labels(codes[some], label.dictionary), value, place], schema=SIDE
                )
                yield shard, (self.side, to_ipc(batch))

    def narrowed(self, piece: LabelRows, first: int) -> Ordered:
        """The rows of interest; the others are counted under what they fail first."""
        rows = Ordered(piece, np.arange(first, first + len(piece), dtype=np.uint64))
        narrowing = self.plan.narrowing
        if narrowing.images is not None:
            rows = self._keep("images", rows, narrowing.keeps_image(rows.rows.images))
        if narrowing.labels is not None:
            names = rows.rows.label_names.to_pylist()
            other_side = np.array([name in narrowing.labels for name in names], dtype=bool)
            rows = self._keep("classes", rows, other_side[rows.rows.labels])
        if narrowing.min_confidence > 0 and self.side == MACHINE:
            rows = self._keep("confidence", rows, rows.rows.confidences >= np.float32(narrowing.min_confidence))
        return rows

    def _keep(self, why: str, rows: Ordered, other_side: npt.NDArray[np.bool_]) -> Ordered:
        self.counts["narrowed", f"{self.side}:{why}", 0] += int((~other_side).sum())
        return rows.take(other_side)

    def _count(self, rows: LabelRows) -> None:
        if self.side == MACHINE:
            names, width = rows.label_names, DECILES
            cells = rows.labels.astype(np.int64) * DECILES + deciles(rows.confidences)
        else:
            names, width = rows.source_names, 2
            cells = rows.sources.astype(np.int64) * 2 + (rows.confidences == 1)
        grid = np.bincount(cells, minlength=len(names) * width).reshape(-1, width)
        if self._counted and self._counted[-1][0] is names:  # the pieces of a block share their names
            self._counted[-1][1][:] += grid
        else:
            self._counted.append((names, grid))

    def tally(self) -> bytes:
        """The counts of all rows, as Arrow IPC."""
        grids = [tallies.tally_grid(f"{self.side}_rows", names, grid) for names, grid in self._counted]
        return tallies.encode_tallies([tallies.tally(self.counts), *grids])

    def keys(self, rows: Ordered) -> _Numbers:
        """By what the other side may need a row: its image and label, or its image alone."""
        if self.plan.rules.label_sets == "images":
            return rows.rows.images
        if rows.rows.label_names is not self._names:  # the pieces of a block share them
            self._names = rows.rows.label_names
            self._hashes = hashing.image_hashes(self._names.to_pylist())
        return rows.rows.images ^ self._hashes[rows.rows.labels]


def write_tally(summed: bytes, plan: ConfirmPlan) -> None:
    """Keep the counts of what was read."""
    path = layout.confirm_reading(plan.root, plan.dataset)
    parquet.write(path, from_ipc(summed), plan.fingerprint)


def _about(annotator: str, split: str, rows: pa.Table) -> pa.Table:
    """Tally of a label set's part: a hash of its rows, its images that have a label, and the rows of each label."""
    content = xxhash.xxh64_intdigest(to_ipc(rows.combine_chunks().to_batches()[0])) if len(rows) else 0
    rows = rows.filter(tables.present(rows))
    name = f"{annotator}:{split}"
    counts = {("content", name, 0): content >> 16, ("labelled_images", name, 0): len(pc.unique(rows["image_id"]))}
    images = tallies.tally(counts)
    values = rows["label"].value_counts()
    names, counts = values.field("values"), values.field("counts").to_numpy().reshape(-1, 1)
    return tallies.add_tallies([images, tallies.tally_grid(f"labels:{annotator}", names, counts)])


def write_shard(grouped: tuple[int, Iterable[tuple[str, bytes]]], plan: ConfirmPlan) -> int:
    """Join one shard and write its part of every label set, and last its counts, which commit it."""
    shard, values = grouped
    sides: dict[str, list[pa.Table]] = {MACHINE: [], HUMAN: [], "": []}
    for side, batch in values:
        if batch:
            sides[side].append(from_ipc(batch))
    runner.count_element("confirm.join", sum(batch.nbytes for side in sides.values() for batch in side))
    joined = join(sides[MACHINE], sides[HUMAN], plan.rules)
    counts = [joined.tally]
    sets = {CONFIRMED: joined.confirmed, MACHINE: joined.machine, HUMAN: joined.human}
    for annotator in plan.annotators:
        verdicts = joined.verdicts if annotator == CONFIRMED else None
        by_split = label_table(sets[annotator], joined.names, verdicts, plan.fractions)
        for split, rows in by_split.items():
            plan.labels(annotator, split).write(shard, rows, ShardReport(len(rows), len(rows)))
            counts.append(_about(annotator, split, rows))
    plan.counts().write(shard, tallies.add_tallies(counts), ShardReport(len(joined.confirmed), len(joined.confirmed)))
    runner.count("confirm.out", len(joined.confirmed))
    return shard
