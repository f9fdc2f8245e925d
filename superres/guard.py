"""Does an image belong to what a network was trained on?  Pixel size, stain, focus, and whether anything is there.

A warning is no proof, and silence is none either: only what leaves a trace in the statistics below is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from superres.errors import ImageError
from superres.image import LUMA_WEIGHTS, FloatArray, Image
from superres.io.weights import Weights
from superres.optics.spectrum import noise_sd
from superres.training.stain import optical_density

Subject = Literal["pixel size", "colour", "stain", "blank", "focus", "unjudged"]

PIXEL_SIZE_TOLERANCE = 0.1
"""Relative.  Within 5 % registration itself accepts a pair, and networks see scales of up to 2 % in training."""

STAIN_LIMIT = 4.5
"""Mean squared Mahalanobis distance of an image's optical densities from the training inputs'.  Virtual 40× fields of
13 H&E slides: 0.6–4.1 against each other, up to 7.7 for slides of two other laboratories; Masson's
trichrome against H&E 5–13, grey frames 35, immunohistochemistry 70–190, picrosirius red 50–170."""

FOCUS_LIMIT = -2.9
"""log10 of power at 0.55–0.73 of the coarse cut-off over that at 0.11–0.22.  In focus −1.5 … −2.5 (26 fields, 13
slides); 1 µm of defocus −3.3 and less, 1.5× of empty magnification −3.2 and less."""

STRUCTURE_LIMIT, STRUCTURE_OVER_NOISE = 0.006, 8.0
"""Power at 0.11–0.22 of the cut-off, in white² at two pixels a finest period: tissue has 0.01–0.7, a clear field
0.0001, tissue 2–3 µm out of focus 0.0002–0.004.  Below, the finest structure says nothing about focus."""

GREY_SD = 0.004
"""Standard deviation of colour differences below which a picture is grey: a third of what noise of 1 % makes of
them."""

WINDOW_PX, WINDOWS = 256, 16
"""An image of any size is judged by so many windows of this side, spread over it."""


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
    windows = [image.crop(*box).rgb() for box in _boxes(image.shape_px)]
    spectra = [_bands(window, image.pixel_size_um, _cutoff(weights)) for window in windows]
    full = [(window, bands) for window, bands in zip(windows, spectra, strict=True)
            if bands is None or bands.low > max(STRUCTURE_LIMIT, STRUCTURE_OVER_NOISE * bands.noise)]
    if not full:
        strongest = max(bands.low for bands in spectra if bands is not None)
        findings.append(Finding("blank", f"there is hardly anything in it, or it is far out of focus: structure "
                                f"of {1 / (0.16 * _cutoff(weights)):.1f} µm has a power of {strongest:.4f}; expected "
                                f"over {STRUCTURE_LIMIT:g}"))
        return tuple(findings)
    return (*findings, *_stain([window for window, _ in full], image, weights),
            *_focus([bands for _, bands in full if bands is not None]))


def require_fit(findings: tuple[Finding, ...], name: str) -> None:
    """Raises ImageError for any finding: what `--strict` does."""
    if findings:
        raise ImageError(f"'{name}' does not fit these weights: " + "; ".join(each.text for each in findings),
                         hint="use weights for this microscope and stain, mend the input, or leave --strict out")


def _pixel_size(image: Image, weights: Weights) -> list[Finding]:
    ratio = image.pixel_size_um / weights.coarse_pixel_size_um
    if abs(np.log(ratio)) <= np.log1p(PIXEL_SIZE_TOLERANCE):
        return []
    return [Finding("pixel size", f"its pixel size is {image.pixel_size_um:.4g} µm, the weights were trained on "
                                  f"{weights.coarse_pixel_size_um:.4g} µm ({ratio:.2f} times)")]


def _stain(windows: list[FloatArray], image: Image, weights: Weights) -> list[Finding]:
    mean = np.array(weights.optical_density_mean)
    covariance = np.array(weights.optical_density_covariance)
    if mean.shape != (3,) or covariance.shape != (3, 3):
        return [Finding("unjudged", "the weights file has no statistics of the stain that it was trained on, so the "
                                    "stain cannot be judged")]
    densities = np.concatenate([
        optical_density(ndimage.gaussian_filter(window, (1, 1, 0))).reshape(-1, 3) for window in windows
    ]).astype(np.float64)
    colourful = float(np.sqrt(np.linalg.eigvalsh(covariance)[:2].sum()))
    if colourful > 0.02 and _is_grey(windows, image):
        return [Finding("colour", "it is grey (red, green and blue are equal), the weights were trained on colours")]
    # 1e-4: density noise of 0.01, below which no stain is told apart and an inverse would count rounding.
    inverse = np.linalg.inv(covariance + 1e-4 * np.eye(3))
    offset = densities - mean
    distance = float(np.einsum("ij,jk,ik->i", offset, inverse, offset).mean())
    if distance <= STAIN_LIMIT:
        return []
    seen = ", ".join(f"{value:.2f}" for value in densities.mean(axis=0))
    known = ", ".join(f"{value:.2f}" for value in mean)
    return [Finding("stain", f"its stain is another: mean optical density of red, green, blue is {seen}, in training "
                             f"{known} (distance {distance:.1f}, expected below {STAIN_LIMIT:g})")]


def _is_grey(windows: list[FloatArray], image: Image) -> bool:
    if image.channels == 1:
        return True
    spread = [float(np.std(window[..., a] - window[..., b])) for window in windows for a, b in ((0, 1), (1, 2))]
    return max(spread) < GREY_SD


@dataclass(frozen=True)
class _Bands:
    """Mean power of three bands of the luma's spectrum.  noise: beyond every optical frequency."""

    low: float
    high: float
    noise: float


def _focus(bands: list[_Bands]) -> list[Finding]:
    if not bands:
        return []
    share = float(np.median([np.log10(max(each.high - each.noise, 1e-12) / each.low) for each in bands]))
    if share >= FOCUS_LIMIT:
        return []
    return [Finding("focus", f"its finest structure is missing (power 10^{max(share, -9.0):.1f} of the coarse "
                             f"structure's, of a sharp field above 10^{FOCUS_LIMIT:g}): it is out of focus, or "
                             "magnified more than its pixel size says")]


def _bands(window: FloatArray, pixel_size_um: float, cutoff: float) -> _Bands | None:
    """None where the window is too small for a spectrum."""
    height, width = window.shape[:2]
    if min(height, width) < 48:
        return None
    grey = np.asarray(window @ np.asarray(LUMA_WEIGHTS, dtype=np.float32), dtype=np.float64)
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


def _cutoff(weights: Weights) -> float:
    """Of the coarse objective; what the training pixels sampled critically where it is not known."""
    return weights.coarse.cutoff_cycles_per_um if weights.coarse else 0.5 / weights.coarse_pixel_size_um


def _boxes(shape_px: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of windows spread over an image."""
    side = int(np.sqrt(WINDOWS))
    starts = []
    for length in shape_px:
        count = min(side, max(1, length // WINDOW_PX))
        size = min(length, WINDOW_PX)
        starts.append((size, np.unique(np.linspace(0, length - size, count).astype(int))))
    (tall, tops), (wide, lefts) = starts
    return [(int(top), int(left), tall, wide) for top in tops for left in lefts]
