"""Whose fault it was: an exception of a plug-in names the plug-in and what it was doing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from superres.api.model import Model
from superres.api.plugin import Plugin
from superres.errors import Cancelled, PluginError, SuperresError

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def blamed(plugin: Plugin | type[Plugin], when: str) -> Iterator[None]:
    """Turn whatever a plug-in raises into a PluginError that names it; the original is its cause.

    plugin: or its class, where it is only being made.  when: "on field 'a'".
    Deliberate errors of sources and registrars speak to the user and pass unchanged; those of the other kinds keep
    their own words behind the name.  MemoryError and Cancelled pass.
    """
    try:
        yield
    except (MemoryError, Cancelled, PluginError):
        raise
    except Exception as error:
        if isinstance(error, SuperresError) and plugin.kind in ("source", "registrar"):
            raise
        said = error.message if isinstance(error, SuperresError) else f"{type(error).__name__}: {error}"
        hint = (
            "mend the plug-in, or take its [[evaluate]] section out of the pipeline"
            if plugin.kind == "evaluator"
            else "mend the plug-in; SUPERRES_TRACEBACK=1 shows where it failed"
        )
        raise PluginError(f"{plugin.kind} '{plugin.name}' failed {when}: {said}", hint=hint) from error


def built_network(model: Model) -> nn.Module:
    """What a model builds.  Raises PluginError where it raises, or gives something else than a torch module."""
    from torch import nn

    with blamed(model, "while it built its network"):
        network = model.build()
        if not isinstance(network, nn.Module):
            raise TypeError(f"build returned a {type(network).__name__}; expected a torch.nn.Module")
    return network
