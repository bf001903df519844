"""Ids found by their hash: what a dictionary of Python finds, in whatever order they lie, whatever hash they have."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import pairing
from metrics.pairing import align_labels, look_up_labels, pair_by_image
from schemas import tables
from storage import hashing

POOL = [*(f"{number:04x}" for number in range(30)), "", "a", "löwe", "猫", "🦊", "x" * 40, "x" * 41]
ORDERED = sorted(POOL, key=lambda one: int(hashing.image_hashes([one])[0]))
in_order = st.lists(st.sampled_from(range(len(ORDERED)))).map(lambda rows: [ORDERED[row] for row in sorted(rows)])
anyhow = st.one_of(in_order, st.lists(st.sampled_from(POOL)))
Hashes = Callable[[pa.Array, int], npt.NDArray[np.uint64]]


@pytest.fixture(autouse=True, scope="module", params=[0, 10])
def few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Even of a few ids there are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "_FEW", request.param)
        yield


def ids(values: list[str]) -> pa.Array:
    """A column of them, cut from within a longer one."""
    return pa.array(["before", *values, "after"], pa.string()).slice(1, len(values))


def first_rows(values: list[str]) -> dict[str, int]:
    """The first row that holds each."""
    return {one: row for row, one in reversed(list(enumerate(values)))}


@given(anyhow, anyhow)
def test_rows_are_those_of_a_dictionary(wanted: list[str], values: list[str]) -> None:
    rows = first_rows(values)
    assert pairing.index_in(ids(wanted), ids(values)).to_pylist() == [rows.get(one) for one in wanted]
    assert pairing.is_in(ids(wanted), ids(values)).to_pylist() == [one in rows for one in wanted]
    assert pairing.unique(ids(wanted)).to_pylist() == list(dict.fromkeys(wanted))


def _coarse(true: Hashes) -> Hashes:
    """Hashes of the same order, of which many are equal."""
    return lambda texts, seed: true(texts, seed) >> np.uint64(61)


@given(anyhow, anyhow)
def test_ids_of_one_hash_are_never_taken_for_one(wanted: list[str], values: list[str]) -> None:
    rows = first_rows(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "hash_texts", _coarse(hashing.hash_texts))
        assert pairing.index_in(ids(wanted), ids(values)).to_pylist() == [rows.get(one) for one in wanted]
        assert pairing.unique(ids(wanted)).to_pylist() == list(dict.fromkeys(wanted))


def test_ids_in_hash_order_take_no_table_of_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: pa.Array, **__: pa.Array) -> None:
        raise AssertionError("a table of strings")

    monkeypatch.setattr(pc, "index_in", refuse)
    monkeypatch.setattr(pc, "unique", refuse)
    thirds = [one for one in ORDERED[::3] for _ in range(2)]
    expected = [row // 3 * 2 if row % 3 == 0 else None for row in range(len(ORDERED))]
    assert pairing.index_in(ids(ORDERED), ids(thirds)).to_pylist() == expected
    assert pairing.unique(ids(thirds)).to_pylist() == ORDERED[::3]
    with pytest.raises(AssertionError, match="a table of strings"):
        pairing.index_in(ids(ORDERED), ids(ORDERED[::-1]))


def matched(wanted: list[str], values: list[str]) -> list[int | None]:
    """The row of each id that is wanted; of two equal columns the same row, and else the first."""
    rows = first_rows(values)
    return list(range(len(wanted))) if wanted == values else [rows.get(one) for one in wanted]


def labelled(images: list[str], name: str) -> pa.Table:
    """A label of each image that tells whose it is and in which row, in one chunk of rows or two."""
    columns = {
        "image_id": pa.array(images, pa.string()),
        "label": pa.array([f"{name}{row}" for row in range(len(images))], pa.string()),
        "confidence": pa.array(np.arange(len(images)) / 64, pa.float32()),
    }
    rows = tables.label_rows(columns)
    return pa.concat_tables([rows.slice(0, 5), rows.slice(5)]) if len(images) > 5 else rows


@given(anyhow, anyhow, st.one_of(st.none(), anyhow))
def test_pairs_are_those_of_a_loop(a: list[str], b: list[str], truth: list[str] | None) -> None:
    both = matched(a, b)
    paired = [one for one, row in zip(a, both, strict=True) if row is not None]
    found = pair_by_image(labelled(a, "a"), labelled(b, "b"), None if truth is None else labelled(truth, "t"))
    assert found["image_id"].to_pylist() == paired
    assert found["label_a"].to_pylist() == [f"a{row}" for row in range(len(a)) if both[row] is not None]
    assert found["label_b"].to_pylist() == [f"b{row}" for row in both if row is not None]
    assert found["confidence_b"].to_pylist() == [row / 64 for row in both if row is not None]
    true = matched(paired, truth or [])
    assert found["reference"].to_pylist() == [None if row is None else f"t{row}" for row in true]


@given(anyhow, anyhow)
def test_labels_are_those_of_the_ids(wanted: list[str], values: list[str]) -> None:
    found = look_up_labels(pa.chunked_array([ids(wanted)]), labelled(values, "v")).to_pylist()
    assert found == [None if row is None else f"v{row}" for row in matched(wanted, values)]


@given(anyhow, anyhow, anyhow)
def test_annotators_stand_side_by_side(a: list[str], b: list[str], c: list[str]) -> None:
    union = list(dict.fromkeys([*a, *b, *c]))
    found = align_labels({name: labelled(images, name) for name, images in (("a", a), ("b", b), ("c", c))})
    for name, images in (("a", a), ("b", b), ("c", c)):
        rows = first_rows(images)
        assert found[name].to_pylist() == [f"{name}{rows[one]}" if one in rows else None for one in union]
