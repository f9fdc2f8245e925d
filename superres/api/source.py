"""Source: where images of a tissue come from.  The third party's way to add a tissue, a microscope or a data set."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from superres.api.plugin import Kind, Plugin
from superres.errors import SourceError
from superres.image import Image, Readable
from superres.optics import Optics
from superres.transform import Transform

_NOT_IN_FILE_NAMES = "/\\\0"
_PASS = re.compile(r"_pass\d+\Z")
"""How the outputs of self-feeding are called: NAME_pass2.tif."""
_PITCH_TOLERANCE = 1e-3
"""Relative.  Files round their pixel size; 1 px in a field of 1,000 is the most that is taken for that."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One camera frame of a coarse scan.

    image: read when needed.  position_um: nominal stage position (y, x) of the frame's outer top-left corner, in µm of
    the stage; None where no position is known.  grid: (row, column) of the scan, or None.
    """

    image: Readable
    position_um: tuple[float, float] | None = None
    grid: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return self.image.name


@dataclass(frozen=True, eq=False)
class FineField:
    """One field of the better objective, somewhere inside a scan; its place need not be known.

    specimen: id of the specimen (or slide) that it shows; splits keep all fields of a specimen on one side.
    """

    image: Readable
    specimen: str

    @property
    def name(self) -> str:
        return self.image.name


@dataclass(frozen=True, eq=False)
class Scan:
    """The coarse tiles and the fine fields of one slide.

    overlap: nominal overlap of neighbouring tiles as a fraction of a tile, or None.
    """

    slide: str
    tiles: tuple[Tile, ...]
    fields: tuple[FineField, ...]
    overlap: float | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """A coarse image and the fine image of exactly the same field, ready for training.

    coarse: (h, w) pixels.  fine: (ceil(L·h), ceil(L·w)) pixels on the grid whose pixel centres are
    x_coarse = (x_fine + ½)/L − ½.  Both in the same channel count; any dtype.
    """

    name: str
    specimen: str
    coarse: Image
    fine: Image


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Where simulated frames really lie.  For tests and for the report of simulated runs; no registrar sees it.

    tiles: (slide, tile name) → transform tile µm → object µm.  fields: (slide, field name) → fine µm → object µm.
    """

    tiles: Mapping[tuple[str, str], Transform]
    fields: Mapping[tuple[str, str], Transform]


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Everything that a run starts from: scans to register, or pairs that are registered already.

    scale: nominal L = coarse pixel size / fine pixel size.  simulated: a sentence for the report that says what was
    simulated, or "" for camera images.  provenance: name → text, shown in the report (files, licences, seeds).
    coarse_pixel_size_um, fine_pixel_size_um: of all images; weights, outputs and reports are made with these.
    Names of tiles, fields, pairs, slides and specimens become file names: no "/", "\\" or NUL in them, no "." in front.
    Raises SourceError if there is nothing in it, for a name that is no file name, if a name stands twice (fields and
    pairs share theirs, since both become outputs; so do `a_pass2` and the second pass of `a`), for a pixel size that is
    no positive number, and for an image in memory that has another one.
    """

    scans: tuple[Scan, ...] = ()
    pairs: tuple[Pair, ...] = ()
    coarse: Optics | None = None
    fine: Optics | None = None
    coarse_pixel_size_um: float = 0.185
    fine_pixel_size_um: float = 0.074
    simulated: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    truth: GroundTruth | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.scans and not self.pairs:
            raise SourceError(
                "the acquisition is empty: no scans and no pairs", hint="check the folders and patterns of [source]"
            )
        for scan in self.scans:
            if not scan.tiles:
                raise SourceError(f"slide '{scan.slide}' has no coarse tiles")
            tiles = [tile.name for tile in scan.tiles]
            _require_file_names(f"coarse tile of slide '{scan.slide}'", tiles)
            _forbid_duplicates(f"coarse tiles of slide '{scan.slide}'", tiles)
        fields = [each.name for scan in self.scans for each in scan.fields]
        pairs = [pair.name for pair in self.pairs]
        slides = [scan.slide for scan in self.scans]
        _require_file_names("fine field", fields)
        _require_file_names("pair", pairs)
        _require_file_names("slide", slides)
        _require_file_names("specimen", self.specimens)
        _forbid_duplicates("fine fields", fields)
        _forbid_duplicates("pairs", pairs)
        _forbid_duplicates("fine fields or pairs", fields + pairs)
        _forbid_duplicates("slides", slides)
        _forbid_names_of_passes(fields + pairs)
        for kind in ("coarse", "fine"):
            name = f"{kind}_pixel_size_um"
            object.__setattr__(self, name, _pixel_size(name, getattr(self, name)))
        object.__setattr__(self, "simulated", str(self.simulated or ""))
        object.__setattr__(self, "provenance", {str(key): str(value) for key, value in self.provenance.items()})
        for scan in self.scans:
            for tile in scan.tiles:
                self.require_pixel_size("coarse", tile.image)
            for each in scan.fields:
                self.require_pixel_size("fine", each.image)
        for pair in self.pairs:
            self.require_pixel_size("coarse", pair.coarse)
            self.require_pixel_size("fine", pair.fine)

    def require_pixel_size(self, kind: Literal["coarse", "fine"], image: Readable) -> None:
        """Raises SourceError for an image in memory whose pixel size is another than that of all images of its kind.

        One that is read later is asked again when it has been.
        """
        stated = self.coarse_pixel_size_um if kind == "coarse" else self.fine_pixel_size_um
        if isinstance(image, Image) and not math.isclose(image.pixel_size_um, stated, rel_tol=_PITCH_TOLERANCE):
            raise SourceError(
                f"{kind} image '{image.name}' has pixels of {image.pixel_size_um:g} µm; the acquisition states "
                f"{stated:g} µm",
                hint=f"correct {kind}_pixel_size_um of the acquisition, or of the image",
            )

    @property
    def scale(self) -> float:
        return self.coarse_pixel_size_um / self.fine_pixel_size_um

    @property
    def specimens(self) -> tuple[str, ...]:
        """All specimen ids, in order of appearance."""
        ids = [f.specimen for scan in self.scans for f in scan.fields] + [pair.specimen for pair in self.pairs]
        return tuple(dict.fromkeys(ids))


class Source(Plugin):
    """Gives an Acquisition.  Subclass it to add a tissue, a microscope's file layout, or a data set."""

    kind: ClassVar[Kind] = "source"

    @abstractmethod
    def acquire(self) -> Acquisition:
        """Gather the images; called once a run.  Large images should be Readables that load when read.

        The same options must give the same acquisition: the run's resume logic relies on it.
        A source that takes longer than about two seconds should take a further parameter, `events: Events | None =
        None` (of superres.api), which is passed where the signature names it: call `events.raise_if_cancelled()`
        before every image that it makes, so that Ctrl-C is obeyed, and
        `events.progress(Progress("acquire", done, total, remark))` with done < total, for the end is the caller's to
        tell.
        Raises SourceError or ImageError, with what to do, for anything missing or unreadable.
        """

    def known_specimens(self) -> tuple[str, ...] | None:
        """The specimens of the acquisition, in its order, where the source can tell them without making or reading an
        image; else None, the default.  A split that names others is then refused before anything is acquired.
        """
        return None

    def fingerprint(self) -> str:
        """Text that changes when the images behind the options change (file names, sizes, times).

        Sources without files keep the default.  Used for resume: a changed fingerprint means a new acquisition.
        """
        return ""


def _pixel_size(name: str, value: object) -> float:
    """Numbers of numpy become Python's, which JSON takes."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise SourceError(f"{name} of the acquisition is {value!r}; expected a positive number", hint="give it in µm")
    return number


def _require_file_names(what: str, names: Iterable[str]) -> None:
    for name in names:
        if not name or name.startswith(".") or any(character in name for character in _NOT_IN_FILE_NAMES):
            raise SourceError(
                f"{what} name {name!r} cannot be part of a file name; expected some text without '/', '\\' and NUL "
                "that does not start with '.'",
                hint="rename the file or folder that it comes from, or mend the table or pattern that gives it",
            )


def _forbid_duplicates(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SourceError(f"two {what} are both named '{name}'", hint="names must be unique; rename one file")
        seen.add(name)


def _forbid_names_of_passes(names: Iterable[str]) -> None:
    known = set(names)
    for name in sorted(known):
        original = _PASS.sub("", name)
        if original != name and original in known:
            raise SourceError(
                f"'{name}' would have the same output file as a further pass of '{original}'",
                hint=f"rename the file of '{name}'",
            )
