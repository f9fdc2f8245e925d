"""Source `pairs`: coarse and fine images of the same fields, registered already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from pydantic import Field, field_validator

from superres.api.plugin import ResolvedPath
from superres.api.source import Acquisition, Pair, Source
from superres.builtin.sources.files import (
    Patterns,
    files_fingerprint,
    find_images,
    literal_root,
    named_group,
    relative,
    searched,
    specimens_from_table,
)
from superres.builtin.sources.headers import check_finer, check_levels, common_pixel_size_um, read_headers
from superres.builtin.sources.objectives import OpticsOptions
from superres.errors import SourceError
from superres.io.header import ImageHeader
from superres.io.images import ImageFile
from superres.io.table import read_table
from superres.scan_folder import DESCRIPTION, file_stem, read_description


class PairsSource(Source):
    """Pairs of files, matched by name.  All pixels are held in memory, since pairs are what training draws from."""

    name = "pairs"
    summary = "coarse and fine images of the same fields, registered already, matched by file name"

    class Options(OpticsOptions):
        """Relative paths are relative to the pipeline file; patterns to `folder`."""

        folder: ResolvedPath = Field(Path("."), description="folder of the pairs; default: the pipeline file's")
        coarse: Patterns = Field(("coarse/**/*",), min_length=1,
                                 description="glob pattern or patterns of the coarse images, relative to folder")
        fine: Patterns = Field(("fine/**/*",), min_length=1, description="the same for the fine images")
        key: str | None = Field(None, description="regular expression on a file's path with (?P<key>...), equal for "
                                "both files of a pair; default: the path below the pattern's fixed part")
        specimen_from: str = Field("folder", description="what tells the specimen of a pair: 'folder' (where the fine "
                                   "image lies), or a regular expression on its path with (?P<specimen>...)")
        specimen_csv: ResolvedPath | None = Field(None, description="table with columns file (of the fine image) and "
                                                  "specimen")
        coarse_pixel_size_um: float | None = Field(None, gt=0, lt=100, description="default: the files' metadata")
        fine_pixel_size_um: float | None = Field(None, gt=0, lt=100, description="default: the files' metadata")
        white_level: float | None = Field(None, gt=0, description="stored value that means white, such as 4095; "
                                          "default: the files' metadata, else the largest that the dtype holds; "
                                          "needed for 12 bits in 16-bit files that do not say so")
        black_level: float = Field(0.0, ge=0, description="what the camera stores without light (its offset), such as "
                                   "100; it is taken off every pixel and off white")

        @field_validator("key")
        @classmethod
        def _key_has_its_group(cls, value: str | None) -> str | None:
            if value is not None:
                named_group(value, ("key",))
            return value

        @field_validator("specimen_from")
        @classmethod
        def _word_or_expression(cls, value: str) -> str:
            if value != "folder":
                named_group(value, ("specimen",))
            return value

    def acquire(self) -> Acquisition:
        """Match, check and read all pairs.

        Raises SourceError for files without a partner, sizes that do not belong together, channels that differ,
        16-bit files of a camera with fewer bits and no white level, or a white level that they cannot hold; ImageError
        for a file that cannot be read or states no pixel size.
        """
        options = self.options
        folder = options.folder
        matched = self._matched()
        coarse_headers = read_headers((coarse for coarse, _ in matched.values()), folder)
        fine_headers = read_headers((fine for _, fine in matched.values()), folder)
        coarse_um, coarse_origin = common_pixel_size_um(coarse_headers, options.coarse_pixel_size_um, "coarse", folder)
        fine_um, fine_origin = common_pixel_size_um(fine_headers, options.fine_pixel_size_um, "fine", folder)
        check_finer(coarse_um, fine_um)
        for coarse, fine in matched.values():
            check_sizes(relative(coarse, folder), coarse_headers[coarse], relative(fine, folder), fine_headers[fine],
                        coarse_um, fine_um)
        check_levels(options.white_level, options.black_level, coarse_headers, fine_headers, folder)
        description = read_description(folder)
        specimens, specimen_origin = self._specimens([fine for _, fine in matched.values()])
        objectives = options.objectives(description)
        provenance = {} if description is None else dict(description.provenance)
        provenance |= {
            "folder": str(folder), "files": f"{len(matched)} pairs", "specimens": specimen_origin,
            "coarse pixel size": f"{coarse_um:g} µm ({coarse_origin})",
            "fine pixel size": f"{fine_um:g} µm ({fine_origin})",
        }
        if black := options.black_level:
            provenance["black level"] = f"{black:g}, taken off all pixels"
        return Acquisition(
            pairs=tuple(
                Pair(key.replace("/", "-"), specimens[fine],
                     ImageFile(coarse, coarse_um, options.white_level, relative(coarse, folder), black).read(),
                     ImageFile(fine, fine_um, options.white_level, relative(fine, folder), black).read())
                for key, (coarse, fine) in matched.items()),
            coarse=objectives[0], fine=objectives[1], coarse_pixel_size_um=coarse_um, fine_pixel_size_um=fine_um,
            simulated="" if description is None else description.simulated, provenance=provenance)

    def known_specimens(self) -> tuple[str, ...]:
        fine = [path for _, path in self._matched().values()]
        specimens, _ = self._specimens(fine)
        return tuple(dict.fromkeys(specimens[path] for path in fine))

    def fingerprint(self) -> str:
        """Changes with a matching file's name, size or time, and the content of scan.json or the specimen table."""
        tables = [self.options.folder / DESCRIPTION]
        tables += [] if self.options.specimen_csv is None else [self.options.specimen_csv]
        return files_fingerprint((path for pair in self._matched().values() for path in pair), tables)

    def _matched(self) -> dict[str, tuple[Path, Path]]:
        """Key → (coarse file, fine file), in natural order of the coarse files."""
        options = self.options
        coarse = self._keyed(options.coarse, "coarse")
        fine = self._keyed(options.fine, "fine")
        for here, there, one, other in ((coarse, fine, "coarse", "fine"), (fine, coarse, "fine", "coarse")):
            alone = [path for key, path in here.items() if key not in there]
            if alone:
                raise SourceError(f"{one} image {relative(alone[0], options.folder)} has no {other} partner "
                                  f"({len(alone)} of {len(here)} have none)",
                                  hint="give both the same file name, or set source.options.key")
        return {key: (path, fine[key]) for key, path in coarse.items()}

    def _keyed(self, patterns: Sequence[str], what: str) -> dict[str, Path]:
        options = self.options
        keyed: dict[str, Path] = {}
        roots = [literal_root(pattern, options.folder) for pattern in patterns]
        for path in find_images(options.folder, patterns, f"{what} images", what):
            if options.key is not None:
                key = searched(options.key, relative(path, options.folder), "key")["key"]
            else:
                key = file_stem(relative(path, next(root for root in roots if path.is_relative_to(root))))
            if key in keyed:
                first, second = (relative(each, options.folder) for each in (keyed[key], path))
                raise SourceError(f"{first} and {second} are both the {what} image of '{key}'",
                                  hint="rename one, or set source.options.key")
            keyed[key] = path
        return keyed

    def _specimens(self, fine: Sequence[Path]) -> tuple[Mapping[Path, str], str]:
        options = self.options
        if options.specimen_csv is not None:
            found = specimens_from_table(read_table(options.specimen_csv), fine, options.folder)
            return dict(zip(fine, found, strict=True)), f"from {options.specimen_csv.name}"
        if options.specimen_from == "folder":
            roots = {literal_root(pattern, options.folder) for pattern in options.fine}
            whole = options.folder.resolve().name
            return {path: whole if path.parent in roots else path.parent.name for path in fine}, "one a folder"
        return {path: searched(options.specimen_from, relative(path, options.folder), "specimen_from")["specimen"]
                for path in fine}, f"by '{options.specimen_from}' from the file names"


def check_sizes(coarse_name: str, coarse: ImageHeader, fine_name: str, fine: ImageHeader, coarse_um: float,
                fine_um: float) -> None:
    """Raises SourceError unless fine has ceil(L·h) × ceil(L·w) pixels, L = coarse_um / fine_um, and as many channels.

    The pixel sizes count as the decimals that they are written as: 0.185/0.074 is 5/2 and not 2.5000000000000004.
    """
    scale = Fraction(repr(coarse_um)) / Fraction(repr(fine_um))
    height, width = coarse.shape[:2]
    expected = (math.ceil(scale * height), math.ceil(scale * width))
    if fine.shape[:2] != expected:
        raise SourceError(f"{fine_name} has {fine.shape[0]} × {fine.shape[1]} pixels; expected {expected[0]} × "
                          f"{expected[1]} for {coarse_name} of {height} × {width} at {coarse_um:g}/{fine_um:g} = "
                          f"{float(scale):g}",
                          hint="pairs must show exactly the same field; source acquisition registers anything else")
    if len(fine.shape) != len(coarse.shape):
        colour = {2: "a single channel", 3: "RGB"}
        raise SourceError(f"{fine_name} is {colour[len(fine.shape)]}, but {coarse_name} is {colour[len(coarse.shape)]}",
                          hint="convert one of them")
