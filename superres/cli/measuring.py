"""`superres mtf` and `resolution`: the paper's measurements on single images of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from superres.cli.shared import console_events, saying_new_folders
from superres.cli.words import for_measured_images, in_words
from superres.errors import ImageError, SuperresError
from superres.events import Events, Progress

if TYPE_CHECKING:
    from superres.image import Image
    from superres.optics import Optics
    from superres.report.pages import Page, Table

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="image files (.npy too)", show_default=False)]
PageOption = Annotated[Path | None, typer.Option(help="write an HTML page with curves and pictures here")]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="write all numbers here")]
PixelSize = Annotated[float | None, typer.Option(help="of all images, where the files do not say")]
ObjectiveNa = Annotated[float | None, typer.Option(help="aperture of the objective: draws its diffraction limit")]
CondenserNa = Annotated[float, typer.Option(help="aperture of the condenser")]
Wavelength = Annotated[float, typer.Option(help="mean wavelength in µm")]


def mtf(
    images: Images,
    target: Annotated[Literal["usaf1951", "edge"], typer.Option(help="what the images show")] = "usaf1951",
    pixel_size_um: PixelSize = None,
    first_group: Annotated[int | None, typer.Option(help="group of the coarsest pattern seen, where known")] = None,
    region: Annotated[str | None, typer.Option(help="top,left,height,width in px: where the edge is")] = None,
    na: ObjectiveNa = None,
    condenser_na: CondenserNa = 0.55,
    wavelength_um: Wavelength = 0.55,
    paper: Annotated[bool, typer.Option("--paper/--no-paper", help="draw the paper's Table S4 beside")] = True,
    page: PageOption = None,
    csv: CsvOption = None,
) -> None:
    """Measure contrast against frequency on a resolution target or a slanted edge; several images in one plot."""
    from superres.io.atomic import require_own_places
    from superres.measuring import mtf as measuring
    from superres.measuring import mtf_pages as pages

    require_own_places([page, csv], images)
    optics = _optics(na, condenser_na, wavelength_um)
    boxes = _region(region)
    with in_words(for_measured_images):
        read = [_read(path, pixel_size_um) for path in images]
    if target == "edge":
        edges = [measuring.measure_edge_image(name, image.grey(), size, boxes) for name, image, size in read]
        numbers, made = measuring.edge_numbers(edges), pages.edge_page(edges, optics)
    else:
        with console_events() as events:
            results = [measuring.measure_target_image(name, image.grey(), size, first_group,
                                                      _step(events, name, number, len(read)))
                       for number, (name, image, size) in enumerate(read)]
            events.progress(Progress("mtf", 1, 1, "all read"))
        numbers = measuring.target_numbers(results)
        made = pages.target_page(results, [optics] if optics else [], paper)
    print_page(made, page, numbers, csv)


def resolution(
    images: Images,
    exposures: Annotated[bool, typer.Option("--exposures", help="the two images are exposures of one field")] = False,
    pixel_size_um: PixelSize = None,
    na: ObjectiveNa = None,
    condenser_na: CondenserNa = 0.55,
    wavelength_um: Wavelength = 0.55,
    page: PageOption = None,
    csv: CsvOption = None,
) -> None:
    """Measure resolution without a target: Fourier ring correlation and power spectra."""
    from superres.io.atomic import require_own_places
    from superres.measuring import resolution as measuring

    require_own_places([page, csv], images)
    optics = _optics(na, condenser_na, wavelength_um)
    with in_words(for_measured_images):
        read = [_with_size(path, pixel_size_um) for path in images]
    if exposures:
        if len(read) != 2:
            raise SuperresError(f"--exposures is given with {len(read)} images; expected two",
                                hint="name two exposures of one field")
        results = [measuring.measure_exposures(*read)]
    else:
        results = [measuring.measure_single(image) for image in read]
    made = measuring.resolution_page(results, optics)
    print_page(made, page, measuring.resolution_numbers(results), csv)


def print_page(made: Page, page: Path | None, numbers: Table | None = None, csv: Path | None = None) -> None:
    """Tables to stdout, files where they are wanted, warnings and the page's place to stderr."""
    from superres.io.table import write_table
    from superres.report.pages import write_page

    with saying_new_folders(page, csv):
        if csv is not None and numbers is not None:
            write_table(csv, numbers.head, numbers.rows)
        if page is not None:
            write_page(made, page)
    typer.echo(made.headline)
    for section in made.sections:
        for warning in section.warnings:
            typer.echo(f"note: {warning}", err=True)
        if section.table is not None:
            typer.echo("")
            for line in section.table.as_text():
                typer.echo(line)
    for path in (page, csv):
        if path is not None:
            typer.echo(f"written: {path}", err=True)


def _step(events: Events, name: str, number: int, count: int) -> Callable[[int, int], None]:
    """What tells of the search in one of several images, and stops it on Ctrl-C."""
    def told(done: int, total: int) -> None:
        events.raise_if_cancelled()
        events.progress(Progress("mtf", number * total + done, count * total, f"looking for a target in {name}"))

    return told


def _optics(na: float | None, condenser_na: float, wavelength_um: float) -> Optics | None:
    from superres.optics import Optics

    for option, value, highest in (("--na", na, 1.7), ("--condenser-na", condenser_na, 1.7),
                                   ("--wavelength-um", wavelength_um, 3.0)):
        if value is not None and not 0.0 < value <= highest:
            raise SuperresError(f"{option} is {value:g}; expected above 0 and at most {highest:g}",
                                hint="an aperture as printed on the objective, a wavelength such as 0.55 for green")
    return None if na is None else Optics(na, condenser_na, wavelength_um)


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        top, left, height, width = (int(part) for part in text.split(","))
        if min(top, left) < 0 or min(height, width) < 1:
            raise ValueError("an empty region")
    except ValueError:
        raise SuperresError(f"--region is '{text}'; expected top,left,height,width in pixels, sides of 1 and more",
                            hint="for example --region 100,200,150,120") from None
    return top, left, height, width


def _read(path: Path, pixel_size_um: float | None) -> tuple[str, Image, float | None]:
    """(name, image, its pixel size, None where nobody knows it)."""
    from superres.io.arrays import read_array
    from superres.io.header import square_pixel_size_um
    from superres.io.images import read_header, read_image

    if pixel_size_um is not None and not pixel_size_um > 0:
        raise SuperresError(f"--pixel-size-um is {pixel_size_um:g}; expected a positive number",
                            hint="the distance of two pixels on the object, in µm")
    if path.suffix.lower() == ".npy":
        return path.name, read_array(path, pixel_size_um or 1.0), pixel_size_um
    size = pixel_size_um if pixel_size_um is not None else square_pixel_size_um(read_header(path), path.name)
    return path.name, read_image(path, size if size is not None else 1.0), size


def _with_size(path: Path, pixel_size_um: float | None) -> Image:
    _, image, size = _read(path, pixel_size_um)
    if size is None:
        raise ImageError(f"'{path.name}' states no pixel size; resolution is a length", hint="give --pixel-size-um")
    return image
