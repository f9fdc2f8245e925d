"""Real tissue under the virtual microscope's own optics, with exact truth: what the gates of registration are measured
on.

A view declares its scene to be sampled at 0.074 µm/px.  Coarse frames come from 40×/0.95NA, fine fields from
100×/1.4NA; both are samples of splines at any place and angle, so the truth is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from superres.builtin.sources.scenes import Scene, SceneRules, read_scene
from superres.image import FloatArray, Image
from superres.optics import Optics
from superres.optics.camera import PixelSignal, integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.transform import Transform

COARSE_UM, FINE_UM = 0.185, 0.074
TISSUES = {"he_OS-1_hamamatsu.png": True, "he_liver_gtex.jpg": False, "he_liver_2.jpg": False, "he_liver_3.jpg": False,
           "psr_liver.jpg": False, "he_tupac_a.png": False, "he_tupac_b.png": False,
           "he_CMU-1-small.svs": False}
"""Training fields of eight slides, and which of them are binned before use."""


@dataclass(frozen=True)
class Condition:
    """How the two cameras see.  Noise as a share of white; shading: linear, across the fine field; dust: spots on the
    fine camera."""

    name: str
    coarse_defocus_um: float = 0.0
    fine_defocus_um: float = 0.0
    noise_coarse: float = 3 / 255
    noise_fine: float = 2 / 255
    gamma: float = 1.1
    gain: float = 0.9
    shading: float = 0.16
    vignetting: float = 0.0
    dust: int = 0


CLEAN = Condition("clean")
HARD = Condition("hard", coarse_defocus_um=1.2, noise_coarse=8 / 255, noise_fine=8 / 255, vignetting=0.35, dust=4)
"""The registration study's views in terms of optics: 1.2 µm of defocus take 0.95NA about as far as its Gaussian blur
of 3 fine pixels does."""


@dataclass(eq=False)
class View:
    """One tissue in one condition.  transmittance: (H, W) float32 at 0.074 µm."""

    transmittance: FloatArray
    condition: Condition

    @cached_property
    def _coarse(self) -> PixelSignal:
        return self._signal(Optics(0.95, defocus_um=self.condition.coarse_defocus_um), COARSE_UM)

    @cached_property
    def _fine(self) -> PixelSignal:
        return self._signal(Optics(1.4, defocus_um=self.condition.fine_defocus_um, refractive_index=1.515), FINE_UM)

    def _signal(self, optics: Optics, pixel_um: float) -> PixelSignal:
        image = image_with_modes(self.transmittance, FINE_UM, coherent_modes(optics), workers=1)
        return integrate_pixels(image, FINE_UM, np.eye(2) * pixel_um, workers=1)

    @property
    def size_um(self) -> tuple[float, float]:
        return self.transmittance.shape[0] * FINE_UM, self.transmittance.shape[1] * FINE_UM

    def coarse(self, to_object: Transform, shape: tuple[int, int], rng: np.random.Generator, name: str = "coarse",
               vignetting: float = 0.0) -> Image:
        light = sample(self._coarse, to_object, shape, COARSE_UM)
        y, x = ((np.arange(n) + 0.5) / n * 2 - 1 for n in shape)
        light = light * (1 - vignetting * 0.5 * (y[:, None] ** 2 + x[None] ** 2)).astype(np.float32)
        return _shot(light, self.condition.noise_coarse, rng, COARSE_UM, name)

    def whole(self, rng: np.random.Generator) -> Image:
        """One coarse frame of the whole scene."""
        shape = tuple(int(length * FINE_UM / COARSE_UM) for length in self.transmittance.shape)
        return self.coarse(Transform.identity(), (shape[0], shape[1]), rng)

    def fine(self, to_object: Transform, shape: tuple[int, int], rng: np.random.Generator, name: str = "fine") -> Image:
        c = self.condition
        light = np.clip(sample(self._fine, to_object, shape, FINE_UM), 0, 1) ** c.gamma * c.gain
        y, x = ((np.arange(n) + 0.5) / n * 2 - 1 for n in shape)
        light = light * (1 - c.shading / 2 * x[None]) * (1 - c.vignetting * 0.5 * (y[:, None] ** 2 + x[None] ** 2))
        for _ in range(c.dust):
            at, radius = rng.uniform(-0.9, 0.9, 2) * np.asarray(shape) / 2, rng.uniform(4, 12)
            distance = np.hypot(y[:, None] * shape[0] / 2 - at[0], x[None] * shape[1] / 2 - at[1])
            light = light * (1 - 0.4 / (1 + np.exp(distance - radius)))
        return _shot(light, c.noise_fine, rng, FINE_UM, name)


def _shot(light: FloatArray, noise: float, rng: np.random.Generator, pixel_um: float, name: str) -> Image:
    noisy = light + noise * rng.standard_normal(light.shape)
    return Image(np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8), pixel_um, name=name)


@lru_cache(maxsize=4)
def tissue(data: Path, name: str, condition: Condition, side_px: int = 1024) -> View:
    """A training field, grey, cropped to its centre."""
    rules = SceneRules([], max_scene_px=side_px, monochrome=True)
    return View(read_scene(Scene(name, name, str(data / "train" / name), TISSUES[name]), rules), condition)


@lru_cache(maxsize=2)
def stained_section(condition: Condition) -> View:
    """The real section that scikit-image carries, 512 px, grey."""
    return View(read_scene(Scene("ihc", "ihc", "builtin:ihc"), SceneRules([], monochrome=True)), condition)


def random_place(view: View, side_px: int, rng: np.random.Generator, rotation_deg: float = 3.0, scale: float = 0.02,
                 ) -> Transform:
    """fine µm → object µm of a field of side_px fine pixels, wholly inside the scene."""
    half = side_px * FINE_UM / 2
    reach = half * (1 + scale) * (np.cos(np.deg2rad(rotation_deg)) + np.sin(np.deg2rad(rotation_deg))) + 8 * FINE_UM
    centre = [rng.uniform(reach, max(reach, length - reach)) for length in view.size_um]
    return Transform.similarity(1 + rng.uniform(-scale, scale), rng.uniform(-rotation_deg, rotation_deg),
                                (centre[0] - half, centre[1] - half), (half, half))
