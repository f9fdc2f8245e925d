"""How well a registration did, for people to look at: overviews of the mosaics, outlines of fields, what is left in
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from superres.api.evaluator import Picture
from superres.api.registrar import Mosaic, Registration
from superres.api.source import Pair
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.io.atomic import storage_error
from superres.io.images import read_image, write_image
from superres.registration.blend import overview
from superres.registration.torn import VISIBLE_TEAR
from superres.report.data import FieldOutline, LostSlide, PairRow, RegistrationView, SlideView
from superres.report.fields import to_uint8
from superres.resample import bicubic
from superres.stages.records import PairRecord, Registered
from superres.stages.store import StageFolder, safe_name
from superres.transform import Map

OVERVIEWS = "overviews"
OVERVIEW_PX = 1000
"""Longest side of the picture of a mosaic."""
CELLS = 6
"""What a field's place leaves is kept as the means of 6 × 6 parts: enough to see a trend, few enough to read."""
CHECKED_FIELDS = 4
CHECKERBOARD_PX, SQUARE_PX = 384, 48

Rows = list[list[float]]


def write_overview(folder: StageFolder, slide: str, mosaic: Mosaic) -> dict[str, Any]:
    """Keep a small grey picture of a mosaic.  Returns its file in the folder, and its pixel size in µm."""
    reduction = max(1, -(-max(mosaic.shape_px) // OVERVIEW_PX))
    grey, covered = overview(mosaic, reduction)
    white = float(np.percentile(grey[covered], 99.5)) if covered.any() else 1.0
    pixels = np.where(covered, np.clip(grey / max(white, 1e-6), 0, 1) * 254 + 1, 0).astype(np.uint8)
    path = folder.path / OVERVIEWS / f"{safe_name(slide)}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    write_image(path, Image(pixels, mosaic.pixel_size_um * reduction))
    return {"file": f"{OVERVIEWS}/{path.name}", "pixel_size_um": mosaic.pixel_size_um * reduction}


def outline_um(fine: Image, transform: Map) -> Rows:
    """The corners of a field in mosaic µm, in order around it.  transform: mosaic µm → fine µm."""
    height, width = fine.size_um
    corners = [(0.0, 0.0), (0.0, width), (height, width), (height, 0.0)]
    return [[round(float(v), 3) for v in corner] for corner in transform.inverse().apply(corners)]


def residuals_um(fine: Image, registration: Registration) -> Rows | None:
    """What the place of a field leaves, in CELLS × CELLS parts: rows of (y, x) in mosaic µm, and how far, (y, x) in µm
    of the mosaic, the fine image shows its content from where the transform says.  None where the registrar does not
    say."""
    table = registration.residual_map_um
    if table is None or not len(table):
        return None
    cell = np.minimum((table[:, :2] / np.asarray(fine.size_um) * CELLS).astype(int), CELLS - 1)
    number = cell[:, 0] * CELLS + cell[:, 1]
    means = np.array([table[number == each].mean(axis=0) for each in np.unique(number)])
    back = registration.transform.inverse()
    places, shifts = back.apply(means[:, :2]), means[:, 2:] @ back.linear.matrix[:2, :2].T
    return [[round(float(v), 5) for v in (*place, *shift)] for place, shift in zip(places, shifts, strict=True)]


def registration_view(registered: Registered, folder: Path, registrar: str, min_confidence: float,
                      lost: Mapping[str, RegistrationError] | None = None) -> RegistrationView:
    """What the pages show of a registration.  folder: of the finished stage.  lost: slides that were not stitched."""
    slides = []
    for slide, facts in registered.mosaics.items():
        kept = facts.get("overview")
        if kept is None or not (folder / kept["file"]).exists():
            continue
        pixels = read_image(folder / kept["file"], pixel_size_um=kept["pixel_size_um"]).pixels
        outlines = tuple(_outline(record, kept["pixel_size_um"]) for record in registered.records
                         if record.slide == slide and record.outline_um is not None)
        notes = {str(name): f"{value:g}" if isinstance(value, float) else str(value)
                 for name, value in facts["notes"].items()}
        slides.append(SlideView(slide, pixels, kept["pixel_size_um"], outlines, tuple(notes.items())))
    rows = tuple(map(_row, registered.records))
    return RegistrationView(registrar, min_confidence, rows, tuple(slides), _checkerboards(registered), tuple(
        LostSlide(slide, error.reason, error.message, error.hint) for slide, error in (lost or {}).items()))


def _row(record: PairRecord) -> PairRow:
    row = PairRow(record.name, record.specimen, record.kept, record.residual_um, record.confidence, record.reason,
                  true_error_px=record.true_error_px)
    if not record.kept:
        return replace(row, message=record.message, hint=record.hint)
    details = record.details
    return replace(row, warning=str(details.get("warning", "")), unjudged=str(details.get("unjudged", "")),
                   visible_tear_px=float(details[VISIBLE_TEAR]) if VISIBLE_TEAR in details else None)


def _outline(record: PairRecord, pixel_um: float) -> FieldOutline:
    corners = tuple((float(y) / pixel_um, float(x) / pixel_um) for y, x in record.outline_um or ())
    arrows = tuple((row[0], row[1], row[2], row[3]) for row in record.residuals_um or ())
    return FieldOutline(record.name, record.kept, corners, arrows)


def _checkerboards(registered: Registered) -> tuple[Picture, ...]:
    """The kept fields with the largest residuals: squares of the coarse image, up-sampled, and of the fine one."""
    records = {record.name: record for record in registered.records if record.residual_um is not None}
    measured = [pair for pair in registered.pairs if pair.name in records]
    worst = sorted(measured, key=lambda pair: records[pair.name].residual_um or 0.0, reverse=True)[:CHECKED_FIELDS]
    return tuple(Picture(pair.name, f"{records[pair.name].residual_um or 0:.4f} µm by the registrar's own estimate; "
                                    f"squares of {SQUARE_PX} fine pixels, coarse and fine by turns",
                         to_uint8(np.clip(checkerboard(pair), 0, 1))) for pair in worst)


def checkerboard(pair: Pair) -> FloatArray:
    """(H, W, 3): the middle of a pair, coarse (bicubic) and fine by turns; a step of an edge at the border of two
    squares is an error of registration."""
    scale = Fraction(pair.fine.height, pair.coarse.height)
    fine, coarse = pair.fine.rgb(), bicubic(pair.coarse.rgb(), scale)
    height, width = (min(a, b, CHECKERBOARD_PX) for a, b in zip(fine.shape[:2], coarse.shape[:2], strict=True))
    top, left = (fine.shape[0] - height) // 2, (fine.shape[1] - width) // 2
    y, x = np.indices((height, width)) // SQUARE_PX
    part = np.s_[top:top + height, left:left + width]
    return np.where(((y + x) % 2 == 0)[:, :, None], coarse[part], fine[part])
