"""What Beam is told of runners of other processes: defaults for what the user's flags leave open."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

from pipelines import runner as execution
from pipelines.runners import portable
from schemas.errors import InputError


class Overview(BaseHTTPRequestHandler):
    """A Flink cluster's web page, as far as it is asked."""

    said = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/overview" else 404)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory where neither a cluster nor Prism is, and an environment with a worker's command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / portable.WORKER).touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    return tmp_path


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of five slots."""
    monkeypatch.setattr(Overview, "said", json.dumps({"slots-total": 5, "flink-version": "1.19.0"}).encode())
    with HTTPServer(("127.0.0.1", 0), Overview) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def told(*flags: str) -> dict[str, str]:
    """The defaults that are added to some flags, by name."""
    pairs = [flag.removeprefix("--").partition("=") for flag in portable.defaults(flags)]
    return {name: value for name, _, value in pairs}


def write_state(folder: Path, master: str) -> None:
    (folder / ".flink").mkdir()
    (folder / ".flink/cluster.json").write_text(json.dumps({"master": master, "job_endpoint": "localhost:8099"}))


@pytest.mark.parametrize("runner", ["", "DirectRunner", "FnApiRunner", "DataflowRunner"])
def test_other_runners_are_told_nothing(runner: str) -> None:
    assert told(*([f"--runner={runner}"] if runner else [])) == {}


def test_a_cluster_is_used_whole_and_starts_its_own_workers(master: str, folder: Path) -> None:
    found = told("--runner=FlinkRunner", f"--flink_master={master}")
    assert json.loads(found.pop("environment_config")) == {"command": str(folder / "bin" / "concord-worker")}
    assert found == {
        "execution_mode_for_batch": "BATCH_FORCED",
        "environment_cache_millis": "20000",
        "flink_version": "1.19",
        "parallelism": "5",
        "environment_type": "PROCESS",
    }


@pytest.mark.parametrize("prefix", ["", "http://"])
def test_the_cluster_that_was_started_here_has_a_job_server(master: str, folder: Path, prefix: str) -> None:
    write_state(folder, master)
    assert told("--runner=FlinkRunner", f"--flink_master={prefix}{master}")["job_endpoint"] == "localhost:8099"


def test_a_job_server_is_not_that_of_another_cluster(master: str, folder: Path) -> None:
    write_state(folder, "elsewhere:8081")
    assert "job_endpoint" not in told("--runner=FlinkRunner", f"--flink_master={master}")
    (folder / ".flink/cluster.json").write_text("{")
    assert "job_endpoint" not in told("--runner=FlinkRunner", f"--flink_master={master}")


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--parallelism=2"], {"parallelism"}),
        (["--parallelism", "2"], {"parallelism"}),
        (["--job_endpoint=localhost:1"], {"job_endpoint"}),
        (["--flink_job_server_jar=own.jar"], {"job_endpoint"}),
        (["--flink_version=1.20"], {"flink_version"}),
        (["--environment_type=EXTERNAL"], {"environment_type", "environment_config"}),
        (["--environment_type=PROCESS"], {"environment_type"}),
        (["--environment_config={}"], {"environment_config"}),
        (["--environment_options=process_command=/boot"], {"environment_config"}),
        (["--execution_mode_for_batch=PIPELINED"], {"execution_mode_for_batch"}),
        (["--environment_cache_millis=1"], {"environment_cache_millis"}),
    ],
)
def test_what_the_user_says_is_left_to_the_user(master: str, folder: Path, flags: list[str], left: set[str]) -> None:
    write_state(folder, master)
    named = ["--runner=FlinkRunner", f"--flink_master={master}"]
    assert set(told(*named)) - set(told(*named, *flags)) == left


def test_the_options_hold_what_is_told_and_what_the_user_said(master: str) -> None:
    flags = ("--runner=FlinkRunner", f"--flink_master={master}", "--environment_type=EXTERNAL")
    options = execution.pipeline_options((*flags, "--environment_config=localhost:50000"), "concord label")
    assert options.view_as(FlinkRunnerOptions).parallelism == 5
    assert options.view_as(PortableOptions).environment_type == "EXTERNAL"
    assert options.view_as(PortableOptions).environment_config == "localhost:50000"


@pytest.mark.parametrize("flags", [(), ("--flink_master=[auto]",), ("--flink_master=[local]",)])
def test_without_a_cluster_beam_starts_its_own(flags: tuple[str, ...]) -> None:
    assert told("--runner=FlinkRunner", *flags) == {}


def test_no_cluster_answers() -> None:
    with pytest.raises(
        InputError, match=r"^no Flink cluster answers at localhost:9 \(.*\); start one by make flink-up"
    ):
        told("--runner=FlinkRunner", "--flink_master=localhost:9")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"slots-total": 0, "flink-version": "1.19.0"}', "has no slots: start a task manager"),
        (b"<html>another page</html>", "no Flink cluster answers"),
        (b'{"other": 1}', "no Flink cluster answers"),
    ],
)
def test_what_answers_is_no_cluster_that_can_be_used(
    master: str, monkeypatch: pytest.MonkeyPatch, said: bytes, message: str
) -> None:
    monkeypatch.setattr(Overview, "said", said)
    with pytest.raises(InputError, match=message):
        told("--runner=FlinkRunner", f"--flink_master={master}")


def test_workers_need_their_command(master: str, folder: Path) -> None:
    (folder / "bin" / portable.WORKER).unlink()
    with pytest.raises(InputError, match=r"concord-worker, .* is not there: install Concord \(make install\)$"):
        told("--runner=FlinkRunner", f"--flink_master={master}")


def test_prism_is_the_one_that_was_built_unless_another_is_named(folder: Path) -> None:
    assert told("--runner=PrismRunner") == {"prism_log_level": "error"}
    (folder / ".prism").mkdir()
    (folder / ".prism/prism").touch()
    assert told("--runner=PrismRunner")["prism_location"] == ".prism/prism"
    assert "prism_location" not in told("--runner=PrismRunner", "--prism_location=/usr/bin/prism")
    assert told("--runner=PrismRunner", "--prism_log_level=debug") == {"prism_location": ".prism/prism"}


@pytest.fixture(autouse=True)
def hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python tells of threads, put back after each test."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)


@pytest.mark.parametrize("runner", ["PrismRunner", "FlinkRunner", "prismrunner"])
def test_the_job_server_of_a_job_ends_with_it(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Server:
        def stop(self) -> None:
            ended.append(runner)

    options = PipelineOptions([f"--runner={runner}"])
    with pytest.raises(InputError, match="a job failed"), portable.serving(options) as found:
        assert type(found).__mro__[1].__name__.lower() == runner.lower()
        found.servers.append(Server())  # type: ignore[union-attr]
        raise InputError("a job failed")
    assert ended == [runner]


def run_in_a_thread(error: Exception) -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_a_connection_that_a_job_server_ends_is_no_news(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with portable.serving(PipelineOptions(["--runner=PrismRunner"])):
        run_in_a_thread(grpc.RpcError("Connection reset by peer"))
    assert capfd.readouterr().err == ""
    assert [(one.name, "reset by peer" in str(one.exc_info)) for one in caplog.records] == [("apache_beam", True)]
    with portable.serving(PipelineOptions(["--runner=PrismRunner"])):
        run_in_a_thread(KeyError("a mistake"))
    assert "KeyError: 'a mistake'" in capfd.readouterr().err


def test_prism_is_told_to_end_by_itself() -> None:
    found = portable._PrismServer(PipelineOptions(["--prism_location=prism"])).prism_arguments(9000)
    assert found[:2] == ["--job_port", 9000]
    assert found[-1].startswith("--idle_shutdown_timeout=")


@pytest.mark.parametrize("flags", [(), ("--runner=DirectRunner",), ("--runner=DataflowRunner",)])
def test_other_runners_are_beams_own(flags: tuple[str, ...]) -> None:
    with portable.serving(PipelineOptions(list(flags))) as found:
        assert found is None
