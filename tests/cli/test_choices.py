"""What commands let a user choose is what the code behind them takes: the names stand twice, for a quick --help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

from superres.cli.reproduction import reproduce
from superres.cli.running import run
from superres.cli.upscaling import upscale
from superres.config import STAGES, Precision
from superres.inference.engines import EngineName
from superres.measuring.reproduction import Item


def choices(command: Callable[..., None], option: str) -> tuple[Any, ...]:
    """Of an option of a command, whose type is a Literal, or that or None."""
    parts = get_args(get_type_hints(command)[option])
    values = (value for part in parts for value in (get_args(part) or (part,)))
    return tuple(value for value in values if value is not type(None))


@pytest.mark.parametrize(("command", "option", "taken"), [
    (run, "until", STAGES),
    (upscale, "engine", get_args(EngineName)),
    (upscale, "precision", get_args(Precision)),
    (reproduce, "table", tuple(item for item in get_args(Item) if not item.startswith("figure-"))),
    (reproduce, "figure", tuple(item.removeprefix("figure-") for item in get_args(Item) if item.startswith("figure-"))),
])
def test_an_option_offers_what_is_taken(command: Callable[..., None], option: str, taken: tuple[str, ...]) -> None:
    assert choices(command, option) == taken
