"""What all five kinds of plug-in have in common: a name, and options that describe themselves."""

from __future__ import annotations

import glob
import os
import re
from abc import ABC
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

Kind = Literal["source", "registrar", "model", "loss", "evaluator"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def resolve_path(written: str, base: Path | None = None) -> Path:
    """A path as a user wrote it, made absolute.

    `${NAME}` is replaced by the environment variable and a leading `~` by the home folder.  A relative path is relative
    to base (the folder of the pipeline file; None: the current folder); one that starts with a variable comes from the
    shell and so is relative to the current folder.  Idempotent.  Raises ValueError for a variable that is not set.
    """
    expanded = Path(_VARIABLE.sub(lambda match: _variable(match[1]), written))
    try:
        expanded = expanded.expanduser()
    except RuntimeError as error:
        raise ValueError(f"'{written}': {error}") from None
    return _anchor(written, base) / expanded


def resolve_pattern(written: str, base: Path | None = None) -> str:
    """The same for a glob pattern; folders that come from base or from a variable are taken literally."""
    expanded = _VARIABLE.sub(lambda match: glob.escape(_variable(match[1])), written)
    if expanded == "~" or expanded.startswith("~/"):
        expanded = glob.escape(str(Path.home())) + expanded[1:]
    return os.path.join(glob.escape(str(_anchor(written, base))), expanded)


def _anchor(written: str, base: Path | None) -> Path:
    return Path.cwd() if base is None or _VARIABLE.match(written) else Path.cwd() / base


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"environment variable '{name}' is not set; set it, or write the path instead of ${{{name}}}")
    return value


def _base(info: ValidationInfo) -> Path | None:
    base = (info.context or {}).get("base")
    return None if base is None else Path(base)


def _resolved_path(path: Path, info: ValidationInfo) -> Path:
    return resolve_path(str(path), _base(info))


def _resolved_pattern(pattern: str, info: ValidationInfo) -> str:
    return resolve_pattern(pattern, _base(info))


ResolvedPath = Annotated[Path, AfterValidator(_resolved_path)]
"""Type of an option that names a file or folder: see `resolve_path`; base is the validation context's "base"."""

ResolvedPattern = Annotated[str, AfterValidator(_resolved_pattern)]
"""Type of an option that holds a glob pattern: see `resolve_pattern`."""


class PluginOptions(BaseModel):
    """Base of every plug-in's nested `Options`: unknown keys are errors, values are frozen.

    Give every field a description and a range: `superres schema KIND.NAME` and all error messages are made from them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Plugin(ABC):
    """Base of the five abstract classes.  Subclass one of those, not this.

    name: how a pipeline file calls it, unique within its kind; lower case, words joined by hyphens.
    Options: a nested PluginOptions.  summary: one line for `superres plugins`.
    Constructing a plug-in is cheap: no files, no torch, no computation.
    """

    kind: ClassVar[Kind]
    name: ClassVar[str]
    summary: ClassVar[str] = ""

    class Options(PluginOptions):
        """No options."""

    def __init__(self, options: PluginOptions | None = None, **values: Any) -> None:
        """options: an instance of this class's Options; or give the values by keyword.

        Raises pydantic.ValidationError for unknown keys or values out of range.
        """
        if options is not None and values:
            raise TypeError("give either options or keyword values, not both")
        self.options: Any = options if options is not None else self.Options(**values)
