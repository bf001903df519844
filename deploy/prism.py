"""Build the binary of Beam's runner Prism, of the version that Beam is here: what `make prism` does.

python -m deploy.prism
"""

import sys
from pathlib import Path

from deploy import tools
from deploy.tools import ClusterError

HOME = Path(__file__).resolve().parents[1] / ".prism"


def main() -> None:
    """Build it where it is not there yet, and say how to use it."""
    try:
        binary = tools.build_prism(HOME)
    except ClusterError as error:
        sys.exit(f"prism: {error}")
    print(f"Prism is {binary}; now run")
    print("  make run-pipeline RUNNER=PrismRunner")


if __name__ == "__main__":
    main()
