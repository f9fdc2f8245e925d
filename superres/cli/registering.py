"""`superres register`: stitch and register a scan, and see how good it is, without training anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from superres.cli.shared import Overrides, console_events, saying_new_folders
from superres.cli.words import for_a_scan, in_words

TAKES = "a pipeline file (TOML), or a folder with coarse/<slide>/ and fine/<slide>/"
SCALE = re.compile(r"([1-9]\d*)(?:/([1-9]\d*))?")


def register(
    scan: Annotated[Path, typer.Argument(
        help=TAKES, show_default=False)],
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
    given = [*(overrides or ()), *([f'run.output="{out.as_posix()}"'] if out else ())]
    if scan.is_dir():
        with in_words(for_a_scan):
            tables = _tables(scan, coarse_pixel_size, fine_pixel_size, scale)
            summary = _registered(tables, str(scan), given, words=for_a_scan)
        typer.echo(for_a_scan(summary))
    else:
        typer.echo(_registered(read_pipeline(scan), str(scan), given, scan.resolve().parent))


def _registered(tables: dict[str, Any], source: str, overrides: list[str], base: Path | None = None,
                words: Callable[[str], str] = str) -> str:
    """Run to the end of the register stage; what is to be said of it.  words: for what is said meanwhile."""
    from superres.pipeline import Pipeline
    from superres.plan import make_plan

    plan = make_plan(tables, base=base, overrides=overrides, source=source)
    with saying_new_folders(plan.output), console_events(words) as events:
        return Pipeline(plan, events=events).run(until="register").registration_summary()


def read_pipeline(pipeline: Path, command: str = "superres register", takes: str = TAKES) -> dict[str, Any]:
    """Raises ConfigError for what is neither a pipeline file nor a folder.  takes: what to give instead."""
    from superres.config import read_toml
    from superres.errors import ConfigError, Problem
    from superres.io.images import IMAGE_SUFFIXES

    problem = "no such file or folder" if not pipeline.exists() else (
        "is an image, not a scan" if pipeline.name.lower().endswith(IMAGE_SUFFIXES) else "")
    if problem:
        raise ConfigError((Problem(str(pipeline), problem, f"give {takes}"),), source=command)
    return read_toml(pipeline)


def _tables(folder: Path, coarse_um: float | None, fine_um: float | None, scale: str) -> dict[str, Any]:
    """What a pipeline file would say about these folders.  Raises ConfigError for a scale that is none."""
    from superres.errors import ConfigError, Problem

    ratio = SCALE.fullmatch(scale)
    if ratio is None:
        raise ConfigError((Problem("--scale", f"'{scale}' is not a ratio of whole numbers from 1 on",
                                   "write 5/2, or 2"),), source=str(folder))
    sizes = {"coarse_pixel_size_um": coarse_um, "fine_pixel_size_um": fine_um}
    options = {"folder": str(folder.resolve())} | {name: size for name, size in sizes.items() if size is not None}
    return {
        "run": {"output": f"runs/register-{folder.resolve().name}"},
        "source": {"plugin": "acquisition", "options": options},
        "model": {"plugin": "bicubic", "options": {"up": int(ratio[1]), "down": int(ratio[2] or 1)}},
        "split": {"test": 0, "validation": 0},
    }
