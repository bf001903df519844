"""The state of an unfinished training: what it needs to go on as if it had never been killed.

Weights, the states of random layers, the optimiser's variables, the best weights so far, and the history; in one file,
whole or not at all, after each epoch. No pickle is read.
"""

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas import npz, storage
from schemas.cards import CHECKPOINT_FILE

Arrays = list[npt.NDArray[Any]]


@dataclass
class State:
    """How far a training has come.

    Attributes:
        phase: which fit it is in; a later fit (fine-tuning) has a higher number.
        variables: of the network, random layers' states among them.
        optimizer: the optimiser's variables.
        best: weights of the best epoch; empty before there is one.
        history: for each figure its value in each epoch, of all phases.
        facts: small numbers: the best figure, its epoch, how many epochs have gone since.
    """

    phase: int = 0
    variables: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)


def save(folder: str, fingerprint: str, state: State) -> None:
    """Write the state; it replaces an earlier one."""
    groups = {"variables": state.variables, "optimizer": state.optimizer, "best": state.best}
    arrays = {f"{group}{number}": array for group, found in groups.items() for number, array in enumerate(found)}
    counts = {group: len(found) for group, found in groups.items()}
    said = {"fingerprint": fingerprint, "phase": state.phase, "history": state.history, "facts": state.facts}
    content = io.BytesIO()
    np.savez(content, said=np.array(json.dumps({**said, "counts": counts})), **arrays)  # type: ignore[arg-type]
    storage.write_bytes(storage.join(folder, CHECKPOINT_FILE), content.getvalue())


def find(folder: str, fingerprint: str) -> State | None:
    """The state of an unfinished training of just this model, or None where there is none, or one that is damaged."""
    path = storage.join(folder, CHECKPOINT_FILE)
    if storage.stat(path) is None:
        return None
    try:
        content = npz.read(storage.read_bytes(path))
        said = json.loads(str(content["said"]))
        if said["fingerprint"] != fingerprint:
            return None
        groups = {
            group: [content[f"{group}{number}"] for number in range(count)] for group, count in said["counts"].items()
        }
        return State(said["phase"], **groups, history=said["history"], facts=said["facts"])
    except (*npz.TROUBLES, AttributeError, RecursionError):  # cut off, damaged or foreign
        return None


def remove(folder: str) -> None:
    """Forget the state; the model is done."""
    storage.remove(storage.join(folder, CHECKPOINT_FILE))
