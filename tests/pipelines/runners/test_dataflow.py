"""Whole chains on a Dataflow service on loopback: what every stage's job holds, and that it runs with nothing local.

The command line runs as a user runs it, Beam's own DataflowRunner stages into an emulator of Google Cloud Storage and
hands its jobs in; the service runs them with the staged package alone (`tests/support/dataflow_service.py`).
"""

import base64
import bz2
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.resources import AcceleratorHint, MinRamHint

from schemas.settings.base import GPU_HINT
from storage import stores
from tests.support import dataflow_service, read_only, servers
from tests.support.dataflow_service import Job, Service

pytestmark = [pytest.mark.chains, pytest.mark.timeout(600)]

IMAGE = "europe-docker.pkg.dev/ours-123/concord/gpu:1"
TEMP = f"gs://{servers.BUCKET}/temp"
ROOT = f"gs://{servers.BUCKET}/dataflow"
T4 = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
CHAIN = """
dataset = "drawn"
[draw]
output = "{root}/sample/drawn.h5"
train = 64
validation = 32
test = 48
[convert]
source = "svhn_h5"
input = "{root}/sample/drawn.h5"
[[import]]
annotator = "vendor"
split = "test"
input = "{root}/sample/vendor.csv"
[features]
network = "vgg16"
image_size = 32
features_from = "block1_pool"
precision = "float32"
splits = ["test"]
[[train]]
network = "cnn1"
epochs = 1
accelerator = "nvidia-tesla-t4"
min_ram = "16GB"
[label]
splits = ["test"]
accelerator = "none"
[agree]
annotators = ["cnn1", "human"]
[explain]
images = ["test-0000001"]
disagreements = 0
"""
SCENES = """
dataset = "scenes"
[draw]
sample = "scenes"
output = "{root}/sample/scenes"
images = 100
[confirm]
machine = "{root}/sample/scenes/machine.csv"
human = "{root}/sample/scenes/human.csv"
classes = "{root}/sample/scenes/class-descriptions.csv"
[convert]
source = "open_images"
images_from = "{root}/sample/scenes/images/{image_id}.jpg"
max_reject_fraction = 1.0
"""
STAGES = {  # each job by its name, the steps of it that ask for a GPU, and what they ask for
    "convert-drawn": {},
    "import-drawn": {},
    "features-drawn": {"Infer": GPU_HINT, "Write": GPU_HINT},
    "train-drawn": {"Fit": T4},
    "label-drawn": {},
    "agree-drawn": {},
    "explain-drawn": {"Infer": GPU_HINT, "Write": GPU_HINT},
    "confirm-scenes": {},
    "convert-scenes": {},
}
# Beam pickles functions of its own with the file that they were written in, for tracebacks
BEAM_SOURCES = re.compile(re.escape(str(Path(beam.__file__).parent)).encode() + rb"/[\w/]+\.py")
DRIVER = """
import time, types
import apache_beam.runners.dataflow.dataflow_runner as runner
runner.time = types.SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.2))  # it looks every 5 seconds
from concord.cli import entry
entry()
"""


@dataclass
class Cloud:
    """The service, the environment of those who use it, and the flags that lead to it."""

    service: Service
    environment: dict[str, str]
    scratch: Path

    @property
    def flags(self) -> list[str]:
        where = ["--project=ours-123", "--region=europe-west4", f"--temp_location={TEMP}"]
        workers = [f"--sdk_container_image={IMAGE}", "--num_workers=3", "--max_num_workers=9"]
        return ["--runner=DataflowRunner", *where, *workers, f"--dataflow_endpoint={self.service.url}"]

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run Python where nothing can be written but in the object store and in a scratch folder."""
        environment = {**os.environ, **self.environment, "HOME": read_only.FOLDER, "PYTHONPATH": str(read_only.ROOT)}
        return subprocess.run(
            [sys.executable, *command],
            cwd=read_only.FOLDER,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def job(self, stage: str) -> Job:
        """The job of a stage."""
        (found,) = [job for job in self.service.jobs.values() if job.asked["name"].startswith(f"concord-{stage}-")]
        return found


@pytest.fixture(scope="module")
def cloud(google_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A service and its object store, which this process's own `storage` finds as well."""
    scratch = tmp_path_factory.mktemp("cloud")
    with pytest.MonkeyPatch.context() as patch, dataflow_service.service(google_server, scratch) as service:
        key = {"GOOGLE_APPLICATION_CREDENTIALS": dataflow_service.credentials(scratch, service.url)}
        service.environment = {**google_server, **key}
        patch.setenv("STORAGE_EMULATOR_HOST", google_server["STORAGE_EMULATOR_HOST"])
        stores._remote.cache_clear()
        yield Cloud(service, service.environment, scratch)
        stores._remote.cache_clear()


@pytest.fixture(scope="module")
def ran(cloud: Cloud) -> str:
    """What `concord run` of both chains printed."""
    files = []
    stores.write_bytes(f"{ROOT}/sample/vendor.csv", b"image_id,label\ntest-0000001,3\n")
    for name, text in {"chain": CHAIN, "scenes": SCENES}.items():
        (cloud.scratch / f"{name}.toml").write_text(text)
        files.append(str(cloud.scratch / f"{name}.toml"))
    done = cloud.run("-c", DRIVER, "run", *files, "--root", ROOT, *cloud.flags)
    failed = [job.went.get("error") for job in cloud.service.jobs.values()]
    assert done.returncode == 0, (done.stderr[-3000:], failed)
    return done.stdout + done.stderr


def staged(job: Job) -> beam_runner_api_pb2.Pipeline:
    options = job.asked["environment"]["sdkPipelineOptions"]["options"]
    return beam_runner_api_pb2.Pipeline.FromString(stores.read_bytes(options["pipelineUrl"]))


def texts(message: Any) -> Iterator[bytes]:
    """Every string and every bytes of a message, what is packed in them unpacked."""
    for field, value in message.ListFields():
        repeated = field.label == field.LABEL_REPEATED
        entry = repeated and field.message_type is not None and field.message_type.GetOptions().map_entry
        values = [*value.keys(), *value.values()] if entry else list(value) if repeated else [value]
        for one in values:
            if hasattr(one, "ListFields"):
                yield from texts(one)
            elif isinstance(one, str | bytes):
                yield from unpacked(one.encode() if isinstance(one, str) else one)


def unpacked(data: bytes, depth: int = 4) -> Iterator[bytes]:
    """Bytes, and what they are when taken as base64, bz2 or zlib; so Beam packs what it pickles."""
    yield data
    for found in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data) if depth else []:
        for unpack in (bz2.decompress, zlib.decompress):
            try:
                yield from unpacked(unpack(base64.b64decode(found)), depth - 1)
            except (ValueError, OSError, EOFError, zlib.error):
                continue


def local_names(cloud: Cloud) -> list[bytes]:
    """The folders of this machine that a job could name: the clone, the environment, scratch folders, home."""
    places = [read_only.ROOT, Path(sys.prefix), Path(tempfile.gettempdir()), cloud.scratch, Path.home(), Path.cwd()]
    return [f"{place}/".encode() for place in places if len(str(place)) > 1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_is_called_and_staged_as_asked(cloud: Cloud, ran: str, stage: str) -> None:
    asked = cloud.job(stage).asked
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?", asked["name"])
    environment, name = asked["environment"], asked["name"]
    assert environment["tempStoragePrefix"].startswith(f"storage.googleapis.com/{servers.BUCKET}/temp/{name}")
    assert environment["version"] == {"major": "8", "job_type": "FNAPI_BATCH"}
    assert "use_runner_v2" in environment["experiments"]
    assert ("no_use_multiple_sdk_containers" in environment["experiments"]) == bool(STAGES[stage])
    (pool,) = environment["workerPools"]
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (3, 9)
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    packages = {package["name"]: package["location"] for package in pool["packages"]}
    assert set(packages) == {"concord-0.1.0.tar.gz", "extra_packages.txt"}
    for location in packages.values():
        assert location.startswith(f"storage.googleapis.com/{servers.BUCKET}/temp/staging/{name}")
        assert stores.stat(location.replace("storage.googleapis.com/", "gs://")) is not None


@pytest.mark.parametrize("stage", STAGES)
def test_just_the_steps_that_compute_with_a_network_ask_for_a_gpu(cloud: Cloud, ran: str, stage: str) -> None:
    components = staged(cloud.job(stage)).components
    found: dict[str, str] = {}
    memory: dict[str, bytes] = {}
    for transform in components.transforms.values():
        environment = components.environments.get(transform.environment_id)
        hints = dict(environment.resource_hints) if environment and not transform.subtransforms else {}
        name = transform.unique_name
        if AcceleratorHint.urn in hints:
            found[name] = hints[AcceleratorHint.urn].decode()
        if MinRamHint.urn in hints:
            memory[name] = hints[MinRamHint.urn]
    wanted = STAGES[stage]
    for name, hint in found.items():
        assert [hint] == [asked for step, asked in wanted.items() if re.search(rf"/{step}\b", name)], name
    for step in wanted:
        assert any(re.search(rf"/{step}\b", name) for name in found), step
    assert memory == ({next(iter(found)): b"16000000000"} if stage == "train-drawn" else {})


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_tells_nothing_of_this_machine_and_no_secret(cloud: Cloud, ran: str, stage: str) -> None:
    job = cloud.job(stage)
    held = [BEAM_SOURCES.sub(b"", data) for data in (*texts(staged(job)), json.dumps(job.asked).encode())]
    key = json.loads(Path(cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    secrets = [key["private_key"][40:80].encode(), key["client_email"].encode(), b"loopback"]
    for unwanted in (*local_names(cloud), *secrets):
        assert [data[max(data.find(unwanted) - 80, 0) :][:200] for data in held if unwanted in data] == [], unwanted
    assert any(ROOT.encode() in data for data in held), "nothing was unpacked that names the root"


def test_a_local_path_in_a_job_would_be_seen(tmp_path: Path) -> None:
    pipeline = beam.Pipeline()
    pipeline | beam.Create([str(tmp_path)]) | beam.Map(lambda found, other: other, str(tmp_path / "other"))
    held = list(texts(pipeline.to_runner_api()))
    assert any(str(tmp_path / "other").encode() in data for data in held)
    assert len([data for data in held if str(tmp_path).encode() in data]) >= 2


@pytest.mark.parametrize("stage", STAGES)
def test_every_environment_is_the_asked_image_with_our_package(cloud: Cloud, ran: str, stage: str) -> None:
    for environment in staged(cloud.job(stage)).components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE
        urls = [
            beam_runner_api_pb2.ArtifactUrlPayload.FromString(one.type_payload).url for one in environment.dependencies
        ]
        assert sorted(url.rpartition("/")[2] for url in urls) == ["concord-0.1.0.tar.gz", "extra_packages.txt"]
        assert all(url.startswith(f"{TEMP}/staging/") for url in urls)


def test_the_staged_package_is_the_code_with_its_data_and_no_tests(cloud: Cloud, ran: str) -> None:
    packages = cloud.job("agree-drawn").asked["environment"]["workerPools"][0]["packages"]
    (location,) = [package["location"] for package in packages if package["name"].startswith("concord")]
    data = stores.read_bytes(location.replace("storage.googleapis.com/", "gs://"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "storage/stores.py", "models/trainer.py", "analysis/joined.sql"} <= names
    assert {"samples/scenes.toml", "analysis/templates/report.css"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "studies")) or "__pycache__" in name]
    assert len(stores.list_tree(f"{TEMP}/packages")) == 1, "the same package is uploaded once"


def test_the_driver_waits_for_every_job_and_keeps_its_counters(cloud: Cloud, ran: str) -> None:
    assert {job.state for job in cloud.service.jobs.values()} == {"JOB_STATE_DONE"}
    assert "convert drawn: done" in ran
    for job_id, job in cloud.service.jobs.items():
        shown = f"https://console.cloud.google.com/dataflow/jobs/europe-west4/{job_id}?project=ours-123"
        assert f"{job.asked['name']}: {shown}" in ran
    assert "144 in = 144 out + 0 rejected" in ran
    (manifest,) = [
        found
        for name in stores.list_files(f"{ROOT}/runs")
        if (found := json.loads(stores.read_bytes(f"{ROOT}/runs/{name}")))["configuration"].get("train")
    ]
    counters = {stage["stage"]: stage["counters"] for stage in manifest["stages"]}
    assert counters["convert"]["convert.read.elements"] >= 3
    assert counters["agree"]["agree.element_bytes.max"] > 0
    assert counters["train"]["train.elements"] == 1


def test_what_the_jobs_have_made_is_whole(cloud: Cloud, ran: str) -> None:
    done = cloud.run("-m", "concord", "verify", "--root", ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_a_second_run_starts_no_job(cloud: Cloud, ran: str) -> None:
    before = len(cloud.service.jobs)
    done = cloud.run("-c", DRIVER, "run", str(cloud.scratch / "scenes.toml"), "--root", ROOT, *cloud.flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Everything was already there" in done.stdout + done.stderr
    assert len(cloud.service.jobs) == before


def test_a_worker_s_error_comes_back_as_itself(cloud: Cloud, ran: str) -> None:
    bad = f"{ROOT}/sample/bad.csv"
    stores.write_bytes(bad, b"image_id,label\n" + b"nobody,4\n" * 20)
    flags = ["--dataset=drawn", "--annotator=bad", "--split=test", f"--input={bad}", f"--root={ROOT}"]
    done = cloud.run("-c", DRIVER, "import", *flags, *cloud.flags)
    assert done.returncode == 1
    assert "rejected" in done.stderr


def test_a_flex_template_launches_a_chain_whose_driver_runs_on_a_worker(cloud: Cloud, ran: str) -> None:
    run_file, job_file = f"{ROOT}/again.toml", f"{TEMP}/launch/job_object"
    stores.write_bytes(run_file, b'dataset = "drawn"\n[agree]\nannotators = ["vendor", "human"]\n')
    launched = cloud.run(
        str(read_only.ROOT / "deploy/dataflow/launch.py"),
        *(f"--run_file={run_file}", f"--root={ROOT}", "--accelerator=none", f"--template_location={job_file}"),
        *("--job_name=launched", *cloud.flags),
    )
    assert launched.returncode == 0, launched.stderr[-2000:]
    before = len(cloud.service.jobs)
    asked = json.loads(stores.read_bytes(job_file))
    assert (asked["name"], before) == ("launched", len(cloud.service.jobs))
    (pool,) = asked["environment"]["workerPools"]
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (1, 1)
    name = cloud.service.create(asked)["id"]  # so Dataflow does with what the launcher has written
    began = time.monotonic()
    while not (job := cloud.service.jobs[name]).went:
        assert time.monotonic() - began < 120
        time.sleep(0.2)
    assert job.state == "JOB_STATE_DONE", job.went["error"]
    assert len(cloud.service.jobs) == before + 2
    started = list(cloud.service.jobs.values())[-1].asked
    assert started["name"].startswith("concord-agree-drawn-")
    assert started["environment"]["workerPools"][0]["numWorkers"] == 3
    assert stores.list_tree(f"{ROOT}/agreement/pairs/dataset=drawn/annotator_a=vendor")
