"""Registrar `paper`: §2 of the supplement of Rivenson et al., Optica 4, 1437 (2017), doi:10.1364/OPTICA.4.001437."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pydantic import Field as Option
from pydantic import model_validator

from superres.api import Mosaic, PluginOptions, Registrar, Registration, Tile
from superres.api.registrar import stitched
from superres.builtin.registrars.confirming import Confirming, Placed
from superres.builtin.registrars.fields import Context, Field, Refine, prepare
from superres.builtin.registrars.refinement import Sharpened, scene_around, sharpen
from superres.builtin.registrars.residuals import judged_parts, map_of_blocks, map_of_parts
from superres.errors import RegistrationError
from superres.image import Image
from superres.registration.diagnose import Limits, fit_features, refuse, refuse_mirrored, refuse_torn
from superres.registration.features import detect, smooth
from superres.registration.find import Found, reduction_for
from superres.registration.similarity import expected_error_um
from superres.registration.torn import NO_PARTS, TEARS, VISIBLE_TEAR, Parts, parts_of
from superres.registration.visible import visible_tear_px
from superres.transform import Map, Transform, Warp

CONTEXT_SIZE_PX = 2000
"""The whole mosaic is searched for features at no more than this many pixels a side: SIFT takes about 160 bytes a
pixel."""
REPEATED_CORRELATION = 0.6
"""Two places that both correlate this well show a repeated pattern; a field that is not there stays below."""
LONE_CORRELATION = 0.5
"""Least correlation after refinement of a place that no features confirm."""
MAX_TREND_PX = 0.2
UNREFINED_TRUST = 0.7
"""A place whose refinement was not believed: the features' place is kept, with this share of its confidence."""


class PaperRegistrar(Registrar):
    """Normalised cross-correlation finds the field in the mosaic, features confirm it, Gauss-Newton (or the features)
    refines it."""

    name = "paper"
    summary = "the paper's chain: stitch, find by normalised cross-correlation, refine"
    concurrent = True

    class Options(PluginOptions):
        refine: Refine = Option("icgn", description=(
            "what gives the final place: Gauss-Newton on filtered images after SIFT features (icgn), SIFT features "
            "alone, or the paper's SURF (patent notice: US 8,165,401)"))
        warp: Literal["none", "smooth"] = Option("none", description=(
            "smooth: after icgn, a smooth displacement of the field as well, for optics with distortion"))
        max_rotation_deg: float = Option(5.0, ge=0, le=180, description=(
            "largest rotation of a field against the scan, in degrees"))
        max_scale_error: float = Option(0.05, gt=0, le=0.5, description=(
            "largest deviation of the measured scale from that of the pixel sizes, as a fraction"))
        flip: Literal["none", "x", "y"] = Option("none", description=(
            "mirror fine fields along this axis before matching, for a camera behind an odd number of mirrors"))
        max_peak_ratio: float = Option(0.75, gt=0, lt=1, description=(
            "largest second / first correlation peak of a place that counts as found"))
        min_z: float = Option(9.0, gt=0, description=(
            "least height of the correlation peak above the median, in median absolute deviations"))
        disconnected: Literal["refuse", "nominal"] = Option("refuse", description=(
            "tiles that fall into parts without a common overlap: refuse, or put each part where its nominal positions "
            "say (stage positions or a grid)"))
        min_inliers: int = Option(15, ge=6, description="least number of matching features that confirm a place")

        @model_validator(mode="after")
        def _only_icgn_bends(self) -> PaperRegistrar.Options:
            if self.warp != "none" and self.refine != "icgn":
                raise ValueError(f'warp = "{self.warp}" needs refine = "icgn", not "{self.refine}": features alone '
                                 "give a similarity")
            return self

    def __init__(self, options: PluginOptions | None = None, **values: Any) -> None:
        super().__init__(options, **values)
        self._contexts: WeakKeyDictionary[Mosaic, Context] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def assemble(self, tiles: Sequence[Tile], overlap: float | None = None) -> Mosaic:
        """See Registrar.assemble; option `disconnected` decides what becomes of parts."""
        return stitched(tiles, overlap, self.options.disconnected)

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        """Find a field; see Registrar.register.

        A place is believed when its correlation peak stands alone (or features over the whole mosaic name it) and at
        least min_inliers features agree on one similarity within the limits.  Where a field has too few features, a
        refinement that starts from a lone correlation peak must come to rest nearby, within the limits, with a strong
        correlation and halves that agree.
        Reasons: "blank", "too-few-features", "not-found", "ambiguous", "mirrored", "magnification", "rotation", "torn".
        """
        mosaic = coarse if isinstance(coarse, Mosaic) else Mosaic.of(coarse)
        field = prepare(fine, mosaic.pixel_size_um, self.options.flip, self.options.refine, self._upright)
        if guess is not None:
            placed = self._confirming.confirm(field, mosaic, field.centre_px(mosaic, guess.inverse()))
            if placed is not None:
                return self._result(field, mosaic, placed, "guess")
        context = self._context(mosaic)
        found = context.find(field, mosaic, (0.0,))
        limits = self._limits
        if not self._accepts(found) and limits.max_rotation_deg > 1:
            turned = context.find(field, mosaic, self._rotations())
            found = turned if turned.correlation > found.correlation or self._accepts(turned) else found
        if self._accepts(found):
            placed = self._confirming.confirm(field, mosaic, found.centre_px)
            if placed is not None:
                return self._result(field, mosaic, placed, found)
            if self.options.refine == "icgn":
                alone = self._without_features(field, mosaic, found)
                if alone is not None:
                    return alone
        elif found.correlation >= REPEATED_CORRELATION and found.z >= self.options.min_z:
            placed = self._confirming.apart_from_others(field, mosaic, found)
            if placed is not None:
                return self._result(field, mosaic, placed, found)
            raise RegistrationError(
                f"field '{fine.name}' fits several places: second / first correlation peak is {found.ratio:.2f} "
                f"(correlation {found.correlation:.2f}); expected at most {self.options.max_peak_ratio:g}",
                reason="ambiguous", hint="take larger fields, or some with less repetitive structure, or give a guess")
        return self._search_everywhere(field, mosaic, context, found)

    @property
    def _limits(self) -> Limits:
        options = self.options
        return Limits(options.max_rotation_deg, options.max_scale_error, options.min_inliers)

    @property
    def _confirming(self) -> Confirming:
        return Confirming(self.options.refine, self._upright, self._limits, self.options.max_peak_ratio)

    def _rotations(self) -> tuple[float, ...]:
        """Every 2 degrees: a field of 50 reduced pixels still correlates when it is 1 degree off."""
        limit = self.options.max_rotation_deg
        count = int(np.ceil(limit / 2))
        return tuple(float(angle) for angle in np.linspace(-limit, limit, 2 * count + 1) if angle != 0)

    def _accepts(self, found: Found) -> bool:
        return found.accepted(self.options.max_peak_ratio, self.options.min_z)

    @property
    def _upright(self) -> bool:
        """Upright SURF is sharper but blind beyond 15 degrees; SIFT finds its own directions."""
        return bool(self.options.max_rotation_deg <= 15)

    def _context(self, mosaic: Mosaic) -> Context:
        with self._lock:
            return self._contexts.setdefault(mosaic, Context())

    def _search_everywhere(self, field: Field, mosaic: Mosaic, context: Context, found: Found) -> Registration:
        """Match features with the whole mosaic: to rescue a field that correlation missed, or to say what is wrong
        with it."""
        reduction = max(1, -(-max(mosaic.shape_px) // CONTEXT_SIZE_PX))
        scene = context.features(mosaic, reduction)
        pixel = mosaic.pixel_size_um * reduction
        limits = self._limits
        own = detect("sift", smooth(field.template), upright=False)
        fit, _, _ = fit_features(own, scene, field.pixel_um, pixel)
        if fit is not None and fit.count >= limits.min_inliers:
            if not limits.holds(fit.transform):
                raise refuse(field.name, fit, limits, mosaic.pixel_size_um / field.image.pixel_size_um)
            placed = self._confirming.confirm(field, mosaic, field.centre_px(mosaic, fit.transform))
            if placed is not None:
                return self._result(field, mosaic, placed, "features")
        mirrored = np.ascontiguousarray(field.template[:, ::-1])
        reflected, _, _ = fit_features(detect("sift", smooth(mirrored), upright=False), scene, field.pixel_um, pixel)
        if reflected is not None and reflected.count >= limits.min_inliers:
            raise refuse_mirrored(field.name, reflected)
        count = 0 if fit is None else fit.count
        if self._accepts(found):
            raise RegistrationError(
                f"field '{field.name}' has a lone correlation peak ({found.correlation:.2f}, z {found.z:.1f}), but "
                f"only {count} of its features agree on a place, expected at least {limits.min_inliers}, and no "
                "refinement confirms the peak", reason="too-few-features",
                hint="check that the field is of this slide; take larger or sharper fields")
        raise RegistrationError(
            f"field '{field.name}' is not in the scan: best correlation {found.correlation:.2f} with second / "
            f"first peak {found.ratio:.2f} (at most {self.options.max_peak_ratio:g} expected) and z {found.z:.1f} "
            f"(at least {self.options.min_z:g} expected), {count} matching features", reason="not-found",
            hint="check that the field is of this slide, in focus, and inside the coarse scan")

    def _without_features(self, field: Field, mosaic: Mosaic, found: Found) -> Registration | None:
        """The place of a field with too few features, by refinement alone; None where it is not certain."""
        half = np.asarray(field.template.shape) * field.pixel_um / 2
        at = np.asarray(found.centre_px) * mosaic.pixel_size_um - half
        start = Transform.similarity(1.0, found.rotation_deg, (float(at[0]), float(at[1])),
                                     (float(half[0]), float(half[1])))
        reach = 2.0 + reduction_for((field.template.shape[0], field.template.shape[1]))
        sharpened = sharpen(field, mosaic, start, reach, self.options.warp)
        if isinstance(sharpened, str) or sharpened.correlation < LONE_CORRELATION:
            return None
        if not self._limits.holds(sharpened.transform.linear):
            return None
        details: dict[str, float | str] = {"refine": self.options.refine, "inliers": 0.0} | _refined(sharpened, mosaic)
        self._refuse_torn(field, mosaic, sharpened.transform, sharpened, NO_PARTS, details)
        confidence = 0.5 + 0.4 * (sharpened.correlation - LONE_CORRELATION) / (1 - LONE_CORRELATION)
        return self._registration(field, sharpened.transform, confidence, sharpened.error_um, details, found,
                                  sharpened)

    def _result(self, field: Field, mosaic: Mosaic, placed: Placed, found: Found | str) -> Registration:
        """found: the correlation peak that led here, or in a word what else did.

        Confidence is 1 − exp(−inliers / 20), so 0.53 for the least 15 and 0.92 for the 51 of the weakest correct field
        of the registration study; less where the aligned images correlate below 0.4 or the place is good to no more
        than half a pixel, or its refinement was not believed.  It is no probability: what was tested is the threshold
        of 0.5, above which none of the placements of docs/registration.md is wrong.
        """
        details: dict[str, float | str] = {
            "refine": self.options.refine, "inliers": float(placed.fit.count),
            "matches": float(len(placed.fit.inliers)), "aligned correlation": round(placed.correlation, 4),
            "inlier residual (µm)": round(placed.fit.residual_um, 5)}
        confidence = 1 - float(np.exp(-placed.fit.count / 20))
        confidence *= float(np.clip(placed.correlation / 0.4, 0, 1))
        transform: Map = placed.transform
        residual = expected_error_um(placed.points_um[placed.fit.inliers], placed.fit.residual_um, field.image.size_um)
        sharpened = (sharpen(field, mosaic, placed.transform, warp=self.options.warp)
                     if self.options.refine == "icgn" else None)
        if isinstance(sharpened, Sharpened) and sharpened.flag and sharpened.error_um > residual:
            sharpened = sharpened.flag
        if isinstance(sharpened, str):
            details["refinement refused"] = sharpened
            details["warning"] = f"its refinement was refused: {sharpened}; it lies where its features put it"
            confidence *= UNREFINED_TRUST
        elif sharpened is not None:
            transform, residual = sharpened.transform, sharpened.error_um
            details |= _refined(sharpened, mosaic)
        off_px = (placed.there_um - transform.apply(placed.points_um)) / mosaic.pixel_size_um
        by_features = parts_of(placed.points_um, off_px, field.image.size_um, float(field.reduction))
        self._refuse_torn(field, mosaic, transform, sharpened, by_features, details)
        if residual > 0.5 * mosaic.pixel_size_um:
            confidence *= 0.5
        if isinstance(sharpened, Sharpened):
            return self._registration(field, transform, confidence, residual, details, found, sharpened)
        return self._registration(field, transform, confidence, residual, details, found,
                                  map_of_parts(field, by_features, placed.transform, mosaic.pixel_size_um))

    def _refuse_torn(self, field: Field, mosaic: Mosaic, transform: Map, sharpened: Sharpened | str | None,
                     by_features: Parts, details: dict[str, float | str]) -> None:
        """Raise RegistrationError ("torn") where parts of the field lie beside their place; what was judged goes into
        details."""
        scene = sharpened.scene if isinstance(sharpened, Sharpened) else scene_around(field, mosaic, transform.linear)
        parts = by_features
        if scene is not None:
            parts = judged_parts(field, scene, mosaic.pixel_size_um, transform, by_features)
        details |= {"parts judged": float(len(parts.off_px)), "parts beside their place": float(parts.beside)}
        if not parts.judged:
            details["unjudged"] = TEARS
        if not isinstance(transform, Warp):  # which follows a tear, so that little is left to see of it
            visible = visible_tear_px(sharpened.blocks if isinstance(sharpened, Sharpened) else None, parts,
                                      field.pixel_um, field.template.shape, MAX_TREND_PX)
            details |= {} if visible is None else {VISIBLE_TEAR: visible}
        if parts.torn and not _stepped(sharpened):
            raise refuse_torn(field.name, parts, self.options.warp != "none")

    def _registration(self, field: Field, transform: Map, confidence: float, residual_um: float,
                      details: dict[str, float | str], found: Found | str,
                      rest: Sharpened | npt.NDArray[np.float64]) -> Registration:
        """rest: the refinement, or, without one, the residual map."""
        details |= {"rotation (degrees)": round(transform.rotation_deg, 4), "scale": round(transform.scale, 6)}
        if isinstance(found, str):
            details["found by"] = found
        else:
            details |= {"found by": "correlation", "correlation": round(found.correlation, 4),
                        "peak ratio": round(found.ratio, 4), "z": round(found.z, 2)}
        to_fine = transform.inverse().then(field.flip)
        confidence = float(np.clip(confidence, 0, 1))
        if isinstance(rest, Sharpened):
            return Registration(to_fine, residual_um, confidence, details, rest.frame,
                                map_of_blocks(field, rest.blocks))
        return Registration(to_fine, residual_um, confidence, details, residual_map_um=rest)


def _stepped(sharpened: Sharpened | str | None) -> bool:
    """Whether tiles under the field are known to be off, so that the warning names them."""
    return isinstance(sharpened, Sharpened) and sharpened.seam is not None and sharpened.seam.step_px > MAX_TREND_PX


def _refined(sharpened: Sharpened, mosaic: Mosaic) -> dict[str, float | str]:
    details: dict[str, float | str] = {
        "refinement moved (coarse px)": round(sharpened.moved_px, 4),
        "split-half error (coarse px)": round(sharpened.split_half_px, 5),
        "refined correlation": round(sharpened.correlation, 4)}
    warnings = [sharpened.unbent] if sharpened.unbent else []
    if sharpened.trend_px > MAX_TREND_PX:
        beside = (f"parts of the field lie up to {sharpened.trend_px:.2f} coarse px beside their place in a smooth "
                  "pattern")
        if isinstance(sharpened.transform, Warp):
            warnings.append(f"{beside} which the smooth warp leaves; leave the field out")
        elif sharpened.unbent:
            warnings.append(beside)
        else:
            warnings.append(f'{beside}: if most fields say so, the optics distort (set register.options.warp = '
                            '"smooth"); if few do, they are torn there (leave them out)')
    elif sharpened.seam is not None and _stepped(sharpened):
        seam = sharpened.seam
        warnings.append(
            f"the field lies across tiles '{mosaic.tiles[seam.first].name}' and '{mosaic.tiles[seam.second].name}', "
            f"which are {seam.step_px:.2f} coarse px off against each other; leave the field out, or scan with more "
            "overlap")
    if sharpened.flag:
        details["refinement flagged"] = sharpened.flag
        warnings.append(sharpened.flag)
    return details | ({"warning": "; ".join(warnings)} if warnings else {})
