"""`superres simulate`: a virtual scan as folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superres.cli.shared import Overrides, console_events, saying_new_folders
from superres.errors import Cancelled
from superres.events import Progress


def simulate(
    out: Annotated[Path, typer.Option(help="folder to make", show_default=False)],
    pipeline: Annotated[Path | None, typer.Argument(help="pipeline file whose source is simulated")] = None,
    overrides: Overrides = None,
) -> None:
    """Write the virtual scan of a source as folders of images with a positions CSV, as a microscope would."""
    from superres.plan import load_plan, make_plan
    from superres.scan_folder import write_scan_folder
    from superres.stages.acquire import acquired, counted

    plan = (
        load_plan(pipeline, overrides=overrides or ())
        if pipeline
        else make_plan({"source": {"plugin": "simulate"}}, overrides=overrides or (), source="defaults")
    )
    with saying_new_folders(out), console_events(stage="simulate") as events:
        events.progress(Progress("simulate", 0, 1, f"imaging with source '{plan.source.name}'"))
        try:
            acquisition = acquired(plan.source, events)
            events.raise_if_cancelled()
            write_scan_folder(acquisition, out, events)
            events.progress(Progress("simulate", 1, 1, counted(acquisition)))
        except Cancelled as stop:
            raise Cancelled("simulation cancelled; nothing was written", hint="run the same command again") from stop
    typer.echo(str(out))
