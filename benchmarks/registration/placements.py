"""Whether an accepted place can be trusted: `python -m benchmarks.registration.placements --data DIR [--part 1/4]`.

Some 3,000 placements on scans of eight tissues in two views: fields that are there, at angles within 4.5 degrees and
scales within 4 %; fields of another slide, mirrored, upside down, of twice the magnification, of a part that was not
scanned, from a pattern that repeats itself, and from a place that the slide shows twice.  Accepted means a confidence
of at least 0.5; wrong, more than one coarse pixel off.  Scans are rendered once and used for all kinds.  Parts can be
measured one by one; each adds itself to benchmarks/registration/placements.json.

Prediction written before the first run: none wrong, at most 2 % of usable fields refused.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registration.records import FOLDER, read_record, write_record
from superres.api import Mosaic
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.transform import Transform, rms_distance_um
from tests.registration.virtual import CLEAN, COARSE_UM, HARD, TISSUES, View, random_place, tissue

SIDES_PX = (200, 280, 360, 480)
ACCEPTED = 0.5
WRONG_PX = 1.0


@dataclass(frozen=True, eq=False)
class Placement:
    """truth: fine µm → coarse µm, None where the field is nowhere, so that every accepted place is wrong.
    usable: whether it ought to be accepted."""

    kind: str
    fine: Image
    coarse: Mosaic
    truth: Transform | None
    usable: bool


def placements(data: Path, names: list[str], fields: int) -> Iterator[Placement]:
    """fields: of each tissue and view."""
    for condition in (CLEAN, HARD):
        for name in names:
            others = list(TISSUES)
            stranger = others[(others.index(name) + 3) % len(others)]
            view, other = tissue(data, name, condition, 768), tissue(data, stranger, condition, 768)
            rng = np.random.default_rng([11, others.index(name), int(condition is HARD)])
            scan, elsewhere = Mosaic.of(view.whole(rng)), Mosaic.of(other.whole(rng))
            tiled, twice = repeating(view, rng), showing_twice(view, rng)
            tiled_scan, twice_scan = Mosaic.of(tiled.whole(rng)), Mosaic.of(twice.whole(rng))
            half = Mosaic.of(left_part(view.whole(rng)))
            for number in range(fields):
                side = SIDES_PX[number % len(SIDES_PX)]
                fine, truth = shot(view, side, rng)
                yield Placement("true", fine, scan, truth, shows_tissue(fine))
                yield Placement("another slide", fine, elsewhere, None, False)
                yield Placement("mirrored", changed(fine, fine.pixels[:, ::-1]), scan, None, False)
                yield Placement("upside down", changed(fine, fine.pixels[::-1, ::-1]), scan, None, False)
                yield Placement("magnification", changed(fine, binned(fine)), scan, None, False)
                yield Placement("not scanned", fine, half, inside(truth, fine, half), False)
                again, place = shot(tiled, side, rng)
                yield Placement("repeated", again, tiled_scan, place, False)
                place = Transform.similarity(1.0, 0.0, tuple(rng.uniform(1.0, 4.0, 2)))
                copy = twice.fine(place, (side // 2, side // 2), rng, "twice")
                yield Placement("shown twice", copy, twice_scan, place, False)


def shot(view: View, side: int, rng: np.random.Generator) -> tuple[Image, Transform]:
    truth = random_place(view, side, rng, rotation_deg=4.5, scale=0.04)
    return view.fine(truth, (side, side), rng), truth


def shows_tissue(fine: Image) -> bool:
    """The rule by which the virtual scanner calls a place worth a field."""
    grey = fine.grey() / np.percentile(fine.grey(), 99)
    return bool((grey < 0.88).mean() >= 0.3 and grey.std() >= 0.03)


def changed(fine: Image, pixels: Any) -> Image:
    return fine.with_pixels(np.ascontiguousarray(pixels))


def binned(fine: Image) -> Any:
    height, width = (length // 2 * 2 for length in fine.shape_px)
    blocks = fine.pixels[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def left_part(coarse: Image) -> Image:
    return coarse.crop(0, 0, coarse.height, coarse.width // 2)


def inside(truth: Transform, fine: Image, scan: Mosaic) -> Transform | None:
    """The truth, where the scan shows at least a quarter of the field: a right place is no error then."""
    corners = truth.apply([(0, 0), (0, fine.size_um[1]), (fine.size_um[0], 0), fine.size_um])
    seen = np.clip(scan.shape_px[1] * COARSE_UM - corners[:, 1].min(), 0, None)
    return truth if seen > 0.25 * fine.size_um[1] else None


def repeating(view: View, rng: np.random.Generator) -> View:
    """The same 200 pixels of tissue over and over."""
    motif = piece(view, 200, rng)
    return View(np.tile(motif, (4, 4)), view.condition)


def showing_twice(view: View, rng: np.random.Generator) -> View:
    """The upper left of the slide a second time at its lower right."""
    scene = view.transmittance.copy()
    height, width = (length // 2 for length in scene.shape)
    scene[-height:, -width:] = scene[:height, :width]
    return View(scene, view.condition)


def piece(view: View, side: int, rng: np.random.Generator) -> Any:
    top, left = (int(rng.integers(0, length - side + 1)) for length in view.transmittance.shape)
    return view.transmittance[top:top + side, left:left + side]


def judge(cases: Iterator[Placement]) -> dict[str, dict[str, Any]]:
    """What became of the placements, by kind."""
    registrar = PaperRegistrar()
    table: dict[str, dict[str, Any]] = {}
    for case in cases:
        row = table.setdefault(case.kind, {"placements": 0, "accepted": 0, "wrong": 0, "usable": 0, "usable refused": 0,
                                           "reasons": Counter(), "wrong ones": []})
        row["placements"] += 1
        row["usable"] += case.usable
        try:
            found = registrar.register(case.fine, case.coarse)
        except RegistrationError as error:
            row["reasons"][error.reason] += 1
            row["usable refused"] += case.usable
            continue
        off = float("inf") if case.truth is None else rms_distance_um(
            found.transform.inverse(), case.truth, *case.fine.size_um) / COARSE_UM
        if found.confidence < ACCEPTED:
            row["reasons"]["low-confidence"] += 1
            row["usable refused"] += case.usable
            continue
        row["accepted"] += 1
        if off > WRONG_PX:
            row["wrong"] += 1
            row["wrong ones"].append({"off_px": round(min(off, 9999.0), 2), "side_px": case.fine.height,
                                      "confidence": round(found.confidence, 3), **found.details})
    return table


def merged(parts: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {}
    for part in parts.values():
        for kind, row in part.items():
            total = kinds.setdefault(kind, {key: 0 if isinstance(value, int) else type(value)()
                                            for key, value in row.items()})
            for key, value in row.items():
                total[key] = dict(Counter(total[key]) + Counter(value)) if isinstance(value, dict) else (
                    total[key] + value)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    parser.add_argument("--part", default="1/1", help="i/n: the i-th of n parts of the tissues")
    parser.add_argument("--fields", type=int, default=24, help="of each tissue and view, times eight kinds")
    options = parser.parse_args()
    index, count = (int(number) for number in options.part.split("/"))
    table = judge(placements(options.data.resolve(), list(TISSUES)[index - 1::count], options.fields))
    parts: dict[str, Any] = {}
    if (FOLDER / "placements.json").exists() and count > 1:
        parts = {name: part for name, part in read_record("placements")["measured"]["parts"].items()
                 if name.endswith(f"/{count}")}
    parts[options.part] = json.loads(json.dumps(table))
    kinds = merged(parts)
    totals = {key: sum(row[key] for row in kinds.values())
              for key in ("placements", "accepted", "wrong", "usable", "usable refused")}
    write_record("placements", {"total": totals, "kinds": kinds, "parts": parts})


if __name__ == "__main__":
    main()
