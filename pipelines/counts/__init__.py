"""What agreement is computed from: integer counts and fixed-point sums, which merge exactly in any order.

A file a kind of comparison: `labels` (two annotators, one label an image, or one string), `multilabel` (two annotators,
a set of labels an image), `ratings` (many annotators). `cross` and `patterns` are their numeric forms, for formulas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]
CONFIDENCE_UNIT = 2**32  # a confidence of 1, in the fixed-point sums: exact up to 2**31 images
NOT_GIVEN = -1  # code of what an annotator did not say
_DENSE = 2**20  # entries of a table that fits a processor's cache


def fixed_point(confidences: Any) -> IntArray:
    """Confidences in units of `CONFIDENCE_UNIT`; 0 where there is none."""
    known: npt.NDArray[np.float64] = np.nan_to_num(confidences.to_numpy().astype(np.float64))
    return np.rint(known * CONFIDENCE_UNIT).astype(np.int64)


def coded(columns: Sequence[pa.ChunkedArray]) -> tuple[list[IntArray], list[str]]:
    """Columns of strings as integers, in one code for all of them; null becomes `NOT_GIVEN`.

    Returns:
        the codes of each column, and the strings that they stand for, in order.
    """
    chunks = [chunk for column in columns for chunk in column.chunks if len(chunk)]
    if not chunks:
        return [np.zeros(0, np.int64) for _ in columns], []
    encoded = pa.concat_arrays(chunks).dictionary_encode()
    order = np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order], rank[NOT_GIVEN] = np.arange(len(order)), NOT_GIVEN
    codes = rank[encoded.indices.fill_null(NOT_GIVEN).to_numpy(zero_copy_only=False)]
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return list(np.split(codes, ends)), encoded.dictionary.take(pa.array(order)).to_pylist()


def distinct(codes: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """As `np.unique(codes, return_inverse=True)` for codes below a size; where that is small, without sorting them."""
    if size > _DENSE:
        values, place = np.unique(codes, return_inverse=True)
        return values, place
    there = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


def summed(codes: IntArray, values: IntArray, size: int) -> IntArray:
    """The sum of the values of each code, (size,): as `np.bincount`, but exact beyond 2**53."""
    totals = np.zeros(size, dtype=np.int64)
    np.add.at(totals, codes, values)
    return totals
