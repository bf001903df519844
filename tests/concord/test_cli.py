"""The command line: its flags, its one-line errors, and what it leaves in the manifest of a run."""

import argparse
import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concord import cli, flags
from pipelines.chain import Run
from schemas import layout
from schemas.errors import InputError
from schemas.settings.agree import AgreeSettings
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from storage import parquet, stores

VERBS = ["run", "generations", "draw", "confirm", "convert", "import", "train", "features", "label", "agree", "explain"]
VERBS += ["label-errors", "queue", "report"]
BEAM_LOGS = ("apache_beam", "concord", "apache_beam.options.pipeline_options")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The command sets up logging for a process of its own; undo that."""
    root = logging.getLogger()
    kept = root.level, list(root.handlers), [logging.getLogger(name).level for name in BEAM_LOGS]
    yield
    root.setLevel(kept[0])
    root.handlers[:] = kept[1]
    for name, level in zip(BEAM_LOGS, kept[2], strict=True):
        logging.getLogger(name).setLevel(level)


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a failing command writes."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n"), err
    return err.rstrip("\n")


def verb_parser(verb: str) -> argparse.ArgumentParser:
    actions = cli.build_parser()._actions
    found: argparse.ArgumentParser = next(a for a in actions if isinstance(a.choices, dict)).choices[verb]  # type: ignore[index]
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_flag(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    kind = cli.VERBS.get(verb.replace("-", "_"))
    fields = dataclasses.fields(kind) if kind else ()
    flagged = [entry.name.replace("_", "-") for entry in fields if entry.metadata["flag"] != "tables"]
    for name in ("root", "force", "verbose", *flagged):
        assert f"--{name}" in text
    assert "Any other flag goes to Beam" in " ".join(text.split())


def test_every_verb_has_a_stage_of_the_chain() -> None:
    assert list(cli.VERBS) == list(cli.REQUIRED)
    assert [cli.spelt(verb) for verb in cli.VERBS] == VERBS[2:]


def test_help_imports_neither_tensorflow_nor_beam() -> None:
    program = """
import sys
from concord.cli import main
try:
    main(["--help"])
except SystemExit as ended:
    heavy = [name for name in ("tensorflow", "keras", "apache_beam", "matplotlib", "h5py") if name in sys.modules]
    print("heavy:", heavy, "status:", ended.code)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "heavy: [] status: 0"
    assert all(verb in ran.stdout for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label"], "concord label: needs --dataset; see concord label --help"),
        (["label", "--dataset", "drawn"], "concord label: models must be 1 or more distinct names, got none"),
        (["train", "--dataset", "drawn"], "concord train: needs --network; see concord train --help"),
        (["agree", "--dataset=drawn", "--annotators=a"], "concord agree: annotators must be 2 or more distinct names"),
        (
            ["train", "--dataset=drawn", "--network=cnn1", "--epochs=0"],
            "concord train: epochs must be at least 1, got 0",
        ),
        (["train", "--epoch", "3"], "concord train: unknown flag --epoch; did you mean --epochs?"),
        (["label", "--modles=cnn1"], "concord label: unknown flag --modles; did you mean --model"),
        (["label", "cnn1"], "concord label: unexpected argument 'cnn1'"),
        (["run", "no.toml"], "concord run: cannot read no.toml: no such file"),
        (
            ["label-errors", "--dataset=drawn"],
            "concord label-errors: needs --annotator; see concord label-errors --help",
        ),
        (
            ["queue", "--dataset=drawn", "--annotators=a", "--limit=0"],
            "concord queue: limit must be at least 1 row, got 0",
        ),
        (["draw", "--output", "x.h5", "--train", "0"], "concord draw: train must be at least 1 crop, got 0"),
    ],
)
def test_what_is_wrong_fits_on_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert failing(capsys, *arguments, "--root", str(tmp_path)).startswith(message)


def test_a_missing_product_names_the_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told = failing(capsys, "label", "--dataset=drawn", "--models=cnn1", f"--root={tmp_path}")
    assert told.startswith("concord label: there is no complete dataset 'drawn' in ")
    assert told.endswith(": run concord convert first")
    (manifest,) = Path(tmp_path, "runs").glob("*.json")
    assert json.loads(manifest.read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("first line\nsecond line"), "concord label: unexpected ValueError: first line"),
        (KeyboardInterrupt(), "concord label: interrupted; the same command goes on from here"),
    ],
)
def test_what_nobody_foresaw_is_one_line_too(
    error: BaseException, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", broken)
    assert failing(capsys, "label").startswith(message)
    with pytest.raises(SystemExit):
        cli.main(["label", "--verbose"])
    assert f"{type(error).__name__}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        ["--runner=FlinkRunner", "--flink_master", "localhost:8081"],
        ["--direct_num_workers", "4"],
        ["--a_flag_of_a_newer_beam=3"],
        ["--job_name=label", "--worker_machine_type=n1-standard-4", "--region=europe-west1"],
        ["--project=ours", "--temp_location=gs://bucket/temp"],
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_flags_of_beam_pass(verb: str, given: list[str]) -> None:
    assert flags.check_beam_flags(given, verb_parser(verb)) == tuple(given)


@pytest.mark.parametrize(
    ("verb", "flag"),
    [("label", "--max-reject-fractoin=0.5"), ("train", "--networks"), ("label", "--splitz"), ("train", "--batchsize")],
)
def test_a_flag_near_ours_does_not_pass(verb: str, flag: str) -> None:
    with pytest.raises(InputError, match=rf"unknown flag {flag.partition('=')[0]}; did you mean --\w+"):
        flags.check_beam_flags(["--runner=DirectRunner", flag], verb_parser(verb))


@pytest.mark.parametrize("given", [["cnn1"], ["--runner=DirectRunner", "cnn1"], ["--direct_num_workers", "4", "4"]])
def test_a_word_without_a_flag_does_not_pass(given: list[str]) -> None:
    with pytest.raises(InputError, match=f"unexpected argument '{given[-1]}'"):
        flags.check_beam_flags(given, verb_parser("label"))


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, tuple[str, ...]]] = []
    monkeypatch.setattr(cli, "_run", lambda parsed, beam: given.append((*cli._chains(parsed), beam)))
    common = ["--dataset", "drawn", "--runner=DirectRunner"]
    cli.main(["train", *common, "--network=cnn2", "--learning-rate=0.01", "--seed=5", "--validation-fraction=0.2"])
    cli.main(["train", *common, "--network=cnn2", "--augment=shift=0.1, rotation=10", "--evaluate=test,validation"])
    cli.main(["label", *common, "--model=cnn1", "--splits=test, validation", "--scores", "--batch-size=64"])
    cli.main(["agree", *common, "--annotators", "cnn1,cnn2", "--truth=human"])
    (train, beam), (augmented, _), (label, _), (agree, _) = given
    assert beam == ("--runner=DirectRunner",)
    stated = {"learning_rate": 0.01, "seed": 5, "validation_fraction": 0.2}
    assert train.train == (TrainSettings(dataset="drawn", network="cnn2", name="cnn2", **stated),)  # type: ignore[arg-type]
    assert label.label == LabelSettings(
        dataset="drawn", models=("cnn1",), splits=("test", "validation"), scores=True, batch_size=64
    )
    assert agree.agree == AgreeSettings(dataset="drawn", annotators=("cnn1", "cnn2"), reference="human")
    assert augmented.train[0].augment == {"shift": 0.1, "rotation": 10.0}
    assert augmented.train[0].evaluate == ("test", "validation")
    assert (train.label, train.agree, label.train, agree.convert) == (None, None, (), None)


def test_counts_and_ranges_of_splits_become_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(cli, "_run", lambda parsed, beam: given.append(cli._chains(parsed)[0].convert))
    source = ["convert", "--dataset", "drawn", "--source=mnist_numbers", "--input", "a", "b"]
    cli.main([*source, "--numbers=train=20, test=3", "--digits", "train=0:80,test=80:100", "--image-size=54,48"])
    assert (given[0].numbers, given[0].digits) == ({"train": 20, "test": 3}, {"train": "0:80", "test": "80:100"})
    assert given[0].image_size == (54, 48)
    cli.main(source)
    assert given[1].numbers == {"train": 20_000, "validation": 1000, "test": 2000}
    with pytest.raises(SystemExit):
        cli.main([*source, "--numbers=train=many"])
    assert "argument --numbers: invalid SPLIT=NUMBER list value: 'train=many'" in capsys.readouterr().err


def test_secrets_are_not_shown() -> None:
    given = (
        "--s3_secret_access_key=one",
        "--s3_session_token",
        "two",
        "--API-KEY=three=3",
        "--runner=X",
        "--region",
        "r",
    )
    shown = Run.shown(given)
    assert not {"one", "two", "three"} & set(" ".join(shown).replace("=", " ").split())
    assert shown[-3:] == ["--runner=X", "--region", "r"]
    assert "--s3_secret_access_key=***" in shown


@pytest.fixture
def two_annotators(converted: str, tmp_path: Path) -> Path:
    """A copy of the dataset, where `double` gave the labels of `human`."""
    root = Path(shutil.copytree(converted, tmp_path / "root"))
    for folder in ("human", "double"):
        path = layout.labels(str(root), "drawn", folder, "test")
        if folder == "double":
            shutil.copytree(layout.labels(str(root), "drawn", "human", "test"), path)
    return root


AGREE = ["agree", "--dataset=drawn", "--annotators=human,double", "--direct_num_workers=1"]


def test_a_stage_by_its_flags(two_annotators: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*AGREE, f"--root={two_annotators}", "--s3_secret_access_key=hunter2", "--s3_session_token", "hunter3"]
    cli.main(arguments)
    out, err = capsys.readouterr()
    assert "agree drawn/human-double/test: done in " in err
    assert "160 in = 160 out + 0 unpaired" in err
    assert f"tables: {two_annotators}/agreement" in out
    (path,) = (two_annotators / "runs").glob("*.json")
    assert out.splitlines()[-1] == f"run:    {path}"
    manifest = json.loads(path.read_text())
    assert (manifest["command"], manifest["status"]) == ("agree", "done")
    assert manifest["stages"][0]["counts"] == {"in": 160, "out": 160, "unpaired": {}}
    assert manifest["configuration"]["beam_flags"][0] == "--direct_num_workers=1"
    assert "hunter" not in path.read_text()
    cli.main(arguments)
    out, err = capsys.readouterr()
    assert err == "agree drawn/human-double/test: already there, nothing to do\n"
    assert out.startswith("Everything was already there: no stage was run again")


def test_a_workers_error_is_one_line_without_a_traceback(two_annotators: Path) -> None:
    shard = stores.join(layout.labels(str(two_annotators), "drawn", "double", "test"), layout.parquet_shard(2, 8))
    parquet.write(shard, parquet.read(shard), "another" * 2)
    command = [sys.executable, "-c", "from concord.cli import entry; entry()", *AGREE, "--root", str(two_annotators)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert ran.stderr.startswith(f"concord agree: {shard} has fingerprint anotheranother, but its product is ")
    (path,) = (two_annotators / "runs").glob("*.json")
    assert json.loads(path.read_text())["status"] == "failed"


def test_a_queue_and_its_export_by_flags(two_annotators: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = two_annotators / "export"
    asked = ["queue", "--dataset=drawn", "--annotators=human,double", f"--root={two_annotators}", "--export=csv"]
    cli.main([*asked, f"--output={folder}", "--unsure-below=0.5"])
    out, err = capsys.readouterr()
    assert "queue drawn/test: done in " in err
    assert "0 of 0 to look at (none)" in err
    assert "queue drawn/test/csv: done in " in err
    assert f"queue:  {folder}" in out
    assert (folder / "queue.csv").read_text().startswith("rank,image_id,split,reason,score")
    cli.main([*asked, f"--output={folder}", "--unsure-below=0.5"])
    out, err = capsys.readouterr()
    assert "queue drawn/test: already there, nothing to do\nqueue drawn/test/csv: already there" in err
    cli.main([*asked, f"--output={folder}", "--unsure-below=0.5", "--force"])
    assert "already there" not in capsys.readouterr().err


def test_label_errors_of_scores_of_seen_images_are_refused(
    two_annotators: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = failing(capsys, "label-errors", "--dataset=drawn", "--annotator=double", f"--root={two_annotators}")
    assert told.startswith("concord label-errors: scores of 'double' on split 'train' of 'drawn' are not out of fold")
    assert told.endswith("concord label --models double --splits train --scores --force --dataset drawn")


def test_generations_takes_run_files_that_ask_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text('dataset = "small"\n[report]\n')
    said = failing(capsys, "generations", str(path), "--root", str(tmp_path))
    assert said.startswith(f"concord generations: {path} has no [generations]: say there which network is taught")
    path.write_text('dataset = "small"\n[generations]\nnetwork = "cnn2"\n')
    said = failing(capsys, "generations", str(path), "--root", str(tmp_path))
    assert "there is no complete dataset 'small'" in said
    assert "run concord convert first" in said
