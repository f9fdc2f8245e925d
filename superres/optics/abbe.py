"""Bright-field imaging by Abbe's method: one coherent image for every point of the condenser, summed as intensities.

Scalar theory, no aberrations but defocus, hard pupil, no aplanatic factor.  `modes` holds the fast form for large
scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

from superres.optics.objective import Optics

Reals = npt.NDArray[np.floating]
Border = Literal["reflect", "periodic"]

REFLECTED_BORDER_UM = 4.0
"""Width of the reflected border.  Coherence × amplitude response have fallen below 1e-4 of their centre there
(condenser 0.55NA, objective 0.95NA, 550 nm: the envelopes of 2J₁(v)/v of both)."""


def condenser_source(optics: Optics, across: int = 31) -> npt.NDArray[np.float64]:
    """Points of a uniformly filled condenser disc, (N, 2) as (y, x) in cycles/µm (direction sines over λ).

    across: points along a diameter, cell centres of a square lattice (31 gives 749 points and errs by .006 in
    weak-object contrast, 101 by .001).  Points come in exact ± pairs.
    """
    radius = optics.condenser_na / optics.wavelength_um
    steps = radius * (2 * np.arange(across) + 1 - across) / across
    y, x = np.meshgrid(steps, steps, indexing="ij")
    inside = y * y + x * x <= radius * radius
    return np.stack([y[inside], x[inside]], axis=1)


def pupil(y: Reals, x: Reals, optics: Optics) -> npt.NDArray[np.inexact]:
    """The objective's amplitude transmission at transverse frequencies y, x in cycles/µm (shapes broadcast).

    1 inside NA_objective/λ, 0 outside, times the phase exp(2πi·defocus·√((n/λ)² − f²)): the exact root, since its
    parabolic approximation is wrong by more than a wave at 1.4NA.  Real in focus, complex out of focus.
    """
    square = np.asarray(y * y + x * x)
    inside = square <= (optics.objective_na / optics.wavelength_um) ** 2
    if optics.defocus_um == 0.0:
        return inside.astype(np.float64)
    axial = np.sqrt(np.clip((optics.refractive_index / optics.wavelength_um) ** 2 - square, 0.0, None))
    transmission = np.zeros(square.shape, dtype=np.complex128)
    transmission[inside] = np.exp(2j * np.pi * optics.defocus_um * axial[inside])
    return transmission


def image_bright_field(transmittance: Reals, pitch_um: float, optics: Optics, *, source_across: int = 31,
                       border: Border = "reflect", workers: int = -1) -> npt.NDArray[np.float64]:
    """The intensity that an objective forms of a thin absorbing object, by direct summation over the condenser.

    transmittance: (H, W) or (H, W, 3), intensity transmittance in [0, 1] sampled at pitch_um; every channel is imaged
    at optics.wavelength_um.  The field behind the object is √transmittance (no phase).
    source_across: see `condenser_source`; points are not snapped to the grid of frequencies.
    border: "reflect" continues the object by reflection over 4 µm, so that nothing leaks in from the opposite side;
    "periodic" repeats it.  workers: threads (−1: all cores); the result does not depend on it.
    Returns float64 of the same shape, point samples without any camera pixel; 1 for a clear object.
    Raises ValueError if transmittance leaves [0, 1] or has another shape.
    Source: Born & Wolf, Principles of Optics, §10.6.2 (Abbe's and Hopkins' treatments agree).
    """
    check_transmittance(transmittance)
    if transmittance.ndim == 3:
        planes = [image_bright_field(transmittance[:, :, channel], pitch_um, optics, source_across=source_across,
                                     border=border, workers=workers) for channel in range(transmittance.shape[2])]
        return np.stack(planes, axis=2)
    frame = Frame.of(transmittance.shape[:2], pitch_um, border)
    amplitude = np.sqrt(frame.extend(transmittance).astype(np.float64))
    spectrum = fft.fftshift(fft.fft2(amplitude, workers=workers)) / amplitude.size
    reach = optics.objective_na / optics.wavelength_um
    window = frame.window_shape(2 * reach)
    source = condenser_source(optics, source_across)
    reaching = np.sum(np.hypot(source[:, 0], source[:, 1]) <= reach)
    weights = np.full(len(source), 1.0 / reaching)
    if optics.defocus_um == 0.0:
        # A real object in focus: the points s and −s give conjugate fields, hence equal intensities.
        upper = (source[:, 0] > 0) | ((source[:, 0] == 0) & (source[:, 1] > 0))
        centre = (source == 0).all(axis=1)
        weights = np.where(upper, 2 * weights, weights)[upper | centre]
        source = source[upper | centre]
    intensity = np.zeros(window)
    for point, weight in zip(source, weights, strict=True):
        field = fft.ifft2(_passed(spectrum, frame, point, reach, optics, window), workers=workers, norm="forward")
        intensity += weight * (field.real ** 2 + field.imag ** 2)
    return frame.crop(resample_periodic(intensity, frame.shape, workers))


@dataclass(frozen=True)
class Frame:
    """A rectangle of object samples inside the periodic array on which Fourier transforms are taken.

    inner: (H, W) of the object.  shape: of the extended array.  margin: (top, left) samples in front of the object.
    """

    inner: tuple[int, int]
    shape: tuple[int, int]
    margin: tuple[int, int]
    pitch_um: float

    @classmethod
    def of(cls, inner: tuple[int, int], pitch_um: float, border: Border) -> Frame:
        if border == "periodic":
            return cls(inner, inner, (0, 0), pitch_um)
        pad = int(np.ceil(REFLECTED_BORDER_UM / pitch_um))
        shape = (fft.next_fast_len(inner[0] + 2 * pad), fft.next_fast_len(inner[1] + 2 * pad))
        return cls(inner, shape, (pad, pad), pitch_um)

    def extend(self, plane: Reals) -> Reals:
        """The object continued by reflection (repeated where it is narrower than the border)."""
        if self.shape == self.inner:
            return plane
        after = [self.shape[axis] - self.inner[axis] - self.margin[axis] for axis in (0, 1)]
        return np.pad(plane, ((self.margin[0], after[0]), (self.margin[1], after[1])), mode="symmetric")

    def crop(self, plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        top, left = self.margin
        return plane[top:top + self.inner[0], left:left + self.inner[1]]

    def window_shape(self, band_cycles_per_um: float) -> tuple[int, int]:
        """Samples (y, x) needed by an image whose spectrum ends at band_cycles_per_um.

        Fewer than the object's where its grid is finer than that, a whole multiple of them where it is coarser (the
        object's grid would alias the intensity).
        """
        sides = []
        for count in self.shape:
            needed = int(np.ceil(2 * band_cycles_per_um * count * self.pitch_um)) + 3
            fast = fft.next_fast_len(needed)
            sides.append(fast if fast < count else count * int(np.ceil(needed / count)))
        return sides[0], sides[1]

    def frequency_step(self) -> tuple[float, float]:
        """Distance of neighbouring frequencies, (y, x) in cycles/µm."""
        return 1.0 / (self.shape[0] * self.pitch_um), 1.0 / (self.shape[1] * self.pitch_um)


def check_transmittance(transmittance: Reals) -> None:
    """Raises ValueError unless it is (H, W) or (H, W, 3) and within [0, 1]."""
    if transmittance.ndim not in (2, 3) or (transmittance.ndim == 3 and transmittance.shape[2] != 3):
        raise ValueError(f"transmittance has shape {transmittance.shape}; expected (H, W) or (H, W, 3)")
    low, high = float(transmittance.min()), float(transmittance.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"transmittance spans {low:g} … {high:g}; expected values in [0, 1]")


def resample_periodic(plane: Reals, shape: tuple[int, int], workers: int) -> npt.NDArray[np.float64]:
    """Band-limited resampling of a periodic real array to another number of samples over the same area."""
    if plane.shape == shape:
        return np.asarray(plane, dtype=np.float64)
    if plane.shape[0] % shape[0] == 0 and plane.shape[1] % shape[1] == 0:
        return np.asarray(plane[::plane.shape[0] // shape[0], ::plane.shape[1] // shape[1]], dtype=np.float64)
    half = fft.rfft2(plane, workers=workers)
    result = np.zeros((shape[0], shape[1] // 2 + 1), dtype=half.dtype)
    rows = min(plane.shape[0], shape[0])
    columns = min(half.shape[1], result.shape[1])
    top, bottom = (rows + 1) // 2, rows // 2
    result[:top, :columns] = half[:top, :columns]
    result[shape[0] - bottom:, :columns] = half[plane.shape[0] - bottom:, :columns]
    scale = shape[0] * shape[1] / plane.size
    return np.asarray(fft.irfft2(result, s=shape, workers=workers) * scale, dtype=np.float64)


def _passed(spectrum: npt.NDArray[np.complex128], frame: Frame, point: npt.NDArray[np.float64], reach: float,
            optics: Optics, window: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """What the pupil passes of the object's (shifted) spectrum under light from one source point, in a small window.

    The window is centred on the pupil, which multiplies the field by a pure phase and leaves its intensity alone.
    """
    passed = np.zeros(window, dtype=np.complex128)
    source_slices, window_slices, frequencies = [], [], []
    for axis in (0, 1):
        count, step = frame.shape[axis], frame.frequency_step()[axis]
        centre = round(-point[axis] / step)
        half = int(np.ceil(reach / step)) + 1
        first, last = max(centre - half, -(count // 2)), min(centre + half, (count - 1) // 2)
        bins = np.arange(first, last + 1)
        frequencies.append(bins * step + point[axis])
        source_slices.append(slice(first + count // 2, last + 1 + count // 2))
        window_slices.append((bins - centre) % window[axis])
    block = spectrum[source_slices[0], source_slices[1]]
    response = pupil(frequencies[0][:, None], frequencies[1][None, :], optics)
    passed[np.ix_(window_slices[0], window_slices[1])] = block * response
    return passed
