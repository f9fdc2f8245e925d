"""Register: stitch each scan, find its fine fields, and cut the training pairs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from superres.api.registrar import Mosaic, PlacedTile, Registrar, Registration
from superres.api.source import Acquisition, FineField, GroundTruth, Pair, Scan
from superres.errors import RegistrationError, StorageError
from superres.events import Events, Progress
from superres.image import Image
from superres.io.atomic import write_json
from superres.stages.blame import blamed
from superres.stages.cutting import Window, cut_pair
from superres.stages.quality import outline_um, residuals_um, write_overview
from superres.stages.records import RECORDS, PairRecord, Registered, load, registration_json, write_pair
from superres.stages.store import StageFolder
from superres.transform import Points, Transform, Warp, rms_distance_um

__all__ = ["RECORDS", "PairRecord", "Registered", "load", "register", "registration_json"]

def register(
    acquisition: Acquisition,
    registrar: Registrar,
    scale: Fraction,
    min_confidence: float,
    folder: StageFolder,
    events: Events,
) -> Registered:
    """Register every field of an acquisition; pairs and records are kept in `folder`.

    Fields without a trustworthy place are rejected with their reason and never reach training; so are all fields of a
    slide whose tiles do not hang together.  Raises RegistrationError if no pair is left.
    """
    try:
        return _register(acquisition, registrar, scale, min_confidence, folder, events)
    except StorageError:
        # What was written is useless without the rest, and lies on the disk that takes no more.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _register(
    acquisition: Acquisition,
    registrar: Registrar,
    scale: Fraction,
    min_confidence: float,
    folder: StageFolder,
    events: Events,
) -> Registered:
    shutil.rmtree(folder.path / "pairs", ignore_errors=True)
    total = sum(len(scan.fields) for scan in acquisition.scans)
    pairs = list(acquisition.pairs)
    records = [
        PairRecord(
            pair.name,
            pair.specimen,
            pair.specimen,
            True,
            message="registered by the source",
            cut_from="source",
            shape_px=pair.coarse.shape_px,
            camera_dtype=str(pair.coarse.pixels.dtype),
            camera_white_level=pair.coarse.white_level,
        )
        for pair in acquisition.pairs
    ]
    for ready in acquisition.pairs:
        write_pair(folder, ready)
    mosaics: dict[str, dict[str, Any]] = {}
    done = 0
    for scan in acquisition.scans:
        events.raise_if_cancelled()
        events.progress(Progress("register", done, total, f"stitching {len(scan.tiles)} tiles of '{scan.slide}'"))
        try:
            with blamed(registrar, f"while it stitched slide '{scan.slide}'"):
                mosaic = registrar.assemble(scan.tiles, scan.overlap)
                if not isinstance(mosaic, Mosaic):
                    raise TypeError(f"assemble returned a {type(mosaic).__name__}; expected a Mosaic")
        except RegistrationError as error:
            events.note(
                "register", f"slide '{scan.slide}': {error.message}; its {len(scan.fields)} fields are left out"
            )
            records += [_rejected(each, scan, error) for each in scan.fields]
            done += len(scan.fields)
            continue
        mosaics[scan.slide] = _mosaic_facts(mosaic) | {"overview": write_overview(folder, scan.slide, mosaic)}
        for fine_field in scan.fields:
            events.raise_if_cancelled()
            pair, record = _register_field(
                fine_field, scan, mosaic, registrar, scale, min_confidence, acquisition.truth
            )
            records.append(record)
            if "warning" in record.details:
                events.note("register", f"field '{record.name}': {record.details['warning']}")
            if pair is not None:
                pairs.append(pair)
                write_pair(folder, pair)
            else:
                events.note("register", f"field '{record.name}' rejected ({record.reason}): {record.message}")
            done += 1
            events.progress(Progress("register", done, total, f"{sum(r.kept for r in records)} of {len(records)} kept"))
    registered = Registered(tuple(pairs), tuple(records), mosaics)
    write_json(folder.path / RECORDS, registration_json(registered, acquisition))
    if not pairs:
        raise _nothing_left(records)
    return registered


def _register_field(
    fine_field: FineField,
    scan: Scan,
    mosaic: Mosaic,
    registrar: Registrar,
    scale: Fraction,
    min_confidence: float,
    truth: GroundTruth | None,
) -> tuple[Pair | None, PairRecord]:
    fine = fine_field.image.read()
    try:
        with blamed(registrar, f"on field '{fine_field.name}'"):
            registration = registrar.register(fine, mosaic)
            if not isinstance(registration, Registration):
                raise TypeError(f"register returned a {type(registration).__name__}; expected a Registration")
    except RegistrationError as error:
        return None, _rejected(fine_field, scan, error)
    try:
        if registration.confidence < min_confidence:
            raise RegistrationError(
                f"confidence {registration.confidence:.2f} is below {min_confidence:g}",
                reason="low-confidence",
                hint="see register.min_confidence",
            )
        pair, window = cut_pair(fine_field.name, fine_field.specimen, fine, mosaic, registration, scale)
    except RegistrationError as error:
        return None, replace(
            _rejected(fine_field, scan, error),
            confidence=registration.confidence,
            outline_um=outline_um(fine, registration.transform),
            details=dict(registration.details),
        )
    record = PairRecord(
        fine_field.name,
        scan.slide,
        fine_field.specimen,
        True,
        confidence=registration.confidence,
        residual_um=registration.residual_um,
        transform=registration.transform.linear.to_json(),
        warp=registration.transform.to_json() if isinstance(registration.transform, Warp) else None,
        cut_from="mosaic" if window.tile is None else mosaic.tiles[window.tile].name,
        shape_px=pair.coarse.shape_px,
        camera_dtype=str(fine.pixels.dtype),
        camera_white_level=fine.white_level,
        outline_um=outline_um(fine, registration.transform),
        residuals_um=residuals_um(fine, registration),
        details=dict(registration.details),
        true_error_px=_true_error_px(fine_field, scan, mosaic, registration, window, fine, truth),
    )
    return pair, record


def _true_error_px(
    fine_field: FineField,
    scan: Scan,
    mosaic: Mosaic,
    registration: Registration,
    window: Window,
    fine: Image,
    truth: GroundTruth | None,
) -> float | None:
    """RMS distance between the estimated and the simulated map from the frame that was cut to the fine image."""
    if truth is None:
        return None
    height_um, width_um = fine.size_um
    if window.tile is None:
        centre = registration.transform.inverse().apply((height_um / 2, width_um / 2))
        nearest = min(mosaic.tiles, key=lambda tile: _distance_to_centre_um(tile, centre))
    else:
        nearest = mosaic.tiles[window.tile]
    try:
        object_to_fine = truth.fields[scan.slide, fine_field.name].inverse()
        true = truth.tiles[scan.slide, nearest.name].then(object_to_fine)
    except KeyError:
        return None
    estimated = nearest.to_mosaic.then(registration.transform)
    # Both maps end in fine µm; the pull-back compares them where the field lies in the coarse frame.
    over_field = estimated.inverse().then(true)
    return rms_distance_um(Transform.identity(), over_field, height_um, width_um) / mosaic.pixel_size_um


def _distance_to_centre_um(tile: PlacedTile, point_um: Points) -> float:
    """Between a mosaic point and the middle of a frame."""
    height_um, width_um = tile.image.read().size_um
    return float(np.linalg.norm(tile.to_mosaic.inverse().apply(point_um) - (height_um / 2, width_um / 2)))


def _rejected(fine_field: FineField, scan: Scan, error: RegistrationError) -> PairRecord:
    return PairRecord(
        fine_field.name,
        scan.slide,
        fine_field.specimen,
        False,
        reason=error.reason,
        message=error.message,
        hint=error.hint,
    )


def _mosaic_facts(mosaic: Mosaic) -> dict[str, Any]:
    return {
        "shape_px": list(mosaic.shape_px),
        "pixel_size_um": mosaic.pixel_size_um,
        "notes": dict(mosaic.notes),
        "flat_field": mosaic.flat_field is not None,
        "tiles": [
            {
                "name": tile.name,
                "to_mosaic": tile.to_mosaic.to_json(),
                "linked": tile.linked,
                "residual_um": tile.residual_um,
            }
            for tile in mosaic.tiles
        ],
    }


def _nothing_left(records: Sequence[PairRecord]) -> RegistrationError:
    """The commonest reason decides what the user is told to do."""
    counts = Counter(record.reason for record in records)
    if not counts:
        return RegistrationError(
            "there are no fine fields to register", reason="no-fields", hint="check the pattern of the fine fields"
        )
    reason, _ = counts.most_common(1)[0]
    listed = ", ".join(f"{count} × {name}" for name, count in counts.most_common())
    example = next(record for record in records if record.reason == reason)
    return RegistrationError(
        f"none of {len(records)} fine fields could be registered ({listed}); for example '{example.name}': "
        f"{example.message}",
        reason=reason,
        hint=example.hint or "check that both folders show the same slide, and the pixel sizes in [source]",
    )
