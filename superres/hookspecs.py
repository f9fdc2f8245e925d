"""The hooks.  A plug-in package implements one or more of them and returns classes, not instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from superres.api.evaluator import Evaluator
    from superres.api.loss import Loss
    from superres.api.model import Model
    from superres.api.registrar import Registrar
    from superres.api.source import Source

PROJECT = "superres"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def superres_sources() -> Iterable[type[Source]]:  # type: ignore[empty-body]
    """Source classes."""


@hookspec
def superres_registrars() -> Iterable[type[Registrar]]:  # type: ignore[empty-body]
    """Registrar classes."""


@hookspec
def superres_models() -> Iterable[type[Model]]:  # type: ignore[empty-body]
    """Model classes."""


@hookspec
def superres_losses() -> Iterable[type[Loss]]:  # type: ignore[empty-body]
    """Loss classes."""


@hookspec
def superres_evaluators() -> Iterable[type[Evaluator]]:  # type: ignore[empty-body]
    """Evaluator classes."""
