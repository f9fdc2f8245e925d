"""What is wrong with a field that correlation did not find: mirrored, turned, of another magnification, or not
there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from superres.errors import RegistrationError
from superres.registration.features import Features, matches
from superres.registration.similarity import Fit, robust_similarity
from superres.transform import Transform

Flip = Literal["none", "x", "y"]
DIAGNOSIS_RATIO = 0.8


@dataclass(frozen=True)
class Limits:
    """What a similarity fine → coarse may be: rotation at most max_rotation_deg, scale within 1 ± max_scale_error,
    supported by at least min_inliers matches."""

    max_rotation_deg: float
    max_scale_error: float
    min_inliers: int

    def holds(self, transform: Transform) -> bool:
        return self.scale_holds(transform) and abs(transform.rotation_deg) <= self.max_rotation_deg

    def scale_holds(self, transform: Transform) -> bool:
        return abs(transform.scale - 1) <= self.max_scale_error


def fit_features(fine: Features, coarse: Features, fine_pixel_um: float, coarse_pixel_um: float,
                 tolerance_px: float = 1.5) -> tuple[Fit | None, np.ndarray]:
    """Match two sets of features and fit the similarity fine µm → coarse µm.

    Returns (the fit or None, (n, 2) places of all matches in fine µm, which the fit's `inliers` index).
    """
    pairs = matches(fine[1], coarse[1], DIAGNOSIS_RATIO)
    a, b = fine[0][pairs[:, 0]] * fine_pixel_um, coarse[0][pairs[:, 1]] * coarse_pixel_um
    return robust_similarity(a, b, tolerance_px * coarse_pixel_um), a


def refuse(name: str, fit: Fit, limits: Limits, factor: float) -> RegistrationError:
    """The error for a field that was recognised but breaks a limit.

    fit: fine µm → coarse µm, well supported.  factor: the expected coarse / fine pixel size.
    """
    scale, turn = fit.transform.scale, fit.transform.rotation_deg
    if not limits.scale_holds(fit.transform):
        return RegistrationError(
            f"field '{name}' has scale {scale:.2f}: expected factor {factor:.4g}, measured {factor / scale:.2f} "
            f"({fit.count} matching features)", reason="magnification",
            hint="correct the pixel sizes: fine pixel size × scale, or coarse pixel size / scale")
    return RegistrationError(
        f"field '{name}' is rotated by {turn:.1f} degrees against the coarse scan; the limit is "
        f"{limits.max_rotation_deg:g} ({fit.count} matching features)", reason="rotation",
        hint=f"turn the camera, or set max_rotation_deg = {min(180, int(np.ceil(abs(turn))) + 1)}")


def refuse_mirrored(name: str, fit: Fit) -> RegistrationError:
    """The error for a field that matches only when mirrored along x; the fit is that of the mirrored field."""
    turn = fit.transform.rotation_deg
    axis = "y" if abs(turn) > 90 else "x"  # mirroring along y is mirroring along x and half a turn
    return RegistrationError(
        f"field '{name}' is mirrored: set flip={axis} ({fit.count} features match after mirroring along {axis})",
        reason="mirrored", hint=f'[register] options = {{ flip = "{axis}" }}')
