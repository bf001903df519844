"""Pair the labels of two annotators in one shard: find image ids in long columns by their hash, and join the rows.

Concord's own files keep rows in hash order. A hash table of very many strings, as Arrow makes one, misses the caches at
every id; this search goes along two sorted columns. `index_in`, `is_in` and `unique` return what Arrow's functions of
these names return, whatever the order of the ids: for few ids, in another order, or where two have the same hash, they
call Arrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from metrics.counts import ReferenceCounts
from schemas import tables
from storage import hashing
from storage.hashing import SHARD_SEED

_FEW = 1 << 18  # ids of which a table fits the caches, as measured on ids of 16 letters: up to there it is no slower


def index_in(ids: pa.Array, values: pa.Array) -> pa.Array:
    """The first row of values (m,) that holds each of the ids (n,); null where none does.

    Args:
        ids: Arrow strings, none of them null; in any order, but fastest in hash order.
        values: likewise, to be in hash order; equal ones may follow each other.
    """
    rows = _search_by_hash(ids, values) if len(values) > _FEW else None
    return pc.index_in(ids, value_set=values) if rows is None else rows


def is_in(ids: pa.Array, values: pa.Array) -> pa.Array:
    """Whether each of the ids (n,) is one of the values (m,); see `index_in`."""
    return pc.is_valid(index_in(ids, values))


def unique(ids: pa.Array) -> pa.Array:
    """Each of the ids once, in the order in which they first appear."""
    rows = _first_by_hash(ids) if len(ids) > _FEW else None
    return pc.unique(ids) if rows is None else ids.take(rows)


def _search_by_hash(ids: pa.Array, values: pa.Array) -> pa.Array | None:
    """The rows by hash; None where the hashes do not decide."""
    hashes = hashing.hash_texts(values, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    hashes_of_ids = hashing.hash_texts(ids, SHARD_SEED)
    place = np.searchsorted(hashes, hashes_of_ids)
    place[place == len(hashes)] = 0
    known = hashes[place] == hashes_of_ids
    rows = pa.array(place, mask=~known)
    return rows if values.take(rows.drop_null()).equals(ids.filter(pa.array(known))) else None


def _first_by_hash(ids: pa.Array) -> pa.Array | None:
    """The row at which each of the ids first appears, by hash; None where the hashes do not decide."""
    hashes = hashing.hash_texts(ids, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    new = np.diff(hashes, prepend=~hashes[:1]) != 0
    rows = np.flatnonzero(new)
    again = np.flatnonzero(~new)
    same = ids.take(pa.array(again)).equals(ids.take(pa.array(again - 1)))
    return pa.array(rows) if same else None


# Pair labels: one row per image; multilabel: one row per image and label.

Codes = npt.NDArray[np.int64]
_NO_IDS = pa.array([], pa.string())
_PAIRED = ["image_id", "label", "confidence", "confidence_calibrated"]


def pair_by_image(a: pa.Table, b: pa.Table, reference: pa.Table | None) -> pa.Table:
    """The images that both annotators labelled, in the order of `a`, one row each.

    Args:
        a: labels of one annotator, one row per image.
        b: labels of the other.
        reference: labels of the annotator taken as reference; None for none.
    """
    if not a["image_id"].equals(b["image_id"]):  # as they are where both labelled every image
        rows = index_in(_one_array(a["image_id"]), _one_array(b["image_id"]))
        a, b = a.select(_PAIRED).filter(pc.is_valid(rows)), b.select(_PAIRED[1:]).take(rows.drop_null())
    true = pa.nulls(a.num_rows, pa.string()) if reference is None else look_up_labels(a["image_id"], reference)
    return pa.table(
        {
            "image_id": a["image_id"],
            "label_a": a["label"],
            "confidence_a": a["confidence"],
            "confidence_calibrated_a": a["confidence_calibrated"],
            "label_b": b["label"],
            "confidence_b": b["confidence"],
            "confidence_calibrated_b": b["confidence_calibrated"],
            "agree": pc.equal(a["label"], b["label"]),
            "reference": true,
            "correct_a": pc.equal(a["label"], true),
            "correct_b": pc.equal(b["label"], true),
        },
        schema=tables.PAIRS,
    )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks or [_NO_IDS])


def look_up_labels(ids: pa.ChunkedArray, labels: pa.Table) -> pa.ChunkedArray:
    """The label of each id, null where there is none."""
    if ids.equals(labels["image_id"]):
        return labels["label"]
    return labels["label"].take(index_in(_one_array(ids), _one_array(labels["image_id"])))


def align_labels(rows: Mapping[str, pa.Table]) -> pa.Table:
    """The label that each annotator gave each image that any of them labelled: one column each, null for none."""
    parts: list[pa.Array] = []  # each in hash order, where the annotators' rows are
    for one in rows.values():
        ids = unique(_one_array(one["image_id"]))
        for part in parts:
            ids = ids.filter(pc.invert(is_in(ids, part)))
        parts.append(ids)
    whole = pa.chunked_array(parts, pa.string())
    return pa.table({name: look_up_labels(whole, one) for name, one in rows.items()})


@dataclass(frozen=True)
class AnnotatorView:
    """The labels of one annotator in a multilabel shard, and the images that it has seen.

    Attributes:
        rows: of schema `LABELS`: labels that images have, and labels that they do not have.
        seen: the images that it has seen, in hash order; a label without a row here, it did not give.
    """

    rows: pa.Table
    seen: pa.Array

    @staticmethod
    def of(rows: pa.Table, index: pa.Table | None = None, rejects: pa.Table | None = None) -> "AnnotatorView":
        """Of an annotator that has seen every image of the index but some, or only those of which it has rows."""
        if index is None:
            return AnnotatorView(rows, unique(_one_array(rows["image_id"])))
        ids = _one_array(index["image_id"])
        gone = is_in(ids, _one_array(rejects["image_id"])) if rejects is not None else None
        return AnnotatorView(rows, ids if gone is None else ids.filter(pc.invert(gone)))


@dataclass(frozen=True)
class LabelPairs:
    """The pairs of a multilabel shard.

    Attributes:
        rows: of schema `PAIRS`: one row per image and label that one of the two gave, or that the reference has.
        images: that both have seen.
        known: of how many of them the reference is known.
    """

    rows: pa.Table
    images: int
    known: ReferenceCounts


def pair_labels(a: AnnotatorView, b: AnnotatorView, reference: AnnotatorView | None, complete: bool) -> LabelPairs:
    """The images and labels that one of two annotators gave, or the reference has, of the images that both have seen.

    Args:
        a: one annotator; a label that it does not give an image that it has seen is absent to it.
        b: the other.
        reference: the annotator taken as reference; None for none.
        complete: whether a label that the reference does not give is absent; else it is not known.
    """
    images = a.seen if a.seen.equals(b.seen) else a.seen.filter(is_in(a.seen, b.seen))
    sources = [_present(a.rows), _present(b.rows), *([reference.rows] if reference else [])]
    labels = sorted({label for rows in sources for label in pc.unique(rows["label"]).to_pylist()})
    names = pa.array(labels, pa.string())
    key_a, key_b = (_rows_by_key(rows, images, names) for rows in sources[:2])
    yes, no, stated = _reference_keys(reference, images, names)
    if complete:
        no = np.zeros(0, np.int64)
    keys = np.unique(np.concatenate([key_a.keys, key_b.keys, yes.keys]))
    image = keys // max(len(names), 1)
    known = stated[image] if complete else np.isin(keys, np.concatenate([yes.keys, no]))
    rows = _pair_rows(keys, images, names, (key_a, key_b), np.isin(keys, yes.keys), known)
    by_label = {} if complete else _count_by_label(np.concatenate([yes.keys, no]), labels)
    n = int(stated.sum())
    return LabelPairs(rows, len(images), ReferenceCounts(n, n if complete else 0, by_label))


def _pair_rows(
    keys: Codes,
    images: pa.Array,
    names: pa.Array,
    of_two: "tuple[_RowsByKey, _RowsByKey]",
    true: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
) -> pa.Table:
    """Rows of schema `PAIRS` for keys (n,): whether the reference has them, and whether that is known, (n,) each."""
    image, label = np.divmod(keys, max(len(names), 1))
    present = [np.isin(keys, one.keys) for one in of_two]
    columns: dict[str, Any] = {
        "image_id": images.take(pa.array(image)),
        "agree": pa.array(present[0] == present[1]),
        "reference": names.take(pa.array(label, mask=~(true & known))),
    }
    for side, one, gave in zip("ab", of_two, present, strict=True):
        columns[f"label_{side}"] = names.take(pa.array(label, mask=~gave))
        columns[f"confidence_{side}"] = one.take("confidence", keys, gave)
        columns[f"confidence_calibrated_{side}"] = one.take("confidence_calibrated", keys, gave)
        columns[f"correct_{side}"] = pa.array(gave == true, mask=~known)
    return pa.table(columns, schema=tables.PAIRS)


@dataclass(frozen=True)
class _RowsByKey:
    """Rows by key: image * labels + label, sorted, each once."""

    keys: Codes
    rows: pa.Table

    def take(self, column: str, keys: Codes, present: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
        """A column's value of each key that is present here; null elsewhere."""
        return self.rows[column].take(pa.array(np.searchsorted(self.keys, keys), mask=~present))


def _present(rows: pa.Table) -> pa.Table:
    return rows.filter(tables.present(rows))


def _rows_by_key(rows: pa.Table, images: pa.Array, names: pa.Array) -> _RowsByKey:
    """Rows of the images by key; of a label that occurs twice the more confident row counts."""
    place = index_in(_one_array(rows["image_id"]), images)
    rows = rows.filter(pc.is_valid(place))
    image, label = (
        codes.to_numpy().astype(np.int64) for codes in (place.drop_null(), pc.index_in(rows["label"], value_set=names))
    )
    keys, confidence = image * max(len(names), 1) + label, rows["confidence"].to_numpy()
    order = np.lexsort((-confidence, keys))
    keys, first = np.unique(keys[order], return_index=True)
    return _RowsByKey(keys, rows.take(pa.array(order[first])))


def _reference_keys(
    reference: AnnotatorView | None, images: pa.Array, names: pa.Array
) -> tuple[_RowsByKey, Codes, npt.NDArray[np.bool_]]:
    """Keys that the reference affirms, keys that it denies, and of which images it states anything, (images,)."""
    if reference is None:
        nothing = np.zeros(0, np.int64)
        return _RowsByKey(nothing, tables.LABELS.empty_table()), nothing, np.zeros(len(images), np.bool_)
    present = tables.present(reference.rows)
    yes = _rows_by_key(reference.rows.filter(present), images, names)
    no = _rows_by_key(reference.rows.filter(pc.invert(present)), images, names).keys
    stated = is_in(images, reference.seen).to_numpy(zero_copy_only=False)
    return yes, np.setdiff1d(no, yes.keys), stated


def _count_by_label(keys: Codes, labels: Sequence[str]) -> dict[str, int]:
    """How many images each label has keys of."""
    times = np.bincount(keys % max(len(labels), 1), minlength=len(labels)) if len(keys) else np.zeros(0, np.int64)
    return {label: int(n) for label, n in zip(labels, times, strict=False) if n}
