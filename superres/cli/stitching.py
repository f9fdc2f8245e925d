"""`superres stitch`: coarse tiles become one mosaic, without fine fields and without a pipeline."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from superres.cli.registering import read_pipeline
from superres.cli.shared import Overrides, console_events, saying_new_folders
from superres.cli.words import for_tiles, in_words

TAKES = "a folder of tiles, or with coarse/<slide>/ or a folder a slide in it, or a pipeline file (TOML)"


def stitch(
    scan: Annotated[Path, typer.Argument(
        help=TAKES, show_default=False)],
    out: Annotated[Path | None, typer.Option(
        help="folder for what comes out; default: runs/stitch-NAME", show_default=False)] = None,
    coarse_pixel_size: Annotated[float | None, typer.Option(
        help="µm per pixel, where files and scan.json do not say", show_default=False)] = None,
    positions: Annotated[Path | None, typer.Option(
        help="table with file and y_um, x_um (or y_px, x_px, or row, column); default: positions.csv of the folder, "
        "else the files' metadata, else all tiles are compared with all", show_default=False)] = None,
    mosaic: Annotated[bool, typer.Option(help="write the stitched image of each slide")] = True,
    overrides: Overrides = None,
) -> None:
    """Stitch coarse tiles: mosaics/SLIDE.tif, positions.csv with the places of the tiles, and stitching.html."""
    from superres.plan import make_plan
    from superres.stages.acquire import acquired
    from superres.stitching import stitch_scans

    given, of_folder = list(overrides or ()), scan.is_dir()
    with in_words(for_tiles) if of_folder else nullcontext():
        tables = (_tables(scan, coarse_pixel_size, positions) if of_folder
                  else _without_fields(read_pipeline(scan, "superres stitch", TAKES)))
        plan = make_plan(tables, base=None if of_folder else scan.resolve().parent, overrides=given, source=str(scan))
        folder = out if out is not None else Path("runs") / f"stitch-{_name(scan.resolve())}"
        with saying_new_folders(folder), console_events(for_tiles if of_folder else str) as events:
            stitched = stitch_scans(acquired(plan.source, events), plan.registrar, folder, events, with_mosaics=mosaic)
        typer.echo(stitched.summary())
        if stitched.shortfall is not None:
            raise stitched.shortfall


def _name(scan: Path) -> str:
    return scan.name if scan.is_dir() else scan.stem


def _tables(folder: Path, pixel_um: float | None, positions: Path | None) -> dict[str, Any]:
    """What a pipeline file would say of a folder of tiles."""
    options: dict[str, Any] = {"folder": str(folder.resolve()), "fine": [], **_layout(folder)}
    if pixel_um is not None:
        options["coarse_pixel_size_um"] = pixel_um
    if positions is not None:
        options |= {"positions": "csv", "positions_csv": str(positions.resolve())}
    return {"run": {"output": "unused"}, "source": {"plugin": "acquisition", "options": options},
            "model": {"plugin": "bicubic"}}


def _layout(folder: Path) -> dict[str, Any]:
    """Where the tiles lie: as for `superres register`, all in the folder itself, or a folder a slide."""
    from superres.io.images import IMAGE_SUFFIXES

    def images(pattern: str) -> bool:
        return any(path.name.lower().endswith(IMAGE_SUFFIXES) for path in folder.glob(pattern))

    if images("coarse/*/*"):
        return {}
    if images("*"):
        return {"coarse": "*", "slide_from": "one"}
    if images("coarse/*"):
        return {"coarse": "coarse/*", "slide_from": "one"}
    return {"coarse": "*/*"}


def _without_fields(tables: dict[str, Any]) -> dict[str, Any]:
    """A pipeline whose fine files, if its source reads any, are left alone."""
    source = tables.get("source")
    if not isinstance(source, dict) or source.get("plugin") != "acquisition":
        return tables
    return tables | {"source": source | {"options": {**source.get("options", {}), "fine": []}}}
