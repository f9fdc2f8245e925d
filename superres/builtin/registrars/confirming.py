"""How registrar `paper` confirms by features that a field lies where correlation puts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.api import Mosaic
from superres.builtin.registrars.fields import MIN_FIELD_PX, Field, Refine, block_means, features_of
from superres.builtin.registrars.refinement import MARGIN_PX, region
from superres.image import FloatArray
from superres.registration.diagnose import Limits, fit_features, refuse
from superres.registration.features import detect, smooth
from superres.registration.find import PEAKS, Found, aligned_correlation
from superres.registration.similarity import Fit
from superres.transform import Transform

MAX_RIVALS = PEAKS - 2
"""Of the peaks that the search remembers: with as many as these, there may be more."""
RIVAL_SHARE = 0.25
"""Places that show something else share up to 6 features with a field, copies of its place all but noise."""
SAME_PLACE_PX = 4.0


@dataclass(frozen=True, eq=False)
class _Around:
    """shown: mosaic pixels from corner_px on.  fit: (mirrored) field µm → µm of that region.  points_um: see Placed.
    there_um: where they were matched in the region."""

    corner_px: tuple[int, int]
    shown: FloatArray
    fit: Fit
    points_um: npt.NDArray[np.float64]
    there_um: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """transform: (mirrored) field µm → mosaic µm.  points_um, there_um: places of all matches in the field and in the
    mosaic, which fit.inliers indexes.  correlation: band-passed, of template and region after alignment."""

    transform: Transform
    fit: Fit
    points_um: npt.NDArray[np.float64]
    there_um: npt.NDArray[np.float64]
    correlation: float


@dataclass(frozen=True)
class Confirming:
    """By which features, within which limits.  max_peak_ratio: height of a peak that is a rival, in parts of the
    first."""

    refine: Refine
    upright: bool
    limits: Limits
    max_peak_ratio: float

    def confirm(self, field: Field, mosaic: Mosaic, centre_px: tuple[float, float]) -> Placed | None:
        """Fit features around a centre; None where too few agree.

        Raises RegistrationError ("magnification", "rotation") where enough agree on a similarity beyond the limits.
        """
        around = self._around(field, mosaic, centre_px)
        if around is None or around.fit.count < self.limits.min_inliers:
            return None
        fit, pixel = around.fit, mosaic.pixel_size_um
        if not self.limits.holds(fit.transform):
            raise refuse(field.name, fit, self.limits, pixel / field.image.pixel_size_um)
        correlation = aligned_correlation(field.template, around.shown, fit.transform, field.pixel_um, pixel)
        corner = Transform.shift(around.corner_px[0] * pixel, around.corner_px[1] * pixel)
        return Placed(fit.transform.then(corner), fit, around.points_um, corner.apply(around.there_um), correlation)

    def _around(self, field: Field, mosaic: Mosaic, centre_px: tuple[float, float]) -> _Around | None:
        """The mosaic around a centre and what features of the field fit there; None where nothing does."""
        reach = 0.5 * float(np.hypot(*field.template.shape)) + MARGIN_PX
        top, left = max(0, int(centre_px[0] - reach)), max(0, int(centre_px[1] - reach))
        bottom = min(mosaic.shape_px[0], int(np.ceil(centre_px[0] + reach)))
        right = min(mosaic.shape_px[1], int(np.ceil(centre_px[1] + reach)))
        if bottom - top < MIN_FIELD_PX or right - left < MIN_FIELD_PX:
            return None
        shown, covered = region(mosaic, top, left, bottom - top, right - left)
        if not covered.any():
            return None
        features = detect(features_of(self.refine), smooth(block_means(shown, field.reduction)),
                          upright=self.upright)
        fit, points, there = fit_features(field.features, features, field.feature_pixel_um,
                                          mosaic.pixel_size_um * field.reduction)
        return None if fit is None else _Around((top, left), shown, fit, points, there)

    def apart_from_others(self, field: Field, mosaic: Mosaic, found: Found) -> Placed | None:
        """The place of the first of several high peaks, if features tell it from all the others; else None.

        A sharp border between glass and tissue correlates with every other border of that direction; the features
        beside it do not.  True copies of a place have about as many features in common as the place itself.  What is
        cut out around a peak may hold the first place too, and its features are found again.
        """
        rivals = [centre for centre, height in found.others if height > self.max_peak_ratio]
        if len(rivals) > MAX_RIVALS:
            return None
        placed = self.confirm(field, mosaic, found.centre_px)
        if placed is None or placed.fit.count < 2 * self.limits.min_inliers:
            return None
        limit = RIVAL_SHARE * placed.fit.count
        own = np.asarray(field.centre_px(mosaic, placed.transform))
        for centre in rivals:
            around = self._around(field, mosaic, centre)
            if around is None or around.fit.count < limit:
                continue
            there = np.asarray(field.centre_px(mosaic, around.fit.transform)) + around.corner_px
            if np.hypot(*(there - own)) > SAME_PLACE_PX:
                return None
        return placed
