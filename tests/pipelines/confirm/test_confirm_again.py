"""Confirm, again: what is done stays done, a change remakes what follows from it, and a stopped run goes on."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas import layout
from schemas.errors import InputError, StorageError, TooManyRejectsError
from schemas.settings.confirm import ConfirmSettings
from schemas.stage import Context, StageResult
from storage import products, stores
from storage.formats import csv_ranges
from tests.support import label_files, stages
from tests.support.label_files import SPLITS, Row

pytestmark = pytest.mark.usefixtures("quick_disk")
BAD = [("123", "machine", "/m/01", "0.5"), ("0" * 16, "machine", "", "0.5"), ("0" * 16, "machine", "/m/01", "1.5")]
State = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A machine's file with three malformed rows, and people's with one."""
    folder = tmp_path_factory.mktemp("files")
    machine, human = label_files.draw(images=40, rows=300)
    bad_human: list[Row] = [("0" * 16, "crowd", "/m/01", "0.5")]
    machine = machine[:100] + BAD[:1] + machine[100:] + BAD[1:]
    return label_files.write(folder / "machine.csv", machine), label_files.write(
        folder / "human.csv", human + bad_human
    )


def settings_for(files: tuple[str, str], **more: Any) -> ConfirmSettings:
    given = {"dataset": "d", "machine": (files[0],), "human": (files[1],), "splits": SPLITS, "shards": 4}
    return ConfirmSettings(**{**given, "max_reject_fraction": 0.05, **more})


def confirm(settings: ConfirmSettings, root: Path | str, force: bool = False) -> StageResult:
    return stages.confirm(settings, Context(str(root), ("--direct_num_workers=1",), force))


@pytest.fixture(scope="module")
def done(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with everything done; read it only."""
    root = tmp_path_factory.mktemp("done")
    confirm(settings_for(files), root)
    return root


@pytest.fixture
def own(done: Path, tmp_path: Path) -> Path:
    """A copy of it, to write on."""
    return Path(shutil.copytree(done, tmp_path / "own", copy_function=shutil.copy2))


def state(root: Path) -> State:
    """Every file under a root: modification time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def contents(found: State) -> dict[str, str]:
    return {name: digest for name, (_, digest) in found.items()}


def rewritten(before: State, after: State, ending: str = ".parquet") -> set[str]:
    return {name for name in after if name.endswith(ending) and after[name] != before.get(name)}


LABELS, COUNTS, READ = "labels/dataset=d", "statistics/joined/dataset=d", "statistics/read/d.parquet"
REJECTS = "rejects/confirm/dataset=d"
SETS = ("confirmed", "machine", "human")


def of_shard(shard: int) -> set[str]:
    """All files that are committed together."""
    part = f"part-{shard:05d}-of-00004.parquet"
    labels = {f"{LABELS}/annotator={annotator}/split={split}/{part}" for annotator in SETS for split in SPLITS}
    return labels | {f"{COUNTS}/{part}"}


# --- Nothing to do ------------------------------------------------------------------------------


def test_what_is_there_is_what_was_asked_for(done: Path) -> None:
    tables = {"machine_precision", "labels_per_image", "verdict_sources"}
    expected = {file for shard in range(4) for file in of_shard(shard)} | {READ}
    expected |= {f"statistics/{table}/d.parquet" for table in tables}
    expected |= {f"{LABELS}/annotator={one}/split={split}/_concord.json" for one in SETS for split in SPLITS}
    expected |= {
        f"{LABELS}/_concord.json",
        *(f"{REJECTS}/side={side}/part-00000-of-00001.parquet" for side in SETS[1:]),
    }
    assert state(done).keys() == expected


def test_a_second_run_does_nothing_and_touches_nothing(own: Path, files: tuple[str, str]) -> None:
    before = state(own)
    for settings in (settings_for(files), settings_for(files, max_reject_fraction=0.9)):
        result = confirm(settings, own)
        assert (result.built, result.counters) == (False, {})
        assert result.counts["in"] == 300 + 3 + result.counts["human"]["read"]
        assert state(own) == before


def test_a_root_that_was_moved_whole_with_its_inputs_stays_current(
    own: Path, files: tuple[str, str], tmp_path: Path
) -> None:
    moved = [str(shutil.copy2(file, tmp_path)) for file in files]
    settings = settings_for((moved[0], moved[1]))
    assert not confirm(settings, own.rename(tmp_path / "elsewhere")).built
    os.utime(moved[0], ns=(0, 0))
    assert confirm(settings, tmp_path / "elsewhere").built


def test_force_makes_the_same_bytes_again(own: Path, files: tuple[str, str]) -> None:
    before = state(own)
    assert confirm(settings_for(files), own, force=True).built
    assert contents(state(own)) == contents(before)
    assert rewritten(before, state(own)) >= {file for shard in range(4) for file in of_shard(shard)}


# --- Something changed --------------------------------------------------------------------------

CHANGES: list[dict[str, Any]] = [
    {"shards": 8, "on_conflict": "confirmed"},
    {"label_sets": "none", "splits": {"one": 0.5, "train": 0.5}},
]


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_changed_setting_remakes_and_leaves_nothing_of_before(
    own: Path, files: tuple[str, str], tmp_path: Path, change: dict[str, Any]
) -> None:
    settings = settings_for(files, **change)
    assert confirm(settings, own).built
    confirm(settings, tmp_path / "fresh")
    assert contents(state(own)) == contents(state(tmp_path / "fresh"))
    assert not confirm(settings, own).built


def test_changed_inputs_remake(own: Path, files: tuple[str, str], tmp_path: Path) -> None:
    machine, human = (Path(shutil.copy2(file, tmp_path)) for file in files)
    settings = settings_for((str(machine), str(human)))
    assert not confirm(settings, own).built
    human.write_text(human.read_text().replace(",1\n", ",0\n"))
    before = products.find_manifest(f"{own}/{LABELS}", products.AnyManifest)
    result = confirm(settings, own)
    assert before is not None
    assert [result.counts[name] == before.counts[name] for name in ("in", "matched", "confirmed")] == [
        True,
        True,
        False,
    ]


def test_a_file_on_the_other_side_is_another_input(files: tuple[str, str], tmp_path: Path) -> None:
    machine, human = label_files.draw(images=10, rows=60)
    a, b, c = (
        label_files.write(tmp_path / name, rows) for name, rows in (("a", machine), ("b", human), ("c", human[:5]))
    )
    first = settings_for(("", ""), machine=(a, b), human=(c,), max_reject_fraction=1.0)
    second = settings_for(("", ""), machine=(a,), human=(b, c), max_reject_fraction=1.0)
    assert confirm(first, tmp_path / "root").counts["human"]["read"] == 5
    assert confirm(second, tmp_path / "root").counts["human"]["read"] == len(human) + 5


def test_a_list_of_classes_is_no_list_of_images(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("0123456789abcdef\n")
    path = str(tmp_path / "list.csv")
    for one in ("classes", "images"):
        result = confirm(settings_for(files, **{one: path}), tmp_path)
        assert list(result.counts["human"]["narrowed"]) == [one]


def test_another_dataset_beside_it_is_left_alone(own: Path, files: tuple[str, str]) -> None:
    before = state(own)
    confirm(settings_for(files, dataset="d_too"), own)
    after = state(own)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


# --- Something is gone --------------------------------------------------------------------------

LOST = {
    "labels": f"{LABELS}/annotator=machine/split=train/part-00002-of-00004.parquet",
    "counts": f"{COUNTS}/part-00000-of-00004.parquet",
}


def lose(root: Path, *names: str) -> State:
    """Remove files and the manifest that says that all is there; the state before."""
    before = state(root)
    for name in (*names, f"{LABELS}/_concord.json"):
        (root / name).unlink()
    return before


@pytest.mark.parametrize("lost", [["labels"], list(LOST)], ids=" ".join)
def test_a_lost_shard_alone_is_made_again_with_the_same_bytes(
    own: Path, files: tuple[str, str], lost: list[str]
) -> None:
    before = lose(own, *(LOST[name] for name in lost))
    result = confirm(settings_for(files), own)
    after = state(own)
    assert contents(after) == contents(before)
    remade = rewritten(before, after) - rewritten(before, after, "d.parquet")
    shards = {int(LOST[name].partition("part-")[2][:5]) for name in lost}
    assert {name for name in remade if not name.startswith("rejects")} == set().union(*map(of_shard, shards))
    assert result.counters["confirm.join.elements"] == len(lost)


def test_the_counts_of_what_was_read_are_read_again(own: Path, files: tuple[str, str]) -> None:
    before = lose(own, READ)
    confirm(settings_for(files), own)
    assert contents(state(own)) == contents(before)


def test_where_only_the_manifest_is_missing_nothing_is_read_again(own: Path, files: tuple[str, str]) -> None:
    before = lose(own)
    result = confirm(settings_for(files), own)
    assert (result.built, result.counters) == (True, {})
    assert contents(state(own)) == contents(before)


def test_damaged_shards_are_made_again(own: Path, files: tuple[str, str]) -> None:
    before = lose(own)
    for shard, (annotator, size) in enumerate((("machine", 0), ("human", 3), ("confirmed", 500))):
        os.truncate(own / f"{LABELS}/annotator={annotator}/split=train/part-{shard:05d}-of-00004.parquet", size)
    result = confirm(settings_for(files), own)
    assert result.counters["confirm.join.elements"] == 3
    assert contents(state(own)) == contents(before)


def test_shards_made_from_something_else_are_made_again(own: Path, files: tuple[str, str], tmp_path: Path) -> None:
    confirm(settings_for(files, on_conflict="confirmed"), tmp_path / "other")
    before = lose(own)
    for name in LOST.values():
        shutil.copy(tmp_path / "other" / name, own / name)
    result = confirm(settings_for(files), own)
    assert result.counters["confirm.join.elements"] == 2
    assert contents(state(own)) == contents(before)


# --- It was stopped -----------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [1, 30, 44])
def test_a_run_that_was_stopped_anywhere_goes_on(
    files: tuple[str, str], done: Path, tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many files: while reading, joining, or telling what was found."""
    left, write = [writes], stores.write_parts

    def stop(path: str, parts: Iterable[bytes | memoryview]) -> None:
        if not left[0]:
            raise StorageError(f"cannot write {path}: no space left there")
        left[0] -= 1
        write(path, parts)

    with monkeypatch.context() as patch:
        patch.setattr(stores, "write_parts", stop)
        with pytest.raises(StorageError, match="no space left there"):
            confirm(settings_for(files), tmp_path)
    assert products.find_manifest(layout.confirmation(str(tmp_path), "d"), products.AnyManifest) is None
    before = state(tmp_path)
    committed = {shard for shard in range(4) if f"{COUNTS}/part-{shard:05d}-of-00004.parquet" in before}
    result = confirm(settings_for(files), tmp_path)
    assert contents(state(tmp_path)) == contents(state(done))
    assert result.counters.get("confirm.join.elements", 0) == 4 - len(committed)
    assert not rewritten(before, state(tmp_path)) & set().union(*map(of_shard, committed))


def test_a_stopped_remake_leaves_no_claim_that_all_is_there(
    own: Path, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(path: str, parts: Iterable[bytes | memoryview]) -> None:
        raise StorageError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(stores, "write_parts", stop)
        with pytest.raises(StorageError, match="stopped"):
            confirm(settings_for(files, on_conflict="confirmed"), own)
    assert [name for name in state(own) if name.endswith("_concord.json")] == []


# --- What was rejected --------------------------------------------------------------------------


def rejects(root: Path) -> list[tuple[str, str, str]]:
    paths = sorted((root / REJECTS).rglob("*.parquet"))
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    return [(row["source"].rpartition("/")[2], row["position"], row["reason"]) for row in rows]


def test_too_many_rejects_fail_and_name_the_first(files: tuple[str, str], tmp_path: Path) -> None:
    settings = settings_for(files, max_reject_fraction=0.001)
    place = Path(files[0]).read_bytes().index(b"123,machine")
    for _ in range(2):  # the second time, all shards are there already
        with pytest.raises(TooManyRejectsError) as error:
            confirm(settings, tmp_path)
        text = str(error.value)
        assert text.splitlines() == [text]
        assert "confirm rejected 4 of " in text
        reasons = "(confidence_outside 1, image_id_not_hex 1, label_missing 1, verdict_not_clear 1)"
        assert f"{reasons}, more than --max-reject-fraction 0.001" in text
        assert f"The first: {files[0]}, byte {place}: ImageID is '123' (an ImageID has 16 hexadecimal digits" in text
        assert products.find_manifest(layout.confirmation(str(tmp_path), "d"), products.AnyManifest) is None
    result = confirm(settings_for(files), tmp_path)
    assert (result.built, result.counters) == (True, {})
    assert [(name, reason) for name, _, reason in rejects(tmp_path)] == [
        ("human.csv", "verdict_not_clear"),
        ("machine.csv", "image_id_not_hex"),
        ("machine.csv", "label_missing"),
        ("machine.csv", "confidence_outside"),
    ]
    assert result.counts["malformed"] == dict.fromkeys(sorted(row[2] for row in rejects(tmp_path)), 1)


def test_rejects_are_those_of_the_files_whatever_the_ranges(
    files: tuple[str, str], done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_ranges, "RANGE_BYTES", 700)
    monkeypatch.setattr(csv_ranges, "BLOCK_BYTES", 300)
    confirm(settings_for(files), tmp_path)
    assert rejects(tmp_path) == rejects(done)
    data = Path(files[0]).read_bytes()
    for name, position, _ in rejects(tmp_path)[1:]:
        assert name == "machine.csv"
        assert data[int(position.removeprefix("byte ")) - 1 :].startswith(
            (b"\n123,machine", b"\n" + b"0" * 16 + b",machine")
        )


def test_a_lost_file_of_rejects_is_made_again(own: Path, files: tuple[str, str]) -> None:
    before = lose(own, f"{REJECTS}/side=machine/part-00000-of-00001.parquet")
    confirm(settings_for(files), own)
    assert contents(state(own)) == contents(before)


def test_a_mended_file_leaves_no_rejects(own: Path, files: tuple[str, str], tmp_path: Path) -> None:
    machine, human = label_files.draw(images=40, rows=300)
    mended = label_files.write(tmp_path / "machine.csv", machine), label_files.write(tmp_path / "human.csv", human)
    result = confirm(settings_for(mended), own)
    assert result.counts["malformed"] == {}
    assert rejects(own) == []


def test_a_file_that_is_named_twice(files: tuple[str, str], tmp_path: Path) -> None:
    pattern = str(Path(files[0]).parent / "mach*.csv")
    with pytest.raises(InputError) as error:
        confirm(settings_for(files, machine=(files[0], pattern)), tmp_path)
    assert str(error.value) == f"--machine names {files[0]} twice: its rows would all be duplicates"
