"""What the drift report says of passes whose fate is known."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from superres.image import Image
from superres.measuring.drift import drift_page, measure_passes
from superres.optics import Optics
from superres.optics.camera import integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.resample import bicubic
from superres.transform import Transform

SCALE = Fraction(5, 2)
COARSE, FINE = Optics(0.95, magnification=40), Optics(1.4, refractive_index=1.515, magnification=100)


@pytest.fixture(scope="module")
def frame():
    """The real section through the coarse objective, with noise."""
    from skimage import data

    scene = data.immunohistochemistry()[100:340, 100:340].astype(np.float32) / 255
    signal = integrate_pixels(image_with_modes(scene, 0.074, coherent_modes(COARSE)), 0.074, np.eye(2) * 0.185)
    pixels = sample(signal, Transform.identity(), (96, 96), 0.185)
    return Image((pixels + np.random.default_rng(1).normal(0, 0.01, pixels.shape)).astype(np.float32), 0.185)


def enlarged(image, added=0.0, tint=1.0):
    """What a network might make of it: bicubic, with a grating of 4 cycles/µm on top, and green faded."""
    unit = bicubic(image.rgb(), SCALE)
    pixel = image.pixel_size_um / float(SCALE)
    x = (np.arange(unit.shape[1]) + 0.5) * pixel
    unit = unit + np.float32(added) * np.cos(2 * np.pi * 4.0 * x)[None, :, None].astype(np.float32)
    unit[..., 1] *= np.float32(tint)
    return Image(unit.astype(np.float32), pixel)


def test_passes_that_invent_nothing_change_nothing(frame):
    first = enlarged(frame)
    passes = measure_passes([frame, first, enlarged(first)], SCALE, COARSE)
    assert [each.image.height for each in passes] == [96, 240, 600]
    # an antialiased cubic does not quite undo a cubic: what it takes is noise of the input, 1 % of white
    assert all(each.change < 0.7 for each in passes[1:]) and passes[2].change < 0.1
    assert passes[1].to_input > 0.97 and passes[2].to_input > 0.95
    assert all(each.reach <= COARSE.cutoff_cycles_per_um for each in passes[1:])
    assert passes[1].mean_rgb == pytest.approx(passes[0].mean_rgb, abs=1e-3)


def test_invented_detail_and_fading_colours_are_named_with_the_pass(frame):
    first = enlarged(frame)
    passes = measure_passes([frame, first, enlarged(first, added=0.05, tint=0.9)], SCALE, COARSE)
    assert passes[2].reach == pytest.approx(4.0, abs=0.1)
    assert passes[2].added > 10 * passes[1].added
    page = drift_page("field", passes, COARSE, FINE)
    (what, *_) = page.sections
    assert any("From pass 2 on the spectrum stands above the input's noise" in text and "2.727" in text
               for text in what.warnings)
    assert any("3.545" in text for text in what.warnings)
    assert any("Colours drift" in text for text in what.warnings)


def test_passes_of_a_blank_image_reach_nowhere(frame):
    """255 everywhere: what an enlarged constant holds is rounding of floats, no detail."""
    for given in (Image(np.full((96, 96, 3), 255, dtype=np.uint8), 0.185), Image(np.ones((96, 96), np.float32), 0.185)):
        first = Image(bicubic(given.rgb(), SCALE), 0.074)
        passes = measure_passes([given, first, enlarged(first)], SCALE, COARSE)
        assert [(each.reach, each.added) for each in passes] == [(None, None)] * 3
        what = drift_page("blank", passes, COARSE, FINE).sections[0]
        assert what.warnings == [] and "nan" not in "".join(what.table.as_text())


def test_a_faint_shade_over_a_blank_image_has_no_share_beyond_the_cutoff():
    """As networks leave it at borders: above the rounding of 8 bits, but at 0.1 cycles/µm only."""
    given = Image(np.full((96, 96, 3), 255, dtype=np.uint8), 0.185)
    shade = 0.01 * np.cos(2 * np.pi * 0.1 * 0.074 * np.arange(240))[:, None, None] * np.ones((1, 240, 3))
    passes = measure_passes([given, Image((0.9 + shade).astype(np.float32), 0.074)], SCALE, COARSE)
    assert 0.05 < passes[1].reach < 0.5 and passes[1].added is None


def test_a_frame_without_noise_reaches_no_farther_than_its_detail(frame):
    """Blurred to 0.7 cycles/µm and stored in 8 bits."""
    smooth = ndimage.gaussian_filter(frame.pixels, (3, 3, 0))
    given = Image(np.rint(255 * np.clip(smooth, 0, 1)).astype(np.uint8), 0.185)
    clean = Image(smooth, 0.185)
    first = enlarged(clean)
    passes = measure_passes([given, first], SCALE, COARSE)
    assert passes[1].reach < COARSE.cutoff_cycles_per_um
    assert drift_page("smooth", passes, COARSE, FINE).sections[0].warnings == []


def test_against_a_truth_a_pass_is_scored_on_the_truths_grid(frame):
    truth = enlarged(frame)
    passes = measure_passes([frame, truth, enlarged(truth)], SCALE, COARSE, truth.rgb().clip(0, 1))
    assert passes[0].to_truth is None and passes[1].to_truth == pytest.approx(1.0)
    assert 0.97 < passes[2].to_truth < 1.0
