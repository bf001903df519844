"""Look through an HDF5 file in a process of its own: on some damaged ones, the library loops for ever, or breaks down.

Reading a text of variable length does not end where the heap that holds it has been damaged, nor does walking through a
table of a group that leads back to itself (HDF5 1.14.6); other damage lets it set aside all memory.
"""

from collections.abc import Sequence
from contextlib import suppress

import h5py

from schemas import apart, hdf5, storage

SECONDS = 15.0  # that looking through a small file may take
_RATE = 1 << 20  # bytes of a larger one in a second, at least
_ALL, _SOME = "all", "some"  # what to look at


def check(path: str, shown: str) -> None:
    """Check a local file as `hdf5.check_whole` does, and read every attribute of it.

    Raises:
        InputError: it is damaged, or something in it lies elsewhere or is too large.
    """
    apart.output(__name__, [path, shown, _ALL], shown, SECONDS)


def check_datasets(path: str, keys: Sequence[str]) -> None:
    """Check some datasets of a file as `hdf5.dataset` does, and read their first and last rows.

    A name that is not there is no trouble here.

    Raises:
        InputError: it is damaged, or one lies elsewhere or is too large.
    """
    if storage.stat(path):  # whoever opens it says best that it is missing
        apart.output(__name__, [path, path, _SOME, *keys], path, patience(path))


def patience(path: str) -> float:
    """Seconds that looking through a file may take; ten times as many where it comes through a network."""
    found = storage.stat(path)
    return (SECONDS + (found.size if found else 0) / _RATE) * (10 if storage.is_remote(path) else 1)


def _look(path: str, shown: str, what: str, *keys: str) -> str:
    if what == _ALL:
        _look_at_all(path, shown)
    else:
        _look_at_some(path, keys)
    return ""


def _look_at_some(path: str, keys: Sequence[str]) -> None:
    with hdf5.opened(path) as file:
        missing = False
        for key in keys:
            found = hdf5.dataset(path, file, key)
            missing |= found is None
            if found is not None and found.ndim and len(found):
                with suppress(*hdf5.TROUBLES):  # whoever reads the rows says best which they are
                    _ = found[:1], found[-1:]
        if missing:  # then the names of all are shown
            hdf5.dataset_names(path, file)


def _look_at_all(path: str, shown: str) -> None:
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
    apart.answer(_look)
