"""Scans stitched for their own sake: the mosaic as an image, the places of its tiles as a table, and a page to judge
them by.  No fine fields are needed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from threadpoolctl import threadpool_limits

from superres.api.registrar import Mosaic, Registrar
from superres.api.source import Acquisition, Scan
from superres.errors import RegistrationError, StorageError
from superres.events import Events, Progress
from superres.image import Array, Image, from_unit
from superres.io.atomic import storage_error, write_json
from superres.io.images import write_image_bands
from superres.io.table import write_table
from superres.registration.misplaced import listed
from superres.report.builder import build_registration_page
from superres.report.data import RegistrationPage
from superres.report.limits import count
from superres.stages.assembling import assemble
from superres.stages.quality import registration_view, write_overview
from superres.stages.records import Registered, mosaic_facts
from superres.stages.store import StageFolder, safe_name

POSITIONS_FILE, FACTS_FILE, PAGE_FILE, MOSAICS = "positions.csv", "stitching.json", "stitching.html", "mosaics"
EARLIER = "earlier"
"""In mosaics/: images of earlier calls that the present table and page do not tell of.  They are not deleted: their
tiles may be gone."""
COLUMNS = ("file", "slide", "y_um", "x_um", "y_px", "x_px", "measured", "part", "residual_um", "gain", "offset")
BAND_BYTES = 64 * 1024 * 1024
"""Of float pixels that are blended at once; a tile is read anew for every band that it touches."""


@dataclass(frozen=True, eq=False)
class Stitched:
    """folder: where everything lies.  mosaics: slide → image, where they were asked for.  tiles: slide → how many were
    placed.  notes: slide → what stitching found.  failed: slide → why it could not be stitched."""

    folder: Path
    mosaics: Mapping[str, Path]
    tiles: Mapping[str, int]
    notes: Mapping[str, Mapping[str, float | str]]
    failed: Mapping[str, RegistrationError]

    def summary(self) -> str:
        lines = []
        for slide, notes in self.notes.items():
            lines.append("; ".join([f"{slide}: {count(self.tiles[slide], 'tile')}", *(
                f"{name}: {notes[name]}" for name in ("edge residual (px, RMS)", "placed by nominal position only",
                                                      "parts placed by nominal position")
                if notes.get(name, "none") != "none")]))
        lines += [f"{slide} was not stitched ({error.reason})" for slide, error in self.failed.items()]
        lines += [f"mosaic: {path}" for path in self.mosaics.values()]
        return "\n".join([*lines, f"positions: {self.folder / POSITIONS_FILE}", f"page: {self.folder / PAGE_FILE}"])

    @property
    def shortfall(self) -> RegistrationError | None:
        """What to say at the end where not all slides could be stitched."""
        return _shortfall(self.failed, len(self.tiles) + len(self.failed)) if self.failed else None


def stitch_scans(acquisition: Acquisition, registrar: Registrar, folder: Path, events: Events | None = None, *,
                 with_mosaics: bool = True) -> Stitched:
    """Stitch every scan of an acquisition, whatever fine fields it has.

    Writes positions.csv (COLUMNS; solved places of the tiles' outer corners, in µm and px of the mosaic), which source
    acquisition reads as positions; mosaics/SLIDE.tif with the camera's dtype and white level, evened out;
    stitching.json and stitching.html.  Memory is bounded by a band of the mosaic.  Mosaics that an earlier call wrote
    there and this one did not (slides that are gone or failed, with_mosaics=False) are put aside into mosaics/earlier,
    with a note.
    A scan that cannot be stitched leaves the others; a note says why.  Raises RegistrationError where none can be, the
    scan's own if it is the only one; StorageError, also where the folder holds somebody else's files of these names;
    Cancelled between tiles.
    """
    events = events if events is not None else Events()
    _require_own(folder, acquisition)
    total = len(acquisition.scans)
    stitched: dict[str, Mosaic] = {}
    failed: dict[str, RegistrationError] = {}
    facts: dict[str, dict[str, Any]] = {}
    overviews: dict[str, dict[str, Any]] = {}
    images: dict[str, Path] = {}
    rows: list[tuple[object, ...]] = []
    with TemporaryDirectory() as pictures, threadpool_limits(1, user_api="blas"):
        for done, scan in enumerate(acquisition.scans):
            events.raise_if_cancelled()
            events.progress(Progress("stitch", done, total, f"{len(scan.tiles)} tiles of '{scan.slide}'"))
            try:
                mosaic = assemble(registrar, scan)
            except RegistrationError as error:
                failed[scan.slide] = error
                if total > 1:  # an only slide's error ends the command, which says it
                    events.note("stitch", f"slide '{scan.slide}': {error.message}")
                continue
            if "warning" in mosaic.notes:
                events.note("stitch", f"slide '{scan.slide}': {mosaic.notes['warning']}")
            stitched[scan.slide] = mosaic
            facts[scan.slide] = mosaic_facts(mosaic)
            overviews[scan.slide] = write_overview(StageFolder(Path(pictures)), scan.slide, mosaic)
            rows += _rows(scan, mosaic)
            if with_mosaics:
                images[scan.slide] = folder / MOSAICS / f"{safe_name(scan.slide)}.tif"
                _claim(folder, acquisition, images[scan.slide])
                _write_mosaic(images[scan.slide], mosaic, events)
        if not stitched:
            raise _shortfall(failed, total)
        if aside := _put_aside(folder, images.values()):
            events.note("stitch", f"put aside into '{folder / MOSAICS / EARLIER}', of an earlier call: {listed(aside)}")
        write_table(folder / POSITIONS_FILE, COLUMNS, rows)
        write_json(folder / FACTS_FILE, _facts(acquisition, facts, failed, [_named(path) for path in images.values()]))
        found = Registered((), (), {slide: kept | {"overview": overviews[slide]} for slide, kept in facts.items()})
        build_registration_page(RegistrationPage(
            folder.resolve().name, acquisition.coarse_pixel_size_um, acquisition.fine_pixel_size_um,
            registration_view(found, Path(pictures), registrar.name, 0.0, failed),
            datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"), acquisition.simulated), folder / PAGE_FILE)
    events.progress(Progress("stitch", total, total, f"{len(stitched)} of {total} slides"))
    return Stitched(folder, images, {slide: len(mosaic.tiles) for slide, mosaic in stitched.items()},
                    {slide: mosaic.notes for slide, mosaic in stitched.items()}, failed)


def _shortfall(failed: Mapping[str, RegistrationError], total: int) -> RegistrationError:
    """The error for slides that could not be stitched, each of which a note has told of, or the only slide's own."""
    first = next(iter(failed.values()))
    if total == 1:
        return first
    by_reason = {error.reason: [slide for slide, other in failed.items() if other.reason == error.reason]
                 for error in failed.values()}
    return RegistrationError(
        f"{len(failed)} of {total} slides could not be stitched ("
        + "; ".join(f"{reason}: {listed(slides)}" for reason, slides in by_reason.items()) + ")",
        reason=first.reason, hint=first.hint)


def _require_own(folder: Path, acquisition: Acquisition) -> None:
    """Raises StorageError for a folder with somebody else's files of our names, such as the positions.csv of a scan, or
    with what came of another scan."""
    hint = "it would be replaced: choose another folder with --out, or move it away"
    earlier = _earlier(folder / FACTS_FILE)
    foreign = [name for name in (POSITIONS_FILE, PAGE_FILE, MOSAICS) if (folder / name).exists()]
    if foreign and earlier is None:
        raise StorageError(f"'{folder}' holds {', '.join(foreign)}, which superres stitch did not write there",
                           hint=hint)
    of, now = (earlier or {}).get("folder"), acquisition.provenance.get("folder")
    if of and now and of != now:
        raise StorageError(f"'{folder}' holds the stitched tiles of '{of}', these are of '{now}'", hint=hint)


def _earlier(path: Path) -> dict[str, Any] | None:
    """The stitching.json of an earlier call, None where there is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "mosaics" in content else None


def _claim(folder: Path, acquisition: Acquisition, image: Path) -> None:
    """Say that an image is ours before it lies there: what a killed call leaves must not bar the next one, which must
    know it for its own."""
    known = _earlier(folder / FACTS_FILE) or _facts(acquisition, {}, {}, [])
    write_json(folder / FACTS_FILE, known | {"images": sorted({*known.get("images", ()), _named(image)})})


def _put_aside(folder: Path, written: Collection[Path]) -> list[str]:
    """Move the images of earlier calls that this one did not write out of sight.  Returns their names.

    Files of the user's that lie beside them stay.  Raises StorageError where one cannot be moved.
    """
    known = (_earlier(folder / FACTS_FILE) or {}).get("images", ())
    old = [folder / name for name in known if Path(name).parent == Path(MOSAICS)]
    moved = [path for path in old if path not in written and path.exists()]
    for path in moved:
        target = path.parent / EARLIER / path.name
        try:
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
        except OSError as error:
            raise storage_error(target, error) from error
    return [_named(path) for path in moved]


def _named(image: Path) -> str:
    return f"{MOSAICS}/{image.name}"


def _facts(acquisition: Acquisition, mosaics: Mapping[str, Any], failed: Mapping[str, RegistrationError],
           images: Sequence[str]) -> dict[str, Any]:
    return {
        "frames": "µm, (y, x), origin at the outer top-left corner; to_mosaic maps a tile's µm to mosaic µm",
        "folder": acquisition.provenance.get("folder", ""),
        "coarse_pixel_size_um": acquisition.coarse_pixel_size_um,
        "simulated": acquisition.simulated,
        "mosaics": dict(mosaics),
        "images": list(images),
        "not_stitched": {slide: {"reason": error.reason, "message": error.message, "hint": error.hint}
                         for slide, error in failed.items()},
    }


def _rows(scan: Scan, mosaic: Mosaic) -> Iterator[tuple[object, ...]]:
    """A line for every tile of the scan: those that could not be read have no place."""
    pixel = mosaic.pixel_size_um
    placed = {tile.name: tile for tile in mosaic.tiles}
    for name in (tile.name for tile in scan.tiles):
        tile = placed.get(name)
        if tile is None:
            yield (name, scan.slide, *[""] * 4, "no", *[""] * 4)
            continue
        y_um, x_um = (float(value) for value in tile.to_mosaic.matrix[:2, 2])
        residual = "" if tile.residual_um is None else f"{tile.residual_um:.5f}"
        yield (name, scan.slide, f"{y_um:.5f}", f"{x_um:.5f}", f"{y_um / pixel:.4f}", f"{x_um / pixel:.4f}",
               "yes" if tile.linked else "no", tile.part, residual, f"{tile.gain:.6f}", f"{tile.offset:.6f}")


def _write_mosaic(path: Path, mosaic: Mosaic, events: Events) -> None:
    """The whole mosaic, as the camera stores its images; black where no tile lies."""
    camera = mosaic.tiles[0].image.read()
    height, width = mosaic.shape_px
    channels = camera.channels
    rows = max(16, min(mosaic.tile_shape_px[0], BAND_BYTES // (4 * width * channels)))
    total = math.ceil(height / rows)

    def bands() -> Iterator[Array]:
        for number in range(total):
            events.raise_if_cancelled()
            top = number * rows
            yield _stored(mosaic.read(top, 0, min(rows, height - top), width), camera)

    shape = (height, width) if channels == 1 else (height, width, channels)
    write_image_bands(path, shape, camera.pixels.dtype, bands(), mosaic.pixel_size_um, camera.white_level,
                      camera.icc_profile)


def _stored(band: Image, camera: Image) -> Array:
    """The band in the camera's dtype, and channels where no tile of another number of channels lies."""
    unit = band.unit()
    if unit.ndim < camera.pixels.ndim:
        unit = unit[:, :, None].repeat(camera.channels, axis=2)
    return from_unit(unit, camera.pixels.dtype, camera.white)
