"""The errors of setting up a runner: each fits on one line, and says what to do."""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class ClusterError(Exception):
    """A cluster cannot be had, or what it is built from cannot; the message is complete by itself."""


class MissingToolError(ClusterError):
    """A program that a runner needs is not on this machine, or is too old."""


# What a runner is built from: Java and Maven with Flink's jars, Go with Prism; each made once.

POM = Path(__file__).with_name("pom.xml")
JAVA_VERSIONS = (11, 17)  # those that Flink 1.19 supports
GO_VERSION = (1, 21)  # from which on Go fetches by itself the version that Beam asks for (2.77: Go 1.26)
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_MARK = "installed"


def java() -> str:
    """Path of Java: that of JAVA_HOME, or the first in PATH.

    Raises:
        MissingToolError: there is none, or of a version that Flink does not run on.
    """
    home = os.environ.get("JAVA_HOME", "")
    path = shutil.which("java", path=str(Path(home, "bin"))) if home else shutil.which("java")
    remedy = "install Java 11 or 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if path is None:
        raise MissingToolError(f"Flink needs Java: {remedy}, or set JAVA_HOME")
    version = java_version(_said([path, "-version"]))
    if not JAVA_VERSIONS[0] <= version <= JAVA_VERSIONS[1]:
        raise MissingToolError(
            f"{path} is Java {version}, which Flink 1.19 does not run on: {remedy}, and set JAVA_HOME"
        )
    return path


def java_version(text: str) -> int:
    """The major version in what `java -version` says; 0 where it says none."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def go() -> str:
    """Path of Go.

    Raises:
        MissingToolError: there is none, or it is too old to build Prism.
    """
    path = shutil.which("go")
    needed = ".".join(map(str, GO_VERSION))
    remedy = f"install Go {needed} or later, best the newest (https://go.dev/doc/install)"
    if path is None:
        raise MissingToolError(f"building Prism needs Go: {remedy}, or name a binary that you have by --prism_location")
    version = go_version(_said([path, "env", "GOVERSION"]))
    if version < GO_VERSION:
        found = ".".join(map(str, version)) or "too old to say its version"
        raise MissingToolError(f"{path} is Go {found}, but Prism needs {needed}: {remedy}")
    return path


def go_version(text: str) -> tuple[int, ...]:
    """Major and minor version in what `go env GOVERSION` says; empty where it says none."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()


def install_jars(home: Path) -> Path:
    """The folder of Flink's and Beam's jars; Maven fetches them the first time, and when the project's pom.xml changed.

    Raises:
        MissingToolError: Maven or Java is not there.
        ClusterError: Maven failed.
    """
    jars, wanted = home / "lib", hashlib.sha256(POM.read_bytes()).hexdigest()
    mark = jars / _MARK
    if mark.exists() and mark.read_text() == wanted:
        return jars
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingToolError("Flink's jars come through Maven: install it (Debian: apt-get install maven)")
    shutil.rmtree(jars, ignore_errors=True)
    jars.mkdir(parents=True)
    print(f"fetching the jars of Flink and of Beam's job server into {jars} (once; some 150 MB)", flush=True)
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    _build([maven, "-B", "-q", "-f", str(POM), *copy], "Maven", home)
    mark.write_text(wanted)
    return jars


def build_prism(home: Path) -> Path:
    """Path of Prism's binary, of the version that Beam is here; Go builds it the first time.

    Raises:
        MissingToolError: Go is not there, or too old and not allowed to fetch a newer one.
        ClusterError: Go failed.
    """
    binary, mark = home / "prism", home / _MARK
    wanted = f"v{importlib.metadata.version('apache-beam')}"
    if binary.exists() and mark.exists() and mark.read_text() == wanted:
        return binary
    command = [go(), "install", f"{PRISM}@{wanted}"]
    home.mkdir(parents=True, exist_ok=True)
    print(f"building Prism {wanted} into {home} (once; some minutes)", flush=True)
    try:
        _build(command, "Go", home, GOBIN=str(home))
    except ClusterError as error:
        raise MissingToolError(str(error)) if "requires go >=" in str(error) else error from None
    mark.write_text(wanted)
    return binary


def _build(command: Sequence[str], what: str, home: Path, **environment: str) -> None:
    """Run a build tool; what it says goes into a log."""
    log = home / f"{what.lower()}.log"
    with open(log, "w") as written:
        code = subprocess.run(command, stdout=written, stderr=written, env={**os.environ, **environment}, check=False)
    if code.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = next(
            (line for line in lines if "ERROR" in line or "requires go" in line),
            lines[-1] if lines else "it said nothing",
        )
        raise ClusterError(f"{what} failed: {said.strip()[:300]}; all that it said is in {log}")


def _said(command: Sequence[str]) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout + found.stderr
