"""A resolution target under the virtual microscope, and what a network makes of it (Fig. 5 and Table S4)."""

from __future__ import annotations

import numpy as np

from superres.engine import Engine
from superres.events import Events
from superres.image import FloatArray, luma
from superres.optics import Optics
from superres.optics.camera import integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.optics.usaf.target import TargetSpec, draw_target
from superres.resample import bicubic
from superres.transform import Transform

PITCH_UM = 0.037
"""Half a fine pixel: intensities reach 5 cycles/µm (twice the aperture), sampled 5 times."""

SPEC = TargetSpec(first_group=8, nests=2, dust=20)
"""Groups 8 to 11: 256 to 3649 cycles/mm, the frequencies of Table S4."""

NOISE_COARSE, NOISE_FINE = 0.01, 0.004


def images(engine: Engine, coarse: Optics, fine: Optics, events: Events, spec: TargetSpec = SPEC, seed: int = 0
           ) -> dict[str, tuple[FloatArray, float]]:
    """Name → ((H, W) greys in units of white, pixel size in µm): the coarse input, bicubic, the output, the fine image.

    Chrome bars (density 3) with dust, in focus, noise of condition `standard`.
    """
    rng = np.random.default_rng(seed)
    drawn = draw_target(spec, PITCH_UM, rng)
    sizes = engine.weights.coarse_pixel_size_um, engine.weights.fine_pixel_size_um
    height, width = (side * PITCH_UM for side in drawn.transmittance.shape)
    seen = []
    for optics, pixel, noise in ((coarse, sizes[0], NOISE_COARSE), (fine, sizes[1], NOISE_FINE)):
        events.raise_if_cancelled()
        intensity = image_with_modes(drawn.transmittance, PITCH_UM, coherent_modes(optics))
        signal = integrate_pixels(intensity, PITCH_UM, np.eye(2) * pixel)
        frame = sample(signal, Transform.identity(), (int(height / pixel), int(width / pixel)), pixel)
        seen.append(np.clip(frame + rng.normal(0, noise, frame.shape), 0, 1).astype(np.float32))
    colour = np.repeat(seen[0][:, :, None], 3, axis=2)
    scale = engine.geometry.scale
    output = np.clip(luma(np.asarray(engine(colour))), 0, 1)
    enlarged = sizes[0] / float(scale)
    return {f"{coarse.label} input": (seen[0], sizes[0]), "bicubic": (np.clip(bicubic(seen[0], scale), 0, 1), enlarged),
            "network output": (output, enlarged), f"{fine.label}": (seen[1], sizes[1])}
