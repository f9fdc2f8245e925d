"""How far off each way of placing a field is: `python -m benchmarks.registration.methods --data DIR [--rivals N]`.

Fields of 480 fine pixels of eight tissues under the virtual microscope's optics, in the views `clean` and `hard` of
tests/registration/virtual.py, at random angles within 3 degrees and scales within 2 %.  The registrars are called as a
run calls them; the other methods start from SIFT's answer, and take it over where they have none.  Writes
benchmarks/registration/methods.json, from which the table of docs/registration.md is made.  With --surf, the paper's
SURF alone on as many fields as the default; that goes to benchmarks/registration/surf.json.

Prediction written before the first run: the order of the registration study, default < dense flow < phase correlation ≈
SIFT < AKAZE < SURF < ECC, and the default within 0.01 / 0.02 (clean) and 0.05 / 0.09 (hard) coarse px.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.registration.records import write_record
from superres.api import Mosaic
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.registration.features import matches, smooth, stretch
from superres.registration.shifts import band_pass, measure
from superres.registration.similarity import least_squares, robust_similarity
from superres.resample import bicubic, index_matrix
from superres.transform import Transform, rms_distance_um
from tests.registration.virtual import CLEAN, COARSE_UM, HARD, TISSUES, Condition, random_place, tissue

FIELD_PX = 480
L = Fraction(2, 5)


@dataclass(frozen=True, eq=False)
class Case:
    tissue: str
    fine: Image
    coarse: Image
    truth: Transform
    template: FloatArray


@dataclass
class Tally:
    """errors_px: RMS over a field.  centres_px: error vectors at the centre.  estimates_px: the method's own."""

    errors_px: list[float] = field(default_factory=list)
    centres_px: list[npt.NDArray[np.float64]] = field(default_factory=list)
    estimates_px: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def add(self, case: Case, found: Transform, seconds: float, estimate: float = float("nan")) -> None:
        middle = np.array(case.fine.size_um) / 2
        self.errors_px.append(rms_distance_um(found, case.truth, *case.fine.size_um) / COARSE_UM)
        self.centres_px.append((found.apply(middle) - case.truth.apply(middle)) / COARSE_UM)
        self.estimates_px.append(estimate)
        self.seconds.append(seconds)

    def facts(self) -> dict[str, float | int]:
        errors, estimates = np.array(self.errors_px), np.array(self.estimates_px)
        facts: dict[str, float | int] = {
            "fields": len(errors), "refused": self.refused, "median_px": round(float(np.median(errors)), 4),
            "p95_px": round(float(np.percentile(errors, 95)), 4), "max_px": round(float(errors.max()), 4),
            "bias_px": round(float(np.hypot(*np.mean(self.centres_px, axis=0))), 4),
            "ms": round(1000 * float(np.median(self.seconds)), 1)}
        if np.isfinite(estimates).all():
            facts["estimate_over_error"] = round(float(np.sqrt((estimates ** 2).mean() / (errors ** 2).mean())), 2)
            facts["estimate_over_error_median"] = round(float(np.median(estimates) / np.median(errors)), 2)
        return facts


def cases(data: Path, condition: Condition, count: int) -> list[Case]:
    """count fields of each tissue."""
    found = []
    for number, name in enumerate(TISSUES):
        view, rng = tissue(data, name, condition), np.random.default_rng([7, number])
        coarse = view.whole(rng)
        for _ in range(count):
            truth = random_place(view, FIELD_PX, rng)
            fine = view.fine(truth, (FIELD_PX, FIELD_PX), rng)
            found.append(Case(name, fine, coarse, truth, bicubic(fine.grey(), L)))
    return found


def registrar(refine: str) -> Callable[[Case, Tally], Transform | None]:
    plugin = PaperRegistrar(refine=refine)

    def place(case: Case, tally: Tally) -> Transform | None:
        start = time.process_time()
        try:
            found = plugin.register(case.fine, Mosaic.of(case.coarse))
        except RegistrationError:
            tally.refused += 1
            return None
        transform = found.transform.inverse()
        tally.add(case, transform, time.process_time() - start, found.residual_um / COARSE_UM)
        return transform

    return place


def shown(case: Case, start: Transform) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """The coarse pixels that the start says the field shows, on the template's grid, and the index matrix to them."""
    matrix = index_matrix(start.matrix, COARSE_UM, COARSE_UM)
    xy = np.ascontiguousarray(matrix[:2][::-1][:, [1, 0, 2]])
    warped = cv2.warpAffine(case.coarse.grey(), xy, case.template.shape[::-1],
                            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.float32), matrix


def akaze(case: Case, start: Transform) -> Transform | None:
    home: Any = cv2.xfeatures2d if hasattr(cv2.xfeatures2d, "AKAZE") else cv2  # OpenCV 5, and 4
    detector = home.AKAZE.create(descriptor_type=home.AKAZE_DESCRIPTOR_KAZE_UPRIGHT, threshold=5e-4)
    sides = []
    for plane in (case.template, case.coarse.grey()):
        points, descriptors = detector.detectAndCompute(stretch(smooth(plane)), None)
        if descriptors is None:
            return None
        sides.append((np.array([(p.pt[1] + 0.5, p.pt[0] + 0.5) for p in points]) * COARSE_UM, descriptors))
    pairs = matches(sides[0][1], sides[1][1])
    fit = robust_similarity(sides[0][0][pairs[:, 0]], sides[1][0][pairs[:, 1]], 1.5 * COARSE_UM)
    return None if fit is None else fit.transform


def ecc(case: Case, start: Transform) -> Transform | None:
    """cv2.findTransformECC with an affine motion, as it is usually called: on grey images, Gaussian of 5 px."""
    matrix = index_matrix(start.matrix, COARSE_UM, COARSE_UM)
    xy = matrix[:2][::-1][:, [1, 0, 2]].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
    try:
        _, xy = cv2.findTransformECC(stretch(case.template), stretch(case.coarse.grey()), np.ascontiguousarray(xy),
                                     cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:
        return None
    back = np.eye(3)
    back[:2] = np.asarray(xy, dtype=np.float64)[::-1][:, [1, 0, 2]]
    half = Transform.shift(0.5 * COARSE_UM, 0.5 * COARSE_UM)
    in_um = np.diag([COARSE_UM, COARSE_UM, 1.0])
    return half.inverse().then(Transform(in_um @ back @ np.linalg.inv(in_um))).then(half)


def phase(case: Case, start: Transform) -> Transform | None:
    """Correlation of the band-passed images, sub-pixel: corrects the shift alone."""
    seen, _ = shown(case, start)
    found = measure(seen, case.template, (0.0, 0.0))
    return Transform.shift(found.shift_px[0] * COARSE_UM, found.shift_px[1] * COARSE_UM).then(start)


def flow(case: Case, start: Transform) -> Transform | None:
    """Dense inverse search (Kroeger et al. 2016) on band-passed images, and a robust similarity through it."""
    seen, _ = shown(case, start)
    planes = []
    for plane in (case.template, seen):
        band = band_pass(plane, 0.8, 4.0)
        planes.append(np.clip(128 + 40 * band / band.std(), 0, 255).astype(np.uint8))
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    solver.setFinestScale(0)
    vectors = solver.calc(planes[0], planes[1], None)[..., ::-1]
    y, x = (axis[8:-8:4, 8:-8:4] for axis in np.indices(case.template.shape))
    a = np.stack([y.ravel() + 0.5, x.ravel() + 0.5], axis=1)
    b = a + vectors[8:-8:4, 8:-8:4].reshape(-1, 2)
    weight = np.ones(len(a))
    fit = Transform.identity()
    for _ in range(10):
        fit = least_squares(a * COARSE_UM, b * COARSE_UM, weight)
        off = np.hypot(*(fit.apply(a * COARSE_UM) - b * COARSE_UM).T)
        weight = 1 / (1 + (off / (2 * np.median(off) + 1e-9)) ** 2)
    return fit.then(start)


RIVALS: dict[str, Callable[[Case, Transform], Transform | None]] = {
    "AKAZE": akaze, "SIFT, then phase correlation": phase, "SIFT, then ECC": ecc, "SIFT, then dense flow": flow}


def measured(data: Path, condition: Condition, count: int, rivals: int) -> dict[str, Tally]:
    """Tallies by method: `icgn` on count fields of each tissue, the others on the first `rivals` of them."""
    tallies: dict[str, Tally] = {}
    default, sift, surf = (registrar(refine) for refine in ("icgn", "sift", "surf"))
    seen: dict[str, int] = {}
    for case in cases(data, condition, count):
        default(case, tallies.setdefault("icgn (default)", Tally()))
        seen[case.tissue] = seen.get(case.tissue, 0) + 1
        if seen[case.tissue] > rivals:
            continue
        surf(case, tallies.setdefault("SURF (the paper's)", Tally()))
        start = sift(case, tallies.setdefault("SIFT", Tally()))
        for name, rival in RIVALS.items():
            tally = tallies.setdefault(name, Tally())
            if start is None:
                tally.refused += 1
                continue
            began = time.process_time()
            found = rival(case, start)
            tally.add(case, found or start, time.process_time() - began)
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    parser.add_argument("--fields", type=int, default=26, help="of each tissue and view, for the default")
    parser.add_argument("--rivals", type=int, default=4, help="of each tissue and view, for all methods")
    parser.add_argument("--surf", action="store_true", help="only SURF, on all fields")
    options = parser.parse_args()
    record: dict[str, Any] = {}
    for condition in (CLEAN, HARD):
        if options.surf:
            place, tally = registrar("surf"), Tally()
            for case in cases(options.data.resolve(), condition, options.fields):
                place(case, tally)
            record[condition.name] = tally.facts()
            continue
        tallies = measured(options.data.resolve(), condition, options.fields, options.rivals)
        record[condition.name] = {name: tally.facts() for name, tally in tallies.items()}
    write_record("surf" if options.surf else "methods", record)


if __name__ == "__main__":
    main()
