"""What several commands have in common: arguments, the events of a terminal, and folders that are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def saying_new_folders(*outputs: Path | None) -> Iterator[None]:
    """Around what writes outputs, files or folders: says which folders were made to hold them, for one of them may be a
    slip of the pen.  None: an output that is not wanted."""
    missing = dict.fromkeys(path.parent for path in outputs if path is not None and not path.parent.exists())
    try:
        yield
    finally:
        for folder in missing:
            if folder.is_dir() and os.environ.get("RANK", "0") == "0":  # of several processes the first one talks
                typer.echo(f"note: made the folder '{folder}'", err=True)
