"""Self-feeding (Fig. S6): the network applied to its own output, and what changes from pass to pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from superres.api.evaluator import Picture
from superres.builtin.evaluators.ssim import WINDOW_PX, structural_similarity
from superres.image import FloatArray, Image
from superres.measuring.resolution import ResolutionResult, camera_noise_um2, spectrum_curves
from superres.optics import Optics
from superres.optics.spectrum import LEAST_SIDE_PX, radial_spectrum
from superres.report.fields import to_uint8
from superres.report.pages import Page, Section, Table
from superres.resample import bicubic

CROP_UM = 18.0
"""Width of what the pictures show, from the middle: 96 coarse pixels of 0.185 µm."""

COARSEST = 0.5
"""cycles/µm: coarser structure, most of any image's power, is not counted beside what lies beyond a cut-off."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One application of the network.

    number: 0 for the input itself.  image: as a file holds it.  mean_rgb: in units of white.
    change: mean |this pass brought back to the grid of the one before − that one|, in % of white; None for the input.
    to_input: SSIM of the luma against the input after coming back to its grid.  to_truth: the same on the truth's grid.
    reach: highest frequency (cycles/µm) at which its power exceeds the input's noise; None where it does nowhere.
    added: share of its power (above 0.5 cycles/µm) that lies beyond the coarse cut-off; None where that is rounding.
    """

    number: int
    image: Image
    mean_rgb: tuple[float, float, float]
    change: float | None
    to_input: float | None
    to_truth: float | None
    reach: float | None
    added: float | None
    resolution: ResolutionResult | None


def measure_passes(images: Sequence[Image], scale: Fraction, coarse: Optics | None, truth: FloatArray | None = None
                   ) -> tuple[Pass, ...]:
    """images: the input as its file holds it, then the output after each pass; each is `scale` times as large as the
    one before.

    truth: (H, W, 3) in units of white on the first pass's grid, where there is one.
    """
    given = images[0].rgb()
    floor = camera_noise_um2(images[0]) if min(images[0].shape_px) >= LEAST_SIDE_PX else 0.0
    passes: list[Pass] = []
    for number, image in enumerate(images):
        unit = np.clip(image.rgb(), 0.0, 1.0)
        before = images[number - 1].rgb() if number else None
        change = None
        if before is not None:
            back = brought_back(unit, 1 / scale, before.shape)
            change = 100 * float(np.abs(back - before).mean(dtype=np.float64))
        home = brought_back(unit, 1 / scale ** number, given.shape) if number else None
        on_truth = None
        if truth is not None and number:
            on_truth = _ssim(brought_back(unit, 1 / scale ** (number - 1), truth.shape), truth)
        resolution = None
        reach, added = None, None
        if min(image.shape_px) >= LEAST_SIDE_PX:
            name = "input" if number == 0 else f"pass {number}"
            resolution = ResolutionResult(name, image.pixel_size_um, radial_spectrum(image.grey()), None)
            reach = resolution.reach_cycles_per_um(1.5 * floor)
            if coarse and reach is not None and reach > COARSEST:  # shares of rounding errors say nothing
                added = _beyond(resolution, coarse.cutoff_cycles_per_um)
        mean = unit.mean(axis=(0, 1), dtype=np.float64)
        passes.append(Pass(number, image, (float(mean[0]), float(mean[1]), float(mean[2])), change,
                           _ssim(home, given) if home is not None else None, on_truth, reach, added, resolution))
    return tuple(passes)


def brought_back(unit: FloatArray, scale: Fraction, shape: tuple[int, ...]) -> FloatArray:
    """Antialiased bicubic onto a coarser grid, cut to shape (sizes of several passes are rounded up)."""
    back = bicubic(unit, Fraction(scale)) if scale != 1 else unit
    return back[:shape[0], :shape[1]]


def drift_page(name: str, passes: Sequence[Pass], coarse: Optics | None, fine: Optics | None,
               truth: Image | None = None) -> Page:
    """truth: the fine image of the field, shown after the passes, where there is one."""
    with_truth = any(each.to_truth is not None for each in passes)
    head = ["pass", "size (px)", "nm per px", "change (%)", "SSIM to input", *(["SSIM to truth"] if with_truth else []),
            "red", "green", "blue", "reach (cycles/µm)", "power beyond coarse cut-off"]
    rows = [["input" if each.number == 0 else str(each.number), f"{each.image.height}\u00a0×\u00a0{each.image.width}",
             f"{1000 * each.image.pixel_size_um:.1f}", _number(each.change, "{:.2f}"), _number(each.to_input, "{:.3f}"),
             *([_number(each.to_truth, "{:.3f}")] if with_truth else []),
             *(f"{value:.3f}" for value in each.mean_rgb), _number(each.reach, "{:.2f}"),
             _number(None if each.added is None else 100 * each.added, "{:.2g} %")] for each in passes]
    measured = [each.resolution for each in passes if each.resolution is not None]
    floor = camera_noise_um2(passes[0].image) if measured else None
    last, first = passes[-1], passes[min(1, len(passes) - 1)]
    headline = (f"{len(passes) - 1} {'pass' if len(passes) == 2 else 'passes'}: "
                f"{passes[0].image.pixel_size_um / last.image.pixel_size_um:.3g}× in all; SSIM to the input "
                f"{_number(first.to_input, '{:.3f}')} after the first, {_number(last.to_input, '{:.3f}')} after the "
                "last.")
    return Page(
        f"Self-feeding of {name}", headline, subtitle="Fig. S6 of the paper",
        sections=[
            Section("What changes", [
                "Nothing new is seen after the first pass: what appears later is inferred from what was inferred. "
                "“Change” is the mean difference of a pass, brought back to the grid before it, from what it was fed "
                "with; a faithful pass changes little and its colours stay. “Reach” is where the spectrum falls below "
                "the input's own noise."], table=Table(head, rows, wraps=True),
                    warnings=_warnings(passes, coarse, fine)),
            Section("Spectra", ["Dotted: the cut-offs of the objectives for weak objects. Power beyond the coarse "
                                "cut-off was not in the input; power beyond the fine one was not in the training truth "
                                "either (strong stain reaches up to twice the aperture)."],
                    svg=spectrum_curves(measured, coarse, fine, floor_um2=floor) if measured else ""),
            Section("The middle of the field", pictures=[
                *(_picture("input" if each.number == 0 else f"after pass {each.number}", each.image, each.number == 0)
                  for each in passes), *([_picture("fine image", truth)] if truth is not None else [])],
                side_by_side=True),
        ])


def _warnings(passes: Sequence[Pass], coarse: Optics | None, fine: Optics | None) -> list[str]:
    found = []
    for optics, word in ((coarse, "coarse"), (fine, "fine")):
        if optics is None:
            continue
        beyond = [each for each in passes if each.number and each.reach is not None
                  and each.reach > optics.cutoff_cycles_per_um]
        if beyond:
            farthest = max(each.reach or 0.0 for each in beyond)
            found.append(f"From pass {beyond[0].number} on the spectrum stands above the input's noise beyond the "
                         f"{word} cut-off of {optics.cutoff_cycles_per_um:.3f} cycles/µm, at most to {farthest:.3f}.")
    start = np.array(passes[0].mean_rgb)
    drift = 100 * float(np.abs(np.array(passes[-1].mean_rgb) - start).max())
    if drift > 1.0:
        found.append(f"Colours drift: the mean of a channel moved by {drift:.1f} % of white.")
    return found


def _picture(label: str, image: Image, pixelated: bool = False) -> Picture:
    side = min(round(CROP_UM / image.pixel_size_um), *image.shape_px)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    pixels = to_uint8(np.clip(image.crop(top, left, side, side).rgb(), 0.0, 1.0))
    if pixelated:
        repeat = max(1, 500 // side)
        pixels = np.repeat(np.repeat(pixels, repeat, axis=0), repeat, axis=1)
    return Picture(label, f"{side} × {side} px of {1000 * image.pixel_size_um:.1f} nm", pixels)


def _beyond(result: ResolutionResult, cutoff: float) -> float | None:
    frequency = result.spectrum.frequency / result.pixel_size_um
    weight = result.spectrum.power * frequency  # a ring's area grows with its radius
    counted = frequency > COARSEST
    total = float(weight[counted].sum())
    return float(weight[counted & (frequency > cutoff)].sum()) / total if total > 0 else None


def _ssim(image: FloatArray, truth: FloatArray) -> float | None:
    if min(truth.shape[:2]) < WINDOW_PX:
        return None
    return float(np.mean([structural_similarity(image[:, :, channel], truth[:, :, channel]) for channel in range(3)]))


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
