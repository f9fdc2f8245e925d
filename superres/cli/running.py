"""`superres run` and `superres check`: a pipeline file, carried out or only read."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from superres.cli.shared import Overrides, PipelineFile, console_events, saying_new_folders

StageName = Literal["acquire", "register", "train", "infer", "evaluate", "report"]
"""Those of config.Stage: `superres --help` need not wait for pydantic."""


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
    with saying_new_folders(plan.output), console_events() as events:
        result = Pipeline(plan, events=events).run(until=until, resume=resume)
    if result.stages:  # a process that only helped another one to train has nothing to say
        typer.echo(result.summary())


def check(
    pipeline: PipelineFile,
    overrides: Overrides = None,
) -> None:
    """Find every mistake in a pipeline file and print the resolved plan as JSON, without reading an image."""
    from superres.diagnosis import missing_here
    from superres.plan import load_plan

    plan = load_plan(pipeline, overrides=overrides or ())
    for each in missing_here(plan):
        typer.echo(f"note: {each}; `superres run` would stop on this machine", err=True)
    typer.echo(json.dumps(plan.resolved(), indent=2, ensure_ascii=False))
