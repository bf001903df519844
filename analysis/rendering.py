"""How a page is made from a template: everything that a template is given is text, never markup."""

import base64
import hashlib
from importlib import resources
from typing import Any

from markupsafe import Markup

from analysis.formatting import FILTERS

_FOLDER = "templates"
PAGE_FILE = "index.html"


def template(name: str) -> Any:
    """A template of `templates/`, ready to be rendered."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("analysis", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "sha256": sha256}
    return environment.get_template(name)


def source(name: str) -> Markup:
    """A file of `templates/` that stands in a page as it is, such as a script."""
    return Markup((resources.files("analysis") / _FOLDER / name).read_text())


def sha256(script: str) -> str:
    """What a page's security policy names a script by: the only one that a browser then runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
