"""Build what other runners need: Flink's jars, and the binary of Prism of the version that Beam is here.

python -m deploy.prepare [all|prism]
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from deploy import flink, tools
from deploy.tools import ClusterError, MissingToolError

PRISM_HOME = flink.PROJECT / ".prism"


def prepare(runner: str, build: Callable[[Path], Path], home: Path) -> bool:
    """Whether a runner could be built; a missing tool is reported, and is no failure."""
    try:
        build(home)
    except MissingToolError as error:
        print(f"SKIPPED: no tests on {runner}: {error}", flush=True)
        return False
    return True


def main() -> None:
    """Build Prism, or both runners as far as the tools on this machine allow."""
    parser = argparse.ArgumentParser(prog="python -m deploy.prepare", description=str(__doc__).partition("\n")[0])
    parser.add_argument("runners", nargs="?", choices=("all", "prism"), default="all")
    try:
        if parser.parse_args().runners == "prism":
            print(f"Prism is {tools.build_prism(PRISM_HOME)}; now run\n  make run-pipeline RUNNER=PrismRunner")
        else:
            prepare("Flink", tools.install_jars, flink.HOME)
            prepare("Prism", tools.build_prism, PRISM_HOME)
    except ClusterError as error:
        sys.exit(f"prepare: {error}")


if __name__ == "__main__":
    main()
