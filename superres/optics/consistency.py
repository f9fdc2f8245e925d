"""Back to the coarse objective: does an output say anything that its input contradicts?

This can refute a structure, never confirm one.  Only what the coarse objective transmits is compared; detail between
the two cut-offs, part of what the fine objective adds, is not checked at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats

from superres.image import Array, FloatArray, Sliced
from superres.optics.camera import filtered_signal, sample
from superres.optics.objective import Optics
from superres.optics.transfer import pixel_transfer, weak_object_transfer
from superres.transform import Transform

Reals = npt.NDArray[np.floating]

BLUR_PX = 0.8
"""Gaussian over which differences are gathered, in coarse pixels: about the coarse objective's own spot."""

MARGIN_PX = 24
"""Coarse pixels around a piece that is computed on its own; the filter's reach of 4 µm is 22 px of 0.185 µm."""

PIECE_PX = 512


@dataclass(frozen=True)
class ForwardModel:
    """How a fine image becomes a coarse one.

    coarse, fine: the two objectives.  coarse_pixel_um, fine_pixel_um: their pixels in the object plane.
    The fine image is blurred by its own objective and pixel already; their transfer is divided out.
    """

    coarse: Optics
    fine: Optics
    coarse_pixel_um: float
    fine_pixel_um: float

    def transfer(self, y: Reals, x: Reals) -> Reals:
        """(H_coarse/H_fine)·(pixel_coarse/pixel_fine) at frequencies in cycles/µm; 0 beyond the coarse cut-off."""
        radius = np.hypot(y, x)
        wide = weak_object_transfer(radius, self.coarse)
        sharp = weak_object_transfer(radius, self.fine)
        # Within the coarse band the fine objective transmits at least a third; the floor matters for odd pairs only.
        ratio = np.where(wide > 0, wide / np.maximum(sharp, 0.05), 0.0)
        for frequency in (y, x):
            fine = pixel_transfer(frequency, self.fine_pixel_um)
            ratio = ratio * np.where(np.abs(fine) > 0.2, pixel_transfer(frequency, self.coarse_pixel_um)
                                     / np.where(np.abs(fine) > 0.2, fine, 1.0), 0.0)
        return np.asarray(ratio)

    def coarsen(self, fine: FloatArray, shape_px: tuple[int, int]) -> FloatArray:
        """What the coarse camera would have seen: (h, w) or (h, w, 3) float32.

        fine: (H, W) or (H, W, 3) in units of white.  shape_px: of the coarse image; both start at one outer corner.
        """
        signal = filtered_signal(fine, self.fine_pixel_um, self.transfer)
        return sample(signal, Transform.identity(), shape_px, self.coarse_pixel_um)


def consistency_map(model: ForwardModel, fine: Sliced, coarse: Array, fine_white: float = 1.0,
                    coarse_white: float = 1.0, step: Callable[[int, int], None] = lambda done, total: None
                    ) -> FloatArray:
    """Blurred difference between the coarsened output and its input, (h, w) float32 in units of white, >= 0.

    fine: (H, W) or (H, W, 3), an array or what reads a file when it is cut; coarse: (h, w) or (h, w, 3), any real
    dtype; h and w are what the fine image covers.  step: hears (rows done, h), and may raise to stop.
    fine_white, coarse_white: the values that mean white in each.
    |G(0.8 px) ∗ (A(fine) − coarse)|, root mean square over the colours.  Floats are made piece by piece.
    """
    height, width = coarse.shape[:2]
    ratio = model.coarse_pixel_um / model.fine_pixel_um
    result = np.empty((height, width), dtype=np.float32)
    # Pieces start on pixels that both grids share, so that every piece has the phase of the whole.
    shared = next(n for n in range(1, 65) if abs(n * ratio - round(n * ratio)) < 1e-6 or n == 64)
    piece, margin = PIECE_PX - PIECE_PX % shared, -(-MARGIN_PX // shared) * shared
    for top in range(0, height, piece):
        step(top, height)
        for left in range(0, width, piece):
            first = max(top - margin, 0), max(left - margin, 0)
            last = min(top + piece + margin, height), min(left + piece + margin, width)
            fine_first = round(first[0] * ratio), round(first[1] * ratio)
            fine_last = (math.ceil(last[0] * ratio), math.ceil(last[1] * ratio))
            part = fine[fine_first[0]:fine_last[0], fine_first[1]:fine_last[1]]
            seen = np.asarray(coarse[first[0]:last[0], first[1]:last[1]], dtype=np.float32) / np.float32(coarse_white)
            unit = np.asarray(part, dtype=np.float32) / np.float32(fine_white)
            difference = model.coarsen(unit, (seen.shape[0], seen.shape[1])) - seen
            found = blurred_magnitude(difference)
            inner = found[top - first[0]:, left - first[1]:][:piece, :piece]
            result[top:top + piece, left:left + piece] = inner
    step(height, height)
    return result


def blurred_magnitude(difference: FloatArray) -> FloatArray:
    """G(0.8 px) ∗ difference, root mean square over colours: (h, w) float32."""
    planes = difference[:, :, None] if difference.ndim == 2 else difference
    squares = np.zeros(planes.shape[:2], dtype=np.float32)
    for channel in range(planes.shape[2]):
        squares += ndimage.gaussian_filter(planes[:, :, channel], BLUR_PX, mode="reflect") ** 2
    return np.asarray(np.sqrt(squares / planes.shape[2]), dtype=np.float32)


def noise_level(noise_sd: float, channels: int, quantile: float = 0.99) -> float:
    """The map's quantile where output and input differ by white camera noise alone.

    noise_sd: of one coarse pixel, in units of white.  channels: independent colours, 1 or 3.
    """
    kernel = np.zeros((15, 15))
    kernel[7, 7] = 1.0
    gain = float(np.sqrt((ndimage.gaussian_filter(kernel, BLUR_PX) ** 2).sum()))
    return noise_sd * gain * math.sqrt(float(stats.chi2.ppf(quantile, channels)) / channels)


def ordinary_level(found: FloatArray, channels: int, quantile: float = 0.99) -> float:
    """The quantile of a map, in its unit, from its median: as if it were noise throughout.

    A few bright places do not move it; an output that differs from its input everywhere raises it.
    """
    ratio = stats.chi2.ppf(quantile, channels) / stats.chi2.ppf(0.5, channels)
    return float(np.median(found)) * math.sqrt(float(ratio))


def limit_of(model: ForwardModel) -> str:
    """What the map cannot see, in one sentence; it belongs beside every map."""
    cutoff, fine = model.coarse.cutoff_cycles_per_um, model.fine.cutoff_cycles_per_um
    return (f"It sees only structure that the coarse objective transmits: nothing finer than a period of "
            f"{1 / cutoff:.3f} µm. Detail between {cutoff:.2f} and {fine:.2f} cycles/µm, part of what the fine "
            f"objective adds, is not checked at all: a blank map there is no evidence.")


def finest_visible(model: ForwardModel, threshold: float, contrast: float) -> float | None:
    """Highest frequency (cycles/µm) of an invented grating, on white, that lifts the map above `threshold`.

    contrast: (Imax − Imin)/(Imax + Imin) in the fine image, whose maximum is white.  None where none does.
    """
    frequency = np.linspace(0.02, 1.0, 200) * model.coarse.cutoff_cycles_per_um
    amplitude = contrast / (1 + contrast)
    blur = np.exp(-2 * (np.pi * BLUR_PX * model.coarse_pixel_um * frequency) ** 2)
    seen = np.flatnonzero(amplitude * model.transfer(frequency, np.zeros_like(frequency)) * blur > threshold)
    return float(frequency[seen[-1]]) if len(seen) else None


@dataclass(frozen=True)
class VisibleSpot:
    """side_um: of a dark square.  contrast: the smallest that the map shows, None where even black stays below."""

    side_um: float
    contrast: float | None


def visible_spots(model: ForwardModel, threshold: float, sides_px: tuple[int, ...] = (3, 5, 7, 11)
                  ) -> tuple[VisibleSpot, ...]:
    """The smallest contrast of an invented dark square, on white, that lifts the map above `threshold`.

    sides_px: in fine pixels.  The response is linear in contrast.
    """
    spots = []
    ratio = model.coarse_pixel_um / model.fine_pixel_um
    for side in sides_px:
        shape = 2 * (math.ceil(side / ratio) + MARGIN_PX) + 1
        fine = np.zeros((math.ceil(shape * ratio),) * 2, dtype=np.float32)
        start = (fine.shape[0] - side) // 2
        fine[start:start + side, start:start + side] = 1.0
        peak = float(blurred_magnitude(model.coarsen(fine, (shape, shape))).max())
        contrast = threshold / peak if peak > 0 else math.inf
        spots.append(VisibleSpot(side * model.fine_pixel_um, contrast if contrast <= 1 else None))
    return tuple(spots)
