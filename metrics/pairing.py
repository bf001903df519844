"""Where image ids lie in a column: in long ones found by their hash, in whose order Concord's own files keep them.

A table of very many strings, as Arrow makes one, misses the caches at every id; this search goes along two columns side
by side. Each function gives what Arrow's function of that name gives, whatever the order of the ids: where there are
few, where they lie in another order, or where two of them have the same hash, Arrow's answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import tables
from storage import hashing
from storage.hashing import SHARD_SEED

_FEW = 1 << 18  # ids of which a table fits the caches, as measured on ids of 16 letters: up to there it is no slower


def index_in(ids: pa.Array, values: pa.Array) -> pa.Array:
    """The first row of values (m,) that holds each of the ids (n,); null where none does.

    Args:
        ids: Arrow strings, none of them null; in any order, but soonest found in hash order.
        values: likewise, to be in hash order; equal ones may follow each other.
    """
    rows = _searched(ids, values) if len(values) > _FEW else None
    return pc.index_in(ids, value_set=values) if rows is None else rows


def is_in(ids: pa.Array, values: pa.Array) -> pa.Array:
    """Whether each of the ids (n,) is one of the values (m,); see `index_in`."""
    return pc.is_valid(index_in(ids, values))


def unique(ids: pa.Array) -> pa.Array:
    """Each of the ids once, in the order in which they first appear."""
    rows = _first(ids) if len(ids) > _FEW else None
    return pc.unique(ids) if rows is None else ids.take(rows)


def _searched(ids: pa.Array, values: pa.Array) -> pa.Array | None:
    """The rows by hash; None where it cannot tell."""
    hashes = hashing.hash_texts(values, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    wanted = hashing.hash_texts(ids, SHARD_SEED)
    place = np.searchsorted(hashes, wanted)
    place[place == len(hashes)] = 0
    known = hashes[place] == wanted
    rows = pa.array(place, mask=~known)
    return rows if values.take(rows.drop_null()).equals(ids.filter(pa.array(known))) else None


def _first(ids: pa.Array) -> pa.Array | None:
    """The row at which each of the ids first appears, by hash; None where it cannot tell."""
    hashes = hashing.hash_texts(ids, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    new = np.diff(hashes, prepend=~hashes[:1]) != 0
    rows = np.flatnonzero(new)
    again = np.flatnonzero(~new)
    same = ids.take(pa.array(again)).equals(ids.take(pa.array(again - 1)))
    return pa.array(rows) if same else None


# Pair the labels of two annotators in one shard: a row an image, or where images have several, an image and label.

Codes = npt.NDArray[np.int64]
_NO_IDS = pa.array([], pa.string())
_PAIRED = ["image_id", "label", "confidence", "confidence_calibrated"]


def pair_by_image(a: pa.Table, b: pa.Table, truth: pa.Table | None) -> pa.Table:
    """The images that both annotators labelled, in the order of `a`, a row each.

    Args:
        a: labels of one annotator, a row an image.
        b: labels of the other.
        truth: labels of the annotator taken as truth; None for none.
    """
    if not a["image_id"].equals(b["image_id"]):  # as they are where both labelled every image
        there = index_in(_whole(a["image_id"]), _whole(b["image_id"]))
        a, b = a.select(_PAIRED).filter(pc.is_valid(there)), b.select(_PAIRED[1:]).take(there.drop_null())
    true = pa.nulls(a.num_rows, pa.string()) if truth is None else looked_up(a["image_id"], truth)
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
            "truth": true,
            "correct_a": pc.equal(a["label"], true),
            "correct_b": pc.equal(b["label"], true),
        },
        schema=tables.PAIRS,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks or [_NO_IDS])


def looked_up(ids: pa.ChunkedArray, labels: pa.Table) -> pa.ChunkedArray:
    """The label of each id, null where there is none."""
    if ids.equals(labels["image_id"]):
        return labels["label"]
    return labels["label"].take(index_in(_whole(ids), _whole(labels["image_id"])))


def side_by_side(rows: Mapping[str, pa.Table]) -> pa.Table:
    """The label that each annotator gave each image that any of them labelled: a column an annotator, null for none."""
    parts: list[pa.Array] = []  # each in hash order, where the annotators' rows are
    for one in rows.values():
        ids = unique(_whole(one["image_id"]))
        for part in parts:
            ids = ids.filter(pc.invert(is_in(ids, part)))
        parts.append(ids)
    whole = pa.chunked_array(parts, pa.string())
    return pa.table({name: looked_up(whole, one) for name, one in rows.items()})


@dataclass(frozen=True)
class AnnotatorView:
    """What one annotator says of the images of a shard, where images have several labels.

    Attributes:
        rows: of schema `LABELS`: labels that images have, and labels that they have not.
        seen: the images that it has seen, in hash order; what has no row here, it did not give.
    """

    rows: pa.Table
    seen: pa.Array

    @staticmethod
    def of(rows: pa.Table, index: pa.Table | None = None, rejects: pa.Table | None = None) -> "AnnotatorView":
        """Of an annotator that has seen every image of the index but some, or only those of which it has rows."""
        if index is None:
            return AnnotatorView(rows, unique(_whole(rows["image_id"])))
        ids = _whole(index["image_id"])
        gone = is_in(ids, _whole(rejects["image_id"])) if rejects is not None else None
        return AnnotatorView(rows, ids if gone is None else ids.filter(pc.invert(gone)))


@dataclass(frozen=True)
class LabelPairs:
    """The pairs of a shard, and what they do not say.

    Attributes:
        rows: of schema `PAIRS`: a row an image and label that one of the two gave, or that the truth has.
        images: that both have seen.
        told: of how many of them the truth tells anything.
        told_every: of how many of them it tells of every label.
        told_labels: of the others, how many of each label.
    """

    rows: pa.Table
    images: int
    told: int
    told_every: int
    told_labels: dict[str, int]


def pair_labels(a: AnnotatorView, b: AnnotatorView, truth: AnnotatorView | None, whole_truth: bool) -> LabelPairs:
    """The images and labels that one of two annotators gave, or the truth has, of the images that both have seen.

    Args:
        a: one annotator; what it does not give an image that it has seen, it says is not there.
        b: the other.
        truth: the annotator taken as truth; None for none.
        whole_truth: whether it says by silence, too, that a label is not there; else it is not known.
    """
    images = a.seen if a.seen.equals(b.seen) else a.seen.filter(is_in(a.seen, b.seen))
    said = [_present(a.rows), _present(b.rows), *([truth.rows] if truth else [])]
    labels = sorted({label for rows in said for label in pc.unique(rows["label"]).to_pylist()})
    names = pa.array(labels, pa.string())
    key_a, key_b = (_keys(rows, images, names) for rows in said[:2])
    yes, no, judged = _judged(truth, images, names)
    if whole_truth:
        no = np.zeros(0, np.int64)
    keys = np.unique(np.concatenate([key_a.there, key_b.there, yes.there]))
    image = keys // max(len(names), 1)
    known = judged[image] if whole_truth else np.isin(keys, np.concatenate([yes.there, no]))
    rows = _rows(keys, images, names, (key_a, key_b), np.isin(keys, yes.there), known)
    by_label = {} if whole_truth else _counted(np.concatenate([yes.there, no]), labels)
    return LabelPairs(rows, len(images), int(judged.sum()), int(judged.sum()) if whole_truth else 0, by_label)


def _rows(
    keys: Codes,
    images: pa.Array,
    names: pa.Array,
    said: "tuple[_Keyed, _Keyed]",
    true: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
) -> pa.Table:
    """Rows of schema `PAIRS` for keys (n,): whether the truth has them, and whether that is known, (n,) each."""
    image, label = np.divmod(keys, max(len(names), 1))
    given = [np.isin(keys, one.there) for one in said]
    columns: dict[str, Any] = {
        "image_id": images.take(pa.array(image)),
        "agree": pa.array(given[0] == given[1]),
        "truth": names.take(pa.array(label, mask=~(true & known))),
    }
    for side, one, there in zip("ab", said, given, strict=True):
        columns[f"label_{side}"] = names.take(pa.array(label, mask=~there))
        columns[f"confidence_{side}"] = one.taken("confidence", keys, there)
        columns[f"confidence_calibrated_{side}"] = one.taken("confidence_calibrated", keys, there)
        columns[f"correct_{side}"] = pa.array(there == true, mask=~known)
    return pa.table(columns, schema=tables.PAIRS)


@dataclass(frozen=True)
class _Keyed:
    """Rows by key: image * labels + label, sorted, each once."""

    there: Codes
    rows: pa.Table

    def taken(self, column: str, keys: Codes, given: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
        """A column's value of each key that is given here; null elsewhere."""
        return self.rows[column].take(pa.array(np.searchsorted(self.there, keys), mask=~given))


def _present(rows: pa.Table) -> pa.Table:
    return rows.filter(tables.present(rows))


def _keys(rows: pa.Table, images: pa.Array, names: pa.Array) -> _Keyed:
    """Rows of the images by key; of a label given twice the surer counts."""
    place = index_in(_whole(rows["image_id"]), images)
    rows = rows.filter(pc.is_valid(place))
    image, label = (
        found.to_numpy().astype(np.int64) for found in (place.drop_null(), pc.index_in(rows["label"], value_set=names))
    )
    keys, sure = image * max(len(names), 1) + label, rows["confidence"].to_numpy()
    order = np.lexsort((-sure, keys))
    there, first = np.unique(keys[order], return_index=True)
    return _Keyed(there, rows.take(pa.array(order[first])))


def _judged(
    truth: AnnotatorView | None, images: pa.Array, names: pa.Array
) -> tuple[_Keyed, Codes, npt.NDArray[np.bool_]]:
    """Keys that the truth affirms, keys that it denies, and of which images it tells anything, (images,)."""
    if truth is None:
        nothing = np.zeros(0, np.int64)
        return _Keyed(nothing, tables.LABELS.empty_table()), nothing, np.zeros(len(images), np.bool_)
    there = tables.present(truth.rows)
    yes = _keys(truth.rows.filter(there), images, names)
    no = _keys(truth.rows.filter(pc.invert(there)), images, names).there
    judged = is_in(images, truth.seen).to_numpy(zero_copy_only=False)
    return yes, np.setdiff1d(no, yes.there), judged


def _counted(keys: Codes, labels: Sequence[str]) -> dict[str, int]:
    """How many images each label has keys of."""
    times = np.bincount(keys % max(len(labels), 1), minlength=len(labels)) if len(keys) else np.zeros(0, np.int64)
    return {label: int(n) for label, n in zip(labels, times, strict=False) if n}
