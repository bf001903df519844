"""What remote workers install: our packages as they run here, as a source distribution.

It is put together by hand, so that it is the same for the same code (and uploaded once), needs neither a clone nor a
build tool, and writes nothing beside the code. From a clone it is what `setup.py` packages; from an installation it has
a `setup.py` that follows from the installed metadata.
"""

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import schemas
from storage import stores

NAME = "concord"
PACKAGES = ("schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "concord")
_METADATA = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def stage(folder: str) -> str:
    """Put the package below a folder that workers reach, unless it is there; its path follows from its content.

    Raises:
        StorageError: it could not be written.
    """
    data = _built()
    digest = hashlib.sha256(data).hexdigest()[:16]
    path = stores.join(folder, "packages", digest, f"{NAME}-{schemas.__version__}.tar.gz")
    if stores.stat(path) is None:
        stores.write_bytes(path, data)
    return path


@functools.cache
def _built() -> bytes:
    """The package, the same for every job of this process."""
    return source_distribution()


def source_distribution() -> bytes:
    """The package, as a `.tar.gz` that pip installs; byte for byte the same for the same code."""
    top = f"{NAME}-{schemas.__version__}"
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {schemas.__version__}\n"
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in sorted({"PKG-INFO": about.encode(), **files()}.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def files() -> dict[str, bytes]:
    """Every file of the package, by its path within it."""
    contents = {}
    for package in PACKAGES:
        folder = _folder(package)
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder.parent)
            if path.is_file() and "__pycache__" not in inner.parts and not path.name.startswith("."):
                contents[inner.as_posix()] = path.read_bytes()
    home = _folder("concord").parent
    clone = {name: (home / name).read_bytes() for name in _METADATA if (home / name).is_file()}
    return contents | (clone if len(clone) == len(_METADATA) else {"setup.py": _setup(contents).encode()})


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"Concord's package {package} is not there: install Concord anew")
    return Path(spec.submodule_search_locations[0])


def _setup(contents: dict[str, bytes]) -> str:
    """A `setup.py` for code that is installed, whose `pyproject.toml` is not there any more."""
    needed = [text for text in importlib.metadata.requires(NAME) or () if "extra ==" not in text]
    folders = {str(Path(name).parent) for name in contents if name.endswith(".py")}
    data = [name for name in contents if not name.endswith(".py")]
    values = {
        "name": NAME,
        "version": schemas.__version__,
        "packages": sorted(folder.replace("/", ".") for folder in folders),
        "package_data": {
            package: [name.partition("/")[2] for name in data if name.startswith(f"{package}/")] for package in PACKAGES
        },
        "install_requires": needed,
        "entry_points": {"console_scripts": ["concord = concord.__main__:main"]},
    }
    return f"from setuptools import setup\n\nsetup(**{json.dumps(values, indent=4)})\n"
