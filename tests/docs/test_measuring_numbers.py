"""docs/measuring.md: the limits that it names are those of the code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superres import guard
from superres.builtin.evaluators.mtf import MtfEvaluator
from superres.measuring import consistency, mtf, resolution
from superres.optics import PAPER_COARSE, PAPER_FINE, edge, spectrum
from superres.optics.consistency import MARGIN_PX
from superres.optics.usaf import contrast

PAGE = " ".join((Path(__file__).resolve().parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8").split())
COARSE, FINE = PAPER_COARSE.cutoff_cycles_per_um, PAPER_FINE.cutoff_cycles_per_um
ROUNDING = spectrum.ROUNDING_DOUBT / 255 / np.sqrt(12)


@pytest.mark.parametrize("words", [
    f"sees nothing finer than {1 / COARSE:.3f} µm",
    f"({PAPER_COARSE.magnification:g}×/{PAPER_COARSE.objective_na:g}NA, condenser {PAPER_COARSE.condenser_na:g}NA, "
    f"{1000 * PAPER_COARSE.wavelength_um:g} nm)",
    f"Detail between {COARSE:.2f} and {FINE:.2f} cycles/µm",
    f"finest grating of {consistency.GRATING_CONTRAST:.0%} contrast".replace("%", " %"),
    f"Images below {consistency.LEAST_SIDE_PX} px a side are refused: the model reaches ±{MARGIN_PX} px",
    f"over the central {100 * MtfEvaluator().options.bar_share:g} % of the bars",
    f"does not rise {'three' if contrast.NOISE_FACTOR == 3 else contrast.NOISE_FACTOR} standard deviations",
    f"fewer than {contrast.SAMPLES_PER_PERIOD:g} px a period",
    f"tilted by {edge.LEAST_ANGLE_DEG:g}–{edge.MOST_ANGLE_DEG:g}°",
    f"within {edge.WINDOW_PX} px",
    f"over {100 * mtf.CLIPPED:g} % of the pixels are at 0 or at white",
    f"({100 * ROUNDING:.2f} % of white in 8 bits)",
    f"beyond {100 * resolution.SHIFT_LIMIT:g} % of the field they are refused",
    f"the file's, within {100 * guard.PIXEL_SIZE_TOLERANCE:g} %",
    f"squared distance above {guard.STAIN_LIMIT:g}",
    f"images below {guard.LEAST_SIDE_PX} px a side: too small to judge",
])
def test_a_limit_is_told_as_it_is(words: str) -> None:
    assert words in PAGE
