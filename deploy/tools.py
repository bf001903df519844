"""The tools that runners are built with: Java and Maven with Flink's jars, Go with Prism; each is built once.

Errors fit on one line, and state what to do.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class ClusterError(Exception):
    """A cluster cannot be started, or its parts cannot be built; the message is complete by itself."""


class MissingToolError(ClusterError):
    """A program that a runner needs is not installed, or is too old."""


POM = Path(__file__).with_name("pom.xml")
JAVA_VERSIONS = (11, 17)  # those that Flink 1.19 supports
GO_VERSION = (1, 21)  # the first that downloads the version that Beam requires (2.77: Go 1.26)
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_MARK = "installed"  # a file that states what is installed


def java() -> str:
    """Path of Java, of JAVA_HOME or PATH; MissingToolError if there is none, or Flink does not support it."""
    home = os.environ.get("JAVA_HOME", "")
    path = shutil.which("java", path=str(Path(home, "bin"))) if home else shutil.which("java")
    hint = "install Java 11 or 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if path is None:
        raise MissingToolError(f"Flink needs Java: {hint}, or set JAVA_HOME")
    version = java_version(_output([path, "-version"]))
    if not JAVA_VERSIONS[0] <= version <= JAVA_VERSIONS[1]:
        raise MissingToolError(f"{path} is Java {version}, which Flink 1.19 does not run on: {hint}, and set JAVA_HOME")
    return path


def java_version(text: str) -> int:
    """The major version in the output of `java -version`; 0 if there is none."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else 0


def go() -> str:
    """Path of Go; MissingToolError if there is none, or it is too old to build Prism."""
    path = shutil.which("go")
    needed = ".".join(map(str, GO_VERSION))
    hint = f"install Go {needed} or later, best the newest (https://go.dev/doc/install)"
    if path is None:
        raise MissingToolError(f"building Prism needs Go: {hint}, or set --prism_location to a binary that you have")
    version = go_version(_output([path, "env", "GOVERSION"]))
    if version < GO_VERSION:
        actual = ".".join(map(str, version)) or "too old to report its version"
        raise MissingToolError(f"{path} is Go {actual}, but Prism needs {needed}: {hint}")
    return path


def go_version(text: str) -> tuple[int, ...]:
    """Major and minor version in the output of `go env GOVERSION`; empty if there is none."""
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else ()


def install_jars(home: Path) -> Path:
    """The folder of Flink's and Beam's jars, which Maven downloads once, and again when pom.xml has changed.

    Raises:
        MissingToolError: Maven or Java is missing.
        ClusterError: Maven failed.
    """
    jars, version = home / "lib", hashlib.sha256(POM.read_bytes()).hexdigest()
    mark = jars / _MARK
    if mark.exists() and mark.read_text() == version:
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
    mark.write_text(version)
    return jars


def build_prism(home: Path) -> Path:
    """Path of Prism's binary, of the installed version of Beam; Go builds it once.

    Raises:
        MissingToolError: Go is missing, or too old and not allowed to download a newer one.
        ClusterError: Go failed.
    """
    binary, mark = home / "prism", home / _MARK
    version = f"v{importlib.metadata.version('apache-beam')}"
    if binary.exists() and mark.exists() and mark.read_text() == version:
        return binary
    command = [go(), "install", f"{PRISM}@{version}"]
    home.mkdir(parents=True, exist_ok=True)
    print(f"building Prism {version} into {home} (once; some minutes)", flush=True)
    try:
        _build(command, "Go", home, GOBIN=str(home))
    except ClusterError as error:
        raise MissingToolError(str(error)) if "requires go >=" in str(error) else error from None
    mark.write_text(version)
    return binary


def _build(command: Sequence[str], what: str, home: Path, **environment: str) -> None:
    """Run a build tool; its output goes into a log."""
    log = home / f"{what.lower()}.log"
    with open(log, "w") as output:
        code = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, **environment}, check=False)
    if code.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        causes = [line for line in lines if "ERROR" in line or "requires go" in line]
        cause = (causes or lines[-1:] or ["it reported nothing"])[0].strip()
        raise ClusterError(f"{what} failed: {cause[:300]}; its whole output is in {log}")


def _output(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr
