"""Opening HDF5 files, wherever they lie."""

from collections.abc import Iterator
from contextlib import contextmanager

import h5py

from schemas import storage
from schemas.errors import InputError


@contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """The file, or an error that says what is wrong with it."""
    with storage.open_input(path) as raw:
        try:  # a local file is read by the library itself, which is faster than through Python
            file = h5py.File(raw if storage.is_remote(path) else path, "r")
        except OSError as error:
            raise InputError(f"{path} is not a readable HDF5 file ({error}); copy it again") from error
        with file:
            yield file
