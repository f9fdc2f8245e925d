"""What becomes of torn fields: `python -m benchmarks.registration.tears --data DIR [--fields 4]`.

Fields of 480 fine px of eight sections, clean and hard, whose lower half shows the tissue 0 to 3 coarse px farther
along the tear than it lies. Both halves are imaged, not shifted, so a tear of a part of a pixel is exact. A field is
refused as torn, kept with a warning, or kept in silence; "not judged" are those of which fewer than four parts have
enough features to say where they lie. Of kept fields the error is that of the worse half; turning a little, one map
leaves it about 0.4 of the tear.
"Should show" are tears of at least the size that the same field without one says it would show.
Writes benchmarks/registration/tears.json after each section.

Prediction written before the first run, from what the page said: tears up to 1 px are kept, with a warning from 0.5 px
on; from 2 px on clean ones are refused; of hard fields a tenth is not judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registration.methods import FIELD_PX
from benchmarks.registration.records import write_record
from superres.api import Mosaic
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.registration.torn import MIN_JUDGED, VISIBLE_TEAR
from superres.transform import Transform, rms_distance_um
from tests.registration.virtual import CLEAN, COARSE_UM, FINE_UM, HARD, TISSUES, View, random_place, tissue

TEARS_PX = (0.0, 0.3, 0.5, 1.0, 2.0, 3.0)


def torn(view: View, truth: Transform, by_px: float, rng: np.random.Generator, side_px: int = FIELD_PX,
         ) -> tuple[Image, Transform]:
    """The field, and fine µm → object µm of its lower half (its upper half has the truth)."""
    there = Transform.shift(0.0, by_px * COARSE_UM).then(truth)
    upper, lower = (view.fine(place, (side_px, side_px), rng, "torn") for place in (truth, there))
    return upper.with_pixels(np.concatenate([upper.pixels[:side_px // 2], lower.pixels[side_px // 2:]])), there


def worse_half_px(found: Transform, halves: tuple[Transform, Transform], side_px: int = FIELD_PX) -> float:
    """RMS error over the half that is farther off.  found, halves: fine µm → object µm."""
    half, whole = side_px // 2 * FINE_UM, side_px * FINE_UM
    down = Transform.shift(half, 0.0)
    return max(rms_distance_um(down.then(found) if number else found, down.then(true) if number else true, half, whole)
               for number, true in enumerate(halves)) / COARSE_UM


def fate(registrar: PaperRegistrar, fine: Image, scan: Mosaic, halves: tuple[Transform, Transform]) -> dict[str, Any]:
    try:
        found = registrar.register(fine, scan)
    except RegistrationError as error:
        return {"fate": "torn" if error.reason == "torn" else "refused otherwise"}
    judged = float(found.details.get("parts judged", 0.0))
    return {"fate": "warned" if "warning" in found.details else "silent", "judged": judged >= MIN_JUDGED,
            "shows_px": float(found.details.get(VISIBLE_TEAR, np.inf)),
            "off_px": worse_half_px(found.transform.inverse().linear, halves)}


def measured(data: Path, fields: int, names: list[str]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The table after each tissue."""
    registrar = PaperRegistrar()
    fates: dict[str, dict[float, list[dict[str, Any]]]] = {
        condition.name: {by: [] for by in TEARS_PX} for condition in (CLEAN, HARD)}
    for number, name in enumerate(names):
        for condition in (CLEAN, HARD):
            view = tissue(data, name, condition)
            rng = np.random.default_rng([19, number, int(condition is HARD)])
            scan = Mosaic.of(view.whole(rng))
            for truth in [random_place(view, FIELD_PX, rng) for _ in range(fields)]:
                shows_px = np.inf
                for by in TEARS_PX:
                    fine, there = torn(view, truth, by, rng)
                    found = fate(registrar, fine, scan, (truth, there))
                    shows_px = found.get("shows_px", np.inf) if by == 0 else shows_px
                    fates[condition.name][by].append(found | {"shows": by > 0 and shows_px <= by})
        yield {view: [row(by, each) for by, each in by_tear.items()] for view, by_tear in fates.items()}


def row(by_px: float, fates: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [each for each in fates if "off_px" in each]
    off = [each["off_px"] for each in kept]
    counted = {name: sum(each["fate"] == name for each in fates)
               for name in ("torn", "warned", "silent", "refused otherwise")}
    counted["should show"] = sum(each["shows"] for each in fates)
    counted["should show, silent"] = sum(each["shows"] and each["fate"] == "silent" for each in fates)
    return {"tear_px": by_px, "fields": len(fates), **counted, "not judged": sum(not each["judged"] for each in kept),
            "worse_half_median_px": round(float(np.median(off)), 3) if off else None,
            "worse_half_max_px": round(max(off), 3) if off else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    parser.add_argument("--fields", type=int, default=4, help="of each tissue and view, times six tears")
    parser.add_argument("--tissues", type=int, default=len(TISSUES))
    options = parser.parse_args()
    for table in measured(options.data.resolve(), options.fields, list(TISSUES)[:options.tissues]):
        write_record("tears", table)


if __name__ == "__main__":
    main()
