"""What a runner is built from: found, told apart by version, and made once; with programs that only pretend."""

import importlib.metadata
import os
import re
from pathlib import Path

import pytest

from deploy import tools
from deploy.tools import ClusterError, MissingToolError

JAVA = "echo 'openjdk version \"{version}\" 2025-04-15' >&2"
GO = 'if [ "$1" = env ]; then echo {version}; else echo built > "$GOBIN/prism"; echo "$@" >> "$GOBIN/calls"; fi'
MAVEN = 'for word in "$@"; do case $word in -DoutputDirectory=*) touch "${word#*=}/f.jar";; esac; done; echo >> calls'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but the shell's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "11.0.2" 2019-01-15', 11),
        ('java version "1.8.0_292"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("no java here", 0),
    ],
)
def test_a_java_version_is_read(said: str, version: int) -> None:
    assert tools.java_version(said) == version


@pytest.mark.parametrize(
    ("said", "version"), [("go1.26.8\n", (1, 26)), ("go1.19", (1, 19)), ("go1.27rc1", (1, 27)), ("", ())]
)
def test_a_go_version_is_read(said: str, version: tuple[int, ...]) -> None:
    assert tools.go_version(said) == version


def test_java_is_missing(programs: Path) -> None:
    with pytest.raises(MissingToolError, match=r"^Flink needs Java: install Java 11 or 17 .*JAVA_HOME$"):
        tools.java()


@pytest.mark.parametrize("version", ["1.8.0_292", "21.0.1"])
def test_java_of_another_version(programs: Path, version: str) -> None:
    program(programs, "java", JAVA.format(version=version))
    with pytest.raises(MissingToolError, match=r"is Java (8|21), which Flink 1.19 does not run on: install Java 11"):
        tools.java()


def test_java_home_comes_before_the_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "java", JAVA.format(version="21"))
    home = tmp_path / "jdk" / "bin"
    home.mkdir(parents=True)
    program(home, "java", JAVA.format(version="11.0.2"))
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    assert tools.java() == str(home / "java")


def test_jars_are_fetched_once_and_again_when_the_pom_changed(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(programs, "java", JAVA.format(version="17.0.1"))
    program(programs, "mvn", MAVEN)
    for _ in range(2):
        assert (tools.install_jars(tmp_path / "home") / "f.jar").exists()
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    changed = tmp_path / "pom.xml"
    changed.write_text(tools.POM.read_text().replace("1.19", "1.20"))
    monkeypatch.setattr(tools, "POM", changed)
    tools.install_jars(tmp_path / "home")
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


def test_maven_is_missing(programs: Path, tmp_path: Path) -> None:
    program(programs, "java", JAVA.format(version="17.0.1"))
    with pytest.raises(MissingToolError, match=r"^Flink's jars come through Maven: install it"):
        tools.install_jars(tmp_path / "home")


def test_a_failure_of_maven_is_told_and_leaves_nothing_that_looks_whole(programs: Path, tmp_path: Path) -> None:
    program(programs, "java", JAVA.format(version="17.0.1"))
    program(programs, "mvn", "echo '[ERROR] Could not resolve beam'; echo '[ERROR] more'; exit 1")
    for _ in range(2):
        with pytest.raises(ClusterError, match=r"^Maven failed: \[ERROR\] Could not resolve beam; .*maven\.log$"):
            tools.install_jars(tmp_path / "home")


def test_prism_is_built_once_of_the_version_that_beam_is(programs: Path, tmp_path: Path) -> None:
    program(programs, "go", GO.format(version="go1.26.8"))
    home = tmp_path / "home"
    for _ in range(2):
        assert tools.build_prism(home).read_text() == "built\n"
    version = importlib.metadata.version("apache-beam")
    assert (home / "calls").read_text() == f"install github.com/apache/beam/sdks/v2/go/cmd/prism@v{version}\n"


def test_go_is_missing_or_too_old(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingToolError,
        match=r"^building Prism needs Go: install Go 1.21 or later.*prism_location to a binary that you have$",
    ):
        tools.build_prism(tmp_path / "home")
    program(programs, "go", GO.format(version="go1.19.8"))
    with pytest.raises(MissingToolError, match=r"is Go 1.19, but Prism needs 1.21: install Go 1.21 or later"):
        tools.build_prism(tmp_path / "home")


TOO_OLD = "go: beam/sdks/v2@v2.77.0 requires go >= 1.26.0 (running go 1.24.1; GOTOOLCHAIN=local)"


@pytest.mark.parametrize(("said", "kind"), [(TOO_OLD, MissingToolError), ("dial tcp: no such host", ClusterError)])
def test_what_go_says_is_told(programs: Path, tmp_path: Path, said: str, kind: type[ClusterError]) -> None:
    program(programs, "go", f'if [ "$1" = env ]; then echo go1.24.1; else echo "{said}"; echo; exit 1; fi')
    with pytest.raises(ClusterError, match=re.escape(f"Go failed: {said}; its whole output is in ")) as caught:
        tools.build_prism(tmp_path / "home")
    assert type(caught.value) is kind


def test_the_folder_of_programs_is_all_there_is(programs: Path) -> None:
    assert os.environ["PATH"] == str(programs)
