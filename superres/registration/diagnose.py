"""What is wrong with a field that correlation did not find: mirrored, turned, of another magnification, or not
there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from superres.errors import RegistrationError
from superres.image import FloatArray
from superres.registration.features import Features, matches, sift, smooth
from superres.registration.similarity import Fit, robust_similarity
from superres.registration.torn import BESIDE_PX, MAX_BESIDE_SHARE, Parts
from superres.resample import bicubic
from superres.transform import Transform

Flip = Literal["none", "x", "y"]
DIAGNOSIS_RATIO = 0.8
SWAPPED_INLIERS = 20


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
                 tolerance_px: float = 1.5) -> tuple[Fit | None, np.ndarray, np.ndarray]:
    """Match two sets of features and fit the similarity fine µm → coarse µm.

    Returns (the fit or None, (n, 2) places of all matches in fine µm, which the fit's `inliers` index, (n, 2) the same
    in coarse µm).
    """
    pairs = matches(fine[1], coarse[1], DIAGNOSIS_RATIO)
    a, b = fine[0][pairs[:, 0]] * fine_pixel_um, coarse[0][pairs[:, 1]] * coarse_pixel_um
    return robust_similarity(a, b, tolerance_px * coarse_pixel_um), a, b


def refuse(name: str, fit: Fit, limits: Limits, factor: float) -> RegistrationError:
    """The error for a field that was recognised but breaks a limit.

    fit: fine µm → coarse µm, well supported.  factor: the expected coarse / fine pixel size.
    """
    scale, turn = fit.transform.scale, fit.transform.rotation_deg
    if not limits.scale_holds(fit.transform):
        return RegistrationError(
            f"field '{name}' has scale {scale:.2f}: expected factor {factor:.4g}, measured {factor / scale:.2f} "
            f"({fit.count} matching features)", reason="magnification",
            hint="correct the pixel sizes (source.options.fine_pixel_size_um × scale, or "
                 "source.options.coarse_pixel_size_um / scale)")
    return RegistrationError(
        f"field '{name}' is rotated by {turn:.1f} degrees against the coarse scan; the limit is "
        f"{limits.max_rotation_deg:g} ({fit.count} matching features)", reason="rotation",
        hint=f"turn the camera, or set register.options.max_rotation_deg = {min(180, int(np.ceil(abs(turn))) + 1)}")


def refuse_torn(name: str, parts: Parts, bent: bool) -> RegistrationError:
    """The error for a field whose parts do not lie where one map puts them.  bent: a smooth warp was asked for."""
    otherwise = "" if bent else '; if the optics or the stage stretch it, set register.options.warp = "smooth"'
    return RegistrationError(
        f"field '{name}' is torn or stretched against the scan: {parts.beside} of its {len(parts.off_px)} parts "
        f"that show where they are lie more than {BESIDE_PX:g} coarse px beside the place that fits it best, the "
        f"farthest {parts.farthest_px:.1f} px; expected at most {100 * MAX_BESIDE_SHARE:.0f} %", reason="torn",
        hint="look for a fold, a tear or a step of stitching in the two images, and leave the field out" + otherwise)


def refuse_mirrored(name: str, fit: Fit) -> RegistrationError:
    """The error for a field that matches only when mirrored along x; the fit is that of the mirrored field."""
    turn = fit.transform.rotation_deg
    axis = "y" if abs(turn) > 90 else "x"  # mirroring along y is mirroring along x and half a turn
    return RegistrationError(
        f"field '{name}' is mirrored: set flip={axis} ({fit.count} features match after mirroring along {axis})",
        reason="mirrored", hint=f'set register.options.flip = "{axis}"')


def swapped(fields: Sequence[tuple[str, FloatArray]], tiles: Sequence[tuple[str, FloatArray]], scale: Fraction,
            ) -> RegistrationError | None:
    """The error for fine and coarse images that stand in each other's place; None where they do not.

    fields, tiles: names and grey images, as they were said to be; a few of each do.  scale: coarse / fine pixel size.
    If a tile, shrunk as only a fine image should be, shows what a field shows at its own pixels, it is the fine one.
    """
    shrunk = [(name, sift(smooth(bicubic(grey, 1 / scale)))) for name, grey in tiles]
    for field, grey in fields:
        own = sift(smooth(grey))
        for tile, features in shrunk:
            fit, _, _ = fit_features(features, own, 1.0, 1.0)
            if fit is not None and fit.count >= SWAPPED_INLIERS and abs(fit.transform.scale - 1) <= 0.1:
                return RegistrationError(
                    f"coarse and fine look exchanged: coarse tile '{tile}', shrunk by {float(scale):g}, shows what "
                    f"fine field '{field}' shows ({fit.count} matching features)", reason="exchanged",
                    hint="exchange the two folders, or source.options.coarse and fine, and the pixel sizes with them")
    return None
