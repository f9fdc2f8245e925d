"""Assembling: the mosaic of one scan, without the tiles whose files are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from superres.api.registrar import Mosaic, Registrar
from superres.api.source import Scan, Tile
from superres.errors import ImageError, RegistrationError
from superres.registration.misplaced import listed
from superres.stages.blame import blamed

MAX_LOST = 0.5
"""As of empty tiles, at most half may be damaged."""


def assemble(registrar: Registrar, scan: Scan) -> Mosaic:
    """The mosaic of a scan; files that cannot be read cost their tiles, and the notes name them with a warning.

    Which ones these are is asked only where stitching meets one, so that good scans are not read twice.
    Raises RegistrationError ("unreadable") where more than half are damaged, and whatever the registrar raises.
    """
    try:
        return _assembled(registrar, scan, scan.tiles)
    except ImageError:
        damaged = {number: error for number, tile in enumerate(scan.tiles) for error in _damage(tile)}
        if not damaged:
            raise
    first = next(iter(damaged.values()))
    names = listed([scan.tiles[number].name for number in damaged])
    what = f"{len(damaged)} of {len(scan.tiles)} tiles cannot be read ({names}): {first.message}"
    if len(damaged) > MAX_LOST * len(scan.tiles):
        raise RegistrationError(f"{what}; expected at most half", reason="unreadable", hint=first.hint)
    kept = [tile for number, tile in enumerate(scan.tiles) if number not in damaged]
    mosaic = _assembled(registrar, scan, kept)
    warnings = [f"{what}; they are left out", *([str(mosaic.notes["warning"])] if "warning" in mosaic.notes else [])]
    return replace(mosaic, notes={**mosaic.notes, "tiles that cannot be read": names, "warning": "; ".join(warnings)})


def _assembled(registrar: Registrar, scan: Scan, tiles: Sequence[Tile]) -> Mosaic:
    with blamed(registrar, f"while it stitched slide '{scan.slide}'"):
        mosaic = registrar.assemble(tiles, scan.overlap)
        if not isinstance(mosaic, Mosaic):
            raise TypeError(f"assemble returned a {type(mosaic).__name__}; expected a Mosaic")
        return mosaic


def _damage(tile: Tile) -> list[ImageError]:
    """The error of a file that cannot be read, else nothing."""
    try:
        tile.image.read()
    except ImageError as error:
        return [error]
    return []
