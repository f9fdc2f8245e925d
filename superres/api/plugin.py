"""What all five kinds of plug-in have in common: a name, and options that describe themselves."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["source", "registrar", "model", "loss", "evaluator"]
KINDS: tuple[Kind, ...] = ("source", "registrar", "model", "loss", "evaluator")


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
