"""What a run needs of its surroundings: each place, runner and credential that is missing is named, with its cure."""

import http.client
import os
import shutil
import socket
import time
from collections import namedtuple
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.cloud import storage as cloud_storage

from pipelines import checks
from pipelines.checks import Machines, Problems
from schemas.stage import Product, State
from storage import stores
from tests.support import plans

CONVERT = 'dataset = "drawn"\n[convert]\nsource = "svhn_h5"\nshards = 8\ninput = "{input}"\n'
DATAFLOW = ("--runner=DataflowRunner", "--project=ours", "--region=europe-west4", "--temp_location=gs://b/temp")


def write_run_file(folder: Path, path: str, more: str = "") -> Path:
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


# --- Object stores ------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["s3", "gs"])
def test_a_root_and_inputs_in_a_store_are_fine(
    store: str, sample_h5: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(f"{store}_place")
    stores.write_bytes(f"{place}/in/drawn.h5", Path(sample_h5).read_bytes())
    found = plans.plan([write_run_file(tmp_path, f"{place}/in/drawn.h5")], f"{place}/root")
    assert found["ok"], found["problems"]
    assert plans.products(found)["convert", "drawn"]["records"] == 640
    assert found["free_bytes"] is None
    assert set(stores.list_tree(place)) == {"in/drawn.h5"}


def test_a_missing_bucket_and_a_missing_input_have_different_messages(s3_place: str, tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, f"{s3_place}/none.h5")
    found = plans.problems(plans.plan([run_file], "s3://no-such-bucket/root"))
    assert found[0].startswith("root: s3://no-such-bucket/root cannot be written: ")
    assert found[1:] == [f"convert: no such file: {s3_place}/none.h5"]
    found = plans.problems(plans.plan([run_file], tmp_path / "root"))
    assert found == [f"convert: no such file: {s3_place}/none.h5"]


def test_bad_credentials_are_reported_with_what_to_give(s3_place: str, s3_endpoint: str, tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, f"{s3_place}/in.h5")
    with strict(s3_endpoint):
        of_input = plans.problems(plans.plan([run_file], tmp_path / "root"))
        of_root = plans.problems(plans.plan([run_file], f"{s3_place}/root"))
    for stage, found in (("convert", of_input), ("root", of_root)):
        [problem] = [one for one in found if "cannot be listed" in one]
        assert problem.startswith(f"{stage}: ")
        assert "AWS_ACCESS_KEY_ID" in problem


@pytest.mark.parametrize(("scheme", "variable"), [("s3", "AWS_ENDPOINT_URL"), ("gs", "STORAGE_EMULATOR_HOST")])
def test_a_store_that_does_not_answer_is_reported_soon(
    scheme: str, variable: str, sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(variable, address)
    stores._remote.cache_clear()
    began = time.monotonic()
    by_root = plans.problems(plans.plan([write_run_file(tmp_path, sample_h5)], f"{scheme}://pictures/root"))
    by_input = plans.problems(plans.plan([write_run_file(tmp_path, f"{scheme}://pictures/in.h5")], tmp_path / "root"))
    assert time.monotonic() - began < 10
    stores._remote.cache_clear()
    assert [one.partition(":")[0] for one in (*by_root, *by_input)] == ["root", "convert"]
    for problem in (*by_root, *by_input):
        assert f"nothing answers at {address}, which {variable} names" in problem


def test_a_store_that_never_ends_answering_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(stores, "list_stats", lambda _: time.sleep(30))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    began, problems = time.monotonic(), Problems()
    checks.check_root(problems, "s3://slow/root", write=True)
    assert time.monotonic() - began < 5
    [found] = problems.every
    assert (found.stage, found.fails) == ("root", True)
    assert "s3://slow/root cannot be listed: no answer in 0 s" in found.message


@pytest.mark.parametrize(("write", "missing"), [(True, "storage.objects.delete"), (False, "storage.objects.get")])
def test_permissions_that_a_bucket_does_not_grant_are_named(
    write: bool, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check with Google's own client, which is replaced here: emulators know no permissions."""
    requested: list[list[str]] = []

    def grant(permissions: Sequence[str], timeout: float) -> list[str]:
        requested.append([*permissions])
        return [one for one in permissions if one != missing]

    buckets: list[str] = []

    def bucket(name: str) -> Any:
        buckets.append(name)
        return SimpleNamespace(test_iam_permissions=grant)

    monkeypatch.setattr(cloud_storage, "Client", lambda: SimpleNamespace(bucket=bucket))
    monkeypatch.setattr(stores, "list_stats", lambda _: [])
    monkeypatch.setattr(stores, "write_bytes", lambda *_: pytest.fail("it must not be tried"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    problems = Problems()
    checks.check_root(problems, "gs://ours/deep/root", write)
    [found] = problems.every
    assert found.message.startswith(f"gs://ours/deep/root cannot be used: these permissions are missing: {missing} (")
    assert "gcloud auth application-default login" in found.message
    assert buckets == ["ours"]
    assert [name for name in requested[0] if name.endswith(("create", "delete"))] == (
        ["storage.objects.create", "storage.objects.delete"] if write else []
    )


# --- The root -----------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.isdir("/sys"), reason="this system has no /sys")
def test_a_root_that_cannot_be_written_is_reported(sample_h5: str, tmp_path: Path) -> None:
    [found] = plans.problems(plans.plan([write_run_file(tmp_path, sample_h5)], "/sys/root"))
    assert found.startswith("root: cannot write into the root /sys/root: ")


def test_a_root_that_is_a_file_is_reported(sample_h5: str, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("x")
    [found] = plans.problems(plans.plan([write_run_file(tmp_path, sample_h5)], tmp_path / "root"))
    assert "is a file, and no folder" in found


def test_no_write_leaves_the_probe_out(sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[str] = []
    monkeypatch.setattr(checks, "_write_and_remove", probes.append)
    run_file = write_run_file(tmp_path, sample_h5)
    assert plans.plan([run_file], tmp_path / "root", "--no-write")["ok"]
    assert probes == []
    assert plans.plan([run_file], tmp_path / "root")["ok"]
    assert [Path(path).parent for path in probes] == [tmp_path]


# --- Space and sizes ----------------------------------------------------------------------------


def test_too_little_space_is_reported_with_how_much_is_needed(
    sample_h5: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_file = write_run_file(tmp_path, sample_h5)
    needed = plans.plan([run_file], tmp_path / "root")["written_bytes"]
    usage = namedtuple("usage", "total used free")
    for free, fails in ((int(needed * checks.HEAD_ROOM) + 1, False), (int(needed * checks.HEAD_ROOM) - 1, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1 << 40, 0, free))
        found = plans.plan([run_file], tmp_path / "root")
        assert (found["ok"], found["free_bytes"]) == (not fails, free)
        assert [one["stage"] for one in found["problems"]] == ["space"] * fails
    [problem] = plans.problems(found)
    assert f"about {checks.readable_bytes(needed)} will be written" in problem
    assert "free some, or choose another place" in problem


@pytest.mark.parametrize(("local", "needed"), [(True, 1000 + 4 * 500), (False, 1000)])
def test_temporary_files_of_local_workers_count_where_they_share_the_disk(
    local: bool, needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 0, 0))
    problems = Problems()
    products = [Product("a", State.TO_DO, written_bytes=600, scratch_bytes=500), Product("b", State.TO_DO)]
    products.append(Product("c", State.PARTLY, written_bytes=400, scratch_bytes=100))
    checks.check_space(problems, str(tmp_path / "root"), products, Machines("Direct", 4, local))
    [found] = problems.every
    assert f"about {checks.readable_bytes(needed)} will be written" in found.message


def test_large_elements_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_h5: str) -> None:
    monkeypatch.setattr(checks, "LARGEST_ELEMENT", 1000)
    found = plans.plan([write_run_file(tmp_path, sample_h5)], tmp_path / "root")
    assert found["ok"]
    assert any("give more --shards" in one["message"] for one in found["problems"])


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (2.5e9, "2.5 GB"), (1.5e15, "1,500.0 TB")],
)
def test_bytes_are_readable(size: float, text: str) -> None:
    assert checks.readable_bytes(size) == text


# --- Runners ------------------------------------------------------------------------------------


def test_a_flink_master_has_to_answer(sample_h5: str, tmp_path: Path) -> None:
    run_file = write_run_file(tmp_path, sample_h5)
    master = f"127.0.0.1:{free_port()}"
    [found] = plans.problems(plans.plan([run_file], tmp_path, "--runner=FlinkRunner", f"--flink_master={master}"))
    assert f"no Flink cluster answers at {master}" in found
    with socket.create_server(("127.0.0.1", 0)) as server:
        flags = ("--runner=FlinkRunner", f"--flink_master=127.0.0.1:{server.getsockname()[1]}", "--parallelism=3")
        assert plans.plan([run_file], tmp_path, *flags)["runner"] == {"runner": "Flink", "workers": 3, "local": False}
    [found] = plans.problems(plans.plan([run_file], tmp_path, "--runner=FlinkRunner", "--flink_master=cluster"))
    assert "--flink_master must be HOST:PORT" in found


def test_prism_has_to_be_there(sample_h5: str, tmp_path: Path) -> None:
    run_file, prism = write_run_file(tmp_path, sample_h5), tmp_path / "prism"
    flags = ("--runner=PrismRunner", f"--prism_location={prism}")
    assert f"there is no file {prism}" in plans.problems(plans.plan([run_file], tmp_path, *flags))[0]
    prism.write_text("#!/bin/sh\n")
    prism.chmod(0o644)
    assert f"chmod +x {prism}" in plans.problems(plans.plan([run_file], tmp_path, *flags))[0]
    prism.chmod(0o755)
    assert plans.plan([run_file], tmp_path, *flags)["ok"]


def test_dataflow_needs_its_project_region_and_buckets(sample_h5: str, tmp_path: Path, gs_place: str) -> None:
    run_file = write_run_file(tmp_path, sample_h5)
    found = "\n".join(plans.problems(plans.plan([run_file], tmp_path / "root", "--runner=DataflowRunner")))
    for part in ("needs --project", "needs --region", "needs --temp_location", "give --root gs://BUCKET/out"):
        assert part in found
    assert f"convert: Dataflow's workers cannot reach '{sample_h5}', which lies on this machine" in found
    stores.write_bytes(f"{gs_place}/drawn.h5", Path(sample_h5).read_bytes())
    flags = (*DATAFLOW, "--machine_type=n1-standard-8", "--max_num_workers=4")
    plan = plans.plan([write_run_file(tmp_path, f"{gs_place}/drawn.h5")], f"{gs_place}/root", *flags)
    assert plan["ok"], plan["problems"]
    assert plan["runner"] == {"runner": "Dataflow", "workers": 32, "local": False}
    [product] = plans.products(plan).values()
    assert plan["seconds"] == pytest.approx(product["core_seconds"] / product["elements"], abs=0.05)  # fewer than 32
