"""The command line.  Data go to stdout, talk to stderr; wrong use ends with status 2, an `error:` and a `hint:`.

One module a topic; a command imports what it needs inside itself, so that `superres --help` answers at once.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from superres._version import __version__
from superres.cli.group import CommandGroup
from superres.cli.inspection import doctor, plugins, schema
from superres.cli.measuring import mtf, resolution
from superres.cli.registering import register
from superres.cli.reproduction import reproduce
from superres.cli.running import check, run
from superres.cli.scoring import cross_tissue, evaluate
from superres.cli.simulation import simulate
from superres.cli.stitching import stitch
from superres.cli.upscaling import upscale

COMMANDS = (
    run, check, simulate, register, stitch, upscale, evaluate, mtf, resolution, cross_tissue, reproduce, plugins,
    schema, doctor,
)
"""In the order of `superres --help`."""

app = typer.Typer(
    name="superres",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Super-resolution bright-field microscopy after Rivenson et al., Optica 2017.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"superres {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and leave")
    ] = False,
) -> None:
    """Super-resolution bright-field microscopy after Rivenson et al., Optica 2017."""


for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Entry point of the `superres` command."""
    # OpenMP's threads, with which torch computes on a CPU, spin between two pieces of work, on processors that others
    # may need: two trainings side by side took twice as long each.  Asleep they cost one that is alone 3 % at most.
    # OpenMP reads it when torch is imported; a program that embeds superres decides for itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    app()
