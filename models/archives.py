"""Networks' files that came from outside, looked at before Keras loads them.

Keras' safe mode refuses to run code that a file brings along; that it does so has failed more than once
(CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906), and it does not ask how much memory a file wants, or whose
files it names (CVE-2026-0897, CVE-2026-1669). So the configuration may name Keras' own layers and their like alone,
the weights lie in the file itself, and neither is more than can have come from it.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

from schemas import layout
from schemas.errors import InputError, one_line
from storage import hdf5, stores
from storage.sandbox import check_bytes

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MOST_CONFIG = 32 << 20  # bytes
RATIO = 16  # Keras packs nothing; somebody may have
_H5 = (".h5", ".hdf5")


def check(path: str, shown: str, apart: bool = False) -> None:
    """Check a local `.keras` or `.h5` file.

    Args:
        path: of the file.
        shown: what to call it.
        apart: whether HDF5 first has to come through it in a process of its own, which takes a second.

    Raises:
        InputError: it is no such file, would run code, reads other files, or asks for more memory than it can fill.
    """
    try:
        if path.lower().endswith(_H5):
            if apart:
                hdf5.probe(path, shown)
            with h5py.File(path, "r") as file:
                hdf5.check_whole(shown, file)
                _check_config(shown, file.attrs.get("model_config", "{}"), zipped=False)
            return
        with zipfile.ZipFile(path) as archive:
            _check_members(shown, archive)
            _check_config(shown, archive.read(_CONFIG), zipped=True)
            with stores.scratch_folder() as scratch:
                weights = Path(archive.extract(_WEIGHTS, scratch))
                if apart:
                    hdf5.probe(str(weights), shown)
                with h5py.File(weights, "r") as file:
                    hdf5.check_whole(shown, file)
    except (zipfile.BadZipFile, KeyError, OSError, TypeError, ValueError, RuntimeError, EOFError) as error:
        raise InputError(f"Keras cannot load {shown}: {one_line(error)}; give a whole .keras or .h5 file") from error


def check_weights(path: str) -> None:
    """Check a local file of weights, `.h5` or `.keras`, as `check` does."""
    if not path.lower().endswith(_H5):
        check(path, path)
        return
    hdf5.probe(path, path)


def _check_members(shown: str, archive: zipfile.ZipFile) -> None:
    """Check names and sizes of what is in a `.keras` file."""
    members = archive.infolist()
    stored = stores.stat(str(archive.filename))
    check_bytes(shown, "it", sum(one.file_size for one in members), stored.size if stored else 0, RATIO)
    for one in members:
        layout.check_inside(shown, one.filename.rstrip("/"))
        if one.filename == _CONFIG and one.file_size > _MOST_CONFIG:
            raise InputError(f"{shown}: {_CONFIG} has {one.file_size:,} bytes, and may have {_MOST_CONFIG:,}")
    if len({one.filename for one in members}) < len(members):
        raise InputError(f"{shown} holds two files of one name: save the network again")


def _check_config(shown: str, content: str | bytes, zipped: bool) -> None:
    """Check what a configuration names; an archive's also holds what the network was compiled with."""
    if len(content) > _MOST_CONFIG:
        raise InputError(f"{shown}: its configuration has {len(content):,} bytes, and may have {_MOST_CONFIG:,}")
    try:
        config = json.loads(content)
    except RecursionError as error:
        raise InputError(f"{shown}: its configuration is nested too deep: save the network again") from error
    training = config.pop("compile_config", None) if zipped and isinstance(config, dict) else None
    from models import allowed  # which imports Keras with TensorFlow

    allowed.check(shown, config, training)


CONVOLUTIONS = ("Conv2D", "SeparableConv2D", "DepthwiseConv2D")


def convolves(path: str) -> bool:
    """Whether the network of a `.keras` file has a convolution, at any depth.

    Raises:
        InputError: it is no such file.
    """
    try:
        with stores.open_input(path) as file, zipfile.ZipFile(file) as parts:
            config = json.loads(parts.read(_CONFIG))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{path} is no .keras file ({error}): train the model again") from error
    return _has_convolution(config)


def _has_convolution(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") in CONVOLUTIONS or any(map(_has_convolution, config.values()))
    return isinstance(config, list) and any(map(_has_convolution, config))
