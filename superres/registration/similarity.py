"""The similarity (shift, rotation, scale) between matched points, robustly, and how far it can be off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superres.transform import Points, Transform, grid_points

HYPOTHESES = 1000
SEED = 20170
RAYLEIGH_MEDIAN = 1.1774
"""Median length of a two-dimensional Gaussian error of unit standard deviation on each axis."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A similarity from points a to points b, both (y, x) in µm.

    inliers: (n,) bool.  residual_um: RMS distance of the inliers from the fit.
    """

    transform: Transform
    inliers: npt.NDArray[np.bool_]
    residual_um: float

    @property
    def count(self) -> int:
        return int(self.inliers.sum())


def complex_points(points_um: Points) -> npt.NDArray[np.complex128]:
    """y + ix: multiplying by a complex number turns and scales (y, x) as Transform.similarity does."""
    return np.asarray(points_um[:, 0] + 1j * points_um[:, 1])


def least_squares(a_um: Points, b_um: Points, weights: Points | None = None) -> Transform:
    """The similarity that carries a onto b with the smallest weighted sum of squares.  a, b: (n, 2), n >= 2."""
    za, zb = complex_points(a_um), complex_points(b_um)
    w = np.ones(len(za)) if weights is None else weights
    ca, cb = np.average(za, weights=w), np.average(zb, weights=w)
    power = float((w * np.abs(za - ca) ** 2).sum())
    factor = complex((w * np.conj(za - ca) * (zb - cb)).sum() / power) if power > 0 else 1.0 + 0.0j
    shift = cb - factor * ca
    return _transform(factor, complex(shift))


def robust_similarity(a_um: Points, b_um: Points, tolerance_um: float, *, seed: int = SEED) -> Fit | None:
    """RANSAC over pairs of points, then least squares on the inliers until they no longer change.

    tolerance_um: distance within which a match supports a hypothesis.  In the end matches beyond 3.5 robust standard
    deviations are left out too.  The generator is seeded: the same matches give the same fit.
    Returns None with fewer than 3 matches or inliers.
    Source: Fischler and Bolles, Commun. ACM 24, 381 (1981), doi:10.1145/358669.358692.
    """
    count = len(a_um)
    if count < 3:
        return None
    rng = np.random.default_rng(seed)
    za, zb = complex_points(a_um), complex_points(b_um)
    first = rng.integers(0, count, HYPOTHESES)
    second = (first + rng.integers(1, count, HYPOTHESES)) % count
    base = za[second] - za[first]
    usable = np.abs(base) > 4 * tolerance_um
    if not usable.any():
        return None
    first, second, base = first[usable], second[usable], base[usable]
    factor = (zb[second] - zb[first]) / base
    sane = (np.abs(factor) > 0.2) & (np.abs(factor) < 5.0)
    if not sane.any():
        return None
    factor, shift = factor[sane], (zb[first] - factor * za[first])[sane]
    support = np.array([(np.abs(f * za + s - zb) < tolerance_um).sum() for f, s in zip(factor, shift, strict=True)])
    best = int(np.argmax(support))
    inliers = np.abs(factor[best] * za + shift[best] - zb) < tolerance_um
    transform = _transform(complex(factor[best]), complex(shift[best]))
    for _ in range(10):
        if inliers.sum() < 3:
            return None
        transform = least_squares(a_um[inliers], b_um[inliers])
        distance = np.hypot(*(transform.apply(a_um) - b_um).T)
        spread = float(np.median(distance[inliers])) / RAYLEIGH_MEDIAN
        again = distance < min(tolerance_um, max(3.5 * spread, 0.1 * tolerance_um))
        if (again == inliers).all():
            break
        inliers = again
    if inliers.sum() < 3:
        return None
    transform = least_squares(a_um[inliers], b_um[inliers])
    distance = np.hypot(*(transform.apply(a_um[inliers]) - b_um[inliers]).T)
    return Fit(transform, inliers, float(np.sqrt(np.mean(distance ** 2))))


def expected_error_um(points_um: Points, residual_um: float, size_um: tuple[float, float]) -> float:
    """RMS error over a field of a similarity fitted to points with this RMS residual, if their errors are independent.

    The shift's error falls with the number of points, the rotation's and scale's with their spread about the centroid.
    points_um: (n, 2), n >= 3, in the frame of the field.  size_um: (height, width) of the field.
    """
    count = len(points_um)
    variance = residual_um ** 2 * count / max(count - 2, 1)  # of a complex point: 4 of 2n numbers are fitted
    centre = points_um.mean(axis=0)
    spread = float(((points_um - centre) ** 2).sum())
    lever = float(((grid_points(*size_um) - centre) ** 2).sum(axis=1).mean())
    return float(np.sqrt(variance / count + variance * lever / max(spread, 1e-12)))


def _transform(factor: complex, shift: complex) -> Transform:
    matrix = np.eye(3)
    matrix[:2, :2] = [[factor.real, -factor.imag], [factor.imag, factor.real]]
    matrix[:2, 2] = shift.real, shift.imag
    return Transform(matrix)
