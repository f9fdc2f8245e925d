"""Does an image belong to what a network was trained on?  Pixel size, stain, focus, noise, blocks of JPEG, and
whether anything is there.

A warning is no proof, and silence is none either: only what leaves a trace in the statistics below is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.errors import ImageError
from superres.image import FloatArray, Image, luma
from superres.io.weights import Stain, Weights
from superres.optics.blocks import BLOCK_PX
from superres.optics.spectrum import noise_sd
from superres.training.inputs import cutoff_of, measured, spread
from superres.training.stain import StainSums, nearest_stain

Subject = Literal["pixel size", "colour", "stain", "blank", "focus", "noise", "blocks", "unjudged"]

PIXEL_SIZE_TOLERANCE = 0.1
"""Relative.  Within 5 % registration itself accepts a pair, and networks see scales of up to 2 % in training."""

STAIN_LIMIT = 5.5
"""Squared distance from the nearest training specimen (superres.training.stain).  H&E fields of slides that are left
out of the statistics: 0.1–4.5 (11 of 12 slides; OS-1, whose scanner is bluish, 5.8–9.3; pure collagen in a field of 37
µm up to 9.3); Masson's trichrome of one slide against H&E 6.9–13.9, picrosirius red 66–260, immunohistochemistry
94–150."""

EXCHANGED_LIMIT = 3.0
"""The same, where with red and blue exchanged an image fits, and is less than half as far.  Slides whose red and blue
absorb alike (of 12, one) keep looking right."""

FOCUS_LIMIT = -2.9
"""log10 of power at 0.55–0.73 of the coarse cut-off over that at 0.11–0.22.  In focus −1.5 … −2.5 (26 fields, 13
slides); 1 µm of defocus −3.3 and less, 1.5× of empty magnification −3.2 and less."""

NOISE_DOUBT = 1.15
"""So many times the noise beyond every optical frequency counts as noise below it: a field of 158 px tells its level to
about 5 %, and windowing leaks."""

STRUCTURE_LIMIT, STRUCTURE_OVER_NOISE = 0.006, 8.0
"""Power at 0.11–0.22 of the cut-off, in white² at two pixels a finest period: tissue has 0.01–0.7, a clear field
0.0001, tissue 2–3 µm out of focus 0.0002–0.004.  Below, the finest structure says nothing about focus."""

GREY_SD, GREY_BLUR_PX = 0.005, 1.5
"""A picture is grey where the second of its colours' principal components has less than this standard deviation, in
units of white, blurred and noise taken off: red, green and blue are then one picture, each perhaps of another gain."""

LEAST_SIDE_PX = 48
"""A smaller image has no spectrum to tell structure from clear glass, and glass of any slide looks grey."""

NOISE_MARGIN = 1.25
"""So many times the noise of the noisiest training input: 0.022 for the shipped weights, whose training had 0.004–0.02
(at the most 0.018 as it is measured).  Virtual fields of 19 real micrographs have up to 0.0197 with a noise of 0.02, at
least 0.0256 with 0.03; where all of it is shot noise, less in the dark, 0.011–0.018 and 0.016–0.027.  The 19 colour
micrographs as they are in their files, some of them sharpened or sampled coarsely, have at most 0.013."""

BLOCKS_LIMIT, BLOCKS_MARGIN, BLOCKS_SIDE_PX = 1.12, 1.1, 96
"""Contrast of the borders of blocks (optics.blocks) of images from so many pixels a side on, and how far above that of
the training inputs it may lie.  Virtual fields of 19 real micrographs, in noise of 0.002–0.02 and 0.3 µm out of focus:
1.00–1.07 (none of 1,225 pieces of 96 px and more over the limit); compressed with quality 80, which takes four fifths
of what the network gains, 98–100 % of the pieces are, with 85 88–99 %, with 90 half of them, with 95 one in twenty.  Of
the 27 micrographs as they are in their files the 12 above the limit (1.16–1.89) come from JPEG, the others have at most
1.02."""

@dataclass(frozen=True)
class Finding:
    """One thing that does not fit.  subject: a stable word.  text: a sentence with the value seen and the expected."""

    subject: Subject
    text: str


def judge(image: Image, weights: Weights, pixel_size_known: bool = True) -> tuple[Finding, ...]:
    """What about an image does not fit the weights' training inputs; empty where nothing was noticed.

    pixel_size_known: False where the image's pixel size is itself an assumption, so that it cannot be judged.
    What the weights file has no statistics for cannot be judged, which is a finding ("unjudged") too.
    """
    findings: list[Finding] = []
    if pixel_size_known:
        findings += _pixel_size(image, weights)
    if min(image.shape_px) < LEAST_SIDE_PX:
        return (*findings, Finding("unjudged", f"it is too small to judge ({image.height} × {image.width} px, expected "
                                               f"at least {LEAST_SIDE_PX} px a side)"))
    windows = [image.crop(*box).rgb() for box in spread(image.shape_px)]
    cutoff = cutoff_of(weights.coarse, weights.coarse_pixel_size_um)
    spectra = [_bands(window, image.pixel_size_um, cutoff) for window in windows]
    full = [(window, bands) for window, bands in zip(windows, spectra, strict=True)
            if bands.low > max(STRUCTURE_LIMIT, STRUCTURE_OVER_NOISE * bands.noise)]
    if not full:
        findings.append(_blank(max(spectra, key=lambda bands: bands.low), cutoff))
        return tuple(findings)
    return (*findings, *_stain([window for window, _ in full], image, weights),
            *_focus([bands for _, bands in full]), *_spoilt(image, weights))


def require_fit(findings: tuple[Finding, ...], name: str) -> None:
    """Raises ImageError for any finding: what `--strict` does."""
    reasons = "; ".join(each.text for each in findings)
    if findings and all(each.subject == "unjudged" for each in findings):
        raise ImageError(f"whether '{name}' fits these weights is unknown: {reasons}",
                         hint="leave --strict out to go on without an answer")
    if findings:
        raise ImageError(f"'{name}' does not fit these weights: {reasons}",
                         hint="use weights for this microscope and stain, mend the input, or leave --strict out")


def _blank(strongest: _Bands, cutoff: float) -> Finding:
    """In no window is there structure enough to judge; strongest: the bands of the one that has most."""
    seen = f"structure of {1 / (0.16 * cutoff):.1f} µm has a power of {strongest.low:.4f}"
    if strongest.low <= STRUCTURE_LIMIT:
        return Finding("blank", "there is hardly anything in it, or it is far out of focus: "
                                f"{seen}; expected over {STRUCTURE_LIMIT:g}")
    return Finding("blank", f"what it shows is hardly more than noise: {seen}, {strongest.low / strongest.noise:.1f} "
                            f"times that of the noise; expected over {STRUCTURE_OVER_NOISE:g} times")


def _pixel_size(image: Image, weights: Weights) -> list[Finding]:
    ratio = image.pixel_size_um / weights.coarse_pixel_size_um
    if abs(np.log(ratio)) <= np.log1p(PIXEL_SIZE_TOLERANCE):
        return []
    return [Finding("pixel size", f"its pixel size is {image.pixel_size_um:.4g} µm, the weights were trained on "
                                  f"{weights.coarse_pixel_size_um:.4g} µm ({ratio:.2f} times)")]


def _stain(windows: list[FloatArray], image: Image, weights: Weights) -> list[Finding]:
    if not weights.stains:
        return [Finding("unjudged", "the weights file has no statistics of the stains that it was trained on, so the "
                                    "stain cannot be judged")]
    if not _all_grey(weights.stains) and (image.channels == 1 or _is_grey(windows)):
        return [Finding("colour", "it is grey (red, green and blue show one picture), the weights were trained on "
                                  "colours")]
    seen, exchanged = StainSums(), StainSums()
    for window in windows:
        seen.add(window)
        exchanged.add(window[..., ::-1])
    stain, other = seen.stain("image"), exchanged.stain("image")
    if stain is None or other is None:
        return [Finding("unjudged", "hardly any light is absorbed in it, so its stain cannot be judged")]
    (apart, nearest), (apart_exchanged, _) = nearest_stain(stain, weights.stains), nearest_stain(other, weights.stains)
    if apart > EXCHANGED_LIMIT and apart_exchanged < min(apart / 2, STAIN_LIMIT):
        return [Finding("stain", f"its colours fit better with red and blue exchanged (distance {apart_exchanged:.1f} "
                                 f"for {apart:.1f}): its channels may be in the order blue, green, red")]
    if apart <= STAIN_LIMIT:
        return []
    return [Finding("stain", f"its stain is another: red, green, blue absorb {_shares(stain)}, in training at the "
                             f"nearest ('{nearest.specimen}') {_shares(nearest)} (distance {apart:.1f}, expected below "
                             f"{STAIN_LIMIT:g})")]


def _shares(stain: Stain) -> str:
    red, blue = stain.mean[:2]
    return f"{red:.0%}, {1 - red - blue:.0%}, {blue:.0%}"


def _all_grey(stains: Sequence[Stain]) -> bool:
    return all(max(abs(share - 1 / 3) for share in stain.mean[:2]) < 1e-3 for stain in stains)


def _is_grey(windows: list[FloatArray]) -> bool:
    """Whether one picture explains all three channels, up to noise."""
    second = 0.0
    for window in windows:
        blurred = ndimage.gaussian_filter(window, (GREY_BLUR_PX, GREY_BLUR_PX, 0)).reshape(-1, 3)
        variance = float(np.linalg.eigvalsh(np.cov(blurred.T.astype(np.float64), bias=True))[1])
        # A Gaussian leaves 1/(4πσ²) of the variance of white noise.
        variance -= noise_sd(window) ** 2 / (4 * np.pi * GREY_BLUR_PX ** 2)
        second = max(second, variance)
    return second < GREY_SD ** 2


def _spoilt(image: Image, weights: Weights) -> list[Finding]:
    """Noise and blocks beyond those of the training inputs."""
    if (worst := weights.worst_inputs) is None:
        return []
    found, findings = measured(image, cutoff_of(weights.coarse, weights.coarse_pixel_size_um)), []
    if found.noise > NOISE_MARGIN * worst.noise > 0:
        findings.append(Finding("noise", f"it is noisier than what the weights were trained on: at the finest "
                                         f"frequencies its noise is {found.noise:.2%} of white, in training at most "
                                         f"{worst.noise:.2%}"))
    limit = max(BLOCKS_LIMIT, BLOCKS_MARGIN * worst.blocks)
    if min(image.shape_px) >= BLOCKS_SIDE_PX and found.blocks > limit:
        findings.append(Finding("blocks", f"it consists of blocks of {BLOCK_PX} × {BLOCK_PX} px, as JPEG compression "
                                          f"leaves them: it changes {found.blocks:.2f} times as much across their "
                                          f"borders as elsewhere, expected below {limit:.3g}; the network sharpens "
                                          "borders like structure"))
    return findings


@dataclass(frozen=True)
class _Bands:
    """Mean power of three bands of the luma's spectrum.  noise: beyond every optical frequency."""

    low: float
    high: float
    noise: float


def _focus(bands: list[_Bands]) -> list[Finding]:
    share = float(np.median([np.log10(max(each.high - NOISE_DOUBT * each.noise, 1e-12) / each.low) for each in bands]))
    if share >= FOCUS_LIMIT:
        return []
    return [Finding("focus", f"its finest structure is missing (power 10^{max(share, -9.0):.1f} of the coarse "
                             f"structure's, of a sharp field above 10^{FOCUS_LIMIT:g}): it is out of focus, or "
                             "magnified more than its pixel size says")]


def _bands(window: FloatArray, pixel_size_um: float, cutoff: float) -> _Bands:
    height, width = window.shape[:2]
    grey = luma(window).astype(np.float64)
    taper = np.outer(np.hanning(height), np.hanning(width))
    spectrum = fft.rfft2((grey - grey.mean()) * taper)
    # Power per area, in the unit of a grid with two pixels a finest period: independent of the camera.
    area = (2 * cutoff * pixel_size_um) ** 2
    power: npt.NDArray[np.float64] = (spectrum.real ** 2 + spectrum.imag ** 2) / (taper ** 2).sum() * area
    radius = np.hypot(fft.fftfreq(height, pixel_size_um)[:, None], fft.rfftfreq(width, pixel_size_um)[None, :]) / cutoff

    def mean(first: float, last: float) -> float:
        band = power[(radius >= first) & (radius < last)]
        return float(band.mean()) if band.size else 0.0

    beyond = mean(1.1, np.inf)
    return _Bands(mean(0.11, 0.22), mean(0.55, 0.733), beyond if beyond > 0 else noise_sd(grey) ** 2 * area)
