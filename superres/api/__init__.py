"""The contracts: what a plug-in implements and the values that pass between plug-ins and host.

Third parties import from here and from nowhere deeper.
"""

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
from superres.optics import Optics

__all__ = [
    "KINDS", "Acquisition", "Case", "Evaluator", "FineField", "Geometry", "GroundTruth", "Loss", "Model", "Mosaic",
    "NativeSpec", "Optics", "Pair", "Picture", "PlacedTile", "Plugin", "PluginOptions", "Registrar", "Registration",
    "ResolvedPath", "ResolvedPattern", "Scan", "Score", "Source", "Tile", "resolve_path", "resolve_pattern",
]
