"""Make what other runners need, once: Flink's jars, and the binary of Prism in the version that Beam is here.

python -m deploy.prepare          # both, as far as this machine can; names what it skips, and why
python -m deploy.prepare prism    # what `make prism` does
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy import flink, tools
from deploy.tools import ClusterError, MissingToolError

PRISM_HOME = Path(__file__).resolve().parents[1] / ".prism"


def prepare(what: str, make: Callable[[Path], Path], home: Path) -> bool:
    """Whether a runner could be made; a tool that is not there is named, and no failure."""
    try:
        make(home)
    except MissingToolError as error:
        print(f"SKIPPED: no tests on {what}, for {error}", flush=True)
        return False
    return True


def main(arguments: Sequence[str]) -> None:
    """Make Flink's jars and Prism's binary, or that binary alone."""
    try:
        if list(arguments) == ["prism"]:
            binary = tools.build_prism(PRISM_HOME)
            print(f"Prism is {binary}; now run\n  make run-pipeline RUNNER=PrismRunner")
            return
        prepare("Flink", tools.install_jars, flink.HOME)
        prepare("Prism", tools.build_prism, PRISM_HOME)
    except ClusterError as error:
        sys.exit(f"prepare: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
