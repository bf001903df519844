"""The log for machines: every line an object, with what its message tells as fields."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from concord import cli
from pipelines import progress
from schemas import layout

RUN = """
[draw]
output = "{root}/drawn.h5"
train = 48
validation = 16
test = 16

[convert]
source = "svhn_h5"
input = ["{root}/drawn.h5"]
dataset = "svhn"
shards = 2

[[train]]
dataset = "svhn"
network = "logistic"
epochs = 2
"""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    level, handlers = logging.root.level, logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.getLogger("concord").setLevel(logging.NOTSET)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line of stderr, all of which have to be objects."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_chain_tells_what_it_does_in_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.VARIABLE, "json")
    (tmp_path / "run.toml").write_text(RUN)
    command = ["run", str(tmp_path / "run.toml"), "--root", str(tmp_path / "out")]
    cli.main(command)
    found = told(capsys)
    events = [one["event"] for one in found]
    assert events[0] == "run_started" and events[-1] == "run_done"
    assert [one["stage"] for one in found if one["event"] == "stage_done"] == ["draw", "convert", "train"]
    assert [one["epoch"] for one in found if one["event"] == "epoch"] == [1, 2]
    manifest = json.loads(Path(found[-1]["manifest"]).read_text())
    assert {one["run"] for one in found} == {manifest["run_id"]}
    assert {one["verb"] for one in found} == {"run"} and {one["severity"] for one in found} == {"INFO", "DEBUG"}
    convert = next(one for one in found if one["event"] == "stage_done" and one["stage"] == "convert")
    stated = next(one for one in manifest["stages"] if one["stage"] == "convert")
    assert {name: convert[name] for name in ("product", "counts", "counters", "seconds")} == {
        name: stated[name] for name in ("product", "counts", "counters", "seconds")
    }
    assert "done in" in convert["message"]
    whens = [datetime.fromisoformat(one["timestamp"]) for one in found]
    assert whens == sorted(whens) and whens[0].utcoffset() == timedelta(0)
    cli.main(command)
    assert [one["event"] for one in told(capsys)] == ["run_started", *["stage_skipped"] * 3, "run_done"]


def test_a_failure_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["label", "--dataset", "none", "--model", "cnn1", "--log-format=json", "--root", str(tmp_path)])
    *_, last = told(capsys)
    assert last["event"] == "failed" and last["severity"] == "ERROR" and "none" in last["message"]
    with pytest.raises(SystemExit):
        cli.main(["query", "select", "--log-format=json", "--root", str(tmp_path)])
    (last,) = told(capsys)
    assert (last["event"], last["verb"]) == ("failed", "query")


def test_a_traceback_is_a_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: str) -> str:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(layout, "absolute", broken)
    with pytest.raises(SystemExit):
        cli.main(["report", "--dataset", "x", "--log-format=json", "--verbose", "--root", str(tmp_path)])
    found = told(capsys)
    assert "RuntimeError: a mistake of ours" in found[-2]["traceback"]
    assert "a mistake of ours" in found[-1]["message"]


def test_a_terminal_is_shown_no_bar_among_objects(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    progress.set_up("label", log_format="json")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    committed = iter([0, *[3] * 1000])
    with progress.shown("label cnn1", 4, 400, lambda: next(committed)):
        time.sleep(0.3)
    found = told(capsys)
    assert found and {(one["event"], one["stage"], one["shards"], one["shards_done"]) for one in found} == {
        ("progress", "label cnn1", 4, 3)
    }
    assert all(one["images_per_second"] > 0 and one["seconds_left"] >= 0 for one in found)
