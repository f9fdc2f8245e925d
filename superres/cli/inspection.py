"""`superres plugins`, `schema` and `doctor`: what is here, how it is set, and whether it works."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from superres.cli.group import CommandGroup, ForeignCommand, command_findings
from superres.errors import SuperresError


def plugins(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List every plug-in and foreign command, where it comes from, and which packages are broken or clash."""
    from superres.catalog import Catalog, remedy

    catalog = Catalog.discover()
    rows = [
        {"kind": entry.kind, "name": entry.name, "from": entry.label, "summary": entry.plugin.summary}
        for entry in catalog.entries()
    ]
    clashes = [[f"{entry.kind} '{entry.name}' of {entry.owner}" for entry in group] for group in catalog.clashes()]
    broken = [
        {"package": f"{each.distribution} {each.version}", "entry_point": each.entry_point, "reason": each.reason,
         "hint": each.hint}
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
    for names, entries in zip(clashes, catalog.clashes(), strict=True):
        typer.echo(f"clash: {' and '.join(names)} have one name; {remedy(entries)}")
    for each in broken:
        typer.echo(f"broken: {each['package']} ({each['entry_point']}): {each['reason']}"
                   + (f" ({each['hint']})" if each["hint"] else ""))
    for command in foreign:
        if command.problem:
            typer.echo(f"{'clash' if command.clash else 'broken'}: {command.problem}")


def schema(
    plugin: Annotated[str, typer.Argument(metavar="KIND.NAME", help="such as model.rivenson2017", show_default=False)],
) -> None:
    """Print the JSON schema of a plug-in's options."""
    from superres.api.plugin import KINDS
    from superres.catalog import Catalog

    kind, _, name = plugin.partition(".")
    if kind not in KINDS or not name:
        raise SuperresError(
            f"'{plugin}' is not KIND.NAME", hint=f"KIND is one of {', '.join(KINDS)}; for example model.rivenson2017"
        )
    entry = Catalog.discover().entry(kind, name)
    typer.echo(json.dumps(entry.plugin.Options.model_json_schema(), indent=2, ensure_ascii=False))


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
