"""Make what the tests on other runners need, as far as this machine can; say what is left out, and why.

python -m deploy.prepare
"""

import sys
from collections.abc import Callable
from pathlib import Path

from deploy import flink, prism, tools
from deploy.tools import ClusterError, MissingToolError


def prepared(what: str, make: Callable[[Path], Path], home: Path) -> bool:
    """Whether a runner could be made; a tool that is not there is said, and no failure."""
    try:
        make(home)
    except MissingToolError as error:
        print(f"SKIPPED: no tests on {what}, for {error}", flush=True)
        return False
    return True


def main() -> None:
    """Make Flink's jars and Prism's binary."""
    try:
        prepared("Flink", tools.install_jars, flink.HOME)
        prepared("Prism", tools.build_prism, prism.HOME)
    except ClusterError as error:
        sys.exit(f"prepare: {error}")


if __name__ == "__main__":
    main()
