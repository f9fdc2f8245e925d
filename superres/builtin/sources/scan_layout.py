"""Where the frames of a virtual scan lie: coarse tiles on a jittering stage, fine fields wherever there is something to
see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from superres.errors import SourceError
from superres.image import FloatArray
from superres.transform import Transform

Positions = Literal["exact", "nominal", "grid", "none"]
Vector = npt.NDArray[np.float64]

SINGLE_FRAME_SLACK = 1.25
"""A side up to this many tiles long is taken in one longer frame: two would shrink to slivers with little overlap."""
JITTER_SHARE_OF_OVERLAP = 1 / 6
"""The stage strays by no more than this share of the overlap, so that neighbours keep two thirds of it."""
SMALLEST_TILE_PX = 32
AUTO_FIELD_PX = 480
AUTO_FIELD_SHARE = 0.85
"""An automatic field spans at most this share of the scan's shorter side: a search needs room around it."""
AUTO_COVERAGE = 1.3
"""Area of all automatic fields together over the area of the scan."""
SMALLEST_FIELD_PX = 64
TISSUE_SHARE = 0.3
TISSUE_BELOW_WHITE = 0.88
STRUCTURE_SD = 0.03
_CANDIDATES = 24


@dataclass(frozen=True, eq=False)
class Section:
    """A scene under the microscope.

    slide: id of this scene; specimen: whose section it is.  transmittance: (H, W) or (H, W, 3) float32 in [0, 1] at
    pitch_um.  Its frame, the object's, has the origin at the outer top-left corner; the stage has the same axes.
    """

    slide: str
    specimen: str
    transmittance: FloatArray
    pitch_um: float

    @property
    def size_um(self) -> tuple[float, float]:
        return self.transmittance.shape[0] * self.pitch_um, self.transmittance.shape[1] * self.pitch_um


@dataclass(frozen=True)
class ScanPlan:
    """How a scene is scanned; see the options of source `simulate`, which have the same names.

    field_px, fields: None chooses them by the size of the scene.  magnification_error: true object-plane pixel of the
    coarse camera over the nominal one, minus 1.
    """

    coarse_pixel_size_um: float
    fine_pixel_size_um: float
    tile_px: int
    overlap: float
    stage_jitter_um: float
    camera_rotation_deg: float
    magnification_error: float
    field_px: int | None
    fields: int | None
    field_rotation_deg: float
    field_scale_error: float
    avoid_blank: bool


@dataclass(frozen=True, eq=False)
class TilePlace:
    """A coarse frame before it is exposed.

    nominal_um, true_um: stage position of its outer top-left corner, as if the camera were not turned.
    to_object: tile µm (nominal pixels) → object µm.
    """

    grid: tuple[int, int]
    shape_px: tuple[int, int]
    pixel_size_um: float
    nominal_um: tuple[float, float]
    true_um: tuple[float, float]
    to_object: Transform

    def corners_um(self) -> Vector:
        """(2, 2, 2): the corners [top or bottom, left or right] on the object as (y, x)."""
        height, width = (side * self.pixel_size_um for side in self.shape_px)
        return self.to_object.apply([[[0.0, 0.0], [0.0, width]], [[height, 0.0], [height, width]]])


@dataclass(frozen=True, eq=False)
class FieldPlace:
    """A fine field before it is exposed: a square of side_px.  to_object: fine µm (nominal pixels) → object µm."""

    side_px: int
    to_object: Transform


def lay_tiles(section: Section, plan: ScanPlan, rng: np.random.Generator) -> list[TilePlace]:
    """Frames of one size that cover the scene and never leave it, row by row.

    They are at most tile_px on a side, and smaller where that makes a whole number of them fit; a scene side of up to
    1.25 tiles is covered by one frame.  Raises SourceError for a scene under 32 coarse pixels.
    """
    pixel_um, size_um = plan.coarse_pixel_size_um, section.size_um
    # Steps are computed with the nominal pixel and frames are as wide as the true one: both must stay inside.
    widest = pixel_um * max(1.0, 1 + plan.magnification_error)
    turn = np.deg2rad(abs(plan.camera_rotation_deg))
    longest_um = min(max(size_um), plan.tile_px * SINGLE_FRAME_SLACK * widest)
    slack_um = longest_um * np.sin(turn) + widest * 0.02
    jitter_um = min(plan.stage_jitter_um, JITTER_SHARE_OF_OVERLAP * plan.overlap * plan.tile_px * widest)
    sides = []
    for extent in size_um:
        whole = int((extent - slack_um) / widest)
        if whole < SMALLEST_TILE_PX:
            raise SourceError(f"scene '{section.slide}' is too small: {size_um[0]:.1f} × {size_um[1]:.1f} µm; expected "
                              f"at least {SMALLEST_TILE_PX} coarse pixels of {pixel_um:g} µm on each side",
                              hint="declare a larger scene_pixel_size_um, or leave it out with exclude")
        sides.append((whole, 1) if whole <= SINGLE_FRAME_SLACK * plan.tile_px else
                     _fit(int((extent - slack_um - 2 * jitter_um) / widest), plan))
    shape = (sides[0][0], sides[1][0])
    overlapping = [length for length, count in sides if count > 1]
    jitter_um = min([jitter_um] + [JITTER_SHARE_OF_OVERLAP * plan.overlap * length * widest for length in overlapping])
    if not overlapping:
        jitter_um = 0.0
    axes = [_centres(extent, length, count, plan.overlap, pixel_um)
            for extent, (length, count) in zip(size_um, sides, strict=True)]
    half_um = np.array(shape) * pixel_um / 2
    frames = []
    for row, y in enumerate(axes[0]):
        for column, x in enumerate(axes[1]):
            nominal = np.array([y, x])
            # A side of a single frame has no room to stray: the frame fills the scene there.
            free = np.array([count > 1 for _, count in sides])
            true = nominal + rng.uniform(-jitter_um, jitter_um, size=2) * free
            to_object = Transform.similarity(1 + plan.magnification_error, plan.camera_rotation_deg,
                                             (float(true[0] - half_um[0]), float(true[1] - half_um[1])),
                                             (float(half_um[0]), float(half_um[1])))
            frames.append(TilePlace((row, column), shape, pixel_um, _pair(nominal - half_um), _pair(true - half_um),
                                    to_object))
    return frames


def _pair(values: Vector) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _fit(extent_px: int, plan: ScanPlan) -> tuple[int, int]:
    """(side in px, count) of the fewest tiles, at most tile_px long, that cover extent_px with the overlap."""
    step = 1 - plan.overlap
    count = max(2, int(np.ceil((extent_px / plan.tile_px - plan.overlap) / step)))
    return min(plan.tile_px, int(extent_px / (count * step + plan.overlap))), count


def _centres(extent_um: float, length_px: int, count: int, overlap: float, pixel_um: float) -> Vector:
    """Nominal stage positions of frame centres along one axis, the scan centred on the scene.

    Steps are what the operator computes from the nominal pixel size; a coarser true pixel only widens the overlap.
    """
    step = length_px * pixel_um * (1 - overlap)
    return np.asarray(extent_um / 2 + (np.arange(count) - (count - 1) / 2) * step)


def place_fields(section: Section, tiles: list[TilePlace], plan: ScanPlan, rng: np.random.Generator
                 ) -> list[FieldPlace]:
    """Fields wholly inside what the tiles cover, at random places that keep their distance from each other.

    With avoid_blank a field is wanted where at least 30 % of it is darker than 0.88 of clear glass (99th percentile of
    the scene) and the grey values vary by 0.03 of it (sd); where chance finds no such place, the best one found is
    taken. Raises SourceError, naming both sizes, if a field does not fit.
    """
    pixel_um = plan.fine_pixel_size_um
    low, high = covered_um(tiles)
    spread = 1 + plan.field_scale_error
    turn = np.deg2rad(plan.field_rotation_deg)
    widening = spread * (np.cos(turn) + np.sin(turn))
    room_px = int(min(high - low) / pixel_um / widening)
    side = plan.field_px
    if side is None:
        side = min(AUTO_FIELD_PX, int(AUTO_FIELD_SHARE * room_px) // 2 * 2)
    if side > room_px or side < SMALLEST_FIELD_PX:
        raise SourceError(f"a fine field of {side} px ({side * pixel_um:.1f} µm) does not fit into the scan of "
                          f"'{section.slide}', {high[0] - low[0]:.1f} × {high[1] - low[1]:.1f} µm ({room_px} fine px)",
                          hint=f"set field_px between {SMALLEST_FIELD_PX} and {room_px}, or leave out this scene")
    half_um = side * pixel_um / 2
    reach = half_um * widening
    count = plan.fields
    if count is None:
        area = float(np.prod(high - low))
        count = max(2, round(AUTO_COVERAGE * area / (side * pixel_um) ** 2))
    darkness = _Darkness.of(section.transmittance, section.pitch_um)
    centres: list[Vector] = []
    places = []
    for _ in range(count):
        candidates = rng.uniform(low + reach, high - reach, size=(_CANDIDATES, 2))
        if plan.avoid_blank:
            candidates = darkness.structured(candidates, half_um)
        centres.append(_farthest(candidates, centres))
        scale = 1 + rng.uniform(-plan.field_scale_error, plan.field_scale_error)
        angle = rng.uniform(-plan.field_rotation_deg, plan.field_rotation_deg)
        shift = centres[-1] - half_um
        places.append(FieldPlace(side, Transform.similarity(scale, angle, _pair(shift), (half_um, half_um))))
    return places


def covered_um(frames: list[TilePlace]) -> tuple[Vector, Vector]:
    """(top, left) and (bottom, right) of a rectangle on the object that the frames cover without gaps."""
    last_row, last_column = (max(frame.grid[axis] for frame in frames) for axis in (0, 1))
    low, high = np.full(2, -np.inf), np.full(2, np.inf)
    for frame in frames:
        corners = frame.corners_um()
        if frame.grid[0] == 0:
            low[0] = max(low[0], corners[0, :, 0].max())
        if frame.grid[1] == 0:
            low[1] = max(low[1], corners[:, 0, 1].max())
        if frame.grid[0] == last_row:
            high[0] = min(high[0], corners[1, :, 0].min())
        if frame.grid[1] == last_column:
            high[1] = min(high[1], corners[:, 1, 1].min())
    return low, high


def _farthest(candidates: Vector, chosen: list[Vector]) -> Vector:
    """The candidate farthest from all fields so far, so that a few random fields cover the scan."""
    if not chosen:
        return np.asarray(candidates[0])
    distances = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
    return np.asarray(candidates[int(np.argmax(distances))])


@dataclass(frozen=True, eq=False)
class _Darkness:
    """Where the scene has something to see: grey values over the level of clear glass."""

    relative: FloatArray
    pitch_um: float

    @classmethod
    def of(cls, transmittance: FloatArray, pitch_um: float) -> _Darkness:
        grey = transmittance.mean(axis=2) if transmittance.ndim == 3 else transmittance
        thin = grey[::2, ::2]
        return cls(np.asarray(thin / max(float(np.quantile(thin, 0.99)), 1e-3), dtype=np.float32), 2 * pitch_um)

    def structured(self, centres_um: Vector, half_um: float) -> Vector:
        """The places whose field holds enough tissue with structure; if none does, the one that holds most tissue."""
        tissue, spread = np.array([self._measure(centre, half_um) for centre in centres_um]).T
        good = (tissue >= TISSUE_SHARE) & (spread >= STRUCTURE_SD)
        return centres_um[good] if good.any() else centres_um[[int(np.argmax(tissue * spread))]]

    def _measure(self, centre_um: Vector, half_um: float) -> tuple[float, float]:
        first = np.maximum(((centre_um - half_um) / self.pitch_um).astype(int), 0)
        last = ((centre_um + half_um) / self.pitch_um).astype(int) + 1
        field = self.relative[first[0]:last[0], first[1]:last[1]]
        return float(np.mean(field < TISSUE_BELOW_WHITE)), float(field.std())
