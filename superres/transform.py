"""Transform: where a point of one frame lies in another.  Points are (y, x) in µm, from the outer top-left corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transform:
    """A linear map between two frames, both in µm, (y, x), origin at the outer top-left corner of pixel (0, 0).

    matrix: (3, 3) float64 acting on columns (y, x, 1); the last row is (0, 0, 1).
    Raises ValueError if the matrix has another shape, is not finite, or is singular.
    """

    matrix: Points

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError(f"a transform needs a finite (3, 3) matrix, not {matrix!r}")
        if not np.allclose(matrix[2], (0, 0, 1)) or abs(np.linalg.det(matrix[:2, :2])) < 1e-12:
            raise ValueError(f"a transform needs an invertible affine matrix, not {matrix!r}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Transform:
        return cls(np.eye(3))

    @classmethod
    def shift(cls, y_um: float, x_um: float) -> Transform:
        """The map p → p + (y_um, x_um)."""
        matrix = np.eye(3)
        matrix[:2, 2] = y_um, x_um
        return cls(matrix)

    @classmethod
    def similarity(
        cls,
        scale: float,
        rotation_deg: float,
        shift_um: tuple[float, float] = (0.0, 0.0),
        centre_um: tuple[float, float] = (0.0, 0.0),
    ) -> Transform:
        """Scale and rotate about centre_um, then shift.

        A positive rotation turns the y axis towards the x axis: (1, 0) goes to (cos, sin) in (y, x).
        """
        angle = np.deg2rad(rotation_deg)
        matrix = np.eye(3)
        matrix[:2, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.asarray(centre_um, dtype=np.float64)
        matrix[:2, 2] = centre + np.asarray(shift_um) - matrix[:2, :2] @ centre
        return cls(matrix)

    @property
    def scale(self) -> float:
        """The geometric mean of the two principal magnifications."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    @property
    def rotation_deg(self) -> float:
        """The angle of the nearest rotation, in (-180, 180]; see `similarity` for its sense."""
        a = self.matrix
        return float(np.rad2deg(np.arctan2(a[1, 0] - a[0, 1], a[0, 0] + a[1, 1])))

    @property
    def mirrored(self) -> bool:
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    def apply(self, points_um: npt.ArrayLike) -> Points:
        """points_um: (..., 2) as (y, x) in µm of the first frame.  Returns the same shape in µm of the second."""
        points = np.asarray(points_um, dtype=np.float64)
        return np.asarray(points @ self.matrix[:2, :2].T + self.matrix[:2, 2])

    def then(self, other: Transform) -> Transform:
        """First this map, then the other."""
        return Transform(other.matrix @ self.matrix)

    def inverse(self) -> Transform:
        return Transform(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))

    def to_json(self) -> list[list[float]]:
        return [[float(value) for value in row] for row in self.matrix]


def grid_points(height_um: float, width_um: float, count: int = 15) -> Points:
    """(count², 2) points spread over a field, cell centres of a count × count grid, (y, x) in µm."""
    steps = (np.arange(count) + 0.5) / count
    y, x = np.meshgrid(steps * height_um, steps * width_um, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def rms_distance_um(a: Transform, b: Transform, height_um: float, width_um: float) -> float:
    """RMS distance between the images of a 15 × 15 grid on a field under two maps, in µm of the second frame."""
    points = grid_points(height_um, width_um)
    return float(np.sqrt(np.mean(np.sum((a.apply(points) - b.apply(points)) ** 2, axis=1))))
