"""What several commands have in common: arguments and the events of a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from superres.cli.console import ConsoleEvents

PipelineFile = Annotated[Path, typer.Argument(help="pipeline file (TOML)", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a value, e.g. train.steps=100")
]


def console_events(words: Callable[[str], str] = str, stage: str = "") -> ConsoleEvents:
    """Progress and Ctrl-C of a terminal; use as a context manager.  words, stage: see ConsoleEvents."""
    from superres.cli.console import ConsoleEvents

    return ConsoleEvents(words, stage)
