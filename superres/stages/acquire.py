"""Acquire: gather the images of a run, and keep simulated ones as files so that later stages can be repeated."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from superres.api.source import Acquisition, Source
from superres.errors import ImageError, SourceError
from superres.events import Events, Progress
from superres.image import Image, Readable, require_white
from superres.io.images import ImageFile
from superres.scan_folder import read_scan_folder, write_scan_folder
from superres.stages.blame import blamed
from superres.stages.store import StageFolder, safe_name

SCAN = "scan"


def acquire(source: Source, folder: StageFolder, events: Events) -> Acquisition:
    """The acquisition of a source.

    Scans that live in memory (simulated ones) are written to `folder` as a microscope would, and read back from there
    when needed: memory stays bounded, and an interrupted run does not image everything again.  Images that are files
    already stay where they are.
    """
    stored = folder.path / SCAN
    if stored.is_dir():  # a scan folder appears whole or not at all
        return read_scan_folder(stored, with_truth=True)
    if folder.finished:
        return acquired(source, events)
    events.progress(Progress("acquire", 0, 1, f"gathering images from source '{source.name}'"))
    acquisition = acquired(source, events)
    events.raise_if_cancelled()
    if acquisition.scans and not acquisition.pairs and _in_memory(acquisition):
        write_scan_folder(acquisition, stored, events)
        acquisition = read_scan_folder(stored, with_truth=True)
    events.progress(Progress("acquire", 1, 1, f"{counted(acquisition)}, {len(acquisition.pairs)} pairs"))
    return acquisition


def acquired(source: Source, events: Events) -> Acquisition:
    """What a source gives, kept nowhere.  events: for those whose `acquire` takes them; the others cannot be stopped.

    Raises PluginError where it fails or gives something else, Cancelled where a source that hears of it stops,
    SourceError where frames of a plug-in's own kind have another pixel size than the acquisition, or where two slides
    would have files of one name, and ImageError for ready pairs with a white level that is far too small: nothing after
    this would doubt it, while pairs of a scan are doubted where they are cut.
    """
    with blamed(source, "while it acquired"):
        gather: Callable[..., object] = source.acquire
        hears = "events" in inspect.signature(gather).parameters
        acquisition = gather(events=events) if hears else gather()
        if not isinstance(acquisition, Acquisition):
            raise TypeError(f"acquire returned a {type(acquisition).__name__}; expected an Acquisition")
    for pair in acquisition.pairs:
        require_white(pair.coarse)
        require_white(pair.fine)
    _ask_first_frames(acquisition)
    _require_own_files(acquisition)
    return acquisition


def known_specimens(source: Source) -> tuple[str, ...] | None:
    """The specimens that a source tells beforehand, or None.  Raises PluginError where it fails or tells no names."""
    with blamed(source, "while it named its specimens"):
        told = source.known_specimens()
        if told is None:
            return None
        if isinstance(told, str) or not all(isinstance(each, str) for each in told):
            raise TypeError(f"known_specimens returned {told!r}; expected a tuple of names, or None")
        return tuple(told)


def counted(acquisition: Acquisition) -> str:
    """How many frames its scans have, in words."""
    tiles = sum(len(scan.tiles) for scan in acquisition.scans)
    fields = sum(len(scan.fields) for scan in acquisition.scans)
    return f"{tiles} coarse tiles, {fields} fine fields"


def _ask_first_frames(acquisition: Acquisition) -> None:
    """Raises SourceError where the first frame of a kind that is only read when asked for has another pixel size.

    Frames in memory were asked when the acquisition was made, and an ImageFile takes the size that it is given.
    """
    scans = acquisition.scans
    frames: dict[Literal["coarse", "fine"], list[Readable]] = {
        "coarse": [tile.image for scan in scans for tile in scan.tiles],
        "fine": [each.image for scan in scans for each in scan.fields]}
    for kind, readables in frames.items():
        first = next((each for each in readables if not isinstance(each, Image | ImageFile)), None)
        if first is not None:
            with suppress(ImageError):  # a damaged frame is told where it costs its place
                acquisition.require_pixel_size(kind, first.read())


def _require_own_files(acquisition: Acquisition) -> None:
    """Mosaics, overviews and scan folders are called after slides: the second of a name would replace the first."""
    slides: dict[str, str] = {}
    for scan in acquisition.scans:
        other = slides.setdefault(safe_name(scan.slide), scan.slide)
        if other != scan.slide:
            raise SourceError(f"slides '{other}' and '{scan.slide}' would have files of one name, "
                              f"'{safe_name(scan.slide)}'", hint="rename the folder of one of them")


def _in_memory(acquisition: Acquisition) -> bool:
    frames = [tile.image for scan in acquisition.scans for tile in scan.tiles]
    frames += [fine.image for scan in acquisition.scans for fine in scan.fields]
    return any(isinstance(frame, Image) for frame in frames)
