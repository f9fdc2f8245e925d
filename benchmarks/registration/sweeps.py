"""How the default's error grows with defocus and noise: `python -m benchmarks.registration.sweeps --data DIR`.

Fields of 480 fine pixels of eight tissues in the view `clean` of tests/registration/virtual.py, with one thing changed
at a time: the coarse objective out of focus by 0 to 2 µm, or the noise of both cameras.  Writes
benchmarks/registration/sweeps.json.

Prediction written before the first run: p95 below 0.02 px to 0.8 µm and 0.1 px at 2 µm; proportional to noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registration.methods import FIELD_PX, Case, Tally, registrar
from benchmarks.registration.records import write_record
from superres.resample import bicubic
from tests.registration.virtual import CLEAN, TISSUES, Condition, View, random_place, tissue

DEFOCUS = tuple(replace(CLEAN, name=f"{um}", coarse_defocus_um=um) for um in (0.0, 0.4, 0.8, 1.2, 1.6, 2.0))
NOISE = tuple(replace(CLEAN, name=f"{level}", noise_coarse=level / 255, noise_fine=level / 255)
              for level in (1, 2, 4, 8, 16))


def seen(plain: View, condition: Condition) -> View:
    """The same tissue in another condition; what the condition leaves as it is, is not imaged again."""
    view = View(plain.transmittance, condition)
    view.__dict__["_fine"] = plain._fine
    if condition.coarse_defocus_um == plain.condition.coarse_defocus_um:
        view.__dict__["_coarse"] = plain._coarse
    return view


def cases(plain: View, condition: Condition, count: int, seed: int) -> Iterator[Case]:
    """The same places, whatever the condition."""
    view, rng = seen(plain, condition), np.random.default_rng([13, seed])
    places = [random_place(view, FIELD_PX, rng) for _ in range(count)]
    coarse = view.whole(rng)
    for truth in places:
        fine = view.fine(truth, (FIELD_PX, FIELD_PX), rng)
        yield Case("", fine, coarse, truth, bicubic(fine.grey(), Fraction(2, 5)))


def measured(data: Path, conditions: Sequence[Condition], count: int) -> list[dict[str, Any]]:
    """count fields of each tissue in each condition."""
    place, tallies = registrar("icgn"), [Tally() for _ in conditions]
    sections: list[dict[str, float | None]] = [{} for _ in conditions]
    for number, name in enumerate(TISSUES):
        plain = tissue(data, name, CLEAN)
        for condition, tally, section in zip(conditions, tallies, sections, strict=True):
            before = len(tally.errors_px)
            for case in cases(plain, condition, count, number):
                place(case, tally)
            of_section = tally.errors_px[before:]
            section[name] = round(float(np.median(of_section)), 4) if of_section else None
    keys = ("fields", "refused", "median_px", "p95_px", "max_px")
    return [{"value": float(condition.name), **{key: tally.facts()[key] for key in keys}, "section medians_px": section}
            for condition, tally, section in zip(conditions, tallies, sections, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs, with train/")
    parser.add_argument("--fields", type=int, default=6, help="of each tissue and step")
    options = parser.parse_args()
    data, count = options.data.resolve(), options.fields
    write_record("sweeps", {"defocus_um": measured(data, DEFOCUS, count), "noise_255": measured(data, NOISE, count)})


if __name__ == "__main__":
    main()
