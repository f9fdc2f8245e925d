"""Registrar `identity`: for fields that are aligned already."""

from __future__ import annotations

from superres.api import Mosaic, Registrar, Registration
from superres.errors import RegistrationError
from superres.image import Image
from superres.transform import Transform

SIZE_TOLERANCE_PX = 1.0
"""A fine field of ceil(L·h) pixels may be longer than its coarse image by less than one coarse pixel."""


class IdentityRegistrar(Registrar):
    """Takes the guess, or the outer corners as common, without looking at the pixels."""

    name = "identity"
    summary = "no search: fine fields are aligned already, or the guess is exact"
    concurrent = True

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        """Returns the guess or the identity, residual 0 and confidence 1: the user vouches for them.

        Raises RegistrationError ("magnification") if without a guess the two do not cover the same field to a coarse
        pixel.
        """
        if guess is not None:
            return Registration(guess, 0.0, 1.0, {"found by": "guess"})
        pixel = coarse.pixel_size_um
        size_um = tuple(length * pixel for length in coarse.shape_px)
        if any(abs(a - b) > SIZE_TOLERANCE_PX * pixel for a, b in zip(size_um, fine.size_um, strict=True)):
            raise RegistrationError(
                f"field '{fine.name}' covers {fine.size_um[0]:.2f} × {fine.size_um[1]:.2f} µm, the coarse image "
                f"{size_um[0]:.2f} × {size_um[1]:.2f} µm; the identity needs equal fields", reason="magnification",
                hint='correct the pixel sizes, or use plugin = "paper"')
        return Registration(Transform.identity(), 0.0, 1.0, {"found by": "identity"})
