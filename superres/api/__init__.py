"""The contracts: what a plug-in implements and the values that pass between plug-ins and host.

Third parties import from here and from nowhere deeper; `superres` gives them `hookimpl`, and `superres.testing`
the contract suites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from superres.api.evaluator import Case, Evaluator, Picture, Score
from superres.api.loss import Loss
from superres.api.model import Geometry, Model, NativeSpec
from superres.api.plugin import (
    KINDS,
    Plugin,
    PluginOptions,
    ResolvedPath,
    ResolvedPattern,
    resolve_path,
    resolve_pattern,
)
from superres.api.registrar import Mosaic, PlacedTile, Registrar, Registration
from superres.api.source import Acquisition, FineField, GroundTruth, Pair, Scan, Source, Tile
from superres.errors import ImageError, RegistrationError, SourceError
from superres.events import Events, Progress
from superres.image import FloatArray, Image
from superres.optics import Optics
from superres.transform import Transform, Warp

if TYPE_CHECKING:
    from superres.resample import bicubic

__all__ = [
    "KINDS", "Acquisition", "Case", "Evaluator", "Events", "FineField", "FloatArray", "Geometry", "GroundTruth",
    "Image", "ImageError", "Loss", "Model", "Mosaic", "NativeSpec", "Optics", "Pair", "Picture", "PlacedTile", "Plugin",
    "PluginOptions", "Progress", "Registrar", "Registration", "RegistrationError", "ResolvedPath", "ResolvedPattern",
    "Scan", "Score", "Source", "SourceError", "Tile", "Transform", "Warp", "bicubic", "resolve_path", "resolve_pattern",
]


def __getattr__(name: str) -> Any:
    """Load `bicubic` when it is first used: its SciPy takes as long to import as all the rest of this package."""
    if name == "bicubic":
        from superres.resample import bicubic

        return bicubic
    raise AttributeError(f"module 'superres.api' has no attribute '{name}'")
