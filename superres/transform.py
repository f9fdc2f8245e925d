"""Transform: where a point of one frame lies in another.  Points are (y, x) in µm, from the outer top-left corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
INVERSION_ROUNDS = 20
"""Each takes the error down by the steepness of the displacement, a few per cent at most."""


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

    @property
    def linear(self) -> Transform:
        """Itself; the linear part of a Warp."""
        return self

    @overload
    def then(self, other: Transform) -> Transform: ...

    @overload
    def then(self, other: Warp) -> Warp: ...

    @overload
    def then(self, other: Map) -> Map: ...

    def then(self, other: Map) -> Map:
        """First this map, then the other."""
        if isinstance(other, Warp):
            return Warp(self.then(other.before), other.displacement_um, other.size_um, other.after)
        return Transform(other.matrix @ self.matrix)

    def inverse(self) -> Transform:
        return Transform(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))

    def to_json(self) -> list[list[float]]:
        return [[float(value) for value in row] for row in self.matrix]


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth map between two frames: `before`, then each point moved by a displacement field, then `after`.

    displacement_um: (rows, columns, 2), (y, x) in µm at the nodes of a regular grid that spans [0, size_um] of the
    frame between the two, ends included; bilinear between nodes, constant beyond.  It must be smooth and small against
    the grid, so that the map can be inverted.  Raises ValueError for another shape or values that are not finite.
    """

    before: Transform
    displacement_um: Points
    size_um: tuple[float, float]
    after: Transform

    def __post_init__(self) -> None:
        field = np.array(self.displacement_um, dtype=np.float64)
        if field.ndim != 3 or field.shape[2] != 2 or min(field.shape[:2]) < 2 or not np.isfinite(field).all():
            raise ValueError(f"a displacement field has a finite (rows, columns, 2) array, not shape {field.shape}")
        field.setflags(write=False)
        object.__setattr__(self, "displacement_um", field)

    @property
    def linear(self) -> Transform:
        """The map without its displacement."""
        return self.before.then(self.after)

    @property
    def scale(self) -> float:
        return self.linear.scale

    @property
    def rotation_deg(self) -> float:
        return self.linear.rotation_deg

    @property
    def mirrored(self) -> bool:
        return self.linear.mirrored

    def apply(self, points_um: npt.ArrayLike) -> Points:
        """As Transform.apply."""
        between = self.before.apply(points_um)
        return self.after.apply(between + self._displacement(between))

    def then(self, other: Transform) -> Warp:
        """First this map, then a linear one; two displacement fields in a row are not needed anywhere."""
        return Warp(self.before, self.displacement_um, self.size_um, self.after.then(other))

    def inverse(self) -> Warp:
        """The map back, exact at the nodes and good to the field's curvature between them."""
        rows, columns = self.displacement_um.shape[:2]
        y, x = np.meshgrid(np.linspace(0, self.size_um[0], rows), np.linspace(0, self.size_um[1], columns),
                           indexing="ij")
        nodes = np.stack([y, x], axis=-1)
        source = nodes.copy()
        for _ in range(INVERSION_ROUNDS):
            source = nodes - self._displacement(source)
        return Warp(self.after.inverse(), source - nodes, self.size_um, self.before.inverse())

    def to_json(self) -> dict[str, object]:
        return {"before": self.before.to_json(), "after": self.after.to_json(), "size_um": list(self.size_um),
                "displacement_um": np.round(self.displacement_um, 6).tolist()}

    def _displacement(self, points: Points) -> Points:
        shape = self.displacement_um.shape[:2]
        result = np.zeros(points.shape)
        place, low = [], []
        for axis in range(2):
            at = np.clip(points[..., axis] / self.size_um[axis] * (shape[axis] - 1), 0, shape[axis] - 1)
            low.append(np.minimum(at.astype(np.int64), shape[axis] - 2))
            place.append(at - low[axis])
        for dy in (0, 1):
            for dx in (0, 1):
                share = (place[0] if dy else 1 - place[0]) * (place[1] if dx else 1 - place[1])
                result += share[..., None] * self.displacement_um[low[0] + dy, low[1] + dx]
        return result


Map = Transform | Warp
"""Either kind."""


def grid_points(height_um: float, width_um: float, count: int = 15) -> Points:
    """(count², 2) points spread over a field, cell centres of a count × count grid, (y, x) in µm."""
    steps = (np.arange(count) + 0.5) / count
    y, x = np.meshgrid(steps * height_um, steps * width_um, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def rms_distance_um(a: Map, b: Map, height_um: float, width_um: float) -> float:
    """RMS distance between the images of a 15 × 15 grid on a field under two maps, in µm of the second frame."""
    points = grid_points(height_um, width_um)
    return float(np.sqrt(np.mean(np.sum((a.apply(points) - b.apply(points)) ** 2, axis=1))))
