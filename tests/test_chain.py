"""The chain as a whole: done once, skipped after, redone only where something changed, the same after any kill."""

import json
import re
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from analysis import verify
from storage import parquet
from storage.tables import TABLES
from tests.support import chain_run, plans

pytestmark = pytest.mark.chains


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A root with a finished chain, and its run file; not to be written to."""
    folder = tmp_path_factory.mktemp("chain")
    root = folder / "root"
    root.mkdir()
    run_file = chain_run.write_run_file(folder)
    chain_run.finish(root, run_file, "--direct_num_workers=1")
    return root, run_file


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the finished chain, times and all, to be written to."""
    root, run_file = finished
    shutil.copytree(root, tmp_path / "root", copy_function=shutil.copy2)
    return tmp_path / "root", run_file


def test_the_tables_are_there_and_close(finished: tuple[Path, Path]) -> None:
    root, _ = finished
    tables = chain_run.rows(root)
    assert len(tables["index/**"]) == 560
    assert len(tables["labels/**"]) == 560 + 2 * 240
    assert len(tables["agreement/pairs/**"]) == 240
    assert len(tables["agreement/summary"]) == 2
    assert tables["rejects/**"] == []
    assert (root / "report" / "index.html").exists()


def test_every_parquet_file_is_of_a_table_and_describes_its_columns(finished: tuple[Path, Path]) -> None:
    root, _ = finished
    known = {path: table for table in TABLES.values() for path in table.files(str(root))}
    written = {str(path) for path in root.rglob("*.parquet")}
    assert written == set(known)
    assert {table.name for table in known.values()} >= {"index", "labels", "pairs", "summary", "confusion"}
    for path, table in known.items():
        found = parquet.read(path, schema=table.schema).schema
        assert [field.metadata for field in found] == [field.metadata for field in table.schema], path


def test_the_manifest_of_the_run_holds_configuration_inputs_counts_and_seconds(finished: tuple[Path, Path]) -> None:
    root, _ = finished
    [path] = (root / "runs").glob("*.json")
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "done"
    assert manifest["configuration"]["convert"][0]["shards"] == 32
    assert manifest["inputs"][0]["size"] == (root / "sample" / "drawn.h5").stat().st_size
    stages = {stage["stage"]: stage for stage in manifest["stages"]}
    assert list(stages) == ["draw", "convert", "train", "label", "agree", "report"]
    assert stages["convert"]["counts"]["in"] == stages["convert"]["counts"]["out"] == 560
    assert all(stage["built"] and stage["seconds"] > 0 for stage in manifest["stages"])


def test_every_stage_but_training_has_at_least_8_elements_of_bounded_size(finished: tuple[Path, Path]) -> None:
    root, _ = finished
    [path] = (root / "runs").glob("*.json")
    counters: dict[str, int] = {}
    for stage in json.loads(path.read_text())["stages"]:
        counters |= stage["counters"]
    for step in ("convert.write", "label", "agree"):
        assert counters[f"{step}.elements"] >= 8, step
    for step in ("convert.read", "convert.write", "label", "agree"):
        assert 0 < counters[f"{step}.element_bytes.max"] < 256 << 20, step


def test_a_second_run_does_no_stage_again_and_says_so_in_seconds(finished: tuple[Path, Path]) -> None:
    root, run_file = finished
    before = chain_run.modified(root, "**/*")
    began = time.monotonic()
    printed = chain_run.finish(root, run_file)
    assert time.monotonic() - began < 30
    assert "Everything was already there: no stage was run again" in printed
    after = chain_run.modified(root, "**/*")
    new = set(after) - set(before)
    assert {path.split("/")[0] for path in new} == {"runs"}
    assert {path: after[path] for path in before} == before
    for path in new:
        (root / path).unlink()


def test_a_changed_model_redoes_only_what_depends_on_it(copied: tuple[Path, Path], tmp_path: Path) -> None:
    root, run_file = copied
    text = run_file.read_text().replace('network = "cnn2"', 'network = "cnn2"\nseed = 5')
    changed = tmp_path / "changed.toml"
    changed.write_text(text)
    before, rows = chain_run.modified(root, "**/*"), chain_run.rows(root)
    printed = chain_run.finish(root, changed)
    after = chain_run.modified(root, "**/*")
    written = {path for path in after if after[path] != before.get(path) and not path.startswith("runs/")}
    assert "convert drawn: already there" in printed
    assert {path.split("/")[0] for path in written} == {"models", "labels", "rejects", "agreement", "report"}
    assert all("annotator=cnn2" in path for path in written if path.startswith("rejects/"))
    assert {path.split("/")[2] for path in written if path.startswith("models/")} == {"cnn2"}
    assert {path.split("/")[2] for path in written if path.startswith("labels/")} == {"annotator=cnn2"}
    assert any(path.startswith("agreement/pairs/") for path in written)
    assert chain_run.rows(root)["index/**"] == rows["index/**"]
    assert chain_run.rows(root)["agreement/pairs/**"] != rows["agreement/pairs/**"]


@pytest.mark.parametrize(
    "flags", [["--direct_num_workers=2"], ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]]
)
def test_every_way_of_running_locally_gives_the_same_rows(
    finished: tuple[Path, Path], tmp_path: Path, flags: list[str]
) -> None:
    root, run_file = finished
    other = tmp_path / "root"
    other.mkdir()
    chain_run.finish(other, run_file, *flags)
    expected, found = chain_run.rows(root), chain_run.rows(other)
    for name, table in expected.items():
        assert found[name] == table, name
    assert _verified(other) == _verified(root)


def _verified(root: Path) -> list[str]:
    """What `concord verify` says last of a sound root: the weights of models, and the checksum of all tables."""
    outcome = verify.verify(str(root), TABLES)
    assert outcome.findings == []
    return list(outcome.lines())[-2:]


# what each stage commits a shard with, and the folders in which the killed run's finished files must stay untouched
COMMITS = {
    "convert": ("index/**/split=train/*.parquet", ("index", "images", "labels", "rejects")),
    "label": ("labels/**/annotator=cnn1/split=test/*.parquet", ("labels/dataset=drawn/annotator=cnn1",)),
    "agree": ("agreement/pairs/**/split=test/*.parquet", ("agreement/pairs",)),
}


@pytest.fixture(scope="module")
def killed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the chain is killed again and again."""
    root = tmp_path_factory.mktemp("killed") / "root"
    root.mkdir()
    return root


@pytest.mark.parametrize("stage", ["convert", "train", "label", "agree"])
def test_killed_in_a_stage_the_next_run_keeps_every_finished_shard(
    finished: tuple[Path, Path], killed_root: Path, stage: str
) -> None:
    _, run_file = finished
    if stage == "train":
        chain_run.kill_when(killed_root, run_file, partial(_told, killed_root, "cnn2: epoch 1/2"))
        assert not (killed_root / "models/drawn/cnn2/model.json").exists()
        return
    pattern, folders = COMMITS[stage]
    chain_run.kill_when(killed_root, run_file, partial(_committed, killed_root, pattern, 16))
    done = {_shard(path.name) for path in killed_root.glob(pattern)}
    assert 16 <= len(done) < 32, "killed too late to show anything"
    split = "train" if stage == "convert" else "test"
    before = {
        path: when
        for folder in folders
        for path, when in chain_run.modified(killed_root, f"{folder}/**/*").items()
        if split in path and _shard(path) in done
    }
    assert len(before) == len(done) * (4 if stage == "convert" else 1)
    chain_run.kill_when(killed_root, run_file, partial(_committed, killed_root, pattern, 32))
    after = chain_run.modified(killed_root, "**/*")
    assert {path: after.get(path) for path in before} == before


def test_killed_in_every_stage_it_ends_with_the_same_tables(finished: tuple[Path, Path], killed_root: Path) -> None:
    root, run_file = finished
    chain_run.finish(killed_root, run_file)
    expected, found = chain_run.rows(root), chain_run.rows(killed_root)
    for name, table in expected.items():
        assert found[name] == table, name
    assert not list(killed_root.glob("**/*.partial"))
    assert _verified(killed_root) == _verified(root)


def _shard(path: str) -> str:
    """The shard's number in a file's name; empty for a file that is no shard, or half of one."""
    found = re.search(r"-(\d{5})-of-\d{5}(\.parquet)?$", path)
    return found[1] if found else ""


def _committed(root: Path, pattern: str, least: int) -> bool:
    return len(list(root.glob(pattern))) >= least


def _told(root: Path, text: str) -> bool:
    log = root.parent / f"{root.name}.log"
    return log.exists() and text in log.read_text()


LARGE = ("draw", "convert", "train")  # others write tables, of which so few rows are smaller than what is around them
ELEMENTS = ("convert.write.elements", "label.elements", "train.elements")
PRODUCTS = {  # what each stage of the chain writes
    "draw": ["sample"],
    "convert": ["images", "index", "rejects/convert", "labels/dataset=drawn/annotator=human"],
    "train": ["models"],
    "label": ["labels/dataset=drawn/annotator=cnn*", "rejects/label"],
    "agree": ["agreement"],
    "report": ["report"],
}


def test_a_plan_says_beforehand_what_each_stage_then_does(
    finished: tuple[Path, Path], copied: tuple[Path, Path]
) -> None:
    """The chain backwards: without its products a stage is to do, and all after it wait."""
    root, run_file = copied
    results = plans.done(root)
    stages = list(PRODUCTS)
    assert list(dict.fromkeys(one["stage"] for one in results)) == stages
    for place, stage in reversed(list(enumerate(stages))):
        own = [folder for pattern in PRODUCTS[stage] for folder in root.glob(pattern)]
        size = sum(path.stat().st_size for folder in own for path in folder.rglob("*") if path.is_file())
        for folder in own:
            shutil.rmtree(folder)
        plan = plans.plan([run_file], root, "--direct_num_workers=1")
        assert plan["ok"], plan["problems"]
        states = {(name, one["state"]) for (name, _), one in plans.products(plan).items()}
        assert states == {(one, "done") for one in stages[:place]} | {(stage, "to do")} | {
            (one, "waits") for one in stages[place + 1 :]
        }
        planned = {name: one for (verb, name), one in plans.products(plan).items() if verb == stage}
        made = {one["product"].replace(str(finished[0]), str(root)): one for one in results if one["stage"] == stage}
        assert list(planned) == list(made)
        for name, one in planned.items():
            counts = made[name]["counts"]
            records = counts.get("in", counts.get("train_images", one["records"]))
            assert one["records"] == records, name
        elements = [n for name, n in next(iter(made.values()))["counters"].items() if name in ELEMENTS]
        assert elements in ([], [sum(one["elements"] for one in planned.values())]), stage
        written = sum(one["written_bytes"] for one in planned.values())
        if stage in LARGE:
            assert size / 3 < written < size * 3, stage


def states_of(run_file: Path, root: Path) -> dict[str, set[str]]:
    """The stages of each state, of trainings also which."""
    found: dict[str, set[str]] = {}
    for (stage, name), one in plans.products(plans.plan([run_file], root)).items():
        found.setdefault(one["state"], set()).add(f"{stage} {name}" if stage == "train" else stage)
    return found


def test_a_plan_knows_what_is_done_and_what_a_change_makes_anew(copied: tuple[Path, Path], tmp_path: Path) -> None:
    root, run_file = copied
    found = plans.plan([run_file], root)
    assert found["ok"], found["problems"]
    assert {one["state"] for one in plans.products(found).values()} == {"done"}
    assert (found["written_bytes"], found["seconds"]) == (0, 0)
    changed = tmp_path / "changed.toml"
    changed.write_text(run_file.read_text().replace('network = "cnn2"', 'network = "cnn2"\nseed = 5'))
    assert states_of(changed, root) == {
        "done": {"draw", "convert", "train drawn/cnn1"},
        "to do": {"train drawn/cnn2"},
        "waits": {"label", "agree", "report"},
    }
    changed.write_text(run_file.read_text().replace("scores = true", "scores = false"))
    assert states_of(changed, root) == {
        "done": {"draw", "convert", "train drawn/cnn1", "train drawn/cnn2"},
        "to do": {"label"},
        "waits": {"agree", "report"},
    }
    (root / "labels/dataset=drawn/annotator=cnn1/split=test/_concord.json").unlink()
    (root / "labels/dataset=drawn/annotator=cnn1/split=test/part-00003-of-00032.parquet").unlink()
    before = plans.tree(root)
    product = plans.products(plans.plan([run_file], root))["label", "drawn/cnn1/test"]
    assert (product["state"], product["elements"]) == ("partly", 1)
    assert plans.tree(root) == before
