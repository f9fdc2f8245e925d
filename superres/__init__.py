"""superres: super-resolution bright-field microscopy after Rivenson et al., Optica 4, 1437 (2017).

    import superres
    engine = superres.Engine.load("weights.safetensors")
    sharp = engine(image)                                   # (H, W, 3) → (ceil(2.5 H), ceil(2.5 W), 3)

    plan = superres.load_plan("pipeline.toml")
    result = superres.Pipeline(plan).run()

Importing this package imports neither torch nor any plug-in; both come when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superres._version import __version__

if TYPE_CHECKING:
    from superres.catalog import Catalog
    from superres.engine import Engine
    from superres.errors import SuperresError
    from superres.events import Events
    from superres.hookspecs import hookimpl
    from superres.image import Image
    from superres.pipeline import Pipeline
    from superres.plan import Plan, load_plan
    from superres.transform import Transform

__all__ = ["Catalog", "Engine", "Events", "Image", "Pipeline", "Plan", "SuperresError", "Transform", "__version__",
           "hookimpl", "load_plan"]

_HOMES = {
    "Catalog": "superres.catalog",
    "Engine": "superres.engine",
    "Events": "superres.events",
    "Image": "superres.image",
    "Pipeline": "superres.pipeline",
    "Plan": "superres.plan",
    "SuperresError": "superres.errors",
    "Transform": "superres.transform",
    "hookimpl": "superres.hookspecs",
    "load_plan": "superres.plan",
}


def __getattr__(name: str) -> Any:
    """Load the public names when they are first used, so that `import superres` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'superres' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
