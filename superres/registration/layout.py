"""Layout: where the tiles of a scan lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from superres.errors import ImageError
from superres.image import FloatArray, Readable


@dataclass(frozen=True, eq=False)
class Layout:
    origins_px: tuple[tuple[float, float], ...]
    linked: tuple[bool, ...]
    residuals_um: tuple[float | None, ...]
    shape_px: tuple[int, int]
    pixel_size_um: float
    flat_field: FloatArray | None = None
    notes: Mapping[str, float | str] = field(default_factory=dict)


def stitch(images: Sequence[Readable], positions_um: Sequence[tuple[float, float] | None],
           grid: Sequence[tuple[int, int] | None], overlap: float | None = None) -> Layout:
    """Place tiles at their nominal positions."""
    first = images[0].read()
    shape = np.asarray(first.shape_px)
    step = shape * (1 - (overlap or 0.0))
    origins = []
    for image, position, cell in zip(images, positions_um, grid, strict=True):
        if position is not None:
            origins.append(np.asarray(position) / first.pixel_size_um)
        elif cell is not None:
            origins.append(np.asarray(cell) * step)
        elif len(images) == 1:
            origins.append(np.zeros(2))
        else:
            raise ImageError(f"tile '{image.name}' has neither a stage position nor a grid index")
    corner = np.min(origins, axis=0)
    places = [np.asarray(origin) - corner for origin in origins]
    extent = np.ceil(np.max(places, axis=0) + shape - 1e-6).astype(int)
    return Layout(tuple((float(y), float(x)) for y, x in places), (True,) * len(images), (None,) * len(images),
                  (int(extent[0]), int(extent[1])), first.pixel_size_um)
