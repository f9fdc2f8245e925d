"""`--set key.path=value`: values written over those of a pipeline file."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from superres.errors import Problem

_VALUE = r"""["']?([^\s"',;:()]+(?:,[^\s"',;:()]+)?)["']?"""
SET_KEY = re.compile(rf"(?<!-)\bset ((?:source|register)\.[\w.]*\w)(?: = {_VALUE})?")
"""What a hint says to set in a pipeline file: the key, and its value where it names one."""


def as_option(found: re.Match[str]) -> str:
    """A match of SET_KEY as a command takes it."""
    return f"--set {found[1]}={found[2] or '...'}"


def override_key(text: str) -> str:
    """The key of `key.path=value`."""
    return text.partition("=")[0].strip()


def override(tables: dict[str, Any], text: str) -> Problem | None:
    """Write one `key.path=value` into the tables; returns what is wrong with it, if anything."""
    key, separator, value = text.partition("=")
    parts = [part for part in re.split(r"[.\[\]]+", key.strip()) if part]
    if not separator or not parts:
        return Problem(f"--set {text}", "expected key=value", "for example --set train.steps=100")
    *parents, last = parts
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    place: Any = tables
    for part in parents:
        if isinstance(place, list):
            if not part.isdecimal() or int(part) >= len(place):
                return Problem(
                    f"--set {text}",
                    f"there is no entry '{part}' in a list of {len(place)}",
                    "entries are counted from 0",
                )
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            return Problem(f"--set {text}", f"'{part}' lies below a value that is no table")
    if not isinstance(place, dict):
        return Problem(
            f"--set {text}",
            f"'{last}' lies below something that is no table",
            "an entry of a list has a number: loss.0.factor=3" if isinstance(place, list) else "",
        )
    place[last] = parsed
    return None
