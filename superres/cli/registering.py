"""`superres register`: stitch and register a scan, and see how good it is, without training anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from superres.cli.shared import Overrides, console_events

SCALE = re.compile(r"([1-9]\d*)(?:/([1-9]\d*))?")


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
    given = [*(overrides or ()), *([f'run.output="{out.as_posix()}"'] if out else ())]
    if scan.is_dir():
        with in_words_of_the_command():
            tables = _tables(scan, coarse_pixel_size, fine_pixel_size, scale)
            summary = _registered(tables, str(scan), given, words=for_the_command)
        typer.echo(for_the_command(summary))
    else:
        typer.echo(_registered(read_pipeline(scan), str(scan), given, scan.resolve().parent))


def _registered(tables: dict[str, Any], source: str, overrides: list[str], base: Path | None = None,
                words: Callable[[str], str] = str) -> str:
    """Run to the end of the register stage; what is to be said of it.  words: for what is said meanwhile."""
    from superres.pipeline import Pipeline
    from superres.plan import make_plan

    plan = make_plan(tables, base=base, overrides=overrides, source=source)
    with console_events(words) as events:
        return Pipeline(plan, events=events).run(until="register").registration_summary()


def read_pipeline(pipeline: Path, command: str = "superres register") -> dict[str, Any]:
    """Raises ConfigError for what is neither a pipeline file nor a folder."""
    from superres.config import read_toml
    from superres.errors import ConfigError, Problem

    if not pipeline.exists():
        raise ConfigError((Problem(str(pipeline), "no such file or folder", "give a pipeline file (TOML), or a folder "
                                   "with coarse/<slide>/ and fine/<slide>/"),), source=command)
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


@contextmanager
def in_words_of_the_command() -> Iterator[None]:
    """Errors speak of keys of a pipeline file; who gave folders has none, but can set the same keys on the command."""
    from superres.errors import ConfigError, Problem, SuperresError

    try:
        yield
    except ConfigError as error:
        problems = tuple(Problem("--scale" if re.fullmatch(r"model\.options(\.up|\.down)?", each.where) else each.where,
                                 for_the_command(each.message), for_the_command(each.hint))
                         for each in error.problems)
        raise ConfigError(problems, source=error.message.partition(": ")[0]) from error
    except SuperresError as error:
        error.message, error.hint = for_the_command(error.message), for_the_command(error.hint)
        raise


def for_the_command(text: str) -> str:
    """`set source.options.white_level = 4095` as `give --set source.options.white_level=4095`."""
    text = text.replace("or set model.options up and down", "or give --scale")
    text = text.replace("with --set run.output=...", "with --out").replace("pixel sizes in [source]", "pixel sizes")
    text = re.sub(r"(?:(?:\bset )?source\.options\.|\b)(coarse|fine)_pixel_size_um", r"--\1-pixel-size", text)
    key, value = r"((?:source|register)\.[\w.]*\w)", r"""["']?([^\s"',;:()]+(?:,[^\s"',;:()]+)?)["']?"""
    return re.sub(rf"(?<!-)\bset {key}(?: = {value})?",
                  lambda found: f"give --set {found[1]}={found[2] or '...'}", text)
