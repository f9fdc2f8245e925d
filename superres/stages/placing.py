"""Placing: what becomes of one fine field, its training pair or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from superres.api.registrar import Mosaic, PlacedTile, Registrar, Registration
from superres.api.source import FineField, GroundTruth, Pair, Scan
from superres.errors import ImageError, RegistrationError
from superres.image import Image
from superres.stages.blame import blamed
from superres.stages.cutting import Window, cut_pair
from superres.stages.quality import outline_um, residuals_um
from superres.stages.records import PairRecord
from superres.transform import Points, Transform, Warp, rms_distance_um

SEEN_STEP = 0.02
"""A step between two exposures that is said: twice the noise of a pixel at which scores are compared."""
GRID = 9
"""Points a side by which it is told which tiles make up an input."""


@dataclass(frozen=True, eq=False)
class Placing:
    """All that the fields of one slide share.  scale: L of the pairs.  truth: of a simulated scan, else None."""

    scan: Scan
    mosaic: Mosaic
    registrar: Registrar
    scale: Fraction
    min_confidence: float
    truth: GroundTruth | None

    def place(self, fine_field: FineField) -> tuple[Pair | None, PairRecord]:
        """Read, register and cut a field; None and the reason in the record where there is no trustworthy place.

        Files that turn out to be damaged are rejected ("unreadable"): the others go on.
        """
        try:
            fine = fine_field.image.read()
        except ImageError as error:
            unreadable = RegistrationError(error.message, reason="unreadable", hint=error.hint)
            return None, rejected(fine_field, self.scan, unreadable)
        try:
            with blamed(self.registrar, f"on field '{fine_field.name}'"):
                registration = self.registrar.register(fine, self.mosaic)
                if not isinstance(registration, Registration):
                    raise TypeError(f"register returned a {type(registration).__name__}; expected a Registration")
        except RegistrationError as error:
            return None, rejected(fine_field, self.scan, error)
        try:
            if registration.confidence < self.min_confidence:
                raise RegistrationError(
                    f"confidence {registration.confidence:.2f} is below {self.min_confidence:g}",
                    reason="low-confidence",
                    hint="look at it in registration.html; set register.min_confidence = "
                    f"{max(0.0, registration.confidence - 0.005):.2f} to keep it",
                )
            pair, window = cut_pair(
                fine_field.name, fine_field.specimen, fine, self.mosaic, registration, self.scale
            )
        except RegistrationError as error:
            return None, replace(
                rejected(fine_field, self.scan, error),
                confidence=registration.confidence,
                outline_um=outline_um(fine, registration.transform),
                details=dict(registration.details),
            )
        details = dict(registration.details)
        step = "" if window.tile is not None else _step_between_exposures(self.mosaic, window, pair.coarse)
        if step:
            details["warning"] = "; ".join([*([str(details["warning"])] if "warning" in details else []), step])
        record = PairRecord(
            fine_field.name,
            self.scan.slide,
            fine_field.specimen,
            True,
            confidence=registration.confidence,
            residual_um=registration.residual_um,
            transform=registration.transform.linear.to_json(),
            warp=registration.transform.to_json() if isinstance(registration.transform, Warp) else None,
            cut_from="mosaic" if window.tile is None else self.mosaic.tiles[window.tile].name,
            shape_px=pair.coarse.shape_px,
            camera_dtype=str(fine.pixels.dtype),
            camera_white_level=fine.white_level,
            outline_um=outline_um(fine, registration.transform),
            residuals_um=residuals_um(fine, registration),
            details=details,
            true_error_px=self._true_error_px(fine_field, registration, window, fine),
        )
        return pair, record

    def _true_error_px(
        self, fine_field: FineField, registration: Registration, window: Window, fine: Image
    ) -> float | None:
        """RMS distance between the estimated and the simulated map from the frame that was cut to the fine image."""
        if self.truth is None:
            return None
        mosaic, slide = self.mosaic, self.scan.slide
        height_um, width_um = fine.size_um
        if window.tile is None:
            centre = registration.transform.inverse().apply((height_um / 2, width_um / 2))
            nearest = min(mosaic.tiles, key=lambda tile: _distance_to_centre_um(tile, centre, mosaic))
        else:
            nearest = mosaic.tiles[window.tile]
        try:
            object_to_fine = self.truth.fields[slide, fine_field.name].inverse()
            true = self.truth.tiles[slide, nearest.name].then(object_to_fine)
        except KeyError:
            return None
        estimated = nearest.to_mosaic.then(registration.transform)
        # Both maps end in fine µm; the pull-back compares them where the field lies in the coarse frame.
        over_field = estimated.inverse().then(true)
        return rms_distance_um(Transform.identity(), over_field, height_um, width_um) / mosaic.pixel_size_um


def _step_between_exposures(mosaic: Mosaic, window: Window, coarse: Image) -> str:
    """A warning where tiles of different brightness meet in a pair that was cut from the mosaic, else ""."""
    y, x = (start + (np.arange(GRID) + 0.5) / GRID * length
            for start, length in ((window.top, window.height), (window.left, window.width)))
    points_um = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2) * mosaic.pixel_size_um
    tiles = [mosaic.tiles[index] for index in np.unique(mosaic.deepest(points_um))]
    level = float(coarse.grey().mean())
    seen = sorted(((level - tile.offset) / tile.gain, tile.name) for tile in tiles)
    (dark, darkest), (bright, brightest) = seen[0], seen[-1]
    step = (bright - dark) / max(level, 1e-6)
    if step <= SEEN_STEP:
        return ""
    return (f"its coarse image lies across tile '{brightest}' and the {100 * step:.0f} % darker '{darkest}': the step "
            "stays in the training input; leave the field out, or scan with one exposure")


def _distance_to_centre_um(tile: PlacedTile, point_um: Points, mosaic: Mosaic) -> float:
    """Between a mosaic point and the middle of a frame."""
    middle = np.asarray(mosaic.tile_shape_px) * mosaic.pixel_size_um / 2
    return float(np.linalg.norm(tile.to_mosaic.inverse().apply(point_um) - middle))


def rejected(fine_field: FineField, scan: Scan, error: RegistrationError) -> PairRecord:
    """The record of a field that was refused."""
    return PairRecord(
        fine_field.name,
        scan.slide,
        fine_field.specimen,
        False,
        reason=error.reason,
        message=error.message,
        hint=error.hint,
    )
