"""`superres reproduce`: the paper's tables and figures on the virtual microscope, or on one's own pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from superres.cli.measuring import print_page
from superres.cli.scoring import BlackLevel, Device, WhiteLevel, weights_names, weights_of
from superres.cli.shared import console_events
from superres.cli.words import for_pairs, in_words
from superres.errors import SuperresError

if TYPE_CHECKING:
    from superres.measuring.reproduction import Item

Table = Literal["S1", "S2", "S3", "S4"]
Figure = Literal["S4", "S6", "S7", "S9"]


def reproduce(
    where: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WHERE...]", help="a folder of registered pairs, or scenes, for S1, S6, S7 and S9; "
                                                  "default: a drawn H&E section, builtin:tissue"),
    ] = None,
    table: Annotated[Table | None, typer.Option(help="table of the supplement")] = None,
    figure: Annotated[Figure | None, typer.Option(help="figure of the supplement")] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="default: those that come with superres; several for S9")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="folder of a finished run: its weights and its history")] = None,
    sides: Annotated[str, typer.Option(help="sides of Table S3's inputs in px")] = "160,818",
    device: Device = "auto",
    white_level: WhiteLevel = None,
    black_level: BlackLevel = 0.0,
    page: Annotated[Path | None, typer.Option(help="HTML page to write; default: reproduce-ITEM.html")] = None,
) -> None:
    """Run our counterpart of one of the paper's tables or figures, and print both side by side."""
    from superres.engine import Engine
    from superres.measuring.reproduction import DEFAULT_SUBJECT, PAIRED, Subject, require
    from superres.measuring.reproduction import reproduce as run_item
    from superres.measuring.scoring import load_pairs

    if (table is None) == (figure is None):
        raise SuperresError("name either a table or a figure", hint="for example --table S1, or --figure S6")
    if run is not None and not (run / "weights.safetensors").is_file():
        raise SuperresError(f"'{run}' has no weights.safetensors: it is no finished run",
                            hint="give the folder that `superres run` wrote")
    files: list[Path | None] = list(weights or []) or ([run / "weights.safetensors"] if run is not None else [None])
    if not all(part.strip().isdigit() and int(part) > 0 for part in sides.split(",")):
        raise SuperresError(f"--sides is '{sides}'; expected numbers of pixels", hint="such as --sides 160,818,2048")
    item, label = cast("Item", table or f"figure-{figure}"), f"Table {table}" if table else f"Fig. {figure}"
    require(item, len(files), run)
    read = {name: weights_of(path) for name, path in zip(weights_names(files), files, strict=True)}
    with in_words(for_pairs), console_events() as events:
        pairs = load_pairs(where or DEFAULT_SUBJECT, white_level, black_level) if item in PAIRED else None
        if where and pairs is None:
            events.note("reproduce", f"{', '.join(where)}: not looked at; {label} is not made of images")
        engines = {name: Engine.from_weights(each, device) for name, each in read.items()}
        subject = Subject(engines, pairs, run, tuple(int(part) for part in sides.split(",")))
        made = run_item(item, subject, events)
    name = f"table-{table}" if table else f"figure-{figure}"
    print_page(made, page or Path(f"reproduce-{name}.html"))
