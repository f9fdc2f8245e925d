"""Normalised cross-correlation with a parabola through the peak: translation only."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from pydantic import Field

from superres.api import Image, Mosaic, PluginOptions, Registrar, Registration, RegistrationError, Transform, bicubic


class CorrelationRegistrar(Registrar):
    """Finds fields whose camera is neither turned nor of another magnification than nominal."""

    name = "template-ncc"
    summary = "normalised cross-correlation, translation only"

    class Options(PluginOptions):
        min_correlation: float = Field(0.5, ge=0, le=1, description="refuse a field whose best correlation is lower")

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        image = coarse.read(0, 0, *coarse.shape_px) if isinstance(coarse, Mosaic) else coarse
        ratio = Fraction(fine.pixel_size_um / image.pixel_size_um).limit_denominator(64)
        template = bicubic(fine.grey(), ratio)
        if template.std() < 0.01:
            raise RegistrationError(f"field '{fine.name}' is blank", reason="blank", hint="image some tissue")
        if any(t > i for t, i in zip(template.shape, image.shape_px, strict=True)):
            raise RegistrationError(f"field '{fine.name}' is larger than the scan", reason="not-found")
        map_ = cv2.matchTemplate(image.grey(), template, cv2.TM_CCOEFF_NORMED)
        peak = np.unravel_index(np.argmax(map_), map_.shape)
        best = float(map_[peak])
        if best < self.options.min_correlation:
            raise RegistrationError(f"best correlation of '{fine.name}' is {best:.2f}", reason="not-found")
        place = [
            (position + _vertex(np.take(map_, peak[1 - axis], 1 - axis), position)) * image.pixel_size_um
            for axis, position in enumerate(int(each) for each in peak)
        ]
        return Registration(
            Transform.shift(-place[0], -place[1]), 0.1 * image.pixel_size_um, min(best, 1.0), {"correlation": best}
        )


def _vertex(line: np.ndarray, peak: int) -> float:
    """Offset of the top of the parabola through a peak and its neighbours, in samples; 0 where they are alike."""
    if not 0 < peak < len(line) - 1:
        return 0.0
    before, top, after = (float(line[peak + step]) for step in (-1, 0, 1))
    curvature = before - 2 * top + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0
