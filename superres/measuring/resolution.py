"""`superres resolution`: what noise and optics let through, without a target: ring correlation and power spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superres.builtin.evaluators.frc import input_correlation
from superres.errors import ImageError
from superres.image import FloatArray, Image
from superres.io.header import RATIO_TOLERANCE
from superres.measuring.mtf_pages import COLOURS
from superres.optics import Optics
from superres.optics.spectrum import (
    RadialSpectrum,
    RingCorrelation,
    fourier_ring_correlation,
    noise_floor,
    radial_spectrum,
    why_not_camera_noise,
    why_nothing_in_common,
)
from superres.report.figures import GREY, INK, plot_axes, svg_of
from superres.report.pages import Page, Section, Table

AT_MOST = ("Ring correlation gives the noise-limited resolution: below it noise decides, at most it is the optical "
           "cut-off. It measures one camera's frames; an output of a network, or any resampled image, is refused: what "
           "is invented the same way twice correlates with itself.")


SHIFT_LIMIT = 0.05
"""Of a field's side: a stage that moved farther between two exposures may have changed focus and light as well."""


@dataclass(frozen=True, eq=False)
class ResolutionResult:
    """One image, or one pair of exposures.  correlation: None where it was refused, for `refused`.  note: what was done
    to the pair before."""

    name: str
    pixel_size_um: float
    spectrum: RadialSpectrum
    correlation: RingCorrelation | None
    refused: str = ""
    note: str = ""

    @property
    def limit_um(self) -> float | None:
        """Noise-limited period, None where there is none."""
        if self.correlation is None or self.correlation.limit is None:
            return None
        return self.pixel_size_um / self.correlation.limit

    def reach_cycles_per_um(self, floor_um2: float) -> float | None:
        """Highest frequency at which the power per area still exceeds a floor; None if it never does."""
        above = np.flatnonzero(power_per_area(self.spectrum, self.pixel_size_um) > floor_um2)
        return float(self.spectrum.frequency[above[-1]] / self.pixel_size_um) if len(above) else None


def power_per_area(spectrum: RadialSpectrum, pixel_size_um: float) -> np.ndarray:
    """In white²·µm²: the same for every pixel size."""
    return np.asarray(spectrum.power * pixel_size_um ** 2)


def measure_single(image: Image) -> ResolutionResult:
    """One camera frame: spectrum, and the correlation of its diagonal halves where its noise allows that."""
    spectrum = radial_spectrum(image.grey())
    try:
        return ResolutionResult(image.name, image.pixel_size_um, spectrum, input_correlation(image))
    except ImageError as error:
        return ResolutionResult(image.name, image.pixel_size_um, spectrum, None, error.message)


def measure_exposures(first: Image, second: Image) -> ResolutionResult:
    """Two exposures of one field; a shift of whole pixels between them is cropped away.

    Raises ImageError for different sizes or pixel sizes, or the very same pixels.
    """
    if abs(first.pixel_size_um / second.pixel_size_um - 1) > RATIO_TOLERANCE:
        raise ImageError(f"the pixel size of '{first.name}' is {first.pixel_size_um:g} µm, that of '{second.name}' "
                         f"{second.pixel_size_um:g} µm; expected two exposures of one camera and objective",
                         hint="give two frames of one setting, or --pixel-size-um where a file is wrong")
    if first.pixels.shape == second.pixels.shape and np.array_equal(first.pixels, second.pixels):
        raise ImageError(f"'{first.name}' and '{second.name}' hold the same pixels; expected two exposures",
                         hint="take two pictures of the same field; their noise must differ")
    name = f"{first.name} and {second.name}"
    spectrum = radial_spectrum(first.grey())
    for image in (first, second):
        plane = image.unit()[:, :, 1] if image.channels == 3 else image.unit()
        reason = (f"its file says that {image.made_by} made it" if image.made_by else
                  why_not_camera_noise(plane, 1 / image.white if image.pixels.dtype.kind == "u" else 0.0))
        if reason:
            return ResolutionResult(name, first.pixel_size_um, spectrum, None, f"'{image.name}': {reason}")
    a, b = (each.unit()[:, :, 1] if each.channels == 3 else each.unit() for each in (first, second))
    down, right = _shift_px(a, b) if a.shape == b.shape else (0, 0)
    if abs(down) > SHIFT_LIMIT * a.shape[0] or abs(right) > SHIFT_LIMIT * a.shape[1]:
        return ResolutionResult(name, first.pixel_size_um, spectrum, None, "they do not show one field in one place, "
                                f"or nothing but noise: they fit best ({down}, {right}) px apart, expected at most "
                                f"{SHIFT_LIMIT:.0%} of the field")
    note = (f"The second exposure lies ({down}, {right}) px (y, x) off the first; both were cropped to what they share."
            if down or right else "")
    correlation = fourier_ring_correlation(*_shared(a, b, down, right))
    reason = why_nothing_in_common(correlation)
    if reason:
        return ResolutionResult(name, first.pixel_size_um, spectrum, None, "they do not show one field in one place, "
                                f"or nothing but noise: {reason}")
    return ResolutionResult(name, first.pixel_size_um, spectrum, correlation, note=note)


def _shift_px(a: FloatArray, b: FloatArray) -> tuple[int, int]:
    """How far down and to the right of a the same structure lies in b, in whole pixels."""
    from skimage.registration import phase_cross_correlation

    down, right = 0, 0
    # A window holds the peak back towards no shift, so what is left is looked for again; unweighted by amplitude, noise
    # beyond the optics would decide.
    for _ in range(5):
        pair = [part - part.mean(dtype=np.float64) for part in _shared(a, b, down, right)]
        taper = np.outer(*(np.hanning(side + 2)[1:-1] for side in pair[0].shape))
        step, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
            pair[0] * taper, pair[1] * taper, normalization=None)
        down, right = down - int(step[0]), right - int(step[1])
        if not step.any() or abs(down) > SHIFT_LIMIT * a.shape[0] or abs(right) > SHIFT_LIMIT * a.shape[1]:
            break
    return down, right


def _shared(a: FloatArray, b: FloatArray, down: int, right: int) -> tuple[FloatArray, FloatArray]:
    """The parts of a and b that show the same, where b's structure lies (down, right) px off a's."""
    height, width = a.shape[0] - abs(down), a.shape[1] - abs(right)
    top, left = max(-down, 0), max(-right, 0)
    return (a[top:top + height, left:left + width],
            b[top + down:top + down + height, left + right:left + right + width])


def resolution_numbers(results: Sequence[ResolutionResult]) -> Table:
    """One line a ring: of every image's spectrum, and of its ring correlation where it has one."""
    rows = []
    for result in results:
        power = power_per_area(result.spectrum, result.pixel_size_um)
        for frequency, value in zip(result.spectrum.frequency, power, strict=True):
            rows.append([result.name, "power_um2", f"{frequency / result.pixel_size_um:.5f}", f"{value:.6g}"])
        if result.correlation is not None:
            for frequency, value in zip(result.correlation.frequency, result.correlation.correlation, strict=True):
                rows.append([result.name, "ring_correlation", f"{frequency / result.pixel_size_um:.5f}",
                             f"{value:.5f}"])
    return Table(["image", "quantity", "cycles_per_um", "value"], rows)


def resolution_page(results: Sequence[ResolutionResult], optics: Optics | None) -> Page:
    measured = [result for result in results if result.correlation is not None]
    rows = [[result.name, f"{result.pixel_size_um:.4g}", *_limits(result, optics)] for result in results]
    refused = [f"{result.name} is refused: {result.refused}." for result in results if result.correlation is None]
    notes = [result.note for result in results if result.note]
    sections = [Section("Numbers", [AT_MOST], warnings=[*refused, *notes], table=Table(
        ["image", "pixel (µm)", "period at 1/7 (µm)", "at ½ bit", "at 1/2"], rows))]
    if measured:
        sections.append(Section("Ring correlation", ["First of three successive rings below a threshold; 1/7 is drawn. "
                                                     "One image alone is judged up to half of its Nyquist frequency."],
                                svg=correlation_curves(measured, optics)))
    sections.append(Section("Power spectra", ["Mean over rings, per area of the object, so that images of different "
                                              "pixels lie upon each other."], svg=spectrum_curves(results, optics)))
    return Page("Resolution without a target", _headline(results, optics), sections,
                subtitle="Fourier ring correlation")


def _limits(result: ResolutionResult, optics: Optics | None) -> list[str]:
    """Periods at the usual thresholds, the most daring first; none is finer than a known cut-off."""
    found = result.correlation
    if found is None:
        return ["refused", "", ""]
    limits = [found.limit_at(threshold) for threshold in (found.threshold, found.half_bit(), 0.5)]
    cells = []
    for limit in limits:
        period = result.pixel_size_um / (limit or float(found.frequency[-1]))
        if optics is not None and period * optics.cutoff_cycles_per_um < 1:
            cells.append(f"cut-off, {1 / optics.cutoff_cycles_per_um:.3f}")
        else:
            cells.append(f"{period:.3f}" if limit else f"below {period:.3f}")
    return cells


def camera_noise_um2(image: Image) -> float:
    """The white noise of a camera frame's luma as power per area, and no less than the rounding of its type (of 16 bits
    for floats, more than cameras have): a frame without noise would put every frequency above it."""
    step = 1 / (image.white if image.pixels.dtype.kind == "u" else 65535.0)
    return (max(noise_floor(image.grey()).sd, step / math.sqrt(12)) * image.pixel_size_um) ** 2


def correlation_curves(results: Sequence[ResolutionResult], optics: Optics | None) -> str:
    figure, axes = plot_axes(7.4, 3.4)
    for result, colour in zip(results, COLOURS * len(results), strict=False):
        if result.correlation is None:
            continue
        axes.plot(result.correlation.frequency / result.pixel_size_um, result.correlation.correlation, color=colour,
                  linewidth=1.4, label=result.name)
        if result.correlation.limit is not None:
            axes.axvline(result.correlation.limit / result.pixel_size_um, color=colour, linewidth=0.9,
                         linestyle=(0, (4, 3)))
    axes.axhline(1 / 7, color=GREY, linewidth=1, label="1/7")
    _cutoffs(axes, (optics,) if optics else ())
    axes.set_ylim(-0.15, 1.08)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("cycles/µm", color=INK)
    axes.set_title("correlation", loc="left", fontsize=10, color=INK)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8.5)
    return svg_of(figure, "ring-correlation")


def spectrum_curves(results: Sequence[ResolutionResult], *optics: Optics | None, floor_um2: float | None = None) -> str:
    """Spectra in one plot, with the optical cut-offs, and the floor of the camera's noise where it is given."""
    figure, axes = plot_axes(7.4, 3.8)
    for result, colour in zip(results, COLOURS * len(results), strict=False):
        axes.semilogy(result.spectrum.frequency / result.pixel_size_um,
                      np.maximum(power_per_area(result.spectrum, result.pixel_size_um), 1e-12), color=colour,
                      linewidth=1.4, label=result.name)
    if floor_um2:
        axes.axhline(floor_um2, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="noise of the input")
    known = [each for each in optics if each is not None]
    _cutoffs(axes, known)
    if known:
        cutoff = max(each.cutoff_cycles_per_um for each in known)
        reached = max((float(result.spectrum.frequency[-1]) / result.pixel_size_um for result in results), default=0.0)
        axes.set_xlim(0, min(2.2 * cutoff, 1.05 * max(reached, cutoff)))
    axes.set_xlabel("cycles/µm", color=INK)
    axes.set_title("power (white²·µm²)", loc="left", fontsize=10, color=INK)
    axes.grid(True, color=GREY, alpha=0.2, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8.5)
    return svg_of(figure, "power-spectra")


def _cutoffs(axes: Any, optics: Sequence[Optics]) -> None:
    for each in optics:
        axes.axvline(each.cutoff_cycles_per_um, color=INK, linewidth=0.9, linestyle=(0, (1, 3)))
        axes.annotate(f"cut-off {each.label}", (each.cutoff_cycles_per_um, 0.98), (-4, 0), fontsize=8, color=INK,
                      rotation=90, va="top", ha="right", xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points")


def _headline(results: Sequence[ResolutionResult], optics: Optics | None) -> str:
    parts = []
    for result in results:
        tested = result.limit_um or (result.pixel_size_um / float(result.correlation.frequency[-1])
                                     if result.correlation is not None else None)
        if tested and optics is not None and tested * optics.cutoff_cycles_per_um < 1:
            parts.append(f"{result.name}: at most the optical cut-off of {1 / optics.cutoff_cycles_per_um:.3f} µm; "
                         f"the measured {tested:.3f} µm lies beyond it and therefore is not resolution")
        elif result.limit_um:
            parts.append(f"{result.name}: noise-limited resolution {result.limit_um:.3f} µm")
        elif result.correlation is None:
            parts.append(f"{result.name}: no resolution: {result.refused}")
        else:
            parts.append(f"{result.name}: noise-limited resolution below {tested:.3f} µm, the finest that was tested")
    return "; ".join(parts) + "."
