"""`superres register`: stitch and register a scan, and see how good it is, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from superres.cli.shared import Overrides, console_events


def register(
    scan: Annotated[Path, typer.Argument(
        help="a pipeline file (TOML), or a folder with coarse/<slide>/ and fine/<slide>/", show_default=False)],
    out: Annotated[Path | None, typer.Option(
        help="run folder; default: that of the pipeline file, or runs/register-NAME", show_default=False)] = None,
    coarse_pixel_size: Annotated[float | None, typer.Option(
        help="µm per coarse pixel, where files and scan.json do not say", show_default=False)] = None,
    fine_pixel_size: Annotated[float | None, typer.Option(
        help="µm per fine pixel", show_default=False)] = None,
    scale: Annotated[str, typer.Option(help="L = up/down of the pairs, for folders")] = "5/2",
    overrides: Overrides = None,
) -> None:
    """Stitch the coarse tiles, find and refine the fine fields, cut the pairs, and write registration.html.

    The pairs stay in the run folder; `superres run` on the same pipeline file and folder goes on from them.
    """
    from superres.pipeline import Pipeline
    from superres.plan import load_plan, make_plan

    given = [*(overrides or ()), *([f'run.output="{out.as_posix()}"'] if out else ())]
    if scan.is_dir():
        plan = make_plan(_tables(scan, coarse_pixel_size, fine_pixel_size, scale), overrides=given, source=str(scan))
    else:
        plan = load_plan(scan, overrides=given)
    with console_events() as events:
        result = Pipeline(plan, events=events).run(until="register")
    typer.echo(result.registration_summary())


def _tables(folder: Path, coarse_um: float | None, fine_um: float | None, scale: str) -> dict[str, Any]:
    """What a pipeline file would say about these folders.  Raises ConfigError for a scale that is none."""
    from superres.errors import ConfigError, Problem

    up, _, down = scale.partition("/")
    if not (up.isdigit() and (down or "1").isdigit()):
        raise ConfigError((Problem("--scale", f"'{scale}' is not a ratio of whole numbers", "write 5/2, or 2"),),
                          source=str(folder))
    sizes = {"coarse_pixel_size_um": coarse_um, "fine_pixel_size_um": fine_um}
    options = {"folder": str(folder.resolve())} | {name: size for name, size in sizes.items() if size is not None}
    return {
        "run": {"output": f"runs/register-{folder.resolve().name}"},
        "source": {"plugin": "acquisition", "options": options},
        "model": {"plugin": "bicubic", "options": {"up": int(up), "down": int(down or 1)}},
        "split": {"test": 0, "validation": 0},
    }
