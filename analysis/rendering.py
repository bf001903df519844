"""How a page is made from a template: everything that a template is given is text, never markup."""

from typing import Any

from analysis.texts import FILTERS

PAGE_FILE = "index.html"


def template(name: str) -> Any:
    """A template of `templates/`, ready to be rendered."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(name)
