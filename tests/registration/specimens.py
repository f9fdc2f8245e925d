"""Specimens with exact truth: a slide is a cubic spline over a fine grid, so it has a value at every point.

Coarse frames and fine fields are samples of that spline at any place and angle, so the true transforms are known
exactly; no resampling that a registrar could share is in the way.  The blur stands for the coarse objective.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import ndimage

from superres.api import Tile
from superres.image import Image
from superres.transform import Transform, rms_distance_um

FINE_UM = 0.074
COARSE_UM = 0.185
SCALE = 2.5


def speckle(seed: int, size_px: int) -> np.ndarray:
    """(size, size, 3) float32: stained cells on a pale, cloudy ground; detail from one pixel up to a tenth of the
    size."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None])
    def field_of(slope: float, cut: float) -> np.ndarray:
        spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px)))
        spectrum *= np.exp(-(frequency / cut) ** 2) / (frequency + 3.0 / size_px) ** slope
        plane = np.fft.irfft2(spectrum, s=(size_px, size_px))
        return (plane - plane.mean()) / plane.std()
    nuclei = 1 / (1 + np.exp(-6 * (field_of(1.0, 0.03) - 1.0)))
    eosin = np.clip(0.5 + 0.25 * field_of(1.2, 0.2), 0, 1.5)
    density = nuclei[..., None] * np.array([0.65, 0.7, 0.29]) + 0.35 * eosin[..., None] * np.array([0.1, 0.9, 0.2])
    return np.exp(-density).astype(np.float32)


def section() -> np.ndarray:
    """(512, 512, 3) float32: the real stained section that scikit-image carries."""
    from skimage import data

    return (data.immunohistochemistry() / 255.0).astype(np.float32)


@dataclass
class Slide:
    """object_: (H, W, 3) float32 at the fine pitch.  blur_px: sigma of the coarse objective, in fine pixels."""

    object_: np.ndarray
    blur_px: float = 1.25
    coarse_um: float = COARSE_UM
    fine_um: float = FINE_UM
    _noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))

    @cached_property
    def _coarse_spline(self) -> np.ndarray:
        blurred = ndimage.gaussian_filter(self.object_, (self.blur_px, self.blur_px, 0), mode="nearest")
        return np.stack([ndimage.spline_filter(blurred[..., c], 3, np.float32) for c in range(3)])

    @cached_property
    def _fine_spline(self) -> np.ndarray:
        soft = ndimage.gaussian_filter(self.object_, (0.5, 0.5, 0), mode="nearest")
        return np.stack([ndimage.spline_filter(soft[..., c], 3, np.float32) for c in range(3)])

    def sample(self, fine: bool, to_object: Transform, shape: tuple[int, int], pixel_um: float) -> np.ndarray:
        """Values at the pixel centres of a frame.  to_object: frame µm → object µm (object pixels have fine_um)."""
        matrix = to_object.matrix
        linear = matrix[:2, :2] * pixel_um / self.fine_um
        offset = (matrix[:2, :2] @ np.full(2, 0.5 * pixel_um) + matrix[:2, 2]) / self.fine_um - 0.5
        planes = self._fine_spline if fine else self._coarse_spline
        return np.stack([ndimage.affine_transform(p, linear, offset, shape, order=3, prefilter=False, mode="nearest")
                         for p in planes], axis=2)

    def _shot(self, unit: np.ndarray, noise: float, name: str, pixel_um: float) -> Image:
        noisy = unit + noise * self._noise.standard_normal(unit.shape)
        return Image(np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8), pixel_um, name=name)

    def coarse(self, origin_px: tuple[float, float], shape: tuple[int, int], *, noise: float = 0.0,
               vignette: float = 0.0, name: str = "coarse") -> Image:
        """A frame whose outer corner lies at origin_px (coarse pixels of the object)."""
        unit = self.sample(False, Transform.shift(origin_px[0] * self.coarse_um, origin_px[1] * self.coarse_um), shape,
                           self.coarse_um)
        if vignette:
            y = (np.arange(shape[0]) + 0.5) / shape[0] - 0.5
            x = (np.arange(shape[1]) + 0.5) / shape[1] - 0.47
            unit = unit * (1 - vignette * 2 * (y[:, None] ** 2 + x[None] ** 2))[..., None]
        return self._shot(unit, noise, name, self.coarse_um)

    def fine(self, to_object: Transform, shape: tuple[int, int], *, noise: float = 0.0, gain: float = 1.0,
             name: str = "fine") -> Image:
        """A field of the better objective; to_object: fine µm → object µm."""
        return self._shot(gain * self.sample(True, to_object, shape, self.fine_um), noise, name, self.fine_um)

    def scan(self, rows: int, columns: int, tile_px: int, overlap: float, *, jitter_px: float,
             rotation_deg: float = 0.0, noise: float = 0.0, vignette: float = 0.0, seed: int = 0,
             pitch_error: float = 0.0) -> tuple[list[Tile], np.ndarray]:
        """Tiles with nominal stage positions and grid indices, and their true origins in coarse pixels.

        The stage's axes are turned by rotation_deg against the camera's; its steps are 1 + pitch_error too long.
        """
        rng = np.random.default_rng(seed)
        turn = Transform.similarity(1 + pitch_error, rotation_deg)
        cells = [(r, c) for r in range(rows) for c in range(columns)]
        step = tile_px * (1 - overlap)
        nominal = np.array(cells) * step * self.coarse_um
        true = turn.apply(nominal) / self.coarse_um + rng.uniform(-jitter_px, jitter_px, (len(cells), 2))
        true -= true.min(axis=0) - 6.3
        tiles = [Tile(self.coarse((t[0], t[1]), (tile_px, tile_px), noise=noise, vignette=vignette, name=f"r{r}c{c}"),
                      (float(n[0]), float(n[1])), (r, c)) for (r, c), n, t in zip(cells, nominal, true, strict=True)]
        return tiles, true


def placement_error_px(estimate: Transform, truth: Transform, fine: Image, coarse_um: float) -> float:
    """RMS distance in coarse pixels between two maps fine µm → coarse µm over the field."""
    return rms_distance_um(estimate, truth, *fine.size_um) / coarse_um


def layout_rmse_px(found: np.ndarray, true: np.ndarray) -> float:
    """RMS distance of tile origins after taking out the common shift."""
    d = (found - found.mean(axis=0)) - (true - true.mean(axis=0))
    return float(np.sqrt((d ** 2).sum(axis=1).mean()))
