"""Plug-ins: modules that a package finds by their file names, such as sources, networks and measures."""

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
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def check(package: ModuleType, kind: str, name: str) -> None:
    """Raise InputError if a package has no module of this name; the message names those that it has."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no {kind} {name!r}{hint} (known: {', '.join(known)})")


def defines(package: ModuleType, name: str, attribute: str) -> bool:
    """Whether a module of a package assigns an attribute, by its text, without importing it."""
    return _assigned(package, name, attribute) is not None


def literal(package: ModuleType, name: str, attribute: str) -> Any:
    """The literal that a module of a package assigns to an attribute, by its text; None if it assigns none."""
    value = _assigned(package, name, attribute)
    return None if value is None else ast.literal_eval(value)


def _assigned(package: ModuleType, name: str, attribute: str) -> ast.expr | None:
    """The first expression that a module's text assigns to an attribute."""
    path = Path(next(iter(package.__path__)), f"{name}.py")
    for node in ast.parse(path.read_text()).body if path.exists() else ():
        if isinstance(node, ast.Assign) and attribute in (getattr(target, "id", None) for target in node.targets):
            return node.value
    return None


def load(package: ModuleType, kind: str, name: str) -> ModuleType:
    """The module of a package by its name; InputError if there is none."""
    check(package, kind, name)
    return importlib.import_module(f"{package.__name__}.{name}")
