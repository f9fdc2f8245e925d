"""Register: stitch each scan, find its fine fields, and cut the training pairs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from typing import Any

from threadpoolctl import threadpool_limits

from superres.api.registrar import Registrar
from superres.api.source import Acquisition, Pair
from superres.errors import ImageError, RegistrationError, StorageError
from superres.events import Events, Progress
from superres.image import Image, Readable
from superres.io.atomic import write_json
from superres.registration.diagnose import swapped
from superres.stages.ahead import in_order, usable_workers
from superres.stages.assembling import assemble
from superres.stages.placing import Placing, rejected
from superres.stages.quality import write_overview
from superres.stages.records import (
    RECORDS,
    PairRecord,
    Registered,
    load,
    mosaic_facts,
    registration_json,
    write_pair,
)
from superres.stages.store import StageFolder

__all__ = ["RECORDS", "PairRecord", "Registered", "load", "register", "registration_json"]

EXAMINED = 6
"""Tiles, and fields, that are looked at when not one field could be registered."""


def register(
    acquisition: Acquisition,
    registrar: Registrar,
    scale: Fraction,
    min_confidence: float,
    folder: StageFolder,
    events: Events,
    workers: int | None = None,
) -> Registered:
    """Register every field of an acquisition; pairs and records are kept in `folder`.

    Fields without a trustworthy place are rejected with their reason and never reach training; so are all fields of a
    slide whose tiles do not hang together. Damaged tiles are left out, named in a note. workers: fields that are
    registered at once, by registrars that allow it (None: one a processor, up to four); the result is the same. Raises
    RegistrationError if no pair is left. Meanwhile BLAS has one thread in the whole process: matrices are small here,
    its threads wait for each other by spinning (half of all processor time was that), and how they share a sum would
    show in the last bits of the pairs.
    """
    with _emptied_if_full(folder), threadpool_limits(1, user_api="blas"):
        shutil.rmtree(folder.path / "pairs", ignore_errors=True)
        total = sum(len(scan.fields) for scan in acquisition.scans)
        pairs = list(acquisition.pairs)
        records = [_ready(pair) for pair in acquisition.pairs]
        for ready in acquisition.pairs:
            write_pair(folder, ready)
        mosaics: dict[str, dict[str, Any]] = {}
        at_once = (usable_workers() if workers is None else workers) if registrar.concurrent else 1
        done = 0
        for scan in acquisition.scans:
            events.raise_if_cancelled()
            events.progress(Progress("register", done, total, f"stitching {len(scan.tiles)} tiles of '{scan.slide}'"))
            try:
                mosaic = assemble(registrar, scan)
            except RegistrationError as error:
                if len(acquisition.scans) > 1 or pairs:  # of an only slide the error that ends the stage says so
                    events.note(
                        "register", f"slide '{scan.slide}': {error.message}; its {len(scan.fields)} fields are left out"
                    )
                records += [rejected(each, scan, error) for each in scan.fields]
                done += len(scan.fields)
                continue
            if "warning" in mosaic.notes:
                events.note("register", f"slide '{scan.slide}': {mosaic.notes['warning']}")
            mosaics[scan.slide] = mosaic_facts(mosaic) | {"overview": write_overview(folder, scan.slide, mosaic)}
            placing = Placing(scan, mosaic, registrar, scale, min_confidence, acquisition.truth)
            with closing(in_order(placing.place, scan.fields, at_once)) as placed:
                for pair, record in placed:
                    events.raise_if_cancelled()
                    records.append(record)
                    if "warning" in record.details:
                        events.note("register", f"field '{record.name}': {record.details['warning']}")
                    if pair is not None:
                        pairs.append(pair)
                        write_pair(folder, pair)
                    else:
                        events.note("register", f"field '{record.name}' rejected ({record.reason}): {record.message}")
                    done += 1
                    kept = f"{sum(r.kept for r in records)} of {len(records)} kept"
                    events.progress(Progress("register", done, total, kept))
        registered = Registered(tuple(pairs), tuple(records), mosaics)
        write_json(folder.path / RECORDS, registration_json(registered, acquisition))
        if not pairs:
            raise _exchanged(acquisition) or _nothing_left(records)
        return registered


@contextmanager
def _emptied_if_full(folder: StageFolder) -> Iterator[None]:
    """What was written is useless without the rest, and lies on the disk that takes no more."""
    try:
        yield
    except StorageError:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _ready(pair: Pair) -> PairRecord:
    """The record of a pair that the source registered."""
    return PairRecord(
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


def _exchanged(acquisition: Acquisition) -> RegistrationError | None:
    """The error for a source whose coarse and fine images stand in each other's place, looked for in its first scan."""
    scale = Fraction(acquisition.scale).limit_denominator(64)
    if not acquisition.scans or scale <= 1:
        return None
    scan = acquisition.scans[0]
    fields, tiles = ([(each.name, image.grey()) for each in some[:EXAMINED] for image in _readable(each.image)]
                     for some in (scan.fields, scan.tiles))
    return swapped(fields, tiles, scale)


def _readable(image: Readable) -> Iterator[Image]:
    with suppress(ImageError):
        yield image.read()


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
