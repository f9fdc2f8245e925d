"""Cutting: a registered field becomes a training pair on one grid, coarse pixels as they are, fine ones resampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from superres.api.registrar import Mosaic, Registration
from superres.api.source import Pair
from superres.errors import RegistrationError
from superres.image import FloatArray, Image, from_unit
from superres.resample import bicubic, index_matrix, warp, warp_points
from superres.transform import Map, Transform

PAIR_WHITE = 49152.0
"""White level of stored pairs in uint16: room for 1.33 × white (flat-fielded noise), steps of 2e-5, half of float32."""

MAX_CLIPPED = 0.001
"""Largest part of an image that may be brighter than a stored pair can hold: glints on dust, not a wrong white."""

INSET_FINE_PX = 2.0
"""The cubic spline reads two pixels to each side; nearer to the fine image's edge it would read beyond it."""

UNSEEN_SHARE = 0.1
"""Part of a field's structure that may be missing from the coarse image: a speck of dust, not an empty tile."""

BLOCK_PX = 8
STRUCTURE_SD, NOTHING_SD = 0.06, 0.015
"""Standard deviations, in units of white, of a block that shows tissue and of one that shows at most a camera's
noise."""

SMALLEST_PX = 16
"""A pair smaller than this in coarse pixels has no pixel that is a full halo away from every edge; it teaches
borders."""


@dataclass(frozen=True)
class Window:
    """Pixels [top, top + height) × [left, left + width) of a frame, or of the mosaic.

    tile: index of the frame in the mosaic, or None for the mosaic itself.
    """

    tile: int | None
    top: int
    left: int
    height: int
    width: int


def cut_pair(
    name: str, specimen: str, fine: Image, mosaic: Mosaic, registration: Registration, scale: Fraction
) -> tuple[Pair, Window]:
    """The training pair of a registered field.

    The coarse image is the camera's own pixels: cut from the flat-fielded frame that the registrar names, else from the
    one in which the field lies deepest, or, where it lies in no single frame, from the sub-pixel mosaic of frames as
    they are, not made equally bright. The fine image is resampled once, by cubic spline, onto the grid of pitch
    coarse/L that starts at the coarse window's corner. Both are uint16 with white level PAIR_WHITE. Returns the pair
    and its window. Raises RegistrationError: "outside" where no tile shows any of the field, "too-small" where no
    usable window is left, "blank" where the coarse image shows nothing of more than UNSEEN_SHARE of the field's
    structure, "too-bright" where more than MAX_CLIPPED of an image exceeds what a pair can hold.
    """
    to_mosaic = registration.transform.inverse()
    window, to_fine = _best_frame(fine, mosaic, registration, scale)
    if window is None:
        window = _window(fine, to_mosaic, mosaic.pixel_size_um, mosaic.shape_px, scale, None)
        to_fine = registration.transform
        if window is not None:
            window = _within_tiles(name, window, mosaic, scale)
    if window is None or min(window.height, window.width) < SMALLEST_PX:
        seen = "nothing" if window is None else f"{window.height} × {window.width} coarse px"
        raise RegistrationError(
            f"field '{name}' leaves {seen} inside the scan; expected at least {SMALLEST_PX} px a side",
            reason="too-small",
            hint="scan a margin around the fine fields",
        )
    if window.tile is None:
        coarse = mosaic.read(window.top, window.left, window.height, window.width, equalised=False)
    else:
        coarse = mosaic.frame(window.tile).crop(window.top, window.left, window.height, window.width)
    pitch = mosaic.pixel_size_um
    corner = Transform.shift(window.top * pitch, window.left * pitch)
    fine_pitch = pitch / float(scale)
    shape = math.ceil(scale * window.height), math.ceil(scale * window.width)
    resampled = _resampled(fine, corner.then(to_fine), fine_pitch, shape)
    source = "the mosaic" if window.tile is None else f"tile '{mosaic.tiles[window.tile].name}'"
    _require_seen(name, source, coarse, Image(resampled, fine_pitch), scale)
    pair = Pair(
        name,
        specimen,
        _stored(Image(coarse.unit(), pitch, name=f"{name}_coarse", icc_profile=coarse.icc_profile), name, "coarse"),
        _stored(Image(resampled, fine_pitch, name=f"{name}_fine"), name, "fine"),
    )
    return pair, window


def _resampled(fine: Image, to_fine: Map, pitch_um: float, shape: tuple[int, int]) -> FloatArray:
    """The fine image on a grid of another pitch.  to_fine: grid µm → fine µm."""
    if isinstance(to_fine, Transform):
        return warp(fine.unit(), index_matrix(to_fine.matrix, pitch_um, fine.pixel_size_um), shape)
    y, x = (np.arange(length) + 0.5 for length in shape)
    centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1) * pitch_um
    return warp_points(fine.unit(), to_fine.apply(centres) / fine.pixel_size_um - 0.5)


def _best_frame(
    fine: Image, mosaic: Mosaic, registration: Registration, scale: Fraction
) -> tuple[Window | None, Map]:
    """The window in the frame against which the field was registered, else in the one whose edges are farthest from
    it, if the field lies in a frame at all; and the map from that frame to the fine image."""
    frame = registration.frame
    if frame is None:
        height_um, width_um = fine.size_um
        corners = np.array([(0, 0), (0, width_um), (height_um, 0), (height_um, width_um)])
        frame = mosaic.frame_holding(registration.transform.inverse().apply(corners))
    if frame is None:
        return None, registration.transform
    to_fine = mosaic.tiles[frame].to_mosaic.then(registration.transform)
    return _window(fine, to_fine.inverse(), mosaic.pixel_size_um, mosaic.tile_shape_px, scale, frame), to_fine


def _window(
    fine: Image, from_fine: Map, pitch_um: float, shape_px: tuple[int, int], scale: Fraction, tile: int | None
) -> Window | None:
    """The largest upright rectangle of whole coarse pixels inside the (slightly turned) fine field."""
    inset = INSET_FINE_PX * fine.pixel_size_um
    height_um, width_um = fine.size_um
    inner = np.array(
        [(inset, inset), (inset, width_um - inset), (height_um - inset, inset), (height_um - inset, width_um - inset)]
    )
    # The two upper corners, whichever they are: the camera may be mirrored or turned by quarters.
    y, x = np.sort(from_fine.apply(inner) / pitch_um, axis=0).T
    top, bottom = max(0, math.ceil(y[1])), min(shape_px[0], math.floor(y[2]))
    left, right = max(0, math.ceil(x[1])), min(shape_px[1], math.floor(x[2]))
    # Whole fine pixels need a multiple of L's denominator in coarse ones.
    height, width = (
        (bottom - top) // scale.denominator * scale.denominator,
        (right - left) // scale.denominator * scale.denominator,
    )
    if height <= 0 or width <= 0:
        return None
    corners = np.array([(top, left), (top, left + width), (top + height, left), (top + height, left + width)])
    inside = from_fine.inverse().apply(corners * pitch_um)
    # A field turned by much more than the registrar allows has no upright rectangle between its sorted corners.
    return Window(tile, top, left, height, width) if (inside >= 0).all() and (inside <= fine.size_um).all() else None


def _within_tiles(name: str, window: Window, mosaic: Mosaic, scale: Fraction) -> Window:
    """The part of a window of the mosaic that tiles cover: the border of a scan is ragged, and tiles may be missing.

    Raises RegistrationError ("outside") where they cover nothing of it.
    """
    covered = mosaic.covered(window.top, window.left, window.height, window.width)
    if covered.all():
        return window
    if not covered.any():
        raise RegistrationError(
            f"field '{name}' lies where no tile was taken: rows {window.top} to {window.top + window.height}, columns "
            f"{window.left} to {window.left + window.width} of the mosaic are empty",
            reason="outside",
            hint="scan the whole area of the fine fields, or leave this field out",
        )
    top, left, height, width = largest_covered(covered)
    return Window(
        None,
        window.top + top,
        window.left + left,
        height // scale.denominator * scale.denominator,
        width // scale.denominator * scale.denominator,
    )


def largest_covered(covered: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The upright rectangle of most pixels that are all True: (top, left, height, width), all 0 where there is none.

    Only rows that differ from the one above begin or end a rectangle, and there are few of them: tiles are upright.
    """
    changes = 1 + np.flatnonzero((covered[1:] != covered[:-1]).any(axis=1))
    edges = [0, *changes.tolist(), covered.shape[0]]
    best = 0, 0, 0, 0
    for first, top in enumerate(edges[:-1]):
        columns = np.ones(covered.shape[1], dtype=bool)
        for start, bottom in zip(edges[first:-1], edges[first + 1 :], strict=True):
            columns &= covered[start]
            steps = np.flatnonzero(np.diff(np.concatenate(([False], columns, [False])).astype(np.int8)))
            if not len(steps):
                break
            begins, widths = steps[::2], steps[1::2] - steps[::2]
            widest = int(np.argmax(widths))
            if (bottom - top) * widths[widest] > best[2] * best[3]:
                best = top, int(begins[widest]), bottom - top, int(widths[widest])
    return best


def _require_seen(field: str, source: str, coarse: Image, fine: Image, scale: Fraction) -> None:
    """Raises RegistrationError ("blank") where the coarse image is empty while the fine one shows tissue: an exposure
    that failed, or a tile of another place that stands in for it."""
    seen = _block_sd(coarse.grey())
    there = _block_sd(bicubic(fine.grey(), 1 / scale))
    structured = there > STRUCTURE_SD
    if not structured.any():
        return
    unseen = float((seen[structured] < NOTHING_SD).mean())
    if unseen > UNSEEN_SHARE:
        raise RegistrationError(
            f"{source} is empty over {100 * unseen:.0f} % of the tissue that field '{field}' shows; expected at most "
            f"{100 * UNSEEN_SHARE:g} %",
            reason="blank",
            hint="take the tile again, or leave it and the field out",
        )


def _block_sd(plane: FloatArray) -> npt.NDArray[np.floating]:
    """Standard deviation within each whole block of BLOCK_PX."""
    rows, columns = plane.shape[0] // BLOCK_PX, plane.shape[1] // BLOCK_PX
    blocks = plane[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return np.asarray(blocks.std(axis=(1, 3)))


def _stored(image: Image, field: str, kind: str) -> Image:
    """kind: "coarse" or "fine", for the message.  Raises RegistrationError ("too-bright")."""
    top = np.float32(65535.0 / PAIR_WHITE)
    unit = image.unit()
    bright = unit > top
    clipped = float((bright if bright.ndim == 2 else bright.any(axis=2)).mean())
    if clipped > MAX_CLIPPED:
        raise RegistrationError(
            f"{100 * clipped:.1f} % of the {kind} image of field '{field}' is brighter than {top:.2f} × white (up to "
            f"{unit.max():.3g} × white); expected at most {100 * MAX_CLIPPED:g} %",
            reason="too-bright",
            hint="set source.options.white_level to the stored value that means white: the present one is too small",
        )
    pixels = from_unit(np.clip(unit, 0.0, top) / top, np.dtype(np.uint16), 65535.0)
    return image.with_pixels(pixels, white_level=PAIR_WHITE)
