"""A tissue of one's own: round cells on a bright ground, seen by an ideal camera at two pixel sizes."""

from fractions import Fraction

import numpy as np
from pydantic import Field
from scipy.special import expit

from superres.api import Acquisition, FineField, FloatArray, Image, PluginOptions, Scan, Source, Tile, bicubic

COARSE_UM, FINE_UM = 0.185, 0.074


class CellsSource(Source):
    """Specimens of random discs; one coarse frame and a few fine fields of each."""

    name = "template-cells"
    summary = "random round cells, for trying things out"

    class Options(PluginOptions):
        specimens: int = Field(3, ge=1, le=100, description="number of specimens")
        fields: int = Field(3, ge=1, le=100, description="fine fields of each specimen")
        seed: int = Field(0, ge=0, description="seed of the cells and of the places of the fields")

    def acquire(self) -> Acquisition:
        scans = tuple(self._scan(number) for number in range(self.options.specimens))
        return Acquisition(
            scans,
            coarse_pixel_size_um=COARSE_UM,
            fine_pixel_size_um=FINE_UM,
            simulated="random discs seen by an ideal camera at 0.185 and 0.074 µm a pixel, without optics",
        )

    def _scan(self, number: int) -> Scan:
        rng = np.random.default_rng((self.options.seed, number))
        scene = _cells(rng, 500)
        slide = f"cells-{number}"
        coarse = Image(bicubic(scene, Fraction(2, 5)), COARSE_UM, name=f"{slide}_coarse")
        fields = []
        for field in range(self.options.fields):
            top, left = rng.integers(0, 250, size=2)
            fine = Image(
                np.ascontiguousarray(scene[top : top + 250, left : left + 250]), FINE_UM, name=f"{slide}_f{field}"
            )
            fields.append(FineField(fine, slide))
        return Scan(slide, (Tile(coarse),), tuple(fields))


def _cells(rng: np.random.Generator, side: int) -> FloatArray:
    scene = np.full((side, side, 3), 0.92, dtype=np.float32)
    for y, x, radius in rng.uniform((0, 0, 4), (side, side, 20), (150, 3)):
        top, left = max(0, int(y - radius - 8)), max(0, int(x - radius - 8))
        part = scene[top : int(y + radius + 8), left : int(x + radius + 8)]
        rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        inside = expit(2 * (radius - np.hypot(rows - y, columns - x)))
        part *= 1 - inside[:, :, None] * rng.uniform((0.2, 0.3, 0.05), (0.5, 0.6, 0.3))
    return scene
