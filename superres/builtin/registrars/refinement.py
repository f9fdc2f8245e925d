"""How registrar `paper` refines a place: against which pixels, and when the result is not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from superres.api import Mosaic
from superres.builtin.registrars.fields import MIN_FIELD_PX, Field
from superres.image import FloatArray
from superres.registration.blend import grey_frame
from superres.registration.blocks import BlockShifts
from superres.registration.icgn import Refined, refine
from superres.registration.seams import Seam, largest_seam
from superres.registration.smooth import refine_smoothly, trend
from superres.transform import Map, Transform

MARGIN_PX = 24
CROP_STEP_PX = 16
"""Crops begin at multiples of this, so that they do not depend on the last digits of where the search ended."""
MAX_MOVE_PX = 2.0
GOOD_SPLIT_HALF_PX, MAX_SPLIT_HALF_PX = 0.1, 0.3
"""Beyond the first a place is flagged, and the features' one is kept where it expects to be better; beyond the second
it is not believed.  Small fields out of focus have 0.1 to 0.2."""
MAX_LOST_CORRELATION = 0.02
SEAM_MISFIT = 1.2
"""Steps between tiles have a third of the parameters of a smooth surface: where they fit about as well, they are it."""
SHARED_PX = 0.002
"""The part of the error that both halves of a field share: the median true error of the gates' clean view is 0.0033 px
where the halves say 0.0025."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Coarse pixels around a field.  grey: (H, W).  known: where they were taken.  to_mosaic: scene µm → mosaic µm.
    frame: the tile whose pixels they are, None for the mosaic."""

    grey: FloatArray
    known: npt.NDArray[np.bool_]
    to_mosaic: Transform
    frame: int | None


@dataclass(frozen=True, eq=False)
class Sharpened:
    """transform: (mirrored) field µm → mosaic µm.  frame: see Registration.  error_um: expected, RMS over the field.
    flag: what is wrong with it in words, "" if nothing.  trend_px: how far a smooth trend in the blocks goes, in coarse
    px: distortion.  seam: the step between tiles that explains it better.  unbent: why there is no warp though one was
    asked for, "" where there is or was not.  scene: the pixels that it was refined against.
    """

    transform: Map
    frame: int | None
    error_um: float
    correlation: float
    moved_px: float
    split_half_px: float
    blocks: BlockShifts
    scene: Scene
    flag: str = ""
    trend_px: float = 0.0
    seam: Seam | None = None
    unbent: str = ""


def sharpen(field: Field, mosaic: Mosaic, start: Transform, max_move_px: float = MAX_MOVE_PX,
            warp: Literal["none", "smooth"] = "none") -> Sharpened | str:
    """Refine field µm → mosaic µm against the pixels from which the training pair will be cut.

    max_move_px: how far off the start can be; a refinement that went farther ran away.
    In the camera's own pixels of one frame, where the field lies in one: the pair then does not depend on where the
    mosaic puts that frame.  Returns the reason in words where the refinement is not to be believed.
    """
    scene = scene_around(field, mosaic, start)
    if scene is None:
        return "the field lies outside the scan"
    found = refine(field.template, field.pixel_um, scene.grey, mosaic.pixel_size_um,
                   start.then(scene.to_mosaic.inverse()), scene.known)
    doubt = _doubt(found, max_move_px)
    if found is None or doubt:
        return doubt
    pixel = mosaic.pixel_size_um
    transform: Map = found.transform
    error_px, blocks = found.error_px, found.blocks
    unbent = ""
    if warp == "smooth":
        smooth = refine_smoothly(field.template, field.pixel_um, scene.grey, pixel, found.transform, scene.known)
        if smooth is None:
            unbent = "too few parts of the field were scanned whole to fit a smooth warp; it has a similarity alone"
        elif smooth.error_px > max(GOOD_SPLIT_HALF_PX, error_px):
            unbent = (f"halves of the field disagree by {smooth.error_px:.2f} px on a smooth warp, expected at most "
                      f"{GOOD_SPLIT_HALF_PX:g}; it has a similarity alone")
        else:
            transform, error_px, blocks = smooth.warp, smooth.error_px, smooth.blocks
    pattern = trend(blocks, field.template.shape)
    seam = None
    if scene.frame is None and pattern.longest_px > 0:
        places = found.transform.then(scene.to_mosaic).apply(blocks.places_px * field.pixel_um)
        seam = largest_seam(blocks, mosaic.deepest(places))
        seam = seam if seam is not None and seam.misfit <= SEAM_MISFIT * pattern.misfit else None
    return Sharpened(transform.then(scene.to_mosaic), scene.frame, float(np.hypot(error_px, SHARED_PX)) * pixel,
                     found.correlation, found.moved_px, error_px, blocks, scene, _flag(error_px),
                     0.0 if seam else pattern.longest_px, seam, unbent)


def scene_around(field: Field, mosaic: Mosaic, start: Transform) -> Scene | None:
    """The flat-fielded pixels of the frame that holds the field, or of the mosaic where none does, around its place."""
    corners = start.apply(field.corners_um)
    frame = mosaic.frame_holding(corners)
    to_mosaic = Transform.identity() if frame is None else mosaic.tiles[frame].to_mosaic
    shape = mosaic.shape_px if frame is None else mosaic.tile_shape_px
    places = to_mosaic.inverse().apply(corners) / mosaic.pixel_size_um
    top, left = (max(0, int(low - MARGIN_PX) // CROP_STEP_PX * CROP_STEP_PX) for low in places.min(axis=0))
    bottom, right = (min(length, int(np.ceil((high + MARGIN_PX) / CROP_STEP_PX)) * CROP_STEP_PX)
                     for length, high in zip(shape, places.max(axis=0), strict=True))
    if bottom - top < MIN_FIELD_PX or right - left < MIN_FIELD_PX:
        return None
    if frame is None:
        grey, known = region(mosaic, top, left, bottom - top, right - left)
    else:
        raw = mosaic.tiles[frame].image.read().crop(top, left, bottom - top, right - left)
        flat = mosaic.flat_field
        grey = grey_frame(raw, None if flat is None else flat[top:bottom, left:right])
        known = np.ones(grey.shape, dtype=np.bool_)
    if not known.any():
        return None
    corner = Transform.shift(top * mosaic.pixel_size_um, left * mosaic.pixel_size_um)
    return Scene(grey, known, corner.then(to_mosaic), frame)


def region(mosaic: Mosaic, top: int, left: int, height: int, width: int,
           ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Grey pixels of the mosaic, the median where no tile lies, and where one does."""
    grey = mosaic.read(top, left, height, width).grey()
    known = mosaic.covered(top, left, height, width)
    if known.any() and not known.all():
        grey = np.where(known, grey, np.float32(np.median(grey[known])))
    return grey, known


def _doubt(found: Refined | None, max_move_px: float) -> str:
    """Why a refinement is not believed; empty where it is."""
    if found is None:
        return "too few pixels are shared"
    if not found.converged:
        return "the iteration did not come to rest"
    if found.moved_px > max_move_px:
        return f"it moved the place by {found.moved_px:.1f} px; expected at most {max_move_px:g}"
    if found.correlation < found.correlation_before - MAX_LOST_CORRELATION:
        return f"the correlation fell from {found.correlation_before:.2f} to {found.correlation:.2f}"
    if found.error_px > MAX_SPLIT_HALF_PX:
        return f"halves of the field disagree by {found.error_px:.2f} px; expected at most {GOOD_SPLIT_HALF_PX:g}"
    return ""


def _flag(error_px: float) -> str:
    if error_px > GOOD_SPLIT_HALF_PX:
        return f"halves of the field disagree by {error_px:.2f} px; expected at most {GOOD_SPLIT_HALF_PX:g}"
    return ""
