"""What the tests of training share: jobs on a small dataset, and the process that does them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from models import saved_models, trainer
from models.training_job import TrainJob
from schemas.settings.train import TrainSettings

FINGERPRINT = "f" * 16


def job(root: str | Path, fold: int = -1, member: str = "", **changed: Any) -> TrainJob:
    """A short training on the dataset `small`."""
    given = {"dataset": "small", "network": "cnn1", "epochs": 2, "batch_size": 32, "seed": 4, **changed}
    return TrainJob(str(root), TrainSettings(**given), FINGERPRINT, member, fold)


def start(*jobs: TrainJob, program: Sequence[str] = ("-m", "models.trainer")) -> "subprocess.Popen[str]":
    """The process of some trainings, or a program of one's own, with its jobs read."""
    process = subprocess.Popen(
        [sys.executable, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(trainer.__file__).parents[1],
    )
    assert process.stdin
    process.stdin.write("".join(one.to_json() + "\n" for one in jobs) + "\n")
    process.stdin.flush()
    return process


def card(one: TrainJob) -> dict[str, Any]:
    """What `model.json` says."""
    content: dict[str, Any] = json.loads(Path(one.folder, "model.json").read_text())
    return content


def weights(one: TrainJob) -> list[npt.NDArray[Any]]:
    """The weights of the model that a job made."""
    found: list[npt.NDArray[Any]] = saved_models.load(one.folder).get_weights()
    return found


def told_by(one: TrainJob) -> list[dict[str, Any]]:
    """Do a job in this process; return what it told."""
    told: list[dict[str, Any]] = []
    trainer.train(one, told.append)
    return told
