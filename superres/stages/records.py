"""What the register stage leaves: a record of every field, and the pairs of those that were kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from superres.api.registrar import Mosaic
from superres.api.source import Acquisition, Pair
from superres.errors import ImageError, StorageError
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.stages.store import StageFolder, safe_name

RECORDS = "registration.json"


@dataclass(frozen=True)
class PairRecord:
    """What became of one fine field; a row of registration.json.

    transform: 3 × 3, coarse mosaic µm → fine µm, (y, x, 1).  warp: the same with its displacement, see transform.Warp.
    cut_from: the frame's name, or "mosaic".
    camera_dtype, camera_white_level: how the camera stored the field; outputs are written the same way.
    true_error_px: RMS distance from the simulated truth in coarse px, where the source is simulated.
    outline_um: the field's corners in mosaic µm, in order around it.  residuals_um: what the place leaves, see
    `quality.residuals_um`.
    """

    name: str
    slide: str
    specimen: str
    kept: bool
    reason: str = ""
    message: str = ""
    hint: str = ""
    confidence: float | None = None
    residual_um: float | None = None
    transform: list[list[float]] | None = None
    warp: dict[str, Any] | None = None
    cut_from: str | None = None
    shape_px: tuple[int, int] | None = None
    camera_dtype: str = "uint8"
    camera_white_level: float | None = None
    true_error_px: float | None = None
    outline_um: list[list[float]] | None = None
    residuals_um: list[list[float]] | None = None
    details: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Registered:
    """The pairs that were kept, and a record of every field, kept or not."""

    pairs: tuple[Pair, ...]
    records: tuple[PairRecord, ...]
    mosaics: dict[str, dict[str, Any]]


def load(folder: StageFolder) -> Registered:
    """What a finished register stage left in its folder.

    Raises StorageError where files of it were changed or removed since.
    """
    try:
        return _load(folder)
    except (OSError, ValueError, KeyError, TypeError, ImageError) as error:
        said = error.message if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
        raise StorageError(
            f"the registered pairs in '{folder.path}' were changed or removed: {said}",
            hint="run with --fresh to make them again",
        ) from error


def _load(folder: StageFolder) -> Registered:
    table = json.loads((folder.path / RECORDS).read_text(encoding="utf-8"))
    records = tuple(PairRecord(**row) for row in table["pairs"])
    pairs = tuple(
        Pair(
            row.name,
            row.specimen,
            *(
                _read_pair_image(_pair_path(folder, kind, row.specimen, row.name), row.name, kind)
                for kind in ("coarse", "fine")
            ),
        )
        for row in records
        if row.kept
    )
    return Registered(pairs, records, table["mosaics"])


def registration_json(registered: Registered, acquisition: Acquisition) -> dict[str, Any]:
    """The content of registration.json."""
    return {
        "frames": "µm, (y, x), origin at the outer top-left corner; transform maps coarse mosaic µm to fine µm",
        "coarse_pixel_size_um": acquisition.coarse_pixel_size_um,
        "fine_pixel_size_um": acquisition.fine_pixel_size_um,
        "simulated": acquisition.simulated,
        "mosaics": registered.mosaics,
        "pairs": [asdict(record) for record in registered.records],
    }


def mosaic_facts(mosaic: Mosaic) -> dict[str, Any]:
    """What registration.json says of a mosaic."""
    return {
        "shape_px": list(mosaic.shape_px),
        "pixel_size_um": mosaic.pixel_size_um,
        "notes": dict(mosaic.notes),
        "flat_field": mosaic.flat_field is not None,
        "tiles": [
            {
                "name": tile.name,
                "to_mosaic": tile.to_mosaic.to_json(),
                "linked": tile.linked,
                "part": tile.part,
                "residual_um": tile.residual_um,
                "gain": tile.gain,
                "offset": tile.offset,
            }
            for tile in mosaic.tiles
        ],
    }


def write_pair(folder: StageFolder, pair: Pair) -> None:
    for kind, image in (("coarse", pair.coarse), ("fine", pair.fine)):
        write_image(_pair_path(folder, kind, pair.specimen, pair.name), image)


def _pair_path(folder: StageFolder, kind: str, specimen: str, name: str) -> Path:
    return folder.path / "pairs" / kind / safe_name(specimen) / f"{name}.tif"


def _read_pair_image(path: Path, name: str, kind: str) -> Image:
    image = read_image(path)
    return image.with_pixels(image.pixels, name=f"{name}_{kind}")
