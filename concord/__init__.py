"""The public face of Concord: `open` and `run` for Python, the command line, and how our packages are found.

`import concord; concord.open("out").summary()` gives a table; see `api`, or `docs/api.md`.

Read `cli` first, the list of verbs; `command_line` makes flags of settings; `verbs/` has the verbs that are no stage;
`messages` prints what a run did and found; `docs` writes the generated pages.
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concord.api import Form, Root
    from schemas.stage import StageResult

HOME = str(Path(__file__).resolve().parents[1])  # the folder that our packages lie in
__all__ = ["open", "run"]
PACKAGES = ("schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "concord")


def put_packages_first() -> None:
    """Make this process, and those that it starts, find our packages before others of the same name.

    The folder that a command is called in, or `PYTHONPATH`, may hold a package `models` of its own.
    """
    sys.path[:] = [HOME, *(path for path in sys.path if path != HOME)]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != HOME]
    os.environ["PYTHONPATH"] = os.pathsep.join([HOME, *paths])
    os.environ["PYTHONSAFEPATH"] = "1"  # with `-m`, as Beam starts workers, the current folder would come first


def find_hidden_package() -> str:
    """Why a package of ours cannot be imported, in one line; empty where each is found where it should be."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or not origin.startswith(HOME + os.sep):
            where = os.path.dirname(origin) if origin else "a folder without __init__.py"
            return f"another package {name!r} ({where}) hides Concord's: rename it, or run in another folder"
    return ""


def open(root: str, form: "Form" = "pandas") -> "Root":
    """A root whose tables and images are read; see `concord.api.Root`."""
    _check_packages()
    from concord.api import Root

    return Root(root, form)


def run(run_file: str, **options: Any) -> "list[StageResult]":
    """Run the chain of a run file; see `concord.api.run`."""
    _check_packages()
    from concord import api

    return api.run(run_file, **options)


def _check_packages() -> None:
    hidden = find_hidden_package()
    if hidden:
        raise ImportError(hidden)
