"""The templates of all pages, and their dress."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from superres.report import encoding

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Escapes every string, and refuses a name that the data lack."""
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters.update(picture=encoding.picture_uri)
    return made


def asset(name: str) -> Markup:
    """The package's own CSS or script, to stand in a page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
