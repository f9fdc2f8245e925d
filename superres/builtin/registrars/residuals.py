"""What the place of a field leaves in its parts: the residual maps of registrar `paper`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superres.builtin.registrars.fields import Field
from superres.registration.blocks import BlockShifts
from superres.registration.torn import Parts
from superres.transform import Transform

MAX_ARROW_ERROR_PX = 0.5
"""Blocks less certain than this are not shown: out of focus, with much noise, tissue has 0.2 to 0.5; blank parts of a
field have from 1 on, and say nothing."""


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
