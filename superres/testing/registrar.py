"""What a registrar promises: it finds a field, says how sure it is, and refuses what has no structure."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from scipy.special import expit

from superres.api import Registration
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.resample import bicubic
from superres.testing.plugin import PluginContract
from superres.transform import Transform, rms_distance_um

COARSE_UM, FINE_UM = 0.185, 0.074


class RegistrarContract(PluginContract):
    """For subclasses of superres.api.Registrar.

    tolerance_px: RMS error that is allowed, in coarse pixels.  shifts_px: offsets of the field in the coarse image
    that it must find, (y, x) in coarse pixels (even numbers); [(0, 0)] for a registrar that finds nothing.
    refuses_blank: False for a registrar that never looks at the pixels.
    """

    tolerance_px: ClassVar[float] = 0.1
    shifts_px: ClassVar[tuple[tuple[int, int], ...]] = ((40, 60), (12, 30))
    refuses_blank: ClassVar[bool] = True

    def specimen(self, height: int = 420, width: int = 480) -> FloatArray:
        """Discs of many sizes and greys on a bright ground, in fine pixels: blobs and edges as tissue has them."""
        rng = np.random.default_rng(11)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        field = np.full((height, width), 0.9, dtype=np.float32)
        for _ in range(260):
            y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 22)
            inside = expit(radius - np.hypot(rows - y, columns - x))
            field -= (rng.uniform(0.1, 0.5) * inside * (field - 0.1)).astype(np.float32)
        return np.repeat(field[:, :, None], 3, axis=2)

    def views(self, shift_px: tuple[int, int]) -> tuple[Image, Image, Transform]:
        """(fine, coarse, true coarse µm → fine µm) of a field that lies shift_px inside the coarse image."""
        scene = self.specimen()
        coarse = Image(bicubic(scene, Fraction(2, 5)), COARSE_UM, name="coarse")
        if shift_px == (0, 0):
            return Image(scene, FINE_UM, name="fine"), coarse, Transform.identity()
        top, left = (int(2.5 * shift) for shift in shift_px)
        fine = Image(scene[top : top + 280, left : left + 280], FINE_UM, name="fine")
        return fine, coarse, Transform.shift(-shift_px[0] * COARSE_UM, -shift_px[1] * COARSE_UM)

    def test_finds_the_field(self) -> None:
        for shift in self.shifts_px:
            fine, coarse, truth = self.views(shift)
            registration = self.make().register(fine, coarse)
            assert isinstance(registration, Registration)
            found = registration.transform.then(truth.inverse())
            error_px = rms_distance_um(found, Transform.identity(), *fine.size_um) / COARSE_UM
            assert error_px <= self.tolerance_px, f"field at {shift}: {error_px:.3f} coarse px off"
            assert registration.confidence >= 0.5
            assert registration.residual_um >= 0

    def test_same_input_same_answer(self) -> None:
        fine, coarse, _ = self.views(self.shifts_px[0])
        first, second = (self.make().register(fine, coarse).transform.matrix for _ in range(2))
        assert np.array_equal(first, second)

    def test_a_blank_field_is_refused_with_its_reason(self) -> None:
        if not self.refuses_blank:
            return
        _, coarse, _ = self.views(self.shifts_px[0])
        with pytest.raises(RegistrationError) as caught:
            self.make().register(Image(np.full((280, 280, 3), 0.9, dtype=np.float32), FINE_UM, name="blank"), coarse)
        assert caught.value.reason

    def test_inputs_are_untouched(self) -> None:
        fine, coarse, _ = self.views(self.shifts_px[0])
        before = fine.pixels.copy(), coarse.pixels.copy()
        self.make().register(fine, coarse)
        assert np.array_equal(fine.pixels, before[0]) and np.array_equal(coarse.pixels, before[1])
