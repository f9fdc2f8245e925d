"""Scans as folders of images with tables, as a microscope leaves them.  Level 3: a file format that knows the api.

    coarse/<slide>/<tile>.tif    fine/<slide>/<field>.tif      images with their pixel size and white level
    positions.csv                file, slide, y_um, x_um, row, column: nominal, empty where unknown
    fields.csv                   file, slide, specimen
    scan.json                    optics, pixel sizes, overlap, provenance, and what was simulated
    truth.json                   where simulated frames really lie; only tests and reports read it
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from superres.api.source import Acquisition, FineField, GroundTruth, Scan, Tile
from superres.errors import SourceError, StorageError
from superres.events import Events, Progress
from superres.image import Readable
from superres.io.atomic import storage_error, temporary_beside, write_json
from superres.io.images import IMAGE_SUFFIXES, ImageFile, write_image
from superres.io.table import Row, Table, read_table, write_table
from superres.optics import Optics
from superres.transform import Transform

POSITIONS, FIELDS, DESCRIPTION, TRUTH = "positions.csv", "fields.csv", "scan.json", "truth.json"
_FORMAT = "superres scan folder"
_VERSION = 1
_Frame = TypeVar("_Frame", Tile, FineField)


@dataclass(frozen=True)
class ScanDescription:
    """What scan.json says.  overlaps: slide → nominal overlap as a fraction of a tile, or None."""

    coarse_pixel_size_um: float
    fine_pixel_size_um: float
    coarse: Optics | None
    fine: Optics | None
    overlaps: Mapping[str, float | None]
    simulated: str
    provenance: Mapping[str, str]


def write_scan_folder(acquisition: Acquisition, folder: Path, events: Events | None = None) -> None:
    """Write the scans of an acquisition as files; the folder appears whole or not at all.

    Pixels are written as they are stored (8, 12-in-16 or 16 bits, float), one image in memory at a time.  Files are
    called like tiles and fields.  events: hears of every image before it is read and written, as stage "acquire"; the
    end is the caller's to tell.  Raises SourceError for an acquisition without scans or names that clash on disk,
    StorageError for a folder that is not empty or cannot be written, Cancelled between two images.
    """
    events = events if events is not None else Events()
    if not acquisition.scans:
        raise SourceError("the acquisition holds ready pairs and no scans; there is nothing to write as a scan folder",
                          hint="use a source that scans, such as simulate")
    total = sum(len(scan.tiles) + len(scan.fields) for scan in acquisition.scans)
    done = itertools.count()

    def write(path: Path, image: Readable) -> None:
        events.raise_if_cancelled()
        events.progress(Progress("acquire", next(done), total, f"writing {image.name}"))
        write_image(path, image.read())

    with _appearing(Path(folder)) as temporary:
        positions, fields = [], []
        for scan in acquisition.scans:
            place = _safe(scan.slide)
            for name, tile in _named("coarse tile", scan.slide, scan.tiles):
                file = f"coarse/{place}/{name}.tif"
                write(temporary / file, tile.image)
                positions.append((file, scan.slide, *(tile.position_um or ("", "")), *(tile.grid or ("", ""))))
            for name, field in _named("fine field", scan.slide, scan.fields):
                file = f"fine/{place}/{name}.tif"
                write(temporary / file, field.image)
                fields.append((file, scan.slide, field.specimen))
        write_table(temporary / POSITIONS, ("file", "slide", "y_um", "x_um", "row", "column"), positions)
        write_table(temporary / FIELDS, ("file", "slide", "specimen"), fields)
        write_json(temporary / DESCRIPTION, _described(acquisition))
        if acquisition.truth is not None:
            write_json(temporary / TRUTH, _truth_as_json(acquisition.truth))
        events.raise_if_cancelled()


def read_scan_folder(folder: Path, with_truth: bool = False) -> Acquisition:
    """The acquisition that `write_scan_folder` wrote; images are files that are read when asked for.

    with_truth: also read truth.json, where it is.  Names of tiles and fields are the file names without suffix.
    Raises SourceError for a folder that is no scan folder, has a damaged description or truth, or lacks files that its
    tables name.
    """
    folder = Path(folder)
    description = read_description(folder)
    if description is None:
        raise SourceError(f"'{folder}' is not a scan folder: it has no {DESCRIPTION}",
                          hint="`superres simulate --out DIR` writes one; read other folders with source acquisition")
    positions, fields = read_table(folder / POSITIONS), read_table(folder / FIELDS)
    tiles_of: dict[str, list[Tile]] = {}
    for row in positions.rows:
        image = _image_file(folder, row, description.coarse_pixel_size_um)
        y_um, x_um, grid_row, column = (positions.number(row, name) for name in ("y_um", "x_um", "row", "column"))
        tiles_of.setdefault(row.cells["slide"], []).append(
            Tile(image, None if y_um is None or x_um is None else (y_um, x_um),
                 None if grid_row is None or column is None else (int(grid_row), int(column))))
    fields_of: dict[str, list[FineField]] = {}
    for row in fields.rows:
        image = _image_file(folder, row, description.fine_pixel_size_um)
        fields_of.setdefault(row.cells["slide"], []).append(FineField(image, row.cells["specimen"]))
    _check_slides(fields, tiles_of, fields_of)
    return Acquisition(
        scans=tuple(Scan(slide, tuple(tiles), tuple(fields_of.get(slide, ())), description.overlaps.get(slide))
                    for slide, tiles in tiles_of.items()),
        coarse=description.coarse, fine=description.fine,
        coarse_pixel_size_um=description.coarse_pixel_size_um, fine_pixel_size_um=description.fine_pixel_size_um,
        simulated=description.simulated, provenance=description.provenance,
        truth=_read_truth(folder / TRUTH) if with_truth and (folder / TRUTH).exists() else None)


def read_description(folder: Path) -> ScanDescription | None:
    """What scan.json in the folder says; None if there is no such file.  Raises SourceError if it is damaged."""
    path = folder / DESCRIPTION
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise SourceError(f"'{path}' is {content['format']} version {content['version']}; expected {_FORMAT} "
                              f"version {_VERSION}", hint="write the folder again with this version of superres")
        return ScanDescription(
            float(content["coarse_pixel_size_um"]), float(content["fine_pixel_size_um"]),
            _optics(content["coarse"]), _optics(content["fine"]), content["overlaps"], content["simulated"],
            content["provenance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"'{path}' is damaged: {type(error).__name__}: {error}",
                          hint="write the folder again, or delete this file and set the options by hand") from error


def _optics(content: dict[str, Any] | None) -> Optics | None:
    return None if content is None else Optics(**content)


def _described(acquisition: Acquisition) -> dict[str, Any]:
    return {
        "format": _FORMAT, "version": _VERSION,
        "coarse_pixel_size_um": acquisition.coarse_pixel_size_um, "fine_pixel_size_um": acquisition.fine_pixel_size_um,
        "coarse": None if acquisition.coarse is None else asdict(acquisition.coarse),
        "fine": None if acquisition.fine is None else asdict(acquisition.fine),
        "overlaps": {scan.slide: scan.overlap for scan in acquisition.scans},
        "simulated": acquisition.simulated, "provenance": dict(acquisition.provenance),
    }


def _named(what: str, slide: str, items: Sequence[_Frame]) -> Iterator[tuple[str, _Frame]]:
    seen: dict[str, str] = {}
    for item in items:
        name = _safe(file_stem(item.name))
        if name in seen:
            raise SourceError(f"{what}s '{seen[name]}' and '{item.name}' of slide '{slide}' would share the file name "
                              f"'{name}.tif'", hint="rename one of them")
        seen[name] = item.name
        yield name, item


def file_stem(name: str) -> str:
    """A name or path without the suffix of an image format: `s/a.ome.tif` → `s/a`; `tile 1.5` stays."""
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in IMAGE_SUFFIXES:
        return name
    stem = name.removesuffix(suffix)
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _safe(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", name).lstrip(".") or "_"


def _image_file(folder: Path, row: Row, pixel_size_um: float) -> ImageFile:
    named = row.cells["file"]
    parts = PurePosixPath(named.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or PureWindowsPath(named).drive:
        raise SourceError(f"line {row.line} of a table of '{folder}' names the file '{named}'; expected a path inside "
                          "the folder", hint="copy the scan folder again, whole; read other folders with source "
                          "acquisition")
    path = folder / named
    if not path.is_file():
        raise SourceError(f"'{path}' is missing (line {row.line} of a table of '{folder}' names it)",
                          hint="copy the scan folder again, whole")
    return ImageFile(path, pixel_size_um, name=file_stem(path.name))


def _check_slides(fields: Table, tiles_of: Mapping[str, object], fields_of: Mapping[str, object]) -> None:
    lost = [slide for slide in fields_of if slide not in tiles_of]
    if lost:
        raise SourceError(f"'{fields.path}' names fields of slide '{lost[0]}', which has no tiles in {POSITIONS}",
                          hint="copy the scan folder again, whole")


def _truth_as_json(truth: GroundTruth) -> dict[str, Any]:
    return {kind: [{"slide": slide, "name": _safe(file_stem(name)), "to_object_um": transform.matrix.tolist()}
                   for (slide, name), transform in places.items()]
            for kind, places in (("tiles", truth.tiles), ("fields", truth.fields))}


def _read_truth(path: Path) -> GroundTruth:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tiles, fields = ({(entry["slide"], entry["name"]): Transform(entry["to_object_um"]) for entry in content[kind]}
                         for kind in ("tiles", "fields"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"'{path}' is damaged: {type(error).__name__}: {error}",
                          hint="write the folder again, or delete this file: no true places are known then") from error
    return GroundTruth(tiles, fields)


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place on a clean exit and is removed otherwise."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"'{folder}' is a file; expected a new folder", hint="name another folder")
    if folder.is_dir() and any(folder.iterdir()):
        first = sorted(entry.name for entry in folder.iterdir())[:3]
        raise StorageError(f"folder '{folder}' is not empty: it holds {', '.join(first)} …",
                           hint="name a new folder, or remove this one first")
    temporary = temporary_beside(folder)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.is_dir():
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
