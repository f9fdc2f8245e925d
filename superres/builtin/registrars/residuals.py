"""What the place of a field leaves in its parts: whether it is torn, and the residual maps of registrar `paper`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superres.builtin.registrars.fields import Field
from superres.builtin.registrars.refinement import Scene
from superres.registration.blocks import BlockShifts
from superres.registration.correlated import correlated_parts
from superres.registration.torn import Parts
from superres.transform import Map, Transform

MAX_ARROW_ERROR_PX = 0.5
"""Blocks less certain than this are not shown: out of focus, with much noise, tissue has 0.2 to 0.5; blank parts of a
field have from 1 on, and say nothing."""


def judged_parts(field: Field, scene: Scene, pixel_um: float, transform: Map, by_features: Parts) -> Parts:
    """What says most about where the parts of a field lie: its matched features, or the correlation of each part.

    transform: (mirrored) field µm → mosaic µm.  pixel_um: of the mosaic and the scene.  Features see farther,
    correlation judges parts with few of them; where only one of the two finds the field torn, it is torn.
    """
    by_correlation = correlated_parts(field.template, field.pixel_um, scene.grey, pixel_um,
                                      transform.then(scene.to_mosaic.inverse()), scene.known)
    return max(by_features, by_correlation, key=lambda parts: (parts.torn, len(parts.off_px)))


def map_of_blocks(field: Field, blocks: BlockShifts) -> npt.NDArray[np.float64]:
    """Registration.residual_map_um of the blocks of a field that show enough structure.

    A block that the scene shows away from its place is shown by the fine image the other way from where the transform
    puts the scene's content.
    """
    certain = blocks.errors_px <= MAX_ARROW_ERROR_PX
    places = field.flip.apply(blocks.places_px[certain] * field.pixel_um)
    return np.hstack([places, -blocks.shifts_px[certain] * field.pixel_um @ field.flip.matrix[:2, :2].T])


def map_of_parts(field: Field, parts: Parts, to_mosaic: Transform, pixel_um: float) -> npt.NDArray[np.float64]:
    """The same of a field whose place rests on features: of each part with enough of them, their mean.

    to_mosaic: (mirrored) field µm → mosaic µm.  pixel_um: of the mosaic, in whose pixels parts are off.
    """
    certain = parts.errors_px <= MAX_ARROW_ERROR_PX
    shifts_um = parts.off_px[certain] * pixel_um @ to_mosaic.inverse().matrix[:2, :2].T
    return np.hstack([field.flip.apply(parts.places_um[certain]), -shifts_um @ field.flip.matrix[:2, :2].T])
