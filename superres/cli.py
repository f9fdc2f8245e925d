"""The command line.  Data go to stdout, talk to stderr; wrong use ends with status 2, an `error:` and a `hint:`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from superres._version import __version__
from superres.commands import CommandGroup, ForeignCommand, command_findings
from superres.errors import Cancelled, SuperresError

app = typer.Typer(
    name="superres",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Super-resolution bright-field microscopy after Rivenson et al., Optica 2017.",
)

PipelineFile = Annotated[Path, typer.Argument(help="pipeline file (TOML)", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a value, e.g. train.steps=100")
]
StageName = Literal["acquire", "register", "train", "infer", "evaluate", "report"]


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


@app.command()
def run(
    pipeline: PipelineFile,
    until: Annotated[StageName, typer.Option(help="stop after this stage")] = "report",
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="go on where an earlier run stopped, or start anew")
    ] = True,
    overrides: Overrides = None,
) -> None:
    """Acquire, register, train, super-resolve, evaluate and write the report."""
    from superres.pipeline import Pipeline
    from superres.plan import load_plan

    plan = load_plan(pipeline, overrides=overrides or ())
    with _console_events() as events:
        result = Pipeline(plan, events=events).run(until=until, resume=resume)
    typer.echo(result.summary())


@app.command()
def check(
    pipeline: PipelineFile,
    overrides: Overrides = None,
) -> None:
    """Find every mistake in a pipeline file and print the resolved plan as JSON, without reading an image."""
    from superres.plan import load_plan

    plan = load_plan(pipeline, overrides=overrides or ())
    typer.echo(json.dumps(plan.resolved(), indent=2, ensure_ascii=False))


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="folder to make", show_default=False)],
    pipeline: Annotated[Path | None, typer.Argument(help="pipeline file whose [source] is simulated")] = None,
    overrides: Overrides = None,
) -> None:
    """Write the virtual scan of a source as folders of images with a positions CSV, as a microscope would."""
    from superres.plan import load_plan, make_plan
    from superres.scan_folder import write_scan_folder

    plan = (
        load_plan(pipeline, overrides=overrides or ())
        if pipeline
        else make_plan({"source": {"plugin": "simulate"}}, overrides=overrides or (), source="defaults")
    )
    with _console_events() as events:
        events.note("simulate", f"imaging with source '{plan.source.name}'")
        try:
            acquisition = plan.source.acquire()
            events.raise_if_cancelled()
            write_scan_folder(acquisition, out, events)
        except Cancelled as stop:
            raise Cancelled("simulation cancelled; nothing was written", hint="run the same command again") from stop
    typer.echo(str(out))


@app.command()
def upscale(
    image: Annotated[Path, typer.Argument(metavar="INPUT", help="image file", show_default=False)],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help=".tif or .png to write", show_default=False)],
    weights: Annotated[Path, typer.Option(help="weights.safetensors of a run", show_default=False)],
    passes: Annotated[int, typer.Option(min=1, max=4, help="feed the output back this many times in all")] = 1,
    engine: Annotated[Literal["auto", "torch", "native", "openvino"], typer.Option(help="what computes")] = "auto",
    precision: Annotated[Literal["exact", "fast"], typer.Option(help="fast: bfloat16 on a CPU")] = "exact",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    pixel_size_um: Annotated[float | None, typer.Option(help="of the input, where the file does not say")] = None,
    white_level: Annotated[float | None, typer.Option(help="stored value of white, such as 4095 for 12 bits")] = None,
) -> None:
    """Super-resolve one image of any size with trained weights."""
    from superres.engine import Engine
    from superres.upscaling import Sampling, upscale_file

    loaded = Engine.load(weights, device=device, engine=engine, precision=precision)
    with _console_events() as events:
        events.note("upscale", str(loaded.describe()))
        upscale_file(loaded, image, output, Sampling(pixel_size_um, white_level), passes=passes, events=events)
    typer.echo(str(output))


@app.command()
def plugins(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List every plug-in and foreign command, where it comes from, and which packages are broken or clash."""
    from superres.catalog import Catalog

    catalog = Catalog.discover()
    rows = [
        {"kind": entry.kind, "name": entry.name, "from": entry.label, "summary": entry.plugin.summary}
        for entry in catalog.entries()
    ]
    clashes = [[f"{entry.kind} '{entry.name}' of {entry.label}" for entry in group] for group in catalog.clashes()]
    broken = [
        {"package": f"{each.distribution} {each.version}", "entry_point": each.entry_point, "reason": each.reason}
        for each in catalog.broken
    ]
    foreign = _foreign_commands(ctx)
    commands = [{"name": each.name, "from": each.label, "problem": each.problem} for each in foreign]
    if as_json:
        found = {"plugins": rows, "clashes": clashes, "broken": broken, "commands": commands}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        typer.echo(f"{row['kind']:<10} {row['name']:<{width}}  {row['from']:<22} {row['summary']}")
    for command in foreign:
        if not command.problem:
            typer.echo(f"{'command':<10} {command.name:<{width}}  {command.label}")
    for group in clashes:
        typer.echo("clash: " + " and ".join(group) + " have one name; uninstall one")
    for each in broken:
        typer.echo(f"broken: {each['package']} ({each['entry_point']}): {each['reason']}")
    for command in foreign:
        if command.problem:
            typer.echo(f"{'clash' if command.clash else 'broken'}: {command.problem}")


@app.command()
def schema(
    plugin: Annotated[str, typer.Argument(metavar="KIND.NAME", help="such as model.rivenson2017", show_default=False)],
) -> None:
    """Print the JSON schema of a plug-in's options."""
    from superres.api.plugin import KINDS
    from superres.catalog import Catalog

    kind, _, name = plugin.partition(".")
    if kind not in KINDS or not name:
        _fail(f"'{plugin}' is not KIND.NAME", f"KIND is one of {', '.join(KINDS)}; for example model.rivenson2017")
    entry = Catalog.discover().entry(kind, name)
    typer.echo(json.dumps(entry.plugin.Options.model_json_schema(), indent=2, ensure_ascii=False))


@app.command()
def doctor(ctx: typer.Context) -> None:
    """Say what hardware, libraries and engine will be used here, and why; point at what is wrong."""
    from superres.diagnosis import diagnose

    findings = diagnose() + command_findings(_foreign_commands(ctx))
    for finding in findings:
        typer.echo(f"{finding.state:<7} {finding.subject:<18} {finding.text}")
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def _foreign_commands(ctx: typer.Context) -> tuple[ForeignCommand, ...]:
    group = ctx.find_root().command
    return group.foreign if isinstance(group, CommandGroup) else ()


def _console_events() -> Any:
    from superres.console import ConsoleEvents

    return ConsoleEvents()


def _fail(message: str, hint: str) -> NoReturn:
    raise SuperresError(message, hint=hint)


def main() -> None:
    """Entry point of the `superres` command."""
    app()
