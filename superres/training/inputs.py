"""How noisy and how compressed images are: of its inputs a training keeps the worst, by which later ones are judged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import fft

from superres.api.source import Pair
from superres.image import FloatArray, Image, luma
from superres.io.weights import WorstInputs
from superres.optics import Optics
from superres.optics.blocks import BLOCK_PX, block_contrast

WINDOW_PX, WINDOWS = 256, 16
"""An image of any size is judged by so many windows of this side, spread over it."""

LEAST_PX = 2 * BLOCK_PX
"""A smaller image is not measured."""


def measured(image: Image, cutoff_cycles_per_um: float) -> WorstInputs:
    """Noise and blocks of one image.  cutoff: of the objective it was taken with; see colour_noise_sd."""
    boxes = spread(image.shape_px)
    windows = [image.crop(*box).rgb() for box in boxes]
    pieces = [(luma(window), top, left) for window, (top, left, *_) in zip(windows, boxes, strict=True)]
    return WorstInputs(colour_noise_sd(windows, image.pixel_size_um * cutoff_cycles_per_um), block_contrast(pieces))


def worst_of(pairs: Iterable[Pair], coarse: Optics | None, pixel_size_um: float) -> WorstInputs | None:
    """The largest noise and the strongest blocks among the coarse images, or None where none is large enough."""
    cutoff = cutoff_of(coarse, pixel_size_um)
    found = [measured(pair.coarse, cutoff) for pair in pairs if min(pair.coarse.shape_px) >= LEAST_PX]
    if not found:
        return None
    return WorstInputs(max(each.noise for each in found), max(each.blocks for each in found))


def cutoff_of(coarse: Optics | None, pixel_size_um: float) -> float:
    """Of the coarse objective in cycles/µm; what its pixels sample critically where the objective is not known."""
    return coarse.cutoff_cycles_per_um if coarse else 0.5 / pixel_size_um


def colour_noise_sd(windows: list[FloatArray], cutoff_cycles_per_px: float) -> float:
    """Noise that red, green and blue do not share, beyond every frequency that the objective transmits; units of white.

    windows: (H, W, 3) in units of white.  Structure, sharpening and aliasing change the three together, as one or two
    stains do; of their covariance the smallest eigenvalue is left, which for a camera's independent noise is its
    variance.  What a file or a camera smoothed (JPEG, the filters of a Bayer pattern) has little left there, and grey
    images have none: no noise found is no proof of little noise.
    """
    total, count = np.zeros((3, 3)), 0.0
    for window in windows:
        height, width = window.shape[:2]
        taper = np.outer(np.hanning(height), np.hanning(width))
        centred = (window - window.mean(axis=(0, 1))).astype(np.float64) * taper[..., None]
        radius = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :])
        # Nothing lies beyond the cut-off where the pixels are too large for it: the corners are what is left.
        finest = fft.rfft2(centred, axes=(0, 1))[radius >= min(1.1 * cutoff_cycles_per_px, 0.6)]
        total += (finest.conj().T @ finest).real / (taper ** 2).sum()
        count += len(finest)
    return float(np.sqrt(max(np.linalg.eigvalsh(total / count)[0], 0.0)))


def spread(shape_px: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of windows spread over an image."""
    side = int(np.sqrt(WINDOWS))
    starts = []
    for length in shape_px:
        count = min(side, max(1, length // WINDOW_PX))
        size = min(length, WINDOW_PX)
        starts.append((size, np.unique(np.linspace(0, length - size, count).astype(int))))
    (tall, tops), (wide, lefts) = starts
    return [(int(top), int(left), tall, wide) for top in tops for left in lefts]
