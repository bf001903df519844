"""The flex template and the containers: what they are made of agrees with the lock file, Beam and the code."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import apache_beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.runners import flex
from schemas.errors import ConcordError, InputError
from schemas.settings.base import GPU_HINT

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy/dataflow/Dockerfile").read_text()
TEMPLATE: dict[str, Any] = json.loads((ROOT / "deploy/dataflow/template.json").read_text())
PARAMETERS = {parameter["name"]: parameter for parameter in TEMPLATE["parameters"]}


def locked(path: str) -> dict[str, str]:
    lines = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / path).read_text(), re.MULTILINE)
    return {name.lower(): version for name, version in lines}


def test_the_gpu_image_has_the_versions_of_the_lock_file() -> None:
    gpu, tested = locked("deploy/dataflow/requirements.lock"), locked("requirements.lock")
    assert {name: version for name, version in gpu.items() if name in tested and tested[name] != version} == {}
    assert gpu.keys() - tested.keys() == {name for name in gpu if name.startswith("nvidia-")}
    assert {"apache-beam", "tensorflow", "keras", "pyarrow", "setuptools", "nvidia-cudnn-cu12"} <= gpu.keys()
    assert not {"pytest", "moto", "ruff"} & gpu.keys()


def test_its_base_is_the_sdk_of_the_same_beam_and_python() -> None:
    version = locked("requirements.lock")["apache-beam"]
    assert f"FROM apache/beam_python3.11_sdk:{version} AS worker" in DOCKERFILE
    assert apache_beam.__version__ == version
    assert "python311-template-launcher-base" in DOCKERFILE
    assert "ENTRYPOINT" not in DOCKERFILE  # a worker's own, /opt/apache/beam/boot


def test_everything_that_is_copied_into_it_is_there_and_not_ignored() -> None:
    kept = {
        line[1:]
        for line in (ROOT / "deploy/dataflow/Dockerfile.dockerignore").read_text().splitlines()
        if line[0] == "!"
    }
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    ]
    assert {
        "schemas",
        "storage",
        "metrics",
        "models",
        "pipelines",
        "analysis",
        "samples",
        "concord",
        "setup.py",
        "deploy/dataflow/launch.py",
    } <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(f"{name}/".startswith(f"{one}/") for one in kept), name


GOOD = {
    "run_file": ["gs://bucket/runs/svhn.toml"],
    "root": ["gs://bucket/out", "gs://bucket/a b/c"],
    "data": ["", "gs://bucket/data", "s3://bucket", "gs://bucket/data/"],
    "accelerator": ["", "none", "nvidia-l4", GPU_HINT, "type:nvidia-tesla-t4;count:2;install-nvidia-driver:5xx"],
    "min_ram": ["", "32GB", "1.5TiB"],
    "sdk_container_image": ["europe-docker.pkg.dev/ours-123/concord/gpu:1", "gcr.io/p/i@sha256:abc"],
}
BAD = {
    "run_file": ["", "run.toml", "gs://bucket/run.json", "s3://bucket/run.toml", "gs:///run.toml"],
    "root": ["", "out", "gs://bucket", "s3://bucket/out", "gs://bucket/a\nb"],
    "data": ["data", "/data", "https://x/y"],
    "accelerator": ["L4", "type:nvidia-l4", "nvidia-l4;rm -rf"],
    "min_ram": ["32", "lots", "0GB"],
    "sdk_container_image": ["", "gpu", "IMAGE:1 --x"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_is_explained_and_checked(name: str) -> None:
    parameter = PARAMETERS[name]
    assert len(parameter["helpText"]) > 20
    assert parameter["label"]
    assert "Example: " in parameter["helpText"]
    (pattern,) = parameter["regexes"]
    examples = [parameter["helpText"].rpartition("Example: ")[2], *GOOD[name]]
    assert [text for text in examples if not re.fullmatch(pattern, text)] == []
    assert [text for text in BAD[name] if re.fullmatch(pattern, text)] == []
    assert parameter.get("isOptional", False) == ("" in GOOD[name])


def test_the_template_s_parameters_are_those_that_the_launcher_takes() -> None:
    assert set(PARAMETERS) == {"run_file", "sdk_container_image", *flex.OURS}
    known = PipelineOptions([]).get_all_options()
    assert set(flex.OF_STAGES) <= set(known)
    assert TEMPLATE["name"]
    assert set(TEMPLATE) == {"name", "description", "parameters"}


def test_the_chain_s_command_has_the_flags_of_both() -> None:
    given = argparse.Namespace(run_file="gs://b/r.toml", root="gs://b/out", data="", accelerator="none", min_ram="8GB")
    options = PipelineOptions(["--project=p", "--region=r", "--num_workers=3", "--job_name=mine", "--streaming"])
    assert flex.chain_command(given, options) == (
        *("run", "gs://b/r.toml", "--root=gs://b/out", "--accelerator=none", "--min-ram=8GB"),
        *("--runner=DataflowRunner", "--project=p", "--region=r", "--num_workers=3"),
    )


@pytest.mark.parametrize("flags", [["--run_file=r.toml", "--root=gs://b/o"], ["--run_file=gs://b/r", "--root=out"]])
def test_what_does_not_lie_in_a_bucket_is_refused(flags: list[str]) -> None:
    with pytest.raises(InputError, match="must lie in a bucket"):
        flex.main(flags)


def test_a_chain_that_fails_fails_the_job_with_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConcordError, match=r"concord run ended with status 1: concord run: .*no/such\.toml"):
        flex.run_chain(("run", "no/such.toml", "--root", "gs://b/o"))
    assert "no/such.toml" in caplog.text
