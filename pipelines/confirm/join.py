"""Tallies: counts under a key (what, name, number) that add up in any order, in Arrow tables of a row a key."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import tables
from schemas.tables import CONFIRMED, REJECTED
from storage import hashing
from storage.hashing import SHARD_SEED, SPLIT_SEED
from storage.parquet import from_ipc, to_ipc

TALLY_SCHEMA = tables.TALLY
_KEYS = ["what", "name", "number"]
_MAX_TABLES = 32  # tables a worker holds before it adds them up
Key = tuple[str, str, int]


def tally(counts: Mapping[Key, int]) -> pa.Table:
    """A tally of some counts; zeros are excluded."""
    some = {key: n for key, n in counts.items() if n}
    columns = [[key[place] for key in some] for place in range(3)] + [list(some.values())]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, TALLY_SCHEMA, strict=True)], schema=TALLY_SCHEMA
    )


def tally_grid(what: str, names: pa.Array, counts: "np.ndarray[tuple[int, int], np.dtype[np.int64]]") -> pa.Table:
    """A tally of counts (names, numbers); zeros are excluded."""
    rows, numbers = np.nonzero(counts)
    columns = [
        pa.array([what] * len(rows), pa.string()),
        names.cast(pa.string()).take(pa.array(rows)),
        pa.array(numbers.astype(np.int32)),
        pa.array(counts[rows, numbers].astype(np.int64)),
    ]
    return pa.table(columns, schema=TALLY_SCHEMA)


def encode_tallies(parts: Iterable[pa.Table]) -> bytes:
    """The sum of tallies, as Arrow IPC."""
    summed = add_tallies(parts).combine_chunks().to_batches()
    return to_ipc(summed[0] if summed else pa.RecordBatch.from_pylist([], TALLY_SCHEMA))


def add_tallies(parts: Iterable[pa.Table]) -> pa.Table:
    """The sum of tallies, in order of their keys."""
    together = pa.concat_tables([TALLY_SCHEMA.empty_table(), *parts])
    summed = together.group_by(_KEYS, use_threads=False).aggregate([("n", "sum")])
    summed = summed.sort_by([(key, "ascending") for key in _KEYS])
    return pa.table([*(summed[key] for key in _KEYS), summed["n_sum"]], schema=TALLY_SCHEMA)


@dataclass(eq=False)
class AddTallies(beam.CombineFn):  # type: ignore[misc]
    """Adds up tallies, as Arrow IPC."""

    def create_accumulator(self) -> list[bytes]:
        """None yet."""
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        """Keep one; add up when they are many."""
        accumulator.append(element)
        return self.compact(accumulator) if len(accumulator) > _MAX_TABLES else accumulator

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """All of them."""
        return [element for accumulator in accumulators for element in accumulator]

    def compact(self, accumulator: list[bytes]) -> list[bytes]:
        """Add up, before it is sent on."""
        return [self.extract_output(accumulator)]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """The sum."""
        return encode_tallies(from_ipc(element) for element in accumulator)


# A machine's label rows with human verdicts: the join of one shard, without Beam.

SIDE = pa.schema(
    [
        pa.field("image", pa.uint64(), nullable=False),
        pa.field("label", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
        pa.field("order", pa.uint64(), nullable=False),
    ]
)
DROPPED = "dropped"  # of a verdict: humans differ, and the rule leaves it open
DECILES = 10


@dataclass(frozen=True)
class VerdictRules:
    """The settings that a join follows; see `ConfirmSettings`."""

    on_conflict: str
    one_label: str
    label_sets: str


@dataclass(frozen=True)
class Rows:
    """Rows of one side, as columns of the same length; labels are numbers in an order of their names."""

    images: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    orders: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Rows":
        """Some of the rows."""
        return Rows(self.images[rows], self.labels[rows], self.values[rows], self.orders[rows])

    def sorted(self) -> "Rows":
        """By image, label and order."""
        return self.take(np.lexsort((self.orders, self.labels, self.images)))

    def firsts(self) -> npt.NDArray[np.int64]:
        """Where each image and label of sorted rows begins."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        new = (self.images[1:] != self.images[:-1]) | (self.labels[1:] != self.labels[:-1])
        return np.flatnonzero(np.append(True, new))


@dataclass(frozen=True)
class Joined:
    """The join of one shard.

    Attributes:
        names: labels by number.
        confirmed: the rows of the label set `confirmed`, with the machine's confidences.
        verdicts: whether humans confirmed each of them.
        machine, human: the rows of these label sets.
        tally: counts of everything.
    """

    names: tuple[str, ...]
    confirmed: Rows
    verdicts: npt.NDArray[np.bool_]
    machine: Rows
    human: Rows
    tally: pa.Table


def deciles(confidences: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The tenth of [0, 1] in which each confidence lies: 0 for [0, 0.1), 9 for [0.9, 1]."""
    return np.minimum((confidences * np.float32(DECILES)).astype(np.int64), DECILES - 1)


def rows_of(sides: Sequence[Sequence[pa.Table]]) -> tuple[tuple[str, ...], list[Rows]]:
    """The rows of each side, their labels numbered in the order of the names of all sides together."""
    whole = [pa.concat_tables([SIDE.empty_table(), *side]).unify_dictionaries().combine_chunks() for side in sides]
    labels = [side["label"].combine_chunks() for side in whole]
    names = sorted({name for label in labels for name in label.dictionary.to_pylist()})
    number = {name: place for place, name in enumerate(names)}
    rows = []
    for side, label in zip(whole, labels, strict=True):
        numbers = np.array([number[name] for name in label.dictionary.to_pylist()], dtype=np.int64)
        indices = label.indices.to_numpy(zero_copy_only=False)
        columns = [side[name].combine_chunks().to_numpy(zero_copy_only=False) for name in ("image", "value", "order")]
        rows.append(Rows(columns[0], numbers[indices], columns[1], columns[2]))
    return tuple(names), rows


def join(machine_batches: Sequence[pa.Table], human_batches: Sequence[pa.Table], rules: VerdictRules) -> Joined:
    """Give the machine's rows the human verdicts.

    Args:
        machine_batches: tables of schema `SIDE`, in any order.
        human_batches: the same, of the human rows.
        rules: how.
    """
    names, (machine, human) = rows_of([machine_batches, human_batches])
    matched, verified = _matching(machine, human).sorted(), _matching(human, machine).sorted()
    starts, verified_starts = matched.firsts(), verified.firsts()
    pairs = matched.take(starts)
    verdicts = resolve(verified, verified_starts, rules.on_conflict)
    counts = _counts(matched, starts, verified, verified_starts)
    certain = pairs.take(verdicts == 1)
    counts[("images", "", 0)] = len(distinct(certain.images))
    kept = verdicts >= 0
    if rules.one_label:
        kept = _one_label(pairs, verdicts == 1, rules.one_label)
        counts[("other_labels", "", 0)] = int((verdicts >= 0).sum() - kept.sum())
    sides = _label_sets(machine, human, certain.images, rules, counts)
    grids = [_grid(what, pairs.take(verdicts == value), names) for what, value in _VERDICTS]
    repeated = np.ones(len(matched), dtype=bool)
    repeated[starts] = False
    grids.append(_grid("duplicate_rows", matched.take(repeated), names))
    return Joined(names, pairs.take(kept), verdicts[kept] == 1, *sides, add_tallies([tally(counts), *grids]))


_VERDICTS = ((CONFIRMED, 1), (REJECTED, 0), (DROPPED, -1))


def _grid(what: str, pairs: Rows, names: Sequence[str]) -> pa.Table:
    """Tally of pairs by label and decile of confidence."""
    cells = np.bincount(pairs.labels * DECILES + deciles(pairs.values), minlength=len(names) * DECILES)
    return tally_grid(what, pa.array(names, pa.string()), cells.reshape(-1, DECILES))


def _matching(left: Rows, right: Rows) -> Rows:
    """The rows of the left side whose image and label the right side has as well."""
    keys = [
        pa.table({"image": side.images, "label": side.labels, "row": np.arange(len(side))}) for side in (left, right)
    ]
    matches = keys[0].join(keys[1], keys=["image", "label"], join_type="left semi", use_threads=False)
    return left.take(matches["row"].to_numpy())


def _of_images(rows: Rows, images: npt.NDArray[np.uint64]) -> Rows:
    """The rows of some images."""
    keys = pa.table({"image": rows.images, "row": np.arange(len(rows))})
    requested = pa.table({"image": images})
    matches = keys.join(requested, keys=["image"], join_type="left semi", use_threads=False)
    return rows.take(matches["row"].to_numpy())


def resolve(rows: Rows, starts: npt.NDArray[np.int64], rule: str) -> npt.NDArray[np.int8]:
    """The human verdict on each image and label: 1 present, 0 absent, -1 left open.

    Args:
        rows: the human ones, sorted.
        starts: where each image and label begins among them.
        rule: what to do where humans differ, see `ConfirmSettings.on_conflict`; a tied majority is a no.
    """
    if not len(starts):
        return np.zeros(0, dtype=np.int8)
    yes = np.add.reduceat(rows.values == 1, starts, dtype=np.int64)
    total = np.diff(np.append(starts, len(rows)))
    conflict = (yes > 0) & (yes < total)
    settled = {
        "rejected": np.zeros(len(starts), np.int8),
        "confirmed": np.ones(len(starts), np.int8),
        "majority": (2 * yes > total).astype(np.int8),
        "first": (rows.values[starts] == 1).astype(np.int8),
        "drop": np.full(len(starts), -1, np.int8),
    }[rule]
    return np.where(conflict, settled, (yes > 0).astype(np.int8))


def _counts(
    matched: Rows, starts: npt.NDArray[np.int64], verified: Rows, verified_starts: npt.NDArray[np.int64]
) -> Counter[Key]:
    """How often matched rows were repeated, and humans differed."""
    counts: Counter[Key] = Counter()
    counts[("duplicate", "machine", 0)] = len(matched) - len(starts)
    counts[("duplicate", "human", 0)] = len(verified) - len(verified_starts)
    counts[("conflict", "human", 0)] = int((resolve(verified, verified_starts, "drop") == -1).sum())
    return counts


def _one_label(pairs: Rows, confirmed: npt.NDArray[np.bool_], rule: str) -> npt.NDArray[np.bool_]:
    """Which pair is its image's one label: the first in the input, or the most confident (of such, the first)."""
    keys = (pairs.orders, pairs.images) if rule == "first" else (pairs.orders, -pairs.values, pairs.images)
    order = np.lexsort(keys)
    order = order[confirmed[order]]
    images = pairs.images[order]
    kept = np.zeros(len(pairs), dtype=bool)
    kept[order[np.append(True, images[1:] != images[:-1])] if len(order) else order] = True
    return kept


def _label_sets(
    machine: Rows, human: Rows, images: npt.NDArray[np.uint64], rules: VerdictRules, counts: Counter[Key]
) -> tuple[Rows, Rows]:
    """The rows of the label sets `machine` and `human`, each image and label once."""
    none = machine.take(np.zeros(0, dtype=np.int64))
    counts.update(per_image("confirmed", images))
    if rules.label_sets == "none":
        return none, none
    if rules.label_sets == "images":
        kept_images = distinct(images)
        machine, human = _of_images(machine, kept_images), _of_images(human, kept_images)
    machine, human = machine.sorted(), human.sorted()
    starts = human.firsts()
    verdicts = resolve(human, starts, rules.on_conflict)
    verdict_rows = human.take(starts)
    verdict_rows = Rows(
        verdict_rows.images, verdict_rows.labels, verdicts.astype(np.float32), verdict_rows.orders
    ).take(verdicts >= 0)
    once = machine.take(machine.firsts())
    for name, before, after in (("machine", machine, once), ("human", human, verdict_rows)):
        counts[("set_rows", name, 0)] = len(after)
        counts[("set_repeated", name, 0)] = len(before) - len(after)
        counts.update(per_image(name, after.images))
    return once, verdict_rows


def distinct(images: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The images that sorted rows are of, each once."""
    return images[np.append(True, images[1:] != images[:-1])] if len(images) else images


def per_image(annotator: str, images: npt.NDArray[np.uint64]) -> Counter[Key]:
    """How many images have 1, 2, ... labels.

    Args:
        annotator: whose.
        images: (n,) the image of each label, sorted.
    """
    starts = np.flatnonzero(np.append(True, images[1:] != images[:-1])) if len(images) else np.zeros(0, np.int64)
    how_many = np.bincount(np.diff(np.append(starts, len(images))))
    return Counter(
        {("labels_per_image", annotator, labels): int(n) for labels, n in enumerate(how_many) if n and labels}
    )


def label_table(
    rows: Rows, names: Sequence[str], verdicts: npt.NDArray[np.bool_] | None, fractions: dict[str, float]
) -> dict[str, pa.Table]:
    """The rows as a label set's table for each split, in hash order.

    Args:
        rows: in any order.
        names: labels by number.
        verdicts: whether humans confirmed each; None where the set has no verdicts.
        fractions: the splits, and their shares of the images.
    """
    hashes = hashing.hash_hex_ids(rows.images, SHARD_SEED)
    order = np.lexsort((rows.labels, rows.images, hashes))
    rows = rows.take(order)
    columns = {
        "image_id": hashing.hex_id_texts(rows.images),
        "label": pa.array(names, pa.string()).take(pa.array(rows.labels)),
        "confidence": pa.array(rows.values),
    }
    if verdicts is not None:
        columns["verdict"] = pa.array([REJECTED, CONFIRMED]).take(pa.array(verdicts[order].astype(np.int8)))
    table = tables.label_rows(columns)
    splits = hashing.split_at(hashing.hash_hex_ids(rows.images, SPLIT_SEED), fractions)
    return {split: table.filter(pa.array(splits == split)) for split in fractions}
