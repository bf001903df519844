"""The command line: its flags, its one-line errors, and what it leaves in the manifest of a run."""

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from click.shell_completion import ShellComplete

import schemas
from concord import cli
from concord.flags import RootFlags
from concord.verbs import run as run_verb
from pipelines.chain import without_secrets
from pipelines.stages import STAGES
from schemas import layout
from schemas.settings.agree import AgreeSettings
from schemas.settings.base import facts_of
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from storage import parquet, stores

VERBS = [
    *(name.replace("_", "-") for name in (stage.name for stage in STAGES)),
    "run",
    "plan",
    "status",
    "verify",
    "query",
]
BEAM_VERBS = [verb for verb in VERBS if verb not in ("status", "verify", "query")]
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


def run_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Any, tuple[str, ...]]:
    """The settings of the one stage that a command states, and the flags that go to Beam."""
    calls: list[Any] = []
    monkeypatch.setattr(run_verb, "run_chains", lambda *call: calls.append(call))
    cli.main(arguments)
    [(_, chains, _, beam_flags)] = calls
    [(settings,)] = chains[""].values()
    return settings, beam_flags


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that succeeds."""
    cli.main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_flag_under_a_heading(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, verb, "--help")
    stages = {stage.name.replace("_", "-"): stage for stage in STAGES if stage.name != "generations"}
    fields = stages[verb].settings.model_fields if verb in stages else {}
    for key, info in {**fields, **RootFlags.model_fields}.items():
        if key not in ("sweep",):
            assert f"--{key.replace('_', '-')}" in text
            assert f"\n{facts_of(info)['group']}:\n" in text
    assert ("Any other flag goes to Beam" in " ".join(text.split())) == (verb in BEAM_VERBS)
    assert "--sweep" not in text and "--one-model" not in text


def test_the_flags_of_each_source_have_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "convert", "--help")
    assert "\n--source open_images:\n" in text and "--images-from" in text and "--image-shape" in text
    own = shown(capsys, "convert", "--source", "svhn_h5", "--help")
    assert "--image-shape" in own and "--images-from" not in own


@pytest.mark.parametrize("verb", VERBS)
def test_no_flag_is_there_twice(verb: str) -> None:
    kinds, _ = cli.build_group().commands[verb].verb.load()  # type: ignore[attr-defined]
    names = [key for kind in kinds for key in kind.model_fields]
    assert len(names) == len(set(names))


def test_help_starts_at_once() -> None:
    """Measured, it takes a fifth of a second; what would slow it down is not imported."""
    program = """
import sys
from concord.cli import main
try:
    main(["--help"])
finally:
    heavy = ("tensorflow", "keras", "apache_beam", "matplotlib", "h5py", "pyarrow", "numpy", "pydantic", "rich")
    print("heavy:", [name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "heavy: []"
    assert all(f"\n  {verb} " in ran.stdout for verb in VERBS)
    assert "_CONCORD_COMPLETE=bash_source" in ran.stdout


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--version") == f"concord {schemas.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["lable"], "concord: No such command 'lable'. Did you mean 'label'?"), (["--root"], "concord: No such option")],
)
def test_a_mistyped_verb_names_the_nearest(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("concord la", {"label", "label-errors"}),
        ("concord label --act", {"--activation"}),
        ("concord label --activation so", {"softmax"}),
        ("concord convert --source svhn", {"svhn_full", "svhn_h5", "svhn_mat"}),
        ("concord convert --source svhn --data", {"--dataset"}),
        ("concord convert --source svhn_h5 --image-s", {"--image-shape"}),
        ("concord train --network cn", {"cnn1", "cnn2"}),
    ],
)
def test_the_shell_completes(words: str, found: set[str]) -> None:
    parts = words.split()
    complete = ShellComplete(cli.build_group(), {}, "concord", "_CONCORD_COMPLETE")
    assert {one.value for one in complete.get_completions(parts[1:-1], parts[-1])} == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label"], "concord label: needs --dataset; see concord label --help"),
        (
            ["label", "--dataset", "drawn"],
            "concord label: there is nothing to label with: give models, or a model_file",
        ),
        (["train", "--dataset", "drawn"], "concord train: needs --network; see concord train --help"),
        (["agree", "--dataset=drawn", "--annotators=a"], "concord agree: --annotators must have at least 2 value(s)"),
        (
            ["train", "--dataset=drawn", "--network=cnn1", "--epochs=0"],
            "concord train: --epochs must be at least 1, got 0",
        ),
        (["train", "--epoch", "3"], "concord train: unknown flag --epoch; did you mean --epochs?"),
        (["label", "--modles=cnn1"], "concord label: unknown flag --modles; did you mean --models?"),
        (["label", "cnn1"], "concord label: unexpected argument 'cnn1'"),
        (["run", "no.toml"], "concord run: cannot read no.toml: no such file"),
        (
            ["label-errors", "--dataset=drawn"],
            "concord label-errors: needs --annotator; see concord label-errors --help",
        ),
        (
            ["queue", "--dataset=drawn", "--annotators=a", "--limit=0"],
            "concord queue: --limit must be at least 1, got 0",
        ),
        (["draw", "--output", "x.h5", "--train", "0"], "concord draw: --train must be at least 1, got 0"),
        (["label", "--batch_size=x"], "concord label: --batch-size must be a whole number, got 'x'"),
        (["label", "--batch-size"], "concord label: --batch-size needs a value"),
        (["label", "--activation=relu"], "concord label: --activation must be one of softmax, sigmoid; got 'relu'"),
        (["convert", "--source", "svhn_h"], "concord convert: there is no source 'svhn_h'; did you mean 'svhn_h5'?"),
        (
            ["convert", "--source", "svhn_h5", "--max-side=3"],
            "concord convert: --max-side belongs to --source image_folder, open_images; see concord convert --help",
        ),
        (
            ["convert", "--source=svhn_mat", "--splits", "train"],
            "concord convert: --splits must be SPLIT=SHARE,..., got 'train'",
        ),
        (
            ["convert", "--source=svhn_mat", "--dataset=d", "--splits", "a=x"],
            "concord convert: --splits.a must be a number, got 'x'",
        ),
        (["status", "--jsn"], "concord status: unknown flag --jsn; did you mean --json?"),
        (["status", "--runner=X"], "concord status: unknown flag --runner; see concord status --help"),
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

    monkeypatch.setattr(run_verb, "run_chains", broken)
    assert failing(capsys, *LABEL).startswith(message)
    with pytest.raises(SystemExit):
        cli.main([*LABEL, "--verbose"])
    assert f"{type(error).__name__}" in capsys.readouterr().err


LABEL = ["label", "--dataset=drawn", "--models=cnn1"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--runner=FlinkRunner", "--flink_master", "localhost:8081"],
        ["--direct_num_workers", "4"],
        ["--a_flag_of_a_newer_beam=3"],
        ["--job_name=label", "--worker_machine_type=n1-standard-4", "--region=europe-west1"],
        ["--project=ours", "--temp_location=gs://bucket/temp"],
        ["-x"],
    ],
)
def test_flags_of_beam_pass(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, beam_flags = run_with(monkeypatch, *LABEL[:2], *flags, *LABEL[2:])
    assert settings == LabelSettings(dataset="drawn", models=("cnn1",))
    assert beam_flags == tuple(flags)


def test_a_flag_of_beam_that_is_like_one_of_ours_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """These look like --name, --network and --version, mistyped; a flag that Beam does not have is refused instead."""
    flags = ("--job_name=x", "--subnetwork=y", "--spark_version", "3")
    assert run_with(monkeypatch, "train", "--dataset=d", "--network=cnn1", *flags)[1] == flags
    monkeypatch.setattr(PipelineOptions, "get_all_options", lambda *_: {})
    with pytest.raises(SystemExit):
        cli.main(["train", "--dataset=d", "--network=cnn1", "--job_name=x"])


@pytest.mark.parametrize(
    ("verb", "flag"),
    [("label", "--max-reject-fractoin=0.5"), ("train", "--networks"), ("label", "--splitz"), ("train", "--batchsize")],
)
def test_a_flag_near_ours_does_not_pass(verb: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = failing(capsys, verb, "--runner=DirectRunner", flag)
    assert re.fullmatch(rf"concord {verb}: unknown flag {flag.partition('=')[0]}; did you mean --[\w-]+\?", message)


@pytest.mark.parametrize("words", [["cnn1"], ["--runner=DirectRunner", "cnn1"], ["--direct_num_workers", "4", "4"]])
def test_a_word_without_a_flag_does_not_pass(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert f"unexpected argument '{words[-1]}'" in failing(capsys, "label", *words)


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["--dataset", "drawn", "--runner=DirectRunner"]
    stated = {"learning_rate": 0.01, "seed": 5, "validation_fraction": 0.2}
    flags = ["--network=cnn2", "--learning-rate=0.01", "--seed=5", "--validation_fraction", "0.2"]
    train, beam_flags = run_with(monkeypatch, "train", *common, *flags)
    assert beam_flags == ("--runner=DirectRunner",)
    assert train == TrainSettings(dataset="drawn", network="cnn2", **stated)  # type: ignore[arg-type]
    flags = ["--network=cnn2", "--augment=shift=0.1, rotation=10", "--evaluate=test,validation"]
    augmented, _ = run_with(monkeypatch, "train", *common, *flags)
    assert augmented.augment == {"shift": 0.1, "rotation": 10.0}
    assert augmented.evaluate == ("test", "validation")
    flags = ["--model=cnn1", "--splits=test, validation", "--scores", "--batch-size=64"]
    label, _ = run_with(monkeypatch, "label", *common, *flags)
    expected = {"splits": ("test", "validation"), "scores": True, "batch_size": 64}
    assert label == LabelSettings(dataset="drawn", models=("cnn1",), **expected)  # type: ignore[arg-type]
    agree, _ = run_with(monkeypatch, "agree", *common, "--annotators", "cnn1,cnn2", "--reference=human")
    assert agree == AgreeSettings(dataset="drawn", annotators=("cnn1", "cnn2"), reference="human")


@pytest.mark.parametrize("words", [["--value-range", "-1,1"], ["--value-range=-1,1"], ["--value_range", "-1.0,1"]])
def test_a_range_may_begin_below_zero(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--dataset=d", "--model-file", "x.keras", *words, "--annotator", "theirs"]
    label, beam_flags = run_with(monkeypatch, "label", *flags)
    assert (label.value_range, label.annotator, beam_flags) == ((-1.0, 1.0), "theirs", ())


def test_an_old_flag_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agree, _ = run_with(monkeypatch, "agree", "--dataset=d", "--annotators=a,b", "--truth", "human", "--tuned-on=x")
    assert (agree.reference, agree.threshold_split) == ("human", "x")
    assert capsys.readouterr().err.splitlines() == [
        "--truth is now called --reference; the next version will not read the old name",
        "--tuned-on is now called --threshold-split; the next version will not read the old name",
    ]


def test_flags_of_a_source_become_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["convert", "--dataset", "drawn", "--source=mnist_numbers", "--input", "a", "b"]
    flags = ["--numbers=train=20, test=3", "--digits", "train=0:80,test=80:100", "--image-size=54,48"]
    numbers, _ = run_with(monkeypatch, *source, *flags)
    assert (numbers.numbers, numbers.digits) == ({"train": 20, "test": 3}, {"train": "0:80", "test": "80:100"})
    assert (numbers.image_size, numbers.input) == ((54, 48), ("a", "b"))
    plain, _ = run_with(monkeypatch, *source)
    assert plain.numbers == {"train": 20_000, "validation": 1000, "test": 2000}
    assert "--numbers.train must be a whole number, got 'many'" in failing(capsys, *source, "--numbers=train=many")


def test_words_are_files_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(run_verb, "load_chain", lambda file, flags: {})
    monkeypatch.setattr(run_verb, "run_chains", lambda *call: calls.append(call))
    cli.main(["run", "a.toml", "--runner=X", "--direct_num_workers", "4", "b.toml", "--accelerator=none"])
    [(verb, chains, flags, beam_flags)] = calls
    assert (verb, list(chains), flags.files) == ("run", ["a.toml", "b.toml"], ("a.toml", "b.toml"))
    assert beam_flags == ("--runner=X", "--direct_num_workers", "4")
    assert flags.hints() == {"accelerator": ""}


def test_secrets_are_not_shown() -> None:
    flags = (
        "--s3_secret_access_key=one",
        "--s3_session_token",
        "two",
        "--API-KEY=three=3",
        "--runner=X",
        "--region",
        "r",
    )
    kept = without_secrets(flags)
    assert not {"one", "two", "three"} & set(" ".join(kept).replace("=", " ").split())
    assert list(kept[-3:]) == ["--runner=X", "--region", "r"]
    assert "--s3_secret_access_key=***" in kept


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
    assert "0 of 0 to review (none)" in err
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
    assert said.startswith(f"concord generations: {path} has no [generations]: name there the network that is trained")
    path.write_text('dataset = "small"\n[generations]\nnetwork = "cnn2"\n')
    said = failing(capsys, "generations", str(path), "--root", str(tmp_path))
    assert "there is no complete dataset 'small'" in said
    assert "run concord convert first" in said
