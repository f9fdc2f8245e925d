"""What a registrar promises: it finds a field, says how sure it is, and refuses what is not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.special import expit

from superres.api import Mosaic, Registration, Tile
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.resample import bicubic
from superres.testing.plugin import PluginContract
from superres.transform import Transform, rms_distance_um

COARSE_UM, FINE_UM = 0.185, 0.074
TILE_WIDTH = Fraction(7, 16)
"""Of the coarse image, which three tiles then cover with 36 % of overlap; 84 of 192 px, so that the first shows 24
columns of a field at column 60."""


class RegistrarContract(PluginContract):
    """For subclasses of superres.api.Registrar.

    tolerance_px: RMS error that is allowed, in coarse pixels.  shifts_px: offsets of the field in the coarse image
    that it must find, (y, x) in coarse pixels (even numbers); [(0, 0)] for a registrar that finds nothing.
    refuses_blank: False for a registrar that never looks at the pixels, and so cannot refuse a field that is blank,
    mirrored or of another specimen.
    """

    tolerance_px: ClassVar[float] = 0.1
    shifts_px: ClassVar[tuple[tuple[int, int], ...]] = ((40, 60), (12, 30))
    refuses_blank: ClassVar[bool] = True

    def specimen(self, height: int = 420, width: int = 480, seed: int = 11) -> FloatArray:
        """Discs of many sizes and greys on a bright ground, in fine pixels: blobs and edges as tissue has them."""
        return np.repeat(_discs(height, width, seed)[:, :, None], 3, axis=2)

    def views(self, shift_px: tuple[int, int]) -> tuple[Image, Image, Transform]:
        """(fine, coarse, true coarse µm → fine µm) of a field that lies shift_px inside the coarse image."""
        scene = self.specimen()
        coarse = Image(bicubic(scene, Fraction(2, 5)), COARSE_UM, name="coarse")
        if shift_px == (0, 0):
            return Image(scene, FINE_UM, name="fine"), coarse, Transform.identity()
        top, left = (int(2.5 * shift) for shift in shift_px)
        fine = Image(scene[top : top + 280, left : left + 280], FINE_UM, name="fine")
        return fine, coarse, Transform.shift(-shift_px[0] * COARSE_UM, -shift_px[1] * COARSE_UM)

    def scan(self, coarse: Image) -> Mosaic:
        """The coarse image as three overlapping tiles with stage positions, stitched by the registrar itself."""
        tiles = []
        width = int(TILE_WIDTH * coarse.width)
        step = (coarse.width - width) // 2
        for column in range(3):
            left = column * step
            pixels = np.ascontiguousarray(coarse.pixels[:, left : left + width])
            image = Image(pixels, COARSE_UM, name=f"tile-{left}")
            tiles.append(Tile(image, (250.0, 400.0 + left * COARSE_UM), (0, column)))
        mosaic: Mosaic = self.make().assemble(tiles, (width - step) / width)
        return mosaic

    def check(self, registration: Any, truth: Transform, fine: Image, where: str) -> None:
        """truth: coarse µm → fine µm, of the frame that the registrar was given."""
        assert isinstance(registration, Registration)
        found = registration.transform.then(truth.inverse())
        error_px = rms_distance_um(found, Transform.identity(), *fine.size_um) / COARSE_UM
        assert error_px <= self.tolerance_px, f"field {where}: {error_px:.3f} coarse px off"
        assert registration.confidence >= 0.5, f"field {where}: found, but with confidence {registration.confidence}"
        assert registration.residual_um >= 0

    def test_finds_the_field(self) -> None:
        """In an image, and in a mosaic, which is what a run passes."""
        for shift in self.shifts_px:
            fine, coarse, truth = self.views(shift)
            for where in (coarse, Mosaic.of(coarse)):
                label = f"at {shift} of {type(where).__name__}"
                self.check(self.make().register(fine, where), truth, fine, label)

    def test_finds_the_field_across_the_tiles_of_a_scan(self) -> None:
        fine, coarse, truth = self.views(self.shifts_px[0])
        mosaic = self.scan(coarse)
        # The first tile begins where the coarse image does, so its place is the image's place in the mosaic.
        of_mosaic = mosaic.tiles[0].to_mosaic.inverse().then(truth)
        self.check(self.make().register(fine, mosaic), of_mosaic, fine, "across three tiles")

    def test_a_field_that_is_not_there_is_refused_or_doubted(self) -> None:
        """Of another specimen, or mirrored: RegistrationError, or a confidence below one half."""
        if not self.refuses_blank:
            return
        fine, coarse, _ = self.views(self.shifts_px[0])
        height, width = fine.shape_px
        for name, pixels in (
            ("of another specimen", self.specimen(seed=5)[:height, :width]),
            ("mirrored along x", fine.pixels[:, ::-1]),
            ("mirrored along y", fine.pixels[::-1]),
        ):
            absent = Image(np.ascontiguousarray(pixels), FINE_UM, name=name)
            try:
                registration = self.make().register(absent, Mosaic.of(coarse))
            except RegistrationError as error:
                assert error.reason
            else:
                assert registration.confidence < 0.5, f"field {name}: confidence {registration.confidence}"

    def test_same_input_same_answer(self) -> None:
        fine, coarse, _ = self.views(self.shifts_px[0])
        first, second = (self.make().register(fine, coarse).transform.matrix for _ in range(2))
        assert np.array_equal(first, second)

    def test_several_threads_get_what_one_gets(self) -> None:
        """Of a registrar that says it is `concurrent`: one object, the same mosaic, different fields at once."""
        if not self.make().concurrent:
            return
        views = [self.views(shift) for shift in self.shifts_px]
        mosaic = Mosaic.of(views[0][1])
        fields = [fine for fine, *_ in views] * 2
        alone = [self.make().register(fine, mosaic).transform.matrix for fine in fields]
        shared = self.make()
        with ThreadPoolExecutor(len(fields)) as pool:
            together = pool.map(lambda fine: shared.register(fine, mosaic).transform.matrix, fields)
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))

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


@lru_cache(maxsize=4)
def _discs(height: int, width: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    field = np.full((height, width), 0.9, dtype=np.float32)
    for _ in range(260):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 22)
        inside = expit(radius - np.hypot(rows - y, columns - x))
        field -= (rng.uniform(0.1, 0.5) * inside * (field - 0.1)).astype(np.float32)
    field.setflags(write=False)
    return field
