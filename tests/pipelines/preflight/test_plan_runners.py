"""`concord plan`: what stores, clusters and clouds are asked before a run."""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pipelines.preflight import places

from pipelines.chain import load_run_file
from schemas.stage import Context
from storage import stores
from tests.support import plans, stages

CONVERT = 'dataset = "drawn"\n[convert]\nsource = "svhn_h5"\nshards = 8\ninput = "{input}"\n'
DATAFLOW = ("--runner=DataflowRunner", "--project=ours", "--region=europe-west4", "--temp_location=gs://b/temp")


def written(folder: Path, path: str, more: str = "") -> Path:
    """A run file that converts a file."""
    run_file = folder / "run.toml"
    run_file.write_text(CONVERT.replace("{input}", path) + more)
    return run_file


def free_port() -> int:
    """A port of loopback behind which there is nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def strict(endpoint: str) -> Iterator[None]:
    """The S3 server looks at credentials, and knows none."""
    _reset_auth(endpoint, "0")
    yield
    _reset_auth(endpoint, "inf")


def _reset_auth(endpoint: str, allowed: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    connection.request("POST", "/moto-api/reset-auth", body=allowed)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_root_and_inputs_in_a_store_are_fine(
    store: str, sample_h5: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(f"{store}_place")
    stores.write_bytes(f"{place}/in/drawn.h5", Path(sample_h5).read_bytes())
    found = plans.plan([written(tmp_path, f"{place}/in/drawn.h5")], f"{place}/root")
    assert found["ok"], found["problems"]
    assert plans.steps(found)["convert", "drawn"]["records_in"] == 640
    assert found["free_bytes"] is None
    assert stores.list_tree(f"{place}/root") == {}
    assert set(stores.list_tree(place)) == {"in/drawn.h5"}


def test_a_bucket_that_is_not_there_and_an_input_that_is_not_are_told_apart(s3_place: str, tmp_path: Path) -> None:
    found = plans.problems(plans.plan([written(tmp_path, f"{s3_place}/none.h5")], "s3://no-such-bucket/root"))
    assert found[0].startswith("root: s3://no-such-bucket/root cannot be written: ")
    assert found[1:] == [f"convert: no such file: {s3_place}/none.h5"]
    found = plans.problems(plans.plan([written(tmp_path, f"{s3_place}/none.h5")], tmp_path / "root"))
    assert found == [f"convert: no such file: {s3_place}/none.h5"]


def test_bad_credentials_are_told_with_what_to_give(s3_place: str, s3_endpoint: str, tmp_path: Path) -> None:
    run_file = written(tmp_path, f"{s3_place}/in.h5")
    with strict(s3_endpoint):
        found = plans.problems(plans.plan([run_file], tmp_path / "root"))
        of_root = plans.problems(plans.plan([run_file], f"{s3_place}/root"))
    for [problem] in (found, of_root):
        assert "cannot be listed" in problem
        assert "AWS_ACCESS_KEY_ID" in problem
    assert found[0].startswith("convert: ")
    assert of_root[0].startswith("root: ")


@pytest.mark.parametrize(("scheme", "variable"), [("s3", "AWS_ENDPOINT_URL"), ("gs", "STORAGE_EMULATOR_HOST")])
def test_a_store_that_does_not_answer_is_told_soon(
    scheme: str, variable: str, sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(variable, address)
    stores._remote.cache_clear()
    began = time.monotonic()
    by_root = plans.problems(plans.plan([written(tmp_path, sample_h5)], f"{scheme}://pictures/root"))
    by_input = plans.problems(plans.plan([written(tmp_path, f"{scheme}://pictures/in.h5")], tmp_path / "root"))
    assert time.monotonic() - began < 10
    stores._remote.cache_clear()
    assert [one.partition(":")[0] for one in (*by_root, *by_input)] == ["root", "convert"]
    for problem in (*by_root, *by_input):
        assert f"nothing answers at {address}, which {variable} names" in problem


def test_a_store_that_never_ends_answering_is_given_up(
    tmp_path: Path, sample_h5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(stores, "list_stats", lambda _: time.sleep(30))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    began = time.monotonic()
    [found] = plans.problems(plans.plan([written(tmp_path, sample_h5)], "s3://slow/root"))
    assert time.monotonic() - began < 5
    assert "s3://slow/root cannot be listed: no answer in 0 s" in found


def test_a_flink_master_has_to_answer(sample_h5: str, tmp_path: Path) -> None:
    run_file = written(tmp_path, sample_h5)
    master = f"127.0.0.1:{free_port()}"
    [found] = plans.problems(plans.plan([run_file], tmp_path, "--runner=FlinkRunner", f"--flink_master={master}"))
    assert f"no Flink cluster answers at {master}" in found
    with socket.create_server(("127.0.0.1", 0)) as server:
        flags = ("--runner=FlinkRunner", f"--flink_master=127.0.0.1:{server.getsockname()[1]}", "--parallelism=3")
        assert plans.plan([run_file], tmp_path, *flags)["runner"] == {"runner": "Flink", "workers": 3, "local": False}
    [found] = plans.problems(plans.plan([run_file], tmp_path, "--runner=FlinkRunner", "--flink_master=cluster"))
    assert "--flink_master must be HOST:PORT" in found


def test_prism_has_to_be_there(sample_h5: str, tmp_path: Path) -> None:
    run_file, prism = written(tmp_path, sample_h5), tmp_path / "prism"
    flags = ("--runner=PrismRunner", f"--prism_location={prism}")
    assert f"there is no file {prism}" in plans.problems(plans.plan([run_file], tmp_path, *flags))[0]
    prism.write_text("#!/bin/sh\n")
    prism.chmod(0o644)
    assert f"chmod +x {prism}" in plans.problems(plans.plan([run_file], tmp_path, *flags))[0]
    prism.chmod(0o755)
    assert plans.plan([run_file], tmp_path, *flags)["ok"]


def test_dataflow_needs_its_project_region_and_buckets(sample_h5: str, tmp_path: Path, gs_place: str) -> None:
    run_file = written(tmp_path, sample_h5)
    found = "\n".join(plans.problems(plans.plan([run_file], tmp_path / "root", "--runner=DataflowRunner")))
    for part in ("needs --project", "needs --region", "needs --temp_location", "give --root gs://BUCKET/out"):
        assert part in found
    assert f"convert: Dataflow's workers cannot reach '{sample_h5}', which lies on this machine" in found
    stores.write_bytes(f"{gs_place}/drawn.h5", Path(sample_h5).read_bytes())
    assert plans.plan([written(tmp_path, f"{gs_place}/drawn.h5")], f"{gs_place}/root", *DATAFLOW)["ok"]


def test_dataflow_hours_are_the_work_of_all_workers(sample_h5: str, tmp_path: Path, gs_place: str) -> None:
    stores.write_bytes(f"{gs_place}/drawn.h5", Path(sample_h5).read_bytes())
    run_file = written(tmp_path, f"{gs_place}/drawn.h5", '[[train]]\nnetwork = "cnn2"\nepochs = 9\n[label]\n')
    flags = (*DATAFLOW, "--machine_type=n1-standard-8", "--max_num_workers=4")
    found = plans.plan([run_file], f"{gs_place}/root", *flags)
    assert found["runner"] == {"runner": "Dataflow", "workers": 32, "local": False}
    steps = plans.steps(found)
    gpu = sum(one["core_seconds"] for key, one in steps.items() if key[0] in ("train", "label")) / 60 / 3600
    plain = 640 * 32 * 32 / 16e6 / 3600
    assert found["worker_hours"]["gpus"] == pytest.approx(gpu, rel=0.05)
    assert found["worker_hours"]["cores"] == pytest.approx(plain + 8 * gpu, rel=0.05)
    assert steps["train", "drawn/cnn2"]["core_seconds"] == pytest.approx(400 * 9 / 1100, abs=0.06)


def test_photographs_that_cannot_be_fetched_are_told_before_all_are_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [f"{number:016x}" for number in range(40)]
    machine = "".join(f"{image},machine,/m/cat,0.9\n" for image in rows)
    human = "".join(f"{image},verification,/m/cat,1\n" for image in rows)
    for name, text in (("machine", machine), ("human", human)):
        (folder / f"{name}.csv").write_text("ImageID,Source,LabelName,Confidence\n" + text)
    confirm = f'dataset = "cats"\n[confirm]\nmachine = "{folder}/machine.csv"\nhuman = "{folder}/human.csv"\n'
    run_file = tmp_path / "run.toml"
    address = f"http://127.0.0.1:{free_port()}"
    convert = f'[convert]\nsource = "open_images"\nimages_from = "{address}/{{image_id}}.jpg"\n'
    run_file.write_text(confirm + convert)
    found = plans.plan([run_file], tmp_path / "root")
    assert found["ok"], found["problems"]  # which photographs is not known yet
    step = plans.steps(found)["confirm", "cats"]
    assert (step["state"], step["records_in"], step["exact"]) == ("to do", 80, False)
    stages.confirm(load_run_file(str(run_file), "").confirm, Context(str(tmp_path / "root")))  # type: ignore[arg-type]
    found = plans.plan([run_file], tmp_path / "root")
    assert plans.steps(found)["confirm", "cats"]["state"] == "done"
    [problem] = plans.problems(found)
    assert problem.startswith(f"convert: {address}/")
    assert "see that --images-from is right" in problem
    step = plans.steps(found)["convert", "cats"]
    assert (step["records_in"], step["elements"]) == (40, {"convert.fetch": 24})
    run_file.write_text(confirm + convert.replace(address, str(tmp_path / "none")))
    [problem] = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert f"there is no folder {tmp_path}/none" in problem
