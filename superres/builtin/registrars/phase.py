"""Registrar `phase`: translation only, by phase correlation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from pydantic import Field

from superres.api import Mosaic, PluginOptions, Registrar, Registration
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.registration.phase import PhaseShift, phase_shift
from superres.registration.shifts import signal_fraction
from superres.resample import bicubic
from superres.transform import Transform

MIN_SIGNAL = 0.75
MIN_FIELD_PX = 24
SHARED = 0.25


class PhaseRegistrar(Registrar):
    """For a field whose place is nearly known: from a guess, or because coarse shows the same field.

    Rotation and scale are taken from the guess (or are none); only the shift is measured.
    """

    name = "phase"
    summary = "translation only, near a guess or between images of the same field"
    concurrent = True

    class Options(PluginOptions):
        min_correlation: float = Field(0.3, gt=0, lt=1, description=(
            "least band-passed correlation of field and scan after the shift"))
        max_shift_px: float = Field(40.0, gt=0, description="largest shift from the guess, in coarse pixels")

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        """Shift the guess (default: common outer corners) until the field fits; see Registrar.register.

        The fine field is brought onto the coarse grid by the guess's place; a guess with more than 1° of rotation or
        2 % of scale cannot be sharpened by a shift and is refused ("rotation", "magnification").  Other reasons:
        "blank", "not-found", "out-of-bound".
        """
        start = guess if guess is not None else Transform.identity()
        self._check_guess(fine, start)
        if signal_fraction(fine.grey())[0] < MIN_SIGNAL:
            raise RegistrationError(f"field '{fine.name}' shows no structure", reason="blank",
                                    hint="leave the field out, or check focus and exposure")
        mosaic = coarse if isinstance(coarse, Mosaic) else Mosaic.of(coarse)
        pixel = mosaic.pixel_size_um
        template = _template(fine, pixel)
        half = np.asarray(template.shape) / 2
        corner = start.inverse().apply(half * pixel) / pixel - half
        top, left = int(np.rint(corner[0])), int(np.rint(corner[1]))
        region = mosaic.read(top, left, template.shape[0], template.shape[1]).grey()
        covered = mosaic.covered(top, left, template.shape[0], template.shape[1])
        if covered.mean() < SHARED:
            raise RegistrationError(f"the guess puts field '{fine.name}' outside the scan", reason="not-found",
                                    hint='correct the guess, or set register.plugin = "paper"')
        if not covered.all():
            region = np.where(covered, region, np.float32(np.median(region[covered])))
        found = phase_shift(region, template)
        off_px = np.array([top, left]) + found.shift_px - corner
        return self._result(fine, start, off_px, found, pixel)

    def _check_guess(self, fine: Image, start: Transform) -> None:
        if abs(start.rotation_deg) > 1:
            raise RegistrationError(f"the guess turns field '{fine.name}' by {start.rotation_deg:.1f} degrees; a shift "
                                    "alone allows 1", reason="rotation", hint='set register.plugin = "paper"')
        if abs(start.scale - 1) > 0.02:
            raise RegistrationError(f"the guess scales field '{fine.name}' by {start.scale:.3f}; a shift alone "
                                    "allows 1 ± 0.02", reason="magnification", hint='set register.plugin = "paper"')

    def _result(self, fine: Image, start: Transform, off: npt.NDArray[np.float64], found: PhaseShift,
                pixel: float) -> Registration:
        """off: (2,) measured minus expected place of the field in coarse pixels."""
        correlation = found.correlation
        if correlation < self.options.min_correlation:
            raise RegistrationError(
                f"field '{fine.name}' does not fit near its guess: correlation {correlation:.2f}, expected at least "
                f"{self.options.min_correlation:g}", reason="not-found",
                hint='set register.plugin = "paper", which searches the scan')
        if float(np.hypot(*off)) > self.options.max_shift_px:
            raise RegistrationError(
                f"field '{fine.name}' lies {np.hypot(*off):.1f} coarse px from its guess; the limit is "
                f"{self.options.max_shift_px:g}", reason="out-of-bound",
                hint=f"set register.options.max_shift_px = {int(np.ceil(np.hypot(*off))) + 1}")
        transform = Transform.shift(-float(off[0]) * pixel, -float(off[1]) * pixel).then(start)
        # A rule of thumb, not measured: the error grows with the part of the signal that is not shared, to 0.3 px.
        residual = 0.3 * pixel * float(np.sqrt(max(0.0, 1 - correlation ** 2)))
        details: dict[str, float | str] = {"correlation": round(correlation, 4), "z": round(found.z, 2),
                                           "found by": "phase correlation"}
        return Registration(transform, residual, float(np.clip(correlation, 0, 1)), details)


def _template(fine: Image, coarse_pixel_um: float) -> FloatArray:
    """The field in grey at the coarse pitch, outer top-left corners in common."""
    scale = Fraction(fine.pixel_size_um / coarse_pixel_um).limit_denominator(64)
    template = bicubic(fine.grey(), scale)
    if min(template.shape) < MIN_FIELD_PX:
        raise RegistrationError(f"field '{fine.name}' covers {template.shape[0]} × {template.shape[1]} coarse pixels; "
                                f"expected at least {MIN_FIELD_PX} × {MIN_FIELD_PX}", reason="not-found",
                                hint="check the pixel sizes")
    return template
