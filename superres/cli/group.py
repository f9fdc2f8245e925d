"""The group of commands: commands that other packages bring, and errors as two lines and a status."""

from __future__ import annotations

import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from superres.errors import Cancelled, PluginError, SuperresError

if TYPE_CHECKING:
    from superres.diagnosis import Finding

COMMANDS_GROUP = "superres.commands"
TRACEBACK_VARIABLE = "SUPERRES_TRACEBACK"
WRONG_USE, INTERRUPTED = 2, 130
STAGED = ("run", "register")
"""Commands that go on from the stages that an earlier call of them finished; others begin anew."""
OPENCV_HINT = (
    "install the system library libgl1, or replace opencv-contrib-python by opencv-contrib-python-headless, "
    "which holds the same modules"
)


@dataclass(frozen=True)
class ForeignCommand:
    """A command of another package, from its entry point in the group superres.commands.  Not imported yet.

    distribution, version: of the package.  clash: why the name cannot be used, "" where it can.
    """

    point: metadata.EntryPoint
    distribution: str
    version: str
    clash: str = ""

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def label(self) -> str:
        return f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import it: a function with typer's annotations, or a typer.Typer.  Raises PluginError for anything else, for
        a package that cannot be imported, and for a name that clashes."""
        if self.clash:
            raise PluginError(f"command '{self.name}' of {self.label} {self.clash}", hint="uninstall one of the two")
        try:
            loaded = self.point.load()
            if not isinstance(loaded, typer.Typer):
                alone = typer.Typer(add_completion=False)
                alone.command(self.name)(loaded)
                loaded = alone
            command = get_command(loaded)
        # A foreign import may raise anything, SystemExit included; the other commands must go on working.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"command '{self.name}' of {self.label} is broken: {type(error).__name__}: {error}",
                hint=f"update or uninstall {self.distribution}",
            ) from error
        command.name = self.name
        return command

    @cached_property
    def problem(self) -> str:
        """What is wrong with it, or "".  Imports it."""
        try:
            self.load()
        except PluginError as error:
            return error.message
        return ""


class CommandGroup(TyperGroup):
    """superres and its commands; those of other packages are imported when they are called, not to be listed.

    Turns the project's errors and wrong use into two lines and a status.
    """

    @cached_property
    def foreign(self) -> tuple[ForeignCommand, ...]:
        """Commands of other packages, by name; those that cannot be called too."""
        points = metadata.entry_points(group=COMMANDS_GROUP)
        return tuple(_foreign(sorted(points, key=lambda point: (point.name, point.value)), self.commands))

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *dict.fromkeys(each.name for each in self._callable())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A foreign command comes as a name with a line of help: nothing of its package is imported."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        named = [each for each in self._callable() if each.name == cmd_name]
        owners = " and ".join(each.label for each in named)
        return TyperCommand(cmd_name, help=f"from {owners}") if named else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in self.commands:
            return name, command, rest
        return name, next(each for each in self._callable() if each.name == name).load(), rest

    def _callable(self) -> Iterator[ForeignCommand]:
        """All but those of a name that superres itself has."""
        return (each for each in self.foreign if each.name not in self.commands)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            status = super().main(*args, **{**extra, "standalone_mode": False})
        except TyperException as error:
            text = error.format_message() if hasattr(error, "format_message") else str(error)
            if not text:  # a bare `superres` has printed its help already
                sys.exit(WRONG_USE)
            text = text.replace("Value error, ", "")
            _leave(WRONG_USE, "error", text, "`superres --help` and `superres COMMAND --help` list what there is")
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Cancelled as stop:
            _leave(INTERRUPTED, "stopped", stop.message, stop.hint)
        except KeyboardInterrupt:
            kept = "; stages that are finished are not done again" if ctx.invoked_subcommand in STAGED else ""
            _leave(INTERRUPTED, "stopped", "interrupted", f"run the same command again{kept}")
        except SuperresError as error:
            _leave(WRONG_USE, "error", error.message, error.hint)
        except ImportError as error:
            if "libGL" not in str(error):
                raise
            _leave(WRONG_USE, "error", f"OpenCV cannot be loaded: {error}", OPENCV_HINT)


def command_findings(commands: Iterable[ForeignCommand]) -> tuple[Finding, ...]:
    """What `doctor` says about commands of other packages.  Imports them."""
    from superres.diagnosis import Finding

    return tuple(
        Finding("note", "command", each.problem)
        if each.problem
        else Finding("ok", "command", f"'{each.name}' of {each.label}")
        for each in commands
    )


def _foreign(points: Iterable[metadata.EntryPoint], own: Iterable[str]) -> Iterator[ForeignCommand]:
    found = [ForeignCommand(point, *_distribution(point)) for point in points]
    count = Counter(each.name for each in found)
    for each in found:
        clash = ""
        if each.name in own:
            clash = "has the name of a command of superres itself"
        elif count[each.name] > 1:
            others = " and ".join(other.label for other in found if other.name == each.name and other != each)
            clash = f"has the name of a command of {others}"
        yield ForeignCommand(each.point, each.distribution, each.version, clash)


def _distribution(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else (point.value, "?")


def _leave(status: int, kind: str, message: str, hint: str) -> NoReturn:
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exc()
    lines = [f"{kind}: {message}", *([f"hint: {hint}"] if hint else []), *_torchrun_note()]
    typer.echo("\n".join(lines), err=True)
    sys.exit(status)


def _torchrun_note() -> list[str]:
    """torchrun prints a traceback of its own when a process of it ends with an error; that cannot be prevented."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return []
    rank, count = os.environ.get("RANK", "?"), os.environ.get("WORLD_SIZE", "?")
    return [f"note: process {rank} of {count} says so; the traceback that torchrun prints next is its own, and has no "
            "other reason"]
