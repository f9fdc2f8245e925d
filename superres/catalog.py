"""Catalog: every plug-in that is installed here, found through pluggy entry points.  A value, not a global."""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Self

import pluggy
from pydantic import PydanticUserError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from superres import hookspecs
from superres._version import __version__
from superres.api.evaluator import Evaluator
from superres.api.loss import Loss
from superres.api.model import Model
from superres.api.plugin import KINDS, Kind, Plugin, PluginOptions
from superres.api.registrar import Registrar
from superres.api.source import Source
from superres.errors import PluginError

ENTRY_POINT_GROUP = "superres"

_BASES: dict[Kind, type[Plugin]] = {
    "source": Source,
    "registrar": Registrar,
    "model": Model,
    "loss": Loss,
    "evaluator": Evaluator,
}
_HOOKS: dict[Kind, str] = {
    "source": "superres_sources",
    "registrar": "superres_registrars",
    "model": "superres_models",
    "loss": "superres_losses",
    "evaluator": "superres_evaluators",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Entry:
    """One plug-in class and the distribution that brought it."""

    plugin: type[Plugin]
    distribution: str
    version: str

    @property
    def kind(self) -> Kind:
        return self.plugin.kind

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def label(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def owner(self) -> str:
        """Package and class."""
        return f"{self.label} ({self.plugin.__module__}.{self.plugin.__qualname__})"


@dataclass(frozen=True)
class BrokenPackage:
    """A package whose entry point could not be loaded, and why.  Everything else goes on without it.

    hint: what its author can do, or the line of the package that raised; "" where neither is known.
    """

    distribution: str
    version: str
    entry_point: str
    reason: str
    hint: str = ""


class _StrictSchema(GenerateJsonSchema):
    """What pydantic would only warn of, such as a default that JSON cannot hold, is refused."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        raise PydanticInvalidForJsonSchema(detail)


class Catalog:
    """Plug-in classes by kind and name.

    `discover()` holds the built-ins and all installed packages; `empty()` holds nothing; `register(obj)` adds the
    hooks of a module or object, as an entry point would.  Two classes of one kind and name: asking for that name is
    an error that names both distributions; all other names work.
    """

    def __init__(self, entries: Iterable[Entry] = (), broken: Iterable[BrokenPackage] = ()) -> None:
        self._entries: list[Entry] = list(entries)
        self._broken: list[BrokenPackage] = list(broken)

    @classmethod
    def empty(cls) -> Self:
        return cls()

    @classmethod
    def builtin(cls) -> Self:
        """The built-ins alone, whatever else is installed."""
        from superres.builtin import hooks

        catalog = cls()
        catalog.register(hooks, distribution="superres", version=__version__)
        return catalog

    @classmethod
    def discover(cls) -> Self:
        """The built-ins, then every installed package of the entry-point group `superres`, loaded one by one."""
        catalog = cls.builtin()
        points = sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value))
        for point in points:
            distribution = point.dist.name if point.dist else point.value
            version = point.dist.version if point.dist else "?"
            try:
                catalog.register(point.load(), distribution=distribution, version=version)
            # A foreign import may raise anything, SystemExit included; the package is reported, the others go on.
            except (Exception, SystemExit) as error:
                catalog._broken.append(
                    BrokenPackage(distribution, version, f"{point.name} = {point.value}",
                                  _reason(error).removeprefix(f"{distribution}: "), _hint(error))
                )
        return catalog

    def register(self, hooks: Any, *, distribution: str = "", version: str = "") -> None:
        """Add the classes that the hooks of a module or object return.

        Raises PluginError if the object implements no hook, misspells one, or returns something else than concrete
        classes of the right kind with a name, and Options that JSON can describe; then nothing of it is added.
        """
        label = distribution or getattr(hooks, "__name__", type(hooks).__name__)
        # A manager of its own for each package: a hook that raises cannot take the others' results with it.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        try:
            manager.register(hooks)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"{label}: {error}", hint=f"the hooks are {', '.join(_HOOKS.values())}") from error
        if not manager.get_hookcallers(hooks):
            raise PluginError(
                f"{label} implements no superres hook",
                hint="decorate functions such as superres_models() with @superres.hookimpl",
            )
        found = [
            Entry(_checked(plugin, kind, label), label, version)
            for kind in KINDS
            for plugin in _returned(manager, kind, label)
        ]
        known = {entry.plugin for entry in self._entries}
        self._entries.extend(entry for entry in dict.fromkeys(found) if entry.plugin not in known)

    @property
    def broken(self) -> tuple[BrokenPackage, ...]:
        return tuple(self._broken)

    def entries(self, kind: Kind | None = None) -> tuple[Entry, ...]:
        """All entries, clashing ones included, in order of kind, then of registration."""
        return tuple(entry for each in KINDS for entry in self._entries if entry.kind == each and kind in (None, each))

    def clashes(self) -> tuple[tuple[Entry, ...], ...]:
        """Groups of entries that claim the same kind and name."""
        groups: dict[tuple[Kind, str], list[Entry]] = {}
        for entry in self._entries:
            groups.setdefault((entry.kind, entry.name), []).append(entry)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    def entry(self, kind: Kind, name: str) -> Entry:
        """The entry of a name.  Raises PluginError if it is unknown (with suggestions) or claimed twice (with both)."""
        matches = [entry for entry in self._entries if entry.kind == kind and entry.name == name]
        if len(matches) == 1:
            return matches[0]
        if matches:
            owners = " and ".join(entry.owner for entry in matches)
            raise PluginError(f"two plug-ins are both named {kind} '{name}': {owners}", hint=remedy(matches))
        names = [entry.name for entry in self.entries(kind)]
        close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(repr(each) for each in close)}?"
            if close
            else f"known {kind} plug-ins: {', '.join(names) or 'none'}"
        )
        if self._broken:
            hint += (
                f"; broken packages: {', '.join(each.distribution for each in self._broken)} (see `superres plugins`)"
            )
        raise PluginError(f"unknown {kind} '{name}'", hint=hint)

    def get(self, kind: Kind, name: str) -> type[Plugin]:
        """The class of a name; see `entry` for the errors."""
        return self.entry(kind, name).plugin


def remedy(clash: Sequence[Entry]) -> str:
    """What to do about entries of one kind and name."""
    if len({entry.distribution for entry in clash}) == 1:
        return "rename one of the two classes' names"
    return "uninstall one of the two packages, or rename its plug-in"


def _returned(manager: pluggy.PluginManager, kind: Kind, label: str) -> list[Any]:
    """What the hook of a kind returns.  Raises PluginError for None, which pluggy drops, and for a class by itself."""
    hook, wanted = getattr(manager.hook, _HOOKS[kind]), f"a list of subclasses of {_BASES[kind].__name__}"
    results = hook()
    if len(results) < len(hook.get_hookimpls()):
        raise PluginError(f"{label}: hook {_HOOKS[kind]} returned None; expected {wanted}", hint="return [TheClass]")
    for classes in results:
        if isinstance(classes, str) or not isinstance(classes, Iterable):
            raise PluginError(f"{label}: hook {_HOOKS[kind]} returned {classes!r}; expected {wanted}",
                              hint="return [TheClass]")
    return [plugin for classes in results for plugin in classes]


def _checked(plugin: Any, kind: Kind, label: str) -> type[Plugin]:
    base = _BASES[kind]
    if not (inspect.isclass(plugin) and issubclass(plugin, base)):
        raise PluginError(
            f"{label}: hook {_HOOKS[kind]} returned {plugin!r}; expected a subclass of {base.__name__}",
            hint="return classes, not instances",
        )
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{label}: {kind} {plugin.__name__} does not implement {', '.join(missing)}")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(
            f"{label}: {kind} {plugin.__name__} has name {name!r}; "
            "expected lower-case letters, digits, hyphens and underscores"
        )
    if not isinstance(plugin.summary, str):
        raise PluginError(f"{label}: {kind} '{name}' has summary {plugin.summary!r}; expected a line of text")
    if not (inspect.isclass(plugin.Options) and issubclass(plugin.Options, PluginOptions)):
        raise PluginError(f"{label}: {kind} '{name}' has Options that are no subclass of superres.api.PluginOptions")
    try:
        plugin.Options.model_json_schema(schema_generator=_StrictSchema)
    except PydanticUserError as error:
        raise PluginError(
            f"{label}: {kind} '{name}' has Options that cannot be described as JSON: {_first_line(error)}",
            hint="use types that a pipeline file can hold: numbers, text, lists, Literal, ResolvedPath",
        ) from error
    return plugin


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, PluginError) else f"{type(error).__name__}: {_first_line(error)}"


def _hint(error: BaseException) -> str:
    """A rule's own hint; of any other exception the line that raised it, which is the package's or close to it."""
    if isinstance(error, PluginError):
        return error.hint
    raised = traceback.extract_tb(error.__traceback__)
    return f"raised in {raised[-1].filename}, line {raised[-1].lineno}" if raised else ""


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
