"""What workers install: the same for the same code, from a clone as from an installation, and never the tests."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.runners import dataflow
from storage import stores

ROOT = Path(__file__).resolve().parents[3]


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def wheel(data: bytes, folder: Path) -> dict[str, bytes]:
    """The files of the wheel that pip makes of a package, as a worker's pip does: without a way to the internet."""
    folder.mkdir()
    package = folder / "concord-0.1.0.tar.gz"
    package.write_bytes(data)
    environment = {
        **os.environ,
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_CACHE_DIR": "1",
    }  # as in deploy/dataflow/Dockerfile
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-index",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(package),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_every_file_of_the_four_packages_and_nothing_else() -> None:
    found = names(dataflow.source_distribution())
    command = ["git", "ls-files", *dataflow.PACKAGES]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name for name in tracked.split() if (ROOT / name).exists()} <= found
    assert {name for name in found if "/" not in name} == {*dataflow._METADATA, "PKG-INFO"}
    assert {name.partition("/")[0] for name in found if "/" in name} == set(dataflow.PACKAGES)


def test_the_same_code_gives_the_same_bytes_and_another_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataflow.source_distribution()
    assert dataflow.source_distribution() == first
    found = dataflow.package_files()
    monkeypatch.setattr(dataflow, "package_files", lambda: {**found, "schemas/errors.py": b""})
    assert dataflow.source_distribution() != first


def from_installed(files: dict[str, bytes], folder: Path) -> bytes:
    """The package as an installation makes it that has these files, far from any clone."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    program = "import sys; from pipelines.runners import dataflow as w; sys.stdout.buffer.write(%s)"
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", program % "w.source_distribution()"]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_pip_makes_the_same_package_of_a_clone_and_of_an_installation(tmp_path: Path) -> None:
    cloned = wheel(dataflow.source_distribution(), tmp_path / "clone")
    data = from_installed(cloned, tmp_path / "site-packages")
    assert {name for name in names(data) if "/" not in name} == {"PKG-INFO", "setup.py"}
    installed = wheel(data, tmp_path / "installed")
    code = {name: content for name, content in cloned.items() if ".dist-info/" not in name}
    assert {name: content for name, content in installed.items() if ".dist-info/" not in name} == code
    assert {"concord/cli.py", "samples/scenes.toml", "analysis/joined.sql"} <= code.keys()
    assert not [name for name in code if name.split("/")[0] not in dataflow.PACKAGES]
    about = "concord-0.1.0.dist-info"
    for made in (cloned, installed):
        assert b"concord = concord.__main__:main" in made[f"{about}/entry_points.txt"]
    needed = [set(made[f"{about}/METADATA"].decode().split("\n\n")[0].splitlines()) for made in (cloned, installed)]
    of_both = [
        {line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line} for lines in needed
    ]
    assert of_both[0] == of_both[1]
    assert any("tensorflow" in line for line in of_both[0])


def test_it_is_put_once_where_its_content_says(tmp_path: Path) -> None:
    path = dataflow.stage_package(str(tmp_path))
    written = os.stat(path).st_mtime_ns
    assert dataflow.stage_package(str(tmp_path)) == path
    assert os.stat(path).st_mtime_ns == written
    assert stores.read_bytes(path) == dataflow.source_distribution()
