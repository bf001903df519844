"""GPUs are shared out: no training gets one that another has, and none waits where there are none."""

import multiprocessing
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.train import transforms


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(transforms, "_WAIT", 0.02)


def hold(count: int, seconds: float, told: "multiprocessing.Queue[tuple[list[int], float, float]]") -> None:
    with transforms.claim_gpus(count) as found:
        began = time.monotonic()
        time.sleep(seconds)
        told.put((found, began, time.monotonic()))


def test_gpus_are_those_that_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert transforms.list_gpus() == [3, 5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert transforms.list_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(transforms, "_DRIVER", tmp_path / "none")
    assert transforms.list_gpus() == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "driver" / name).mkdir(parents=True)
    monkeypatch.setattr(transforms, "_DRIVER", tmp_path / "driver")
    assert transforms.list_gpus() == [0, 1]


def test_where_there_are_none_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with transforms.claim_gpus(1) as first, transforms.claim_gpus(2) as second:
        assert (first, second) == ([], [])


def test_more_than_there_are_means_all() -> None:
    with transforms.claim_gpus(4) as found, transforms.claim_gpus(0) as none:
        assert (found, none) == ([3, 5], [])


def test_no_two_trainings_have_one_gpu_at_a_time() -> None:
    start = multiprocessing.get_context("fork")
    told = start.Queue()
    processes = [start.Process(target=hold, args=(count, 0.3, told)) for count in (1, 1, 1, 2)]
    for process in processes:
        process.start()
    held = [told.get(timeout=20) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(len(found) for found, _, _ in held) == [1, 1, 1, 2]
    for number, (found, began, ended) in enumerate(held):
        for other, began_other, ended_other in held[:number]:
            if set(found) & set(other):
                assert began >= ended_other or began_other >= ended
    assert any(
        began < ended_other and began_other < ended for _, began, ended in held for _, began_other, ended_other in held
    )


def free(number: int) -> bool:
    with ExitStack() as held:
        return transforms._lock(number, held)


def wait_until(wanted: bool) -> None:
    until = time.monotonic() + 10
    while [free(number) for number in transforms.list_gpus()] != [wanted, wanted]:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_process_that_is_killed_lets_go() -> None:
    start = multiprocessing.get_context("fork")
    process = start.Process(target=hold, args=(2, 60.0, start.Queue()))
    process.start()
    wait_until(False)
    os.kill(process.pid or 0, 9)
    process.join()
    wait_until(True)
    with transforms.claim_gpus(2) as found:
        assert found == [3, 5]
