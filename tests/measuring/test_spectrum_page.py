"""The plot of power spectra."""

import re

from superres.measuring.resolution import ResolutionResult, spectrum_curves
from superres.optics import PAPER_COARSE
from superres.optics.spectrum import radial_spectrum


def test_the_frequency_axis_ends_where_data_and_cutoffs_end(rng):
    """0.185 µm pixels reach 2.70 cycles/µm and the cut-off is 2.73: the axis has no tick beyond 3."""
    result = ResolutionResult("t", 0.185, radial_spectrum(rng.normal(0.5, 0.1, (128, 128))), None)
    ticks = [float(text) for text in re.findall(r">(\d+(?:\.\d+)?)</text>", spectrum_curves([result], PAPER_COARSE))]
    assert 2 <= max(tick for tick in ticks if tick != 10) <= 3, ticks
