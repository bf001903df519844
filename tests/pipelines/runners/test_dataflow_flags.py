"""Flags of Dataflow jobs: what is completed, what is refused and why, and GPUs by their kind."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
from google.cloud.dataflow import JobState

from concord import cli
from concord.flags import ChainFlags
from concord.verbs.run import load_chains
from pipelines import runner
from pipelines.chain import load_run_file
from pipelines.runners import dataflow
from pipelines.stages import STAGES
from schemas import run_files
from schemas.errors import InputError
from schemas.settings.base import GPU_HINT, accelerator_hint
from schemas.settings.explain import ExplainSettings
from schemas.settings.features import FeatureSettings
from schemas.settings.label import LabelSettings
from schemas.settings.train import TrainSettings
from schemas.stage import Chain

CLOUD = ("--runner=DataflowRunner", "--project=ours-123", "--region=europe-west4", "--temp_location=gs://bucket/temp")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def staged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is uploaded; the folders in which the package would have been put."""
    folders: list[str] = []

    def stage(folder: str) -> str:
        folders.append(folder)
        return f"{folder}/concord.tar.gz"

    monkeypatch.setattr(dataflow, "stage_package", stage)
    return folders


def chain(**content: Any) -> Chain:
    return run_files.parse({"dataset": "drawn", **content}, STAGES)


@pytest.mark.parametrize("name", ["DataflowRunner", "dataflow", "dataflowrunner"])
def test_it_is_known_by_each_of_its_names(name: str) -> None:
    assert dataflow.is_requested(["--runner", name])
    assert dataflow.is_requested([f"--runner={name}"])


@pytest.mark.parametrize("flags", [[], ["--runner=DirectRunner"], ["--runner=FlinkRunner", "--project=dataflow"]])
def test_no_other_runner_is_taken_for_it(flags: list[str], staged: list[str]) -> None:
    assert not dataflow.is_requested(flags)
    options = runner.pipeline_options(tuple(flags), "concord train drawn")
    assert options.view_as(SetupOptions).extra_packages is None
    assert staged == []


def test_options_are_completed(staged: list[str]) -> None:
    options = runner.pipeline_options((*CLOUD, "--extra_package=theirs.tar.gz"), "concord train house_numbers_")
    cloud = options.view_as(GoogleCloudOptions)
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert cloud.staging_location == "gs://bucket/temp/staging"
    assert re.fullmatch(r"concord-train-house-numbers-\d{8}-\d{6}-[0-9a-f]{8}", cloud.job_name)
    assert options.view_as(SetupOptions).extra_packages == ["theirs.tar.gz", "gs://bucket/temp/concord.tar.gz"]
    assert staged == ["gs://bucket/temp"]


def test_a_setup_file_of_the_user_s_own_is_taken_instead(staged: list[str]) -> None:
    options = runner.pipeline_options((*CLOUD, "--setup_file=./setup.py", "--staging_location=gs://b/s"), "concord")
    assert options.view_as(SetupOptions).extra_packages is None
    assert options.view_as(GoogleCloudOptions).staging_location == "gs://b/s"
    assert staged == []


@pytest.mark.parametrize("asked", ["concord label a_b", "concord agree x_", "9 lives", "Ärger", "a" * 3000, "--", ""])
def test_job_names_are_such_as_the_service_takes_and_differ(asked: str) -> None:
    names = {dataflow.job_name(asked) for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert re.fullmatch(PipelineOptionsValidator.JOB_PATTERN, name)
        assert len(name) <= 240


@pytest.mark.parametrize("left_out", ["project", "region", "temp_location"])
def test_what_is_missing_is_named(left_out: str) -> None:
    flags = tuple(flag for flag in CLOUD if not flag.startswith(f"--{left_out}"))
    with pytest.raises(InputError, match=rf"DataflowRunner needs --{left_out}: give .*BUCKET="):
        runner.pipeline_options(flags, "concord")


@pytest.mark.parametrize("flag", ["--template_location=gs://b/t", "--dry_run=True"])
def test_what_makes_no_job_is_refused(flag: str) -> None:
    with pytest.raises(InputError, match=r"makes no job, .* flex template"):
        runner.pipeline_options((*CLOUD, flag), "concord")


@pytest.mark.parametrize("flag", ["--temp_location=/tmp/x", "--staging_location=out"])
def test_local_places_for_staging_are_refused(flag: str) -> None:
    with pytest.raises(InputError, match=rf"{flag.partition('=')[0]} must lie in a bucket"):
        runner.pipeline_options((*CLOUD, flag), "concord")


@pytest.mark.parametrize("root", ["out", "./out", "/data/out"])
def test_a_local_root_is_refused_before_anything_is_done(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--network=cnn1", "--dataset=drawn", f"--root={root}", *CLOUD])
    assert f"workers cannot reach the folder {root!r}: give --root gs://BUCKET/" in capsys.readouterr().err
    assert not Path(root).exists()


LOCAL = [
    ("convert", {"source": "svhn_h5", "input": ["gs://b/a.h5", "b.h5"]}, "b.h5"),
    ("convert", {"source": "open_images", "images_from": "photos/{image_id}.jpg"}, "photos/{image_id}.jpg"),
    ("confirm", {"machine": "gs://b/m*.csv", "human": "h*.csv"}, "h*.csv"),
    ("import", [{"annotator": "vendor", "split": "test", "input": "/data/v.csv"}], "/data/v.csv"),
    ("train", [{"network": "vgg16", "weights": "vgg.h5"}], "vgg.h5"),
    ("features", {"network": "vgg16", "weights": "vgg.h5"}, "vgg.h5"),
    ("generations", {"network": "vgg16", "train": {"weights": "vgg.h5"}}, "vgg.h5"),
]


@pytest.mark.parametrize(("stage", "asked", "path"), LOCAL, ids=[f"{stage}-{path}" for stage, _, path in LOCAL])
def test_local_input_is_refused_by_its_name(stage: str, asked: Any, path: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"cannot reach {path!r} ({stage}.")):
        dataflow.check_places("gs://b/out", chain(**{stage: asked}))


def test_what_the_driver_reads_may_be_local() -> None:
    mixed = chain(
        draw={"output": "out/drawn.h5"},
        confirm={"machine": "gs://b/m.csv", "human": "s3://b/h.csv", "classes": "classes.csv"},
        train=[{"network": "vgg16", "weights": "imagenet"}, {"network": "cnn1"}],
        label={"model_file": "theirs.keras", "annotator": "theirs"},
        explain={"models": ["cnn1"]},
        queue={"annotators": ["cnn1"], "export": "csv", "output": "queue"},
    )
    expected = [("confirm.machine", "gs://b/m.csv"), ("confirm.human", "s3://b/h.csv")]
    assert list(dataflow.worker_paths(mixed)) == expected
    dataflow.check_places("s3://b/out", mixed)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("samples/*.toml"), *ROOT.glob("studies/*.toml")], ids=lambda path: path.stem
)
def test_both_samples_and_every_study_could_run_there(path: Path) -> None:
    found = load_run_file(str(path), "gs://b/out", "gs://b/data")
    dataflow.check_places("gs://b/out", found)
    assert all("://" in place for _, place in dataflow.worker_paths(found))


HINTS = {
    "": "",
    "none": "",
    "nvidia-l4": GPU_HINT,
    "nvidia-tesla-t4": "type:nvidia-tesla-t4;count:1;install-nvidia-driver",
    "nvidia-tesla-a100": "type:nvidia-tesla-a100;count:1;machine_type:a2-highgpu-1g;install-nvidia-driver",
    "type:nvidia-l4;count:2;machine_type:g2-standard-24;install-nvidia-driver:5xx": (
        "type:nvidia-l4;count:2;machine_type:g2-standard-24;install-nvidia-driver:5xx"
    ),
}


@pytest.mark.parametrize("asked", HINTS)
def test_gpus_are_asked_for_by_their_kind(asked: str) -> None:
    assert accelerator_hint(asked) == HINTS[asked]
    for kind in (TrainSettings, FeatureSettings):
        assert kind(dataset="d", network="cnn1", accelerator=asked).accelerator == HINTS[asked]
    for other in (LabelSettings, ExplainSettings):
        assert other(dataset="d", models=("cnn1",), accelerator=asked).accelerator == HINTS[asked]


@pytest.mark.parametrize("asked", ["L4", "nvidia l4", "type:nvidia-l4", "type:nvidia-l4;count:0", "--gpu"])
def test_what_is_no_gpu_is_refused(asked: str) -> None:
    with pytest.raises(InputError, match="accelerator must be a kind of GPU"):
        TrainSettings(dataset="d", network="cnn1", accelerator=asked)


@pytest.mark.parametrize("asked", ["32", "GB", "lots", "0GB", "32gb"])
def test_what_is_no_memory_is_refused(asked: str) -> None:
    with pytest.raises(InputError, match="min_ram must be an amount of memory"):
        LabelSettings(dataset="d", models=("cnn1",), min_ram=asked)


def test_one_flag_changes_what_every_network_of_a_chain_runs_on() -> None:
    whole = chain(
        train=[{"network": "cnn1"}, {"network": "cnn2", "accelerator": "nvidia-tesla-t4"}],
        features={"network": "vgg16"},
        label={},
        explain={"models": ["cnn1"]},
        agree={"annotators": ["a", "b"]},
        generations={"network": "cnn1", "train": {"epochs": 2}, "teacher": "ann1"},
    )
    changed = run_files.with_hints(whole, {"accelerator": "none", "min_ram": "8GB"})
    for one in (one for name in ("train", "features", "label", "explain") for one in changed[name]):
        assert (one.accelerator, one.min_ram) == ("", "8GB")
    [study] = changed["generations"]
    assert study.train == {"epochs": 2, "accelerator": "none", "min_ram": "8GB"}
    assert study.teacher_train == {"accelerator": "none", "min_ram": "8GB"}
    assert study.identity() == whole["generations"][0].identity()
    assert run_files.with_hints(whole, {}) == whole


def asking(hint: str, flags: tuple[str, ...]) -> list[str]:
    """The experiments of a pipeline of which one step asks for a GPU, or none."""
    nowhere = "--dataflow_endpoint=http://localhost:1"  # else Beam looks at the bucket
    pipeline = beam.Pipeline(options=PipelineOptions([*flags, nowhere]))
    made = beam.Map(str).with_resource_hints(accelerator=hint) if hint else beam.Map(str)
    pipeline | beam.Create([1]) | made
    dataflow.share_gpus(pipeline)
    return list(pipeline.options.view_as(DebugOptions).experiments or [])


def test_a_worker_with_a_gpu_is_one_process() -> None:
    shared = "no_use_multiple_sdk_containers"
    assert shared in asking(GPU_HINT, CLOUD)
    assert shared not in asking("", CLOUD)
    assert shared not in asking(GPU_HINT, (*CLOUD, "--experiments=use_multiple_sdk_containers"))
    assert asking(GPU_HINT, (*CLOUD, f"--experiments={shared}")).count(shared) == 1
    assert shared not in asking(GPU_HINT, ("--runner=FnApiRunner",))


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_driver_cancels_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job = SimpleNamespace(id="2026-1", current_state=JobState.JOB_STATE_RUNNING)
    asked: list[tuple[str, str]] = []

    def modify(job_id: str, state: str) -> bool:
        asked.append((job_id, state))
        return True

    client = SimpleNamespace(get_job=lambda _: job, modify_job_state=modify)
    options = runner.pipeline_options(CLOUD, "concord")
    result = DataflowPipelineResult(job, SimpleNamespace(dataflow_client=client), options)
    with dataflow.watched(result):
        pass
    assert asked == []
    with pytest.raises(KeyboardInterrupt), dataflow.watched(result):
        interrupt()
    assert asked == [("2026-1", "JOB_STATE_CANCELLED")]
    with pytest.raises(KeyboardInterrupt), dataflow.watched("another runner's result"):
        interrupt()


def test_the_command_line_takes_them_for_a_chain() -> None:
    flags = ChainFlags(root="gs://b/out", accelerator="nvidia-tesla-t4", min_ram="8GB")
    trained = [one for chain in load_chains(flags).values() for one in chain.get("train", ())]
    assert {(one.accelerator, one.min_ram) for one in trained} == {(HINTS["nvidia-tesla-t4"], "8GB")}
    plain = load_chains(ChainFlags(root="gs://b/out"))
    assert {one.accelerator for chain in plain.values() for one in chain.get("train", ())} == {GPU_HINT}


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["make", "--dry-run", "run-pipeline", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_make_gives_the_command_the_cloud_s_flags() -> None:
    done = make("RUNNER=DataflowRunner", "PROJECT=ours-123", "BUCKET=b", "IMAGE=r/i:1", "FLAGS=--max_num_workers=4")
    (line,) = [line for line in done.stdout.splitlines() if "concord run" in line]
    wanted = ("--root gs://b/out", *(flag.replace("gs://bucket", "gs://b") for flag in CLOUD), "--max_num_workers=4")
    assert all(flag in line for flag in (*wanted, "--sdk_container_image=r/i:1")), line
    assert "--root gs://c/d" in make("RUNNER=DataflowRunner", "PROJECT=p", "BUCKET=b", "ROOT=gs://c/d").stdout
    refused = make("RUNNER=DataflowRunner", "PROJECT=ours-123")
    assert refused.returncode != 0
    assert "needs PROJECT=... and BUCKET=..." in refused.stderr
    assert "--project" not in make().stdout
