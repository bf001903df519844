"""What reads one side's rows: how it narrows them, and to which shard each goes."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.confirm import bloom, label_rows
from pipelines.confirm.join import VerdictRules
from pipelines.confirm.transforms import ConfirmPlan, Narrowing, Reader, listed_images
from schemas.layout import MACHINE
from storage import hashing
from storage.formats import csv_ranges
from storage.formats.csv_ranges import Block, Layout
from storage.parquet import from_ipc

ALL_BITS = np.full(1 << (bloom.LEAST_BITS - 3), 255, dtype=np.uint8)  # a filter that every key passes


def plan_for(shards: int, missing: set[int], narrowing: Narrowing | None = None) -> ConfirmPlan:
    narrowing = narrowing or Narrowing(None, None, 0)
    rules = VerdictRules("rejected", "", "images")
    return ConfirmPlan("", "d", (), (), narrowing, rules, {"train": 1.0}, shards, 13, "", frozenset(missing))


def piece(ids: list[str]) -> label_rows.LabelRows:
    data = "".join(f"{one},/m/{number % 3},0.5\n" for number, one in enumerate(ids)).encode()
    [found], _ = label_rows.parse(Block(data, 0, len(data)), Layout(3, (0, 1, 2)), "f.csv")
    return found


@pytest.mark.parametrize("shards", [1, 8, 1 << 16, 1 << 17, 1 << 20])
def test_each_row_goes_to_its_shard(shards: int) -> None:
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(300)]
    expected = dict(zip(ids, hashing.shard_of(hashing.image_hashes(ids), shards).tolist(), strict=True))
    reader = Reader(MACHINE, plan_for(shards, set(expected.values())), ALL_BITS)
    reader.read(piece(ids[:200]), 0)
    reader.read(piece(ids[200:]), 200)
    found = {}
    for shard, (side, batch) in reader.by_shard():
        table = from_ipc(batch)
        assert side == MACHINE
        assert table["order"].to_pylist() == sorted(table["order"].to_pylist())
        for row in table.to_pylist():
            assert (ids[row["order"]], row["label"]) == (f"{row['image']:016x}", f"/m/{row['order'] % 200 % 3}")
            found[f"{row['image']:016x}"] = shard
    assert found == expected
    assert (reader.buffered, list(reader.by_shard())) == (0, [])


def test_rows_of_shards_that_are_done_go_nowhere() -> None:
    ids = [f"{number:016x}" for number in range(100)]
    shards = hashing.shard_of(hashing.image_hashes(ids), 8)
    reader = Reader(MACHINE, plan_for(8, {2, 5}), ALL_BITS)
    reader.read(piece(ids), 0)
    found = {shard: len(from_ipc(batch)) for shard, (_, batch) in reader.by_shard()}
    assert found == {2: int((shards == 2).sum()), 5: int((shards == 5).sum())}
    assert reader.counts["read", MACHINE, 0] == 100, "they are counted all the same"


@pytest.mark.parametrize("content", ["ImageID\n", "ImageID\n0000000000000005\n0000000000000001\n0000000000000005\n"])
def test_only_images_on_the_list(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.csv").write_text(content)
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 10)
    ranges = csv_ranges.plan_ranges([str(tmp_path / "list.csv")], ["ImageID"])
    listed = listed_images(ranges).tolist()
    assert listed == ([1, 5] if "5" in content else [])
    narrowing = Narrowing(None, ranges, 0)
    images = np.array([5, 5, 0, 1, 5, 2**64 - 1, 1, 6], dtype=np.uint64)
    assert narrowing.keeps_image(images).tolist() == [one in listed for one in images.tolist()]
    assert narrowing.keeps_image(images[:0]).tolist() == []
