"""`concord plan`: every problem that a run would meet, all of them at once, and nothing changed."""

import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pipelines.preflight import paces, places, sizes

from concord import cli
from schemas import layout, tables
from storage import json_files, parquet
from tests.support import plans

CONVERT = 'dataset = "drawn"\n[convert]\nsource = "svhn_h5"\nshards = 8\ninput = "{input}"\n'


def written(folder: Path, text: str, **values: str) -> Path:
    """A run file."""
    path = folder / "run.toml"
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    path.write_text(text)
    return path


def status(*arguments: str | Path) -> int:
    """The exit status of `concord plan`."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_where_nothing_is_wrong_it_says_so(sample_h5: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    before = plans.tree(tmp_path)
    assert status(run_file, "--root", tmp_path / "deep" / "root") == 0
    assert plans.tree(tmp_path) == before
    shown = capsys.readouterr().out
    assert "nothing that would fail was found" in shown
    assert "convert  drawn    to do  640  640" in shown
    assert "rough guesses" in shown


def test_json_is_for_machines(sample_h5: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    assert status(run_file, "--root", tmp_path / "root", "--json", "--direct_num_workers=3") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["runner"] == {"runner": "Direct", "workers": 3, "local": True}
    [step] = found["chains"][0]["steps"]
    assert (step["state"], step["records_in"], step["basis"]) == ("to do", 640, "rough guess")
    with h5py.File(sample_h5) as file:
        least = max(file[name].dtype.itemsize * np.prod(file[name].chunks) for name in file if name.startswith("X"))
    assert step["element_bytes"] >= least


def test_all_problems_are_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = written(
        tmp_path,
        CONVERT
        + '[[train]]\nnetwork = "cnn1"\n[[train]]\nnetwork = "cnn9"\n[label]\nsplits = ["test"]\n'
        + '[agree]\nannotators = ["cnn1", "vendor", "stranger"]\ntruth = "nobody"\n',
        input=str(tmp_path / "none.h5"),
    )
    second = tmp_path / "second.toml"
    second.write_text('dataset = "drawn"\n[lable]\n')
    third = tmp_path / "third.toml"
    third.write_text('dataset = "other"\n[confirm]\nmachine = "no-*.csv"\nhuman = "none.csv"\n')
    before = plans.tree(tmp_path)
    found = plans.plan([first, second, third], tmp_path / "root")
    said = "\n".join(plans.problems(found))
    for part in (
        f"convert: no such file: {tmp_path}/none.h5",
        "train: there is no network 'cnn9'; did you mean 'cnn2'?",
        "agree: there is no complete label set of 'vendor' for split 'test'",
        "agree: there is no complete label set of 'stranger'",
        "agree: there is no complete label set of 'nobody'",
        "did you mean 'label'?",
        "confirm: --machine: no file no-*.csv",
    ):
        assert part in said
    assert len(plans.problems(found)) == 7, said  # what follows from them is not told as well
    states = {one["state"] for one in plans.steps(found).values()}
    assert states == {"waits"}
    assert status(first, second, third, "--root", tmp_path / "root") == 1
    assert "would fail:" in capsys.readouterr().out
    assert plans.tree(tmp_path) == before


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('keys = {train = "X_trian:y_train"}\n', "has no dataset 'X_trian'; it has: X_test"),
        ("value_range = [0, 1, 2]\n", "value_range must be BLACK,WHITE"),
        ("image_shape = [30, 30]\n", "an image of /X_train has shape (32, 32)"),
    ],
)
def test_an_input_is_not_what_it_should_be(added: str, said: str, sample_h5: str, tmp_path: Path) -> None:
    [found] = plans.problems(plans.plan([written(tmp_path, CONVERT + added, input=sample_h5)], tmp_path / "root"))
    assert said in found


def test_damaged_and_empty_files_are_found(sample_h5: str, tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(Path(sample_h5).read_bytes()[:5000])
    (tmp_path / "empty.h5").touch()
    (tmp_path / "ratings.csv").write_text("image,tag\nx,y\n")
    for name, said in (("cut.h5", "cut.h5"), ("empty.h5", "is empty (0 bytes)")):
        [found] = plans.problems(
            plans.plan([written(tmp_path, CONVERT, input=str(tmp_path / name))], tmp_path / "root")
        )
        assert said in found
    text = 'dataset = "d"\n[[import]]\nannotator = "vendor"\nsplit = "test"\ninput = "{input}"\n'
    [found] = plans.problems(
        plans.plan([written(tmp_path, text, input=str(tmp_path / "ratings.csv"))], tmp_path / "root")
    )
    assert "ratings.csv has no column image_id, label; its columns are: image, tag" in found


def test_a_file_that_may_not_be_read_is_found(sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "x.h5")

    monkeypatch.setattr(h5py, "File", refuse)  # not even chmod keeps root from a file
    [found] = plans.problems(plans.plan([written(tmp_path, CONVERT, input=sample_h5)], tmp_path / "root"))
    assert "ermission denied" in found


def test_imported_labels_and_models_of_the_same_file_are_known(sample_h5: str, tmp_path: Path) -> None:
    labels = tmp_path / "vendor.csv"
    labels.write_text("image_id,label\n" + "".join(f"test-{row:07d},{row % 10}\n" for row in range(160)))
    text = CONVERT + (
        '[[import]]\nannotator = "vendor"\nsplit = "test"\ninput = "{labels}"\n'
        '[[train]]\nnetwork = "cnn1"\n[label]\nsplits = ["test", "dev"]\n[agree]\ntruth = "human"\n[report]\n'
    )
    found = plans.plan([written(tmp_path, text, input=sample_h5, labels=str(labels))], tmp_path / "root")
    [problem] = plans.problems(found)
    assert problem == "label: dataset 'drawn' has no split 'dev'; its splits are train, validation, test"
    steps = plans.steps(found)
    assert steps["label", "drawn/cnn1/test"]["state"] == "to do"
    assert steps["label", "drawn/cnn1/dev"]["state"] == "waits"
    assert steps["agree", "drawn/vendor-cnn1/test"]["state"] == "to do"
    assert steps["agree", "drawn/vendor-cnn1/test"]["exact"] is False
    assert steps["import", "drawn/vendor/test"]["records_in"] == pytest.approx(160, abs=1)


def test_a_partly_done_conversion_is_recognised(converted: str, sample_h5: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(converted, tmp_path / "root"))
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    assert plans.steps(plans.plan([run_file], root))["convert", "drawn"]["state"] == "done"
    (root / "images/drawn/1.0.0/_concord.json").unlink()
    (root / "index/dataset=drawn/split=test/part-00003-of-00008.parquet").unlink()
    (root / "labels/dataset=drawn/annotator=human/split=train/part-00001-of-00008.parquet").unlink()
    before = plans.tree(root)
    step = plans.steps(plans.plan([run_file], root))["convert", "drawn"]
    assert (step["state"], step["elements"]["convert.write"], step["records_in"]) == ("partly", 2, 640)
    assert plans.tree(root) == before
    forced = plans.steps(plans.plan([run_file], root, "--force"))["convert", "drawn"]
    assert (forced["state"], forced["elements"]["convert.write"]) == ("to do", 24)


def test_models_that_are_there_are_taken_as_they_are(trained: str, tmp_path: Path) -> None:
    text = 'dataset = "drawn"\n[label]\nmodels = ["cnn1", "cnn7"]\n[agree]\nannotators = ["cnn1", "human"]\n'
    before = plans.tree(Path(trained))
    found = plans.plan([written(tmp_path, text)], trained, "--no-write")
    [problem] = plans.problems(found)
    assert problem.startswith("label: there is no complete model in ")
    assert plans.steps(found)["label", "drawn/cnn1/test"]["records_in"] == 160
    assert plans.steps(found)["agree", "drawn/cnn1-human/test"]["state"] == "to do"
    assert plans.tree(Path(trained)) == before


def test_no_room_is_told_with_how_much_is_needed(
    sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    needed = plans.plan([run_file], tmp_path / "root")["kept_bytes"]
    usage = namedtuple("usage", "total used free")
    for free, fails in ((int(needed * places.HEAD_ROOM) + 1, False), (int(needed * places.HEAD_ROOM) - 1, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1 << 40, 0, free))
        found = plans.plan([run_file], tmp_path / "root")
        assert (found["ok"], found["free_bytes"]) == (not fails, free)
        assert [one["stage"] for one in found["problems"]] == ["space"] * fails
    assert f"about {places.told(needed)} will be written" in plans.problems(found)[0]
    assert "free some, or choose another place" in plans.problems(found)[0]


@pytest.mark.skipif(not os.path.isdir("/sys"), reason="this system has no /sys")
def test_a_root_that_cannot_be_written_is_told(sample_h5: str, tmp_path: Path) -> None:
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    [found] = plans.problems(plans.plan([run_file], "/sys/root"))
    assert found.startswith("root: cannot write into the root /sys/root: ")
    assert "choose another place" in found


def test_a_root_that_is_a_file_is_told(sample_h5: str, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("x")
    [found] = plans.problems(plans.plan([written(tmp_path, CONVERT, input=sample_h5)], tmp_path / "root"))
    assert "is a file, and no folder" in found


def test_no_write_leaves_the_probe_out(sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(places, "_write", probes.append)
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    assert plans.plan([run_file], tmp_path / "root", "--no-write")["ok"]
    assert probes == []
    assert plans.plan([run_file], tmp_path / "root")["ok"]
    assert [Path(path).parent for path in probes] == [tmp_path]


def test_large_elements_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_h5: str) -> None:
    monkeypatch.setattr(places, "LARGEST_ELEMENT", 1000)
    found = plans.plan([written(tmp_path, CONVERT, input=sample_h5)], tmp_path / "root")
    assert found["ok"]
    assert any("give more --shards" in one["message"] for one in found["problems"])


def test_past_runs_are_gone_by_where_the_root_has_any(sample_h5: str, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    run_file = written(tmp_path, CONVERT, input=sample_h5)
    result = {"stage": "convert", "product": "old", "made": True, "seconds": 101.0, "counters": {}}
    run = {
        "configuration": {"convert": {"source": "svhn_h5", "input": []}, "beam_flags": ["--direct_num_workers=2"]},
        "stages": [{**result, "counts": {"in": 100, "out": 100, "rejected": {}}}],
    }
    json_files.write(layout.run_manifest(root, "20260101T000000Z-0000"), run)
    json_files.write(layout.run_manifest(root, "20260102T000000Z-0000"), {"stages": "damaged"})
    found = plans.plan([run_file], root, "--direct_num_workers=4")
    step = plans.steps(found)["convert", "drawn"]
    assert step["basis"] == "past runs"
    # 100 s of two cores, its start apart, made 100 images: two core seconds an image
    assert step["core_seconds"] == pytest.approx(640 * 2)
    assert step["seconds"] == pytest.approx(640 * 2 / 4)
    assert found["chains"][0]["seconds"] == pytest.approx(640 * 2 / 4 + paces.START_ELSE)
    other = plans.plan([run_file], root, "--runner=PrismRunner", "--no-write")
    assert plans.steps(other)["convert", "drawn"]["basis"] == "rough guess"


@pytest.mark.parametrize(("rows", "shards"), [(0, 8), (40, 8), (4000, 8), (80_000, 8)])
def test_tables_are_as_large_as_they_are_taken_to_be(rows: int, shards: int, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for shard in range(shards):
        count = rows // shards
        labels = tables.label_rows(
            {
                "image_id": [random.bytes(8).hex() for _ in range(count)],
                "label": random.integers(0, 10, count).astype(str).tolist(),
                "confidence": random.random(count, dtype=np.float32),
            }
        )
        assert isinstance(labels, pa.Table)
        parquet.write(str(tmp_path / layout.parquet_shard(shard, shards)), labels, "f" * 16, '{"in": 1}')
    actual = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert actual / 1.5 < sizes.label_bytes(rows, shards) < actual * 1.5


def test_a_plan_takes_seconds(sample_h5: str, tmp_path: Path) -> None:
    began = time.monotonic()
    plans.plan([written(tmp_path, CONVERT, input=sample_h5)], tmp_path / "root")
    assert time.monotonic() - began < 20
