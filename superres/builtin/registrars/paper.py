"""Registrar `paper`: §2 of the supplement of Rivenson et al., Optica 4, 1437 (2017), doi:10.1364/OPTICA.4.001437."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pydantic import Field

from superres.api import Mosaic, PluginOptions, Registrar, Registration
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.registration.blend import overview
from superres.registration.diagnose import Limits, fit_features, refuse, refuse_mirrored
from superres.registration.features import Features, detect, smooth
from superres.registration.find import Found, aligned_correlation, locate, reduction_for
from superres.registration.shifts import signal_fraction
from superres.registration.similarity import Fit, expected_error_um
from superres.resample import bicubic
from superres.transform import Transform

MIN_FIELD_PX = 24
MIN_SIGNAL = 0.75
"""Signal power / total power of a band-passed field whose standard deviation is twice that of its noise."""
CONTEXT_SIZE_PX = 2000
"""The whole mosaic is searched for features at no more than this many pixels a side: SIFT takes about 160 bytes a
pixel."""
CONTEXT_FEATURES = 30000
MARGIN_PX = 24
REPEATED_CORRELATION = 0.6
"""Two places that both correlate this well show a repeated pattern; a field that is not there stays below."""


class PaperRegistrar(Registrar):
    """Normalised cross-correlation finds the field in the mosaic; SIFT or SURF features refine it."""

    name = "paper"
    summary = "the paper's chain: stitch, find by normalised cross-correlation, refine by features"

    class Options(PluginOptions):
        refine: Literal["sift", "surf"] = Field("sift", description=(
            "features that give the final place: SIFT, or the paper's SURF"))
        max_rotation_deg: float = Field(5.0, ge=0, le=180, description=(
            "largest rotation of a field against the scan, in degrees"))
        max_scale_error: float = Field(0.05, gt=0, le=0.5, description=(
            "largest deviation of the measured scale from that of the pixel sizes, as a fraction"))
        flip: Literal["none", "x", "y"] = Field("none", description=(
            "mirror fine fields along this axis before matching, for a camera behind an odd number of mirrors"))
        max_peak_ratio: float = Field(0.75, gt=0, lt=1, description=(
            "largest second / first correlation peak of a place that counts as found"))
        min_z: float = Field(9.0, gt=0, description=(
            "least height of the correlation peak above the median, in median absolute deviations"))
        min_inliers: int = Field(15, ge=6, description="least number of matching features that confirm a place")

    def __init__(self, options: PluginOptions | None = None, **values: Any) -> None:
        super().__init__(options, **values)
        self._contexts: WeakKeyDictionary[Mosaic, _Context] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        """Find a field; see Registrar.register.

        A place is believed when its correlation peak stands alone (or features over the whole mosaic name it) and at
        least min_inliers features agree on one similarity within the limits.  A field without enough features is
        refused even where its correlation is strong: correlation alone knows neither rotation nor scale.
        Reasons: "blank", "too-few-features", "not-found", "ambiguous", "mirrored", "magnification", "rotation".
        """
        mosaic = coarse if isinstance(coarse, Mosaic) else Mosaic.of(coarse)
        field = self._prepare(fine, mosaic.pixel_size_um)
        if guess is not None:
            placed = self._refine(field, mosaic, _centre_px(field, mosaic, guess.inverse()))
            if placed is not None:
                return self._result(field, mosaic, placed, "guess")
        context = self._context(mosaic)
        found = context.find(field, mosaic, (0.0,))
        limits = self._limits
        if not self._accepts(found) and limits.max_rotation_deg > 1:
            turned = context.find(field, mosaic, self._rotations())
            found = turned if turned.correlation > found.correlation or self._accepts(turned) else found
        if self._accepts(found):
            placed = self._refine(field, mosaic, found.centre_px)
            if placed is not None:
                return self._result(field, mosaic, placed, found)
        elif found.correlation >= REPEATED_CORRELATION and found.z >= self.options.min_z:
            raise RegistrationError(
                f"field '{fine.name}' fits several places: second / first correlation peak is {found.ratio:.2f} "
                f"(correlation {found.correlation:.2f}); expected at most {self.options.max_peak_ratio:g}",
                reason="ambiguous", hint="take larger fields, or some with less repetitive structure, or give a guess")
        return self._search_everywhere(field, mosaic, context, found)

    @property
    def _limits(self) -> Limits:
        options = self.options
        return Limits(options.max_rotation_deg, options.max_scale_error, options.min_inliers)

    def _rotations(self) -> tuple[float, ...]:
        """Every 2 degrees: a field of 50 reduced pixels still correlates when it is 1 degree off."""
        limit = self.options.max_rotation_deg
        count = int(np.ceil(limit / 2))
        return tuple(float(angle) for angle in np.linspace(-limit, limit, 2 * count + 1) if angle != 0)

    def _accepts(self, found: Found) -> bool:
        return found.accepted(self.options.max_peak_ratio, self.options.min_z)

    def _prepare(self, fine: Image, coarse_pixel_um: float) -> _Field:
        grey = fine.grey()
        signal, strength = signal_fraction(grey)
        if signal < MIN_SIGNAL or strength == 0:
            raise RegistrationError(
                f"field '{fine.name}' shows no structure: {100 * max(0.0, signal):.0f} % of its fine contrast is "
                f"signal, expected at least {100 * MIN_SIGNAL:.0f} %", reason="blank",
                hint="leave the field out, or check focus and exposure")
        flip = Transform.identity()
        if self.options.flip != "none":
            axis = 1 if self.options.flip == "x" else 0
            grey = np.ascontiguousarray(np.flip(grey, axis))
            matrix = np.eye(3)
            matrix[axis, axis], matrix[axis, 2] = -1.0, fine.size_um[axis]
            flip = Transform(matrix)
        scale = Fraction(fine.pixel_size_um / coarse_pixel_um).limit_denominator(64)
        template = bicubic(grey, scale)
        if min(template.shape) < MIN_FIELD_PX:
            raise RegistrationError(
                f"field '{fine.name}' covers {template.shape[0]} × {template.shape[1]} coarse pixels; expected "
                f"at least {MIN_FIELD_PX} × {MIN_FIELD_PX}", reason="too-few-features",
                hint="take larger fields, or check the pixel sizes")
        features = detect(self.options.refine, smooth(template), upright=self._upright)
        return _Field(fine, template, fine.pixel_size_um / float(scale), flip, features)

    @property
    def _upright(self) -> bool:
        """Upright SURF is sharper but blind beyond 15 degrees; SIFT finds its own directions."""
        return bool(self.options.max_rotation_deg <= 15)

    def _refine(self, field: _Field, mosaic: Mosaic, centre_px: tuple[float, float]) -> _Placed | None:
        """Fit features around a centre; None where too few agree.

        Raises RegistrationError ("magnification", "rotation") where enough agree on a similarity beyond the limits.
        """
        reach = 0.5 * float(np.hypot(*field.template.shape)) + MARGIN_PX
        top, left = max(0, int(centre_px[0] - reach)), max(0, int(centre_px[1] - reach))
        bottom = min(mosaic.shape_px[0], int(np.ceil(centre_px[0] + reach)))
        right = min(mosaic.shape_px[1], int(np.ceil(centre_px[1] + reach)))
        if bottom - top < MIN_FIELD_PX or right - left < MIN_FIELD_PX:
            return None
        region = mosaic.read(top, left, bottom - top, right - left).grey()
        covered = mosaic.covered(top, left, bottom - top, right - left)
        if not covered.any():
            return None
        if not covered.all():
            region = np.where(covered, region, np.float32(np.median(region[covered])))
        pixel = mosaic.pixel_size_um
        features = detect(self.options.refine, smooth(region), upright=self._upright)
        fit, points = fit_features(field.features, features, field.pixel_um, pixel)
        if fit is None or fit.count < self.options.min_inliers:
            return None
        if not self._limits.holds(fit.transform):
            raise refuse(field.image.name, fit, self._limits, pixel / field.image.pixel_size_um)
        to_region = fit.transform
        correlation = aligned_correlation(field.template, region, to_region, field.pixel_um, pixel)
        whole = to_region.then(Transform.shift(top * pixel, left * pixel))
        return _Placed(whole, fit, points[fit.inliers], correlation)

    def _context(self, mosaic: Mosaic) -> _Context:
        with self._lock:
            return self._contexts.setdefault(mosaic, _Context())

    def _search_everywhere(self, field: _Field, mosaic: Mosaic, context: _Context, found: Found) -> Registration:
        """Match features with the whole mosaic: to rescue a field that correlation missed, or to say what is wrong
        with it."""
        reduction = max(1, -(-max(mosaic.shape_px) // CONTEXT_SIZE_PX))
        scene = context.features(mosaic, reduction)
        pixel = mosaic.pixel_size_um * reduction
        limits = self._limits
        own = detect("sift", smooth(field.template), upright=False)
        fit, _ = fit_features(own, scene, field.pixel_um, pixel)
        if fit is not None and fit.count >= limits.min_inliers:
            if not limits.holds(fit.transform):
                raise refuse(field.image.name, fit, limits, mosaic.pixel_size_um / field.image.pixel_size_um)
            placed = self._refine(field, mosaic, _centre_px(field, mosaic, fit.transform))
            if placed is not None:
                return self._result(field, mosaic, placed, "features")
        mirrored = np.ascontiguousarray(field.template[:, ::-1])
        reflected, _ = fit_features(detect("sift", smooth(mirrored), upright=False), scene, field.pixel_um, pixel)
        if reflected is not None and reflected.count >= limits.min_inliers:
            raise refuse_mirrored(field.image.name, reflected)
        count = 0 if fit is None else fit.count
        if self._accepts(found):
            raise RegistrationError(
                f"field '{field.image.name}' correlates ({found.correlation:.2f}, z {found.z:.1f}) but only {count} of "
                f"its features confirm the place; expected at least {limits.min_inliers}", reason="too-few-features",
                hint="take larger or sharper fields, or lower min_inliers")
        raise RegistrationError(
            f"field '{field.image.name}' is not in the scan: best correlation {found.correlation:.2f} with second / "
            f"first peak {found.ratio:.2f} (at most {self.options.max_peak_ratio:g} expected) and z {found.z:.1f} "
            f"(at least {self.options.min_z:g} expected), {count} matching features", reason="not-found",
            hint="check that the field is of this slide, in focus, and inside the coarse scan")

    def _result(self, field: _Field, mosaic: Mosaic, placed: _Placed, found: Found | str) -> Registration:
        """found: the correlation peak that led here, or in a word what else did.

        Confidence is 1 − exp(−inliers / 20), so 0.53 for the least 15 and 0.92 for the 51 of the weakest correct field
        of the registration study; less where the aligned images correlate below 0.4 or the place is good to no more
        than half a pixel.
        """
        residual = expected_error_um(placed.points_um, placed.fit.residual_um, field.image.size_um)
        details: dict[str, float | str] = {
            "refine": self.options.refine, "inliers": float(placed.fit.count),
            "matches": float(len(placed.fit.inliers)), "aligned correlation": round(placed.correlation, 4),
            "rotation (degrees)": round(placed.transform.rotation_deg, 4),
            "scale": round(placed.transform.scale, 6), "inlier residual (µm)": round(placed.fit.residual_um, 5)}
        confidence = 1 - float(np.exp(-placed.fit.count / 20))
        confidence *= float(np.clip(placed.correlation / 0.4, 0, 1))
        if residual > 0.5 * mosaic.pixel_size_um:
            confidence *= 0.5
        if isinstance(found, str):
            details["found by"] = found
        else:
            details |= {"found by": "correlation", "correlation": round(found.correlation, 4),
                        "peak ratio": round(found.ratio, 4), "z": round(found.z, 2)}
        to_fine = placed.transform.inverse().then(field.flip)
        return Registration(to_fine, residual, float(np.clip(confidence, 0, 1)), details)


@dataclass(frozen=True, eq=False)
class _Field:
    """A fine field at the coarse pitch.  pixel_um: pitch of the template.  flip: (mirrored) field µm → fine µm, its own
    inverse.  features: of the smoothed template."""

    image: Image
    template: FloatArray
    pixel_um: float
    flip: Transform
    features: Features


@dataclass(frozen=True, eq=False)
class _Placed:
    """transform: (mirrored) field µm → mosaic µm.  points_um: the inliers' places in the field.  correlation:
    band-passed, of template and region after alignment."""

    transform: Transform
    fit: Fit
    points_um: npt.NDArray[np.float64]
    correlation: float


class _Context:
    """What all fields of one mosaic share: its overviews, and the features of the whole.

    It does not hold the mosaic, whose weak reference is its key.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[int, tuple[FloatArray, npt.NDArray[np.bool_]]] = {}
        self._features: dict[int, Features] = {}

    def view(self, mosaic: Mosaic, reduction: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        with self._lock:
            if reduction not in self._views:
                self._views[reduction] = overview(mosaic, reduction)
            return self._views[reduction]

    def find(self, field: _Field, mosaic: Mosaic, rotations_deg: tuple[float, ...]) -> Found:
        reduction = reduction_for((field.template.shape[0], field.template.shape[1]))
        scene, covered = self.view(mosaic, reduction)
        return locate(field.template, scene, covered, reduction, rotations_deg)

    def features(self, mosaic: Mosaic, reduction: int) -> Features:
        scene, covered = self.view(mosaic, reduction)
        with self._lock:
            if reduction not in self._features:
                filled = np.where(covered, scene, np.float32(np.median(scene[covered])))
                self._features[reduction] = detect("sift", smooth(filled), upright=False, limit=CONTEXT_FEATURES)
            return self._features[reduction]


def _centre_px(field: _Field, mosaic: Mosaic, to_mosaic: Transform) -> tuple[float, float]:
    """Where the centre of the template lies in the mosaic, in pixels."""
    half = np.asarray(field.template.shape) * field.pixel_um / 2
    centre = to_mosaic.apply(half) / mosaic.pixel_size_um
    return float(centre[0]), float(centre[1])
