"""Registrar: where a fine field lies in a coarse scan, and how far to believe it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from superres.api.plugin import Kind, Plugin
from superres.api.source import Tile
from superres.image import FloatArray, Image, Readable
from superres.transform import Map, Transform

if TYPE_CHECKING:
    from superres.registration.layout import Layout


@dataclass(frozen=True, eq=False)
class PlacedTile:
    """A camera frame with its place.

    image: the raw frame.  to_mosaic: tile µm → mosaic µm.  linked: placed by measurement; False: only by the prior.
    residual_um: RMS disagreement of its measured shifts with the global solution, None where nothing checks them.
    part: 1 for the largest group of tiles that were measured against each other, 2 for the next; places hold within a
    part, and between parts to what the stage is good for.
    gain, offset: gain · value + offset, in units of white after the flat field, makes it as bright as its neighbours.
    """

    image: Readable
    to_mosaic: Transform
    linked: bool = True
    residual_um: float | None = None
    gain: float = 1.0
    offset: float = 0.0
    part: int = 1

    @property
    def name(self) -> str:
        return self.image.name


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A stitched coarse scan: tiles with sub-pixel places, read by region, never held as one array.

    Its frame: µm in the camera's axes, origin at the outer top-left corner of the bounding box of all tiles.
    All tiles have one shape.  flat_field: (h, w) or (h, w, 3) float32 relative illumination, mean 1, by which raw
    frames are divided; None for none.  notes: facts for the report (rotation against the stage in degrees, rejected
    edges, unlinked tiles); one called "warning" is said aloud.  tile_shape_px: (height, width) of every tile, so that
    no file is opened to learn where it ends; left out, it is taken from the flat field, else the first tile is read.
    """

    tiles: tuple[PlacedTile, ...]
    shape_px: tuple[int, int]
    pixel_size_um: float
    flat_field: FloatArray | None = field(default=None, repr=False)
    notes: Mapping[str, float | str] = field(default_factory=dict)
    tile_shape_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.tile_shape_px == (0, 0) and self.tiles:
            flat = self.flat_field
            shape_px = self.tiles[0].image.read().shape_px if flat is None else (flat.shape[0], flat.shape[1])
            object.__setattr__(self, "tile_shape_px", shape_px)

    @classmethod
    def of(cls, image: Image) -> Mosaic:
        """A mosaic of one frame, without a flat field."""
        return cls((PlacedTile(image, Transform.identity()),), image.shape_px, image.pixel_size_um)

    def frame(self, index: int) -> Image:
        """Tile number index, divided by the flat field: float32 pixels in units of white, white level 1."""
        raw = self.tiles[index].image.read()
        unit = raw.unit()
        if self.flat_field is not None:
            flat = self.flat_field
            if unit.ndim == 3 and flat.ndim == 2:
                flat = flat[:, :, None]
            unit = unit / flat
        return raw.with_pixels(unit.astype("float32"), white_level=1.0)

    def frame_holding(self, points_um: npt.ArrayLike) -> int | None:
        """The linked tile that holds all of some points, (n, 2) in mosaic µm, and whose edges are farthest from them.

        Training pairs are cut from it; None where no single tile holds them.  Decodes nothing.
        """
        margins = self._margins_um(points_um).min(axis=1)
        margins[[not tile.linked for tile in self.tiles]] = -np.inf
        best = int(margins.argmax())
        return best if margins[best] >= 0 else None

    def deepest(self, points_um: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """(n,): the tile in which each of some points, (n, 2) in mosaic µm, lies farthest from the edges."""
        return np.asarray(self._margins_um(points_um).argmax(axis=0))

    def _margins_um(self, points_um: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(tiles, points): distance to the nearest edge of a tile, negative outside it."""
        size_um = np.asarray(self.tile_shape_px) * self.pixel_size_um
        back = self._from_mosaic
        inside = np.asarray(points_um, dtype=np.float64) @ back[:, :2, :2].transpose(0, 2, 1) + back[:, None, :2, 2]
        return np.asarray(np.minimum(inside, size_um - inside).min(axis=2))

    @cached_property
    def _from_mosaic(self) -> npt.NDArray[np.float64]:
        """(n, 3, 3): mosaic µm → tile µm of every tile."""
        return np.asarray(np.linalg.inv(np.stack([tile.to_mosaic.matrix for tile in self.tiles])))

    def read(self, top: int, left: int, height: int, width: int, *, equalised: bool = True) -> Image:
        """The region of mosaic pixels [top, top + height) × [left, left + width), blended from the frames at sub-pixel
        places: float32 in units of white, 0 where no tile lies.  Memory is bounded by the region and two frames.

        equalised: with the tiles made equally bright, to look at and to search; False: as the camera saw them, for
        training pairs.
        """
        from superres.registration.blend import read_region  # with OpenCV and SciPy: not for who only lists plug-ins

        return read_region(self, top, left, height, width, equalised=equalised)

    def covered(self, top: int, left: int, height: int, width: int) -> npt.NDArray[np.bool_]:
        """(height, width) bool: which pixels of the same region `read` takes from tiles.  Decodes nothing."""
        from superres.registration.blend import covered_region  # as above

        return covered_region(self, top, left, height, width)


@dataclass(frozen=True, eq=False)
class Registration:
    """The place of a fine field.

    transform: coarse µm (frame of the mosaic or image given) → fine µm, a Warp for optics with distortion.
    residual_um: the registrar's own estimate of its RMS error over the field, in µm.  confidence: 0 (a guess) … 1 (the
    strongest evidence); it orders places by their evidence and is no probability.  details: numbers that explain it
    (correlation, peak ratio, inliers), for registration.json and the report; one called "warning" is said aloud, one
    called "unjudged" names what could not be seen, which page and command count.
    frame: number of the tile in whose own pixels the place was measured, from which the training pair is then cut: its
    place in the mosaic cancels.  None: measured in the mosaic.
    residual_map_um: (n, 4) what the place leaves, block by block, or None: (y, x) of a block's centre in fine µm, and
    how far, (y, x) in µm, the fine image shows it from where the transform says.
    Numbers of numpy become Python's, which JSON takes.  Raises TypeError for a transform, or a detail, of another kind,
    and ValueError for numbers that are not finite or out of range.
    """

    transform: Map
    residual_um: float
    confidence: float
    details: Mapping[str, float | str] = field(default_factory=dict)
    frame: int | None = None
    residual_map_um: npt.NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.transform, Map):
            raise TypeError(f"transform is a {type(self.transform).__name__}; expected a Transform or a Warp")
        for name in ("residual_um", "confidence"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"confidence is {self.confidence}; expected 0 … 1")
        if not 0.0 <= self.residual_um < math.inf:
            raise ValueError(f"residual_um is {self.residual_um}; expected a finite number >= 0")
        object.__setattr__(self, "details", {str(key): _detail(key, value) for key, value in self.details.items()})


def _detail(key: str, value: object) -> float | str:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, int | float | str):
        raise TypeError(f"detail '{key}' is a {type(value).__name__}; expected a number or text")
    if isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"detail '{key}' is {plain}; expected a finite number")
    return plain


class Registrar(Plugin):
    """Finds fine fields in a coarse scan.  Subclass it and implement `register`; `assemble` is inherited.

    concurrent: `register` may be called from several threads at once and gives each field the same place as alone; a
    run then registers several fields at a time.
    """

    kind: ClassVar[Kind] = "registrar"
    concurrent: ClassVar[bool] = False

    def assemble(self, tiles: Sequence[Tile], overlap: float | None = None) -> Mosaic:
        """Stitch the tiles of one scan: flat field, pairwise sub-pixel shifts, robust least squares.

        tiles: with stage positions, or grid indices, or neither.  overlap: nominal, as a fraction of a tile.
        Raises RegistrationError (reason "disconnected", "blank", "out-of-bound") where the tiles do not hang together,
        ImageError where their shapes or pixel sizes differ.  Inputs are untouched.
        """
        return stitched(tiles, overlap)

    @abstractmethod
    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        """Find the place of a fine field.

        fine: (H, W[, 3]).  coarse: a mosaic, or one image of the same field.  guess: coarse µm → fine µm, or None.
        Returns the Registration.  Raises RegistrationError, with the reason, when there is no usable structure, or the
        field is not there, or its place is ambiguous, mirrored, or of another magnification.  Inputs are untouched.
        """


def stitched(tiles: Sequence[Tile], overlap: float | None, disconnected: Literal["refuse", "nominal"] = "refuse",
             ) -> Mosaic:
    """What `Registrar.assemble` does.

    disconnected: "nominal": tiles that fall into parts without a common overlap are no error; each part goes where its
    nominal positions say.
    """
    from superres.registration.layout import stitch  # with OpenCV and SciPy, as above

    return mosaic_of(tiles, stitch([tile.image for tile in tiles], [tile.position_um for tile in tiles],
                                   [tile.grid for tile in tiles], overlap, disconnected))


def mosaic_of(tiles: Sequence[Tile], layout: Layout) -> Mosaic:
    """The Mosaic of tiles whose places were solved."""
    levels = layout.levels
    gains = (1.0,) * len(tiles) if levels is None else levels.gains
    offsets = (0.0,) * len(tiles) if levels is None else levels.offsets
    placed = tuple(
        PlacedTile(tile.image, Transform.shift(*(place * layout.pixel_size_um for place in origin)), linked, residual,
                   gain, offset, part)
        for tile, origin, linked, residual, gain, offset, part in zip(
            tiles, layout.origins_px, layout.linked, layout.residuals_um, gains, offsets, layout.parts, strict=True))
    return Mosaic(placed, layout.shape_px, layout.pixel_size_um, layout.flat_field, layout.notes,
                  layout.tile_shape_px)
