"""Find what is added by adding a file: a source, a network, a measure, each known by its file's name."""

import ast
import difflib
import importlib
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas.errors import InputError


def _folders(package: ModuleType | str) -> list[str]:
    """Where a package's modules lie; one that is named is not imported, since some import TensorFlow."""
    module = sys.modules.get(package) if isinstance(package, str) else package
    if module:
        return list(module.__path__)
    spec = find_spec(str(package))
    return list(spec.submodule_search_locations or ()) if spec else []


def names(package: ModuleType | str) -> list[str]:
    """The modules of a package, sorted."""
    return sorted(one.name for one in pkgutil.iter_modules(_folders(package)))


def check(package: ModuleType | str, kind: str, name: str) -> None:
    """Raise InputError where a package has no module of this name; the message lists those that there are."""
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no {kind} {name!r}{hint} (known: {', '.join(known)})")


def defines(package: ModuleType | str, name: str, attribute: str) -> bool:
    """Whether a module of a package assigns an attribute, read without importing it."""
    path = Path(next(iter(_folders(package))), f"{name}.py")
    targets = [one for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign) for one in node.targets]
    return any(isinstance(node, ast.Name) and node.id == attribute for one in targets for node in ast.walk(one))


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


def load(package: ModuleType | str, kind: str, name: str) -> ModuleType:
    """The module of a package with this name; InputError where there is none."""
    check(package, kind, name)
    return importlib.import_module(f"{package if isinstance(package, str) else package.__name__}.{name}")
