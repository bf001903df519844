"""Where image ids lie in a column: in long ones found by their hash, in whose order Concord's own files keep them.

A table of very many strings, as Arrow makes one, misses the caches at every id; this search goes along two columns side
by side. Each function gives what Arrow's function of that name gives, whatever the order of the ids: where there are
few, where they lie in another order, or where two of them have the same hash, Arrow's answers.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import xxh64
from schemas.hashing import SHARD_SEED

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
    hashes = xxh64.hashes(values, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    wanted = xxh64.hashes(ids, SHARD_SEED)
    place = np.searchsorted(hashes, wanted)
    place[place == len(hashes)] = 0
    known = hashes[place] == wanted
    rows = pa.array(place, mask=~known)
    return rows if values.take(rows.drop_null()).equals(ids.filter(pa.array(known))) else None


def _first(ids: pa.Array) -> pa.Array | None:
    """The row at which each of the ids first appears, by hash; None where it cannot tell."""
    hashes = xxh64.hashes(ids, SHARD_SEED)
    if (hashes[1:] < hashes[:-1]).any():
        return None
    new = np.diff(hashes, prepend=~hashes[:1]) != 0
    rows = np.flatnonzero(new)
    again = np.flatnonzero(~new)
    same = ids.take(pa.array(again)).equals(ids.take(pa.array(again - 1)))
    return pa.array(rows) if same else None
