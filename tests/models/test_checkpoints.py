"""The state of an unfinished training: found as it was saved, and only by the training that it belongs to."""

import json
from pathlib import Path

import numpy as np
import pytest

from models import fitting
from models.fitting import Checkpoint
from storage.model_cards import CHECKPOINT_FILE

MINE = "0123456789abcdef"


def state() -> Checkpoint:
    drawn = np.random.default_rng(1)
    return Checkpoint(
        phase=1,
        variables=[drawn.random((3, 2), dtype=np.float32), np.array([1, 2], np.uint32), np.float32(7) * np.ones(())],
        optimizer=[np.array(12, np.int64), drawn.random(11, dtype=np.float32)],
        best=[drawn.random((3, 2), dtype=np.float32)],
        history={"loss": [1.5, 0.1 + 0.2], "val_accuracy": [0.25, float("nan")]},
        facts={"best": 1 / 3, "best_epoch": 2.0, "waited": 0.0, "begun": 1.0},
    )


def test_a_state_is_found_as_it_was_saved_to_the_last_bit(tmp_path: Path) -> None:
    fitting.save_checkpoint(str(tmp_path), MINE, state())
    found = fitting.find_checkpoint(str(tmp_path), MINE)
    assert found is not None
    for name in ("variables", "optimizer", "best"):
        for one, other in zip(getattr(found, name), getattr(state(), name), strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(one, other)
    assert (found.phase, found.facts) == (1, state().facts)
    assert str(found.history) == str(state().history)  # not a number is not itself


def test_more_than_ten_arrays_come_in_their_order(tmp_path: Path) -> None:
    fitting.save_checkpoint(str(tmp_path), MINE, Checkpoint(variables=[np.array(number) for number in range(25)]))
    found = fitting.find_checkpoint(str(tmp_path), MINE)
    assert found is not None
    assert [int(one) for one in found.variables] == list(range(25))
    assert (found.optimizer, found.best, found.history, found.facts) == ([], [], {}, {})


def test_a_later_state_replaces_an_earlier_one_and_can_be_removed(tmp_path: Path) -> None:
    for phase in (0, 1):
        fitting.save_checkpoint(str(tmp_path), MINE, Checkpoint(phase=phase))
    found = fitting.find_checkpoint(str(tmp_path), MINE)
    assert found is not None and found.phase == 1
    fitting.remove_checkpoint(str(tmp_path))
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None
    assert list(tmp_path.iterdir()) == []
    fitting.remove_checkpoint(str(tmp_path))  # of a training that had none


def test_another_trainings_state_is_not_taken(tmp_path: Path) -> None:
    fitting.save_checkpoint(str(tmp_path), "f" * 16, state())
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None


def whole(folder: Path) -> bytes:
    fitting.save_checkpoint(str(folder), MINE, state())
    return (folder / CHECKPOINT_FILE).read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 3, 100, 0.5, 0.99])
def test_a_state_that_was_cut_off_is_not_taken(tmp_path: Path, kept: float) -> None:
    content = whole(tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(content[: int(kept * len(content) if isinstance(kept, float) else kept)])
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None


@pytest.mark.parametrize("group", ["header", "variables0", "best0"])
def test_a_state_with_a_flipped_bit_is_not_taken(tmp_path: Path, group: str) -> None:
    content = bytearray(whole(tmp_path))
    content[content.index(f"{group}.npy".encode()) + 140] ^= 1  # beyond the array's header
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None


@pytest.mark.parametrize("said", [None, "not JSON", json.dumps([1]), json.dumps({"fingerprint": MINE})])
def test_a_file_that_is_no_state_is_not_taken(tmp_path: Path, said: str | None) -> None:
    arrays = {"x": np.zeros(3)} if said is None else {"said": np.array(said)}
    np.savez(tmp_path / CHECKPOINT_FILE, **arrays)  # type: ignore[arg-type]
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None


def test_a_state_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / CHECKPOINT_FILE, said=np.array([{"fingerprint": MINE}], dtype=object))
    assert fitting.find_checkpoint(str(tmp_path), MINE) is None
