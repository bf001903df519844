"""Plug-ins: modules that a package finds by their file names, such as sources, networks and measures."""

import ast
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas.errors import InputError


def _folders(package: ModuleType | str) -> list[str]:
    """The folders of a package's modules; a package that is named is not imported, since some import TensorFlow."""
    module = sys.modules.get(package) if isinstance(package, str) else package
    if module:
        return list(module.__path__)
    spec = find_spec(str(package))
    return list(spec.submodule_search_locations or ()) if spec else []


def names(package: ModuleType | str) -> list[str]:
    """The modules of a package, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(_folders(package)))


def check(package: ModuleType | str, kind: str, name: str) -> None:
    """Raise InputError if a package has no module of this name; the message names those that it has."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no {kind} {name!r}{hint} (known: {', '.join(known)})")


def defines(package: ModuleType | str, name: str, attribute: str) -> bool:
    """Whether a module of a package assigns an attribute, by its text, without importing it."""
    targets = (
        node for assignment in _assignments(package, name) for one in assignment.targets for node in ast.walk(one)
    )
    return any(isinstance(node, ast.Name) and node.id == attribute for node in targets)


def literal(package: ModuleType | str, name: str, attribute: str) -> Any:
    """The literal that a module of a package assigns to an attribute, by its text; None if it assigns none."""
    for assignment in _assignments(package, name):
        if any(isinstance(one, ast.Name) and one.id == attribute for one in assignment.targets):
            return ast.literal_eval(assignment.value)
    return None


def _assignments(package: ModuleType | str, name: str) -> Iterator[ast.Assign]:
    path = Path(next(iter(_folders(package))), f"{name}.py")
    body = ast.parse(path.read_text()).body if path.exists() else ()
    return (node for node in body if isinstance(node, ast.Assign))


def load(package: ModuleType | str, kind: str, name: str) -> ModuleType:
    """The module of a package by its name; InputError if there is none."""
    check(package, kind, name)
    return importlib.import_module(f"{package if isinstance(package, str) else package.__name__}.{name}")
