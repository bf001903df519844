"""A chain that is killed again and again, anywhere: no half passes for whole, and nothing finished is done twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from storage import model_cards, parquet, products, stores, tfrecord
from tests.support import chain_run

pytestmark = pytest.mark.chains

SEED = int(os.environ.get("CONCORD_KILL_SEED", "6"))
KILLS, KILLS_LONG = 5, 50
# files that are written last of a shard, and so say that it is whole
COMMITTED = ("index/**/*.parquet", "labels/**/*.parquet", "agreement/pairs/**/*.parquet")
SMALL = {
    "train = 320": "train = 64",
    "validation = 80": "validation = 32",
    "test = 160": "test = 48",
    "shards = 32": "shards = 8",
    '[[train]]\nnetwork = "cnn2"\nepochs = 2\n': "",
    "scores = true\n[agree]": '[agree]\nannotators = ["cnn1", "human"]',
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A root with a finished chain, its run file, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "root").mkdir()
    run_file = chain_run.write_run_file(folder, **SMALL)
    began = time.monotonic()
    chain_run.finish(folder / "root", run_file)
    return folder / "root", run_file, time.monotonic() - began


def kill_after(root: Path, run_file: Path, seconds: float) -> bool:
    """Start the chain and kill its whole process group after some time; whether it had not ended by then."""
    process = chain_run.start(root, run_file)
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert code == 0, (root.parent / f"{root.name}.log").read_text()[-2000:]
    return False


def check_whole(root: Path) -> None:
    """Everything in a root that goes by a name of its own is whole; halves are hidden, and called so."""
    for path in (path for path in root.rglob("*") if path.is_file()):
        if path.name.endswith(".partial"):
            assert path.name.startswith("."), path
        elif path.suffix == ".parquet":
            parquet.read(str(path))
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif ".tfrecord-" in path.name:
            check_framed(path)
        elif path.name == "index.html":
            assert path.read_text().rstrip().endswith("</html>"), path
    for path in root.glob(f"models/**/{model_cards.CARD_FILE}"):
        for name, stated in json.loads(path.read_text())["files"].items():
            assert (path.parent / name).stat().st_size == stated["size"], name
    for path in root.glob(f"**/{products.MANIFEST}"):
        shards = json.loads(path.read_text()).get("shards")
        there = [name for name in stores.list_files(str(path.parent)) if name.endswith(".parquet")]
        assert not there or len(there) == shards, path


def check_framed(path: Path) -> None:
    """A TFRecord shard consists of whole records."""
    content, place = path.read_bytes(), 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 8], "little")
        assert tfrecord.payload_at(content, place + tfrecord.HEADER_BYTES, length) is not None, (path, place)
        place += tfrecord.HEADER_BYTES + length + tfrecord.FOOTER_BYTES


def check_kept(root: Path, before: dict[str, int]) -> None:
    """What was committed when the chain was killed has not been written again."""
    after = committed(root)
    assert {path: after.get(path) for path in before} == before


def committed(root: Path) -> dict[str, int]:
    """When each finished shard was written: an index stands for its images."""
    found = {path: when for pattern in COMMITTED for path, when in chain_run.modified(root, pattern).items()}
    for path in list(found):
        if path.startswith("index/"):
            split, shard = path.split("split=")[1].split("/")[0], path.rpartition("part-")[2].removesuffix(".parquet")
            found |= chain_run.modified(root, f"images/**/*-{split}.tfrecord-{shard}")
    return {path: when for path, when in found.items() if not path.endswith(".partial")}


@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(KILLS_LONG, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_killed_at_random_it_ends_with_the_same_tables(
    finished: tuple[Path, Path, float], tmp_path: Path, kills: int
) -> None:
    whole, run_file, seconds = finished
    assert seconds < 60
    drawn, done, number = random.Random(SEED), 0, 0
    expected = chain_run.rows(whole)
    while done < kills:
        number += 1
        root = tmp_path / f"root{number}"
        root.mkdir()
        for _ in range(min(KILLS, kills - done)):  # then it may go on to its end
            before, after = committed(root), drawn.uniform(0.1, 0.7) * seconds
            killed = kill_after(root, run_file, after)
            print(f"seed {SEED}, chain {number}, {len(before)} files: killed after {after:.2f} s: {killed}", flush=True)
            check_whole(root)
            check_kept(root, before)
            done += killed
            if not killed:
                break
        before = committed(root)
        chain_run.finish(root, run_file)
        check_whole(root)
        check_kept(root, before)
        found = chain_run.rows(root)
        for name, table in expected.items():
            assert found[name] == table, name
        assert not list(root.rglob("*.partial"))


def test_halves_beside_all_files_are_removed_by_who_writes_there_next(
    finished: tuple[Path, Path, float], tmp_path: Path
) -> None:
    whole, run_file, _ = finished
    root = tmp_path / "root"
    shutil.copytree(whole, root)
    for path in [path for path in root.rglob("*") if path.is_file() and path.parent.name != "runs"]:
        path.with_name(f".{path.name}.0123.partial").write_bytes(b"half")
    chain_run.finish(root, run_file, "--force")
    assert not list(root.rglob("*.partial"))
