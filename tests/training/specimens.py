"""Small pairs for training: smooth fields that a small network learns to restore in seconds."""

from fractions import Fraction

import numpy as np
from scipy import ndimage

from superres.api.source import Pair
from superres.image import Image
from superres.resample import bicubic


def make_pair(seed=0, coarse_px=(24, 24), name="", grey=False):
    """A pair with L = 2.5; uint8 as a camera stores it."""
    rng = np.random.default_rng(seed)
    fine_px = [-(-5 * side // 2) for side in coarse_px]
    fine = np.clip(0.7 + 1.5 * ndimage.gaussian_filter(rng.standard_normal((*fine_px, 3)), (3, 3, 0)), 0, 1)
    coarse = bicubic(fine.astype(np.float32), Fraction(2, 5))[:coarse_px[0], :coarse_px[1]]
    stored = [np.rint(np.clip(each, 0, 1) * 255).astype(np.uint8) for each in (coarse, fine)]
    if grey:
        stored = [each[:, :, 0] for each in stored]
    name = name or f"field-{seed}"
    return Pair(name, f"specimen-{seed}", Image(stored[0], 0.185, name=name), Image(stored[1], 0.074, name=name))
