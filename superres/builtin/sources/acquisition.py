"""Source `acquisition`: coarse tiles and fine fields as a microscope saved them, in folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from superres.api.plugin import ResolvedPath
from superres.api.source import Acquisition, FineField, Scan, Source, Tile
from superres.builtin.sources.files import (
    Patterns,
    files_fingerprint,
    find_images,
    named_group,
    relative,
    searched,
    specimens_from_table,
    unique_names,
)
from superres.builtin.sources.headers import (
    check_alike,
    check_finer,
    check_levels,
    check_not_exchanged,
    common_pixel_size_um,
    readable_headers,
)
from superres.builtin.sources.objectives import OpticsOptions
from superres.builtin.sources.places import Places, along_image_axes, places_from_names, places_from_table
from superres.errors import SourceError
from superres.io.header import ImageHeader
from superres.io.images import ImageFile
from superres.io.table import read_table
from superres.scan_folder import DESCRIPTION, FIELDS, POSITIONS, ScanDescription, read_description


class AcquisitionSource(Source):
    """A real scan: any file names, read by pattern; images are opened only when a stage needs them."""

    name = "acquisition"
    summary = "folders of coarse tiles and fine fields (TIFF, OME-TIFF, PNG, JPEG), with or without stage positions"

    class Options(OpticsOptions):
        """Relative paths are relative to the pipeline file; patterns to `folder`."""

        folder: ResolvedPath = Field(Path("."), description="folder of the scan; default: the pipeline file's")
        coarse: Patterns = Field(("coarse/*/*",), min_length=1,
                                 description="glob pattern or patterns of the coarse tiles, relative to folder")
        fine: Patterns = Field(("fine/*/*",), description="the same for the fine fields; [] for none")
        slide_from: str = Field("folder", description="what tells the slide of a file: 'folder' (where it lies), 'one' "
                                "(all are of one slide), or a regular expression on its path with (?P<slide>...)")
        specimen_from: str = Field("auto", description="what tells the specimen of a fine field: 'slide', a regular "
                                   "expression on its path with (?P<specimen>...), or 'auto' (fields.csv in folder, "
                                   "else the slide)")
        specimen_csv: ResolvedPath | None = Field(None, description="table with columns file and specimen")
        positions: Literal["auto", "csv", "metadata", "grid", "none"] = Field(
            "auto", description="stage positions of the tiles: from a table, from OME metadata, from row and column in "
            "the file names, or none; 'auto': positions.csv in folder, else metadata, else none")
        positions_csv: ResolvedPath | None = Field(None, description="table with columns file and y_um, x_um (or y_px, "
                                                   "x_px; or row, column) of each tile's upper left corner")
        grid_pattern: str | None = Field(None, description="regular expression on a tile's path with (?P<row>...) and "
                                         "(?P<column>...), for positions = 'grid'")
        stage_axes: Literal["y,x", "-y,x", "y,-x", "-y,-x", "x,y", "-x,y", "x,-y", "-x,-y"] = Field(
            "y,x", description="the stage axes that point down and right in the image")
        overlap: float | None = Field(None, gt=0, lt=0.9, description="nominal overlap of neighbouring tiles, as a "
                                      "fraction of a tile; default: scan.json, or unknown")
        coarse_pixel_size_um: float | None = Field(None, gt=0, lt=100, description="default: the files' metadata")
        fine_pixel_size_um: float | None = Field(None, gt=0, lt=100, description="default: the files' metadata")
        white_level: float | None = Field(None, gt=0, description="stored value that means white, such as 4095; "
                                          "default: the files' metadata, else the largest that the dtype holds; "
                                          "needed for 12 bits in 16-bit files that do not say so")
        black_level: float = Field(0.0, ge=0, description="what the camera stores without light (its offset), such as "
                                   "100; it is taken off every pixel and off white")

        @field_validator("slide_from", "specimen_from")
        @classmethod
        def _word_or_expression(cls, value: str, info: ValidationInfo) -> str:
            words = ("folder", "one") if info.field_name == "slide_from" else ("auto", "slide")
            if value not in words:
                named_group(value, (str(info.field_name).removesuffix("_from"),))
            return value

        @model_validator(mode="after")
        def _positions_are_complete(self) -> AcquisitionSource.Options:
            if self.positions == "grid" and self.grid_pattern is None:
                raise ValueError("positions = 'grid' needs grid_pattern")
            if self.positions == "csv" and self.positions_csv is None:
                raise ValueError("positions = 'csv' needs positions_csv")
            if self.positions in ("grid", "metadata", "none") and self.positions_csv is not None:
                raise ValueError(f"positions_csv is set, but positions = '{self.positions}'")
            if self.grid_pattern is not None:
                named_group(self.grid_pattern, ("row", "column"))
            return self

    def acquire(self) -> Acquisition:
        """Look at the headers of all files, and say how they belong together.

        A file that cannot be read stays in: its image raises when it is read, and costs a run that field or tile alone.

        Raises SourceError for patterns without files, tiles of one slide that differ, fields of a slide without tiles,
        tables that do not fit, 16-bit files of a camera with fewer bits and no white level, or a white level that they
        cannot hold; ImageError where none of the coarse or of the fine files can be read, or one states no pixel size.
        """
        options = self.options
        folder = options.folder
        coarse, fine = self._find()
        description = read_description(folder)
        coarse_headers, fine_headers = readable_headers(coarse, folder), readable_headers(fine, folder)
        coarse_um, coarse_origin = common_pixel_size_um(coarse_headers, options.coarse_pixel_size_um, "coarse", folder)
        if fine or options.fine_pixel_size_um is not None:
            fine_um, fine_origin = common_pixel_size_um(fine_headers, options.fine_pixel_size_um, "fine", folder)
        else:
            fine_um, fine_origin = coarse_um, "that of the tiles: there are no fine fields"
        check_finer(coarse_um, fine_um)
        check_not_exchanged(coarse_headers, fine_headers)
        slides = self._by_slide(coarse, fine, description)
        for slide, (tiles, fields) in slides.items():
            check_alike(slide, {path: coarse_headers[path] for path in tiles if path in coarse_headers},
                        {path: fine_headers[path] for path in fields if path in fine_headers}, folder)
        check_levels(options.white_level, options.black_level, coarse_headers, fine_headers, folder)
        places = self._places(coarse, coarse_headers, coarse_um)
        specimens, specimen_origin = self._specimens(fine, slides)
        names = dict(zip(fine, unique_names(fine, folder), strict=True))
        objectives = options.objectives(description)
        overlaps = {} if description is None else description.overlaps
        provenance = {} if description is None else dict(description.provenance)
        provenance |= {
            "folder": str(folder),
            "files": f"{len(coarse)} coarse tiles and {len(fine)} fine fields of {len(slides)} slide(s)",
            "coarse pixel size": f"{coarse_um:g} µm ({coarse_origin})",
            "fine pixel size": f"{fine_um:g} µm ({fine_origin})",
            "stage positions": places.origin, "specimens": specimen_origin,
            "optics": "options and scan.json" if description else "options, else those of the paper",
        }
        if black := options.black_level:
            provenance["black level"] = f"{black:g}, taken off all pixels"
        return Acquisition(
            scans=tuple(
                Scan(slide,
                     tuple(Tile(ImageFile(path, coarse_um, options.white_level, name, black),
                                places.positions_um.get(path), places.grid.get(path))
                           for path, name in zip(tiles, unique_names(tiles, folder), strict=True)),
                     tuple(FineField(ImageFile(path, fine_um, options.white_level, names[path], black),
                                     specimens[path])
                           for path in fields),
                     options.overlap if options.overlap is not None else overlaps.get(slide))
                for slide, (tiles, fields) in slides.items()),
            coarse=objectives[0], fine=objectives[1], coarse_pixel_size_um=coarse_um, fine_pixel_size_um=fine_um,
            simulated="" if description is None else description.simulated, provenance=provenance)

    def known_specimens(self) -> tuple[str, ...]:
        """By names and tables alone: a split that names others is refused before thousands of headers are read."""
        coarse, fine = self._find()
        slides = self._by_slide(coarse, fine, read_description(self.options.folder))
        specimens, _ = self._specimens(fine, slides)
        return tuple(dict.fromkeys(specimens[path] for _, fields in slides.values() for path in fields))

    def fingerprint(self) -> str:
        """Changes with the name, size or time of a matching file, and with the content of the tables."""
        options = self.options
        tables = [options.folder / name for name in (POSITIONS, FIELDS, DESCRIPTION)]
        tables += [path for path in (options.positions_csv, options.specimen_csv) if path is not None]
        coarse, fine = self._find()
        return files_fingerprint((*coarse, *fine), tables)

    def _find(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        options = self.options
        coarse = find_images(options.folder, options.coarse, "coarse tiles", "coarse")
        fine = find_images(options.folder, options.fine, "fine fields", "fine",
                           "; to stitch the tiles alone: superres stitch")
        both = [path for path in coarse if path in set(fine)]
        if both:
            raise SourceError(f"{relative(both[0], options.folder)} matches both source.options.coarse and fine "
                              f"({len(both)} files do)", hint="make the patterns narrower")
        return coarse, fine

    def _by_slide(self, coarse: Sequence[Path], fine: Sequence[Path], description: ScanDescription | None,
                  ) -> dict[str, tuple[tuple[Path, ...], tuple[Path, ...]]]:
        """Slide → (its tiles, its fields), in the order in which the slides were scanned where that is known."""
        slides: dict[str, tuple[list[Path], list[Path]]] = {}
        for path in coarse:
            slides.setdefault(self._slide(path), ([], []))[0].append(path)
        for path in fine:
            slide = self._slide(path)
            if slide not in slides:
                raise SourceError(
                    f"fine field {relative(path, self.options.folder)} is of slide '{slide}', which has no coarse "
                    f"tiles (those are of {', '.join(map(repr, list(slides)[:5]))})",
                    hint="give both folders the same name, or set source.options.slide_from ('one' for one slide)")
            slides[slide][1].append(path)
        order = {slide: number for number, slide in enumerate(description.overlaps)} if description is not None else {}
        ordered = sorted(slides, key=lambda slide: order.get(slide, len(order)))
        return {slide: (tuple(slides[slide][0]), tuple(slides[slide][1])) for slide in ordered}

    def _slide(self, path: Path) -> str:
        how = self.options.slide_from
        if how == "folder":
            return path.parent.name
        if how == "one":
            return str(self.options.folder.resolve().name)
        return searched(how, relative(path, self.options.folder), "slide_from")["slide"]

    def _specimens(self, fine: Sequence[Path], slides: Mapping[str, tuple[Sequence[Path], Sequence[Path]]],
                   ) -> tuple[dict[Path, str], str]:
        options = self.options
        table = options.specimen_csv
        if table is None and options.specimen_from == "auto" and (options.folder / FIELDS).is_file():
            table = options.folder / FIELDS
        if table is not None:
            found = specimens_from_table(read_table(table), fine, options.folder)
            return dict(zip(fine, found, strict=True)), f"from {table.name}"
        if options.specimen_from in ("auto", "slide"):
            return {path: slide for slide, (_, fields) in slides.items() for path in fields}, "one a slide"
        return {path: searched(options.specimen_from, relative(path, options.folder), "specimen_from")["specimen"]
                for path in fine}, f"by '{options.specimen_from}' from the file names"

    def _places(self, tiles: Sequence[Path], headers: Mapping[Path, ImageHeader], pixel_size_um: float) -> Places:
        """headers: of the tiles that can be read."""
        options = self.options
        table = options.positions_csv
        if table is None and options.positions == "auto" and (options.folder / POSITIONS).is_file():
            table = options.folder / POSITIONS
        if table is not None:
            return places_from_table(read_table(table), tiles, options.folder, pixel_size_um,
                                     options.stage_axes, self._slide)
        if options.positions == "grid":
            return places_from_names(options.grid_pattern, tiles, options.folder)
        if options.positions == "none":
            return Places({}, {}, "none, as asked")
        known = {path: along_image_axes(header.stage_position_um, options.stage_axes)
                 for path, header in headers.items() if header.stage_position_um is not None}
        if len(known) == len(headers):
            return Places(known, {}, "from the files' OME metadata")
        without = next(path for path in headers if path not in known)
        count = f"{len(headers) - len(known)} of {len(headers)} tiles state none"
        if options.positions == "metadata":
            raise SourceError(f"no stage position with a unit of length in the metadata of "
                              f"{relative(without, options.folder)} ({count})",
                              hint="set source.options.positions to 'csv', 'grid' or 'none'")
        return Places({}, {}, f"none: no {POSITIONS}, and {count} in their metadata")
