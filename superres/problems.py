"""What pydantic finds wrong with a table, as problems with TOML paths and suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from superres.errors import Problem


def problems_of(error: ValidationError, prefix: str, schema: type[BaseModel]) -> list[Problem]:
    """A validation error as problems with TOML paths, and for unknown keys the nearest known ones.

    prefix: path of the table that was validated, "" for the whole file.  schema: what it was validated by.
    """
    found = []
    for item in error.errors(include_url=False):
        place = prefix
        for part in item["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        message, hint = item["msg"].removeprefix("Value error, "), ""
        if item["type"] == "extra_forbidden":
            known = _keys_at(schema, item["loc"][:-1])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            message = "unknown key"
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known) or 'none'}"
        elif item["type"] == "missing":
            message = "missing"
        elif item["type"] != "value_error":
            message = f"{message}, not {item['input']!r}"
        found.append(Problem(place or "pipeline", message[0].lower() + message[1:], hint))
    return found


def _keys_at(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys of the table at a location inside nested models."""
    current: type[BaseModel] | None = schema
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        fields = {field.alias or name: field for name, field in current.model_fields.items()}
        current = _model_in(fields[part].annotation) if part in fields else None
    return [field.alias or name for name, field in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)
