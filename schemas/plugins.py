"""Find what is added by adding a file: a source, a network, a measure, each known by its file's name."""

import ast
import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas.errors import InputError


def names(package: ModuleType) -> list[str]:
    """The modules of a package, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def check(package: ModuleType, kind: str, name: str) -> None:
    """Raise InputError where a package has no module of this name; the message names those that there are."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no {kind} {name!r}{hint} (known: {', '.join(known)})")


def defines(package: ModuleType, name: str, attribute: str) -> bool:
    """Whether a module of a package assigns an attribute, found without importing it."""
    path = Path(next(iter(package.__path__)), f"{name}.py")
    targets = (node.targets for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign))
    return any(isinstance(one, ast.Name) and one.id == attribute for found in targets for one in found)


def literal(package: ModuleType, name: str, attribute: str) -> Any:
    """The value that a module of a package assigns to an attribute, found without importing it; None where it has none.

    The value has to be a literal: it is read from the file's text.
    """
    path = Path(next(iter(package.__path__)), f"{name}.py")
    for node in ast.parse(path.read_text()).body if path.exists() else ():
        if isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == attribute for one in node.targets
        ):
            return ast.literal_eval(node.value)
    return None


def load(package: ModuleType, kind: str, name: str) -> ModuleType:
    """The module of a package that goes by this name; InputError where there is none."""
    check(package, kind, name)
    return importlib.import_module(f"{package.__name__}.{name}")
