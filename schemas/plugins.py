"""Find what is added by adding a file: a source, a network, a measure, each known by its file's name.

Packages that may not be imported from here, or that are slow to import, can be given as their folder.
"""

import ast
import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from schemas.errors import InputError


def names(package: ModuleType | Path) -> list[str]:
    """The modules of a package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_folder_of(package))]))


def _folder_of(package: ModuleType | Path) -> Path:
    return package if isinstance(package, Path) else Path(next(iter(package.__path__)))


def check(package: ModuleType, kind: str, name: str) -> None:
    """Raise InputError where a package has no module of this name; the message names those that there are."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no {kind} {name!r}{hint} (known: {', '.join(known)})")


def defines(package: ModuleType | Path, name: str, attribute: str) -> bool:
    """Whether a module of a package assigns an attribute, found without importing it."""
    path = _folder_of(package) / f"{name}.py"
    targets = [one for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign) for one in node.targets]
    return any(isinstance(node, ast.Name) and node.id == attribute for one in targets for node in ast.walk(one))


def load(package: ModuleType, kind: str, name: str) -> ModuleType:
    """The module of a package that goes by this name; InputError where there is none."""
    check(package, kind, name)
    return importlib.import_module(f"{package.__name__}.{name}")
