"""A virtual scan: one scene seen through a coarse and a fine objective, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from superres.api.source import FineField, Pair, Scan, Tile
from superres.builtin.sources.scan_layout import (
    FieldPlace,
    Positions,
    ScanPlan,
    Section,
    TilePlace,
    lay_tiles,
    place_fields,
)
from superres.errors import SourceError
from superres.image import Array, FloatArray, Image
from superres.optics import Optics
from superres.optics.camera import CameraSettings, PixelSignal, expose, integrate_pixels
from superres.optics.modes import coherent_modes, image_with_modes
from superres.transform import Transform

Step = Callable[[str], None]
"""Called with the name of what comes next, every second or two of work; whatever it raises ends the scan."""


@dataclass(frozen=True)
class Objective:
    """An objective with the camera behind it."""

    optics: Optics
    camera: CameraSettings


@dataclass(frozen=True)
class Microscope:
    """Two objectives, a stage, and how they are used.  positions: what the operator's file says about tiles."""

    coarse: Objective
    fine: Objective
    plan: ScanPlan
    positions: Positions


@dataclass(frozen=True, eq=False)
class VirtualScan:
    """The scan, and where its frames really lie: name → frame µm → object µm."""

    scan: Scan
    tiles: dict[str, Transform]
    fields: dict[str, Transform]


def scan_section(section: Section, microscope: Microscope, rng: np.random.Generator, step: Step) -> VirtualScan:
    """Scan a section with both objectives.  Raises SourceError if tiles or fields do not fit into it."""
    places = lay_tiles(section, microscope.plan, rng)
    field_places = place_fields(section, places, microscope.plan, rng)
    signal = _signal(section, microscope.coarse, places[0].to_object.matrix[:2, :2], step)
    tiles = tuple(_expose_tile(signal, place, section, microscope, rng, step) for place in places)
    # Fields turn by about a degree at most, which changes what a square pixel gathers by less than 1e-4: one signal for
    # all.
    signal = _signal(section, microscope.fine, np.eye(2), step)
    fields = tuple(_expose_field(signal, place, f"{section.slide}_f{number:02d}", section, microscope, rng, step)
                   for number, place in enumerate(field_places))
    scan = Scan(section.slide, tiles, fields, microscope.plan.overlap if len(tiles) > 1 else None)
    return VirtualScan(scan, {tile.name: place.to_object for tile, place in zip(tiles, places, strict=True)},
                       {field.name: place.to_object for field, place in zip(fields, field_places, strict=True)})


def image_pair(section: Section, microscope: Microscope, rng: np.random.Generator, step: Step) -> Pair:
    """The whole section through both objectives, on one grid from its corner: a pair as a perfect registration and a
    perfect flat field would leave it.

    rng: the noise, of the coarse camera first.  Sides are whole multiples of L's denominator in coarse pixels.
    Raises SourceError for a section without room for one.
    """
    coarse, fine = microscope.coarse, microscope.fine
    scale = whole_scale(coarse.camera.pixel_size_um / fine.camera.pixel_size_um)
    multiple = scale.denominator
    height, width = (math.floor(side / coarse.camera.pixel_size_um + 1e-6) // multiple * multiple
                     for side in section.size_um)
    if min(height, width) < multiple:
        raise SourceError(f"scene '{section.slide}' is {section.transmittance.shape[:2]} px, less than {multiple} "
                          "coarse pixels a side", hint="give a larger scene, or a larger scene_pixel_size_um")
    images = []
    for objective, shape in ((coarse, (height, width)), (fine, (int(scale * height), int(scale * width)))):
        camera = replace(objective.camera, vignetting=0.0)
        pixels = expose(_signal(section, objective, np.eye(2), step), Transform.identity(), shape, camera, rng)
        images.append(_image(pixels, camera, section.slide))
    return Pair(section.slide, section.specimen, *images)


def whole_scale(ratio: float) -> Fraction:
    """L as a fraction of small numbers.  Raises ValueError where there is none: pairs share corners every few
    pixels."""
    scale = Fraction(ratio).limit_denominator(8)
    if abs(float(scale) / ratio - 1) > 1e-6:
        raise ValueError(f"coarse over fine pixel size is {ratio:.6g}; pairs need a fraction such as 5/2")
    return scale


def _signal(section: Section, objective: Objective, axes: npt.NDArray[np.float64],
            step: Step) -> PixelSignal:
    modes = coherent_modes(objective.optics)

    def light(plane: FloatArray, colour: str) -> FloatArray:
        step(f"{section.slide}: light of {objective.optics.label}{colour}")
        return image_with_modes(plane, section.pitch_um, modes)

    if section.transmittance.ndim == 2:
        intensity = light(section.transmittance, "")
    else:  # channel by channel, as image_with_modes does it, for the sake of the steps
        channels = section.transmittance.shape[2]
        intensity = np.stack([light(section.transmittance[:, :, channel], f", colour {channel + 1} of {channels}")
                              for channel in range(channels)], axis=2)
    step(f"{section.slide}: pixels of {objective.optics.label}")
    return integrate_pixels(intensity, section.pitch_um, axes * objective.camera.pixel_size_um)


def _expose_tile(signal: PixelSignal, place: TilePlace, section: Section, microscope: Microscope,
                 rng: np.random.Generator, step: Step) -> Tile:
    name = f"{section.slide}_r{place.grid[0]:02d}_c{place.grid[1]:02d}"
    step(name)
    camera = microscope.coarse.camera
    pixels = expose(signal, place.to_object, place.shape_px, camera, rng)
    known = {"exact": place.true_um, "nominal": place.nominal_um}.get(microscope.positions)
    return Tile(_image(pixels, camera, name), known, None if microscope.positions == "none" else place.grid)


def _expose_field(signal: PixelSignal, place: FieldPlace, name: str, section: Section, microscope: Microscope,
                  rng: np.random.Generator, step: Step) -> FineField:
    step(name)
    camera = microscope.fine.camera
    pixels = expose(signal, place.to_object, (place.side_px, place.side_px), camera, rng)
    return FineField(_image(pixels, camera, name), section.specimen)


def _image(pixels: Array, camera: CameraSettings, name: str) -> Image:
    return Image(pixels, camera.pixel_size_um, float(camera.white_level), name)
