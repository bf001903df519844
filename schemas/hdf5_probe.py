"""Look through an HDF5 file in a process of its own: on some damaged ones, the library loops for ever, or breaks down.

Reading a text of variable length does not end where the heap that holds it has been damaged (HDF5 1.14.6). So files
that hold such texts, as those of networks do, are read through once, where that can be stopped.
"""

import os
import subprocess
import sys
from pathlib import Path

import h5py

from schemas import hdf5
from schemas.errors import ConcordError, InputError

SECONDS = 15.0  # nothing but headers is read


def check(path: str, shown: str, seconds: float = SECONDS) -> None:
    """Check a local file as `hdf5.check_whole` does, and read every attribute of it.

    Raises:
        InputError: it is damaged, or something in it lies elsewhere or is too large.
    """
    command = [sys.executable, "-m", "schemas.hdf5_probe", path, shown]
    home = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{shown} is damaged: looking through it did not end in {seconds:g} s; copy it again"
        ) from error
    if done.returncode:
        told = done.stdout.decode(errors="replace").strip()
        raise InputError(told or f"{shown} is damaged: HDF5 broke down on it ({done.returncode}); copy it again")


def _look(path: str, shown: str) -> None:
    with hdf5.explained(shown, "it"), h5py.File(path, "r") as file:
        hdf5.check_whole(shown, file)
        with hdf5.explained(shown, "its attributes"):
            for _, place in [("", file.id), *hdf5.objects(shown, file)]:
                for number in range(h5py.h5a.get_num_attrs(place)):
                    name = h5py.h5a.open(place, index=number).name
                    h5py.AttributeManager(_Holder(place)).get(name)


class _Holder:
    """What h5py's attributes want of their owner."""

    def __init__(self, place: object) -> None:
        self.id = place


if __name__ == "__main__":
    try:
        _look(sys.argv[1], sys.argv[2])
    except ConcordError as error:
        print(error)
        sys.exit(1)
