"""Contrast of three-bar patterns against the supplement's procedure on noise-free images."""

import numpy as np
import pytest

from superres.optics.usaf.contrast import ProfileNoise, measure_bars, spline_coefficients
from superres.optics.usaf.target import Element
from tests.optics.bar_targets import COARSE, FINE, bar_scene, procedure_of_section_6

NOISE = 0.01
OBJECTIVES = {"100x": (FINE, 0.074, 10), "40x": (COARSE, 0.185, 1)}
BELOW = {name: [e for e in map(Element.at, range(48, 84))
                if e.frequency_cycles_per_mm < 900 * optics.cutoff_cycles_per_um]
         for name, (optics, _, _) in OBJECTIVES.items()}
BEYOND = {name: [e for e in map(Element.at, range(48, 84))
                 if 1030 < e.frequency_cycles_per_mm / optics.cutoff_cycles_per_um < 1700]
          for name, (optics, _, _) in OBJECTIVES.items()}
PHASES = [(y / 4 - 0.5, x / 4 - 0.5) for y in range(4) for x in range(4)]


def cases(elements, name, angles, phases, rng):
    """(contrast found in noise, contrast of the procedure on the noise-free image) of every angle and phase."""
    optics, pixel_um, oversampling = OBJECTIVES[name]
    flat = ProfileNoise(1 + rng.normal(0, NOISE, (200, 200)))
    for element in elements:
        for angle in angles:
            scene = bar_scene(element.period_um, optics, pixel_um, angle)
            whole = procedure_of_section_6(*scene.frame((0, 0), oversampling), scene, oversampling)
            for phase in phases:
                image, centre = scene.frame(phase)
                expected = whole if oversampling > 1 else procedure_of_section_6(image, centre, scene)
                noisy = image + rng.normal(0, NOISE, image.shape)
                yield measure_bars(spline_coefficients(noisy), scene.place(centre), flat), expected


def check_below(elements, name, angles, phases, rng):
    for element in elements:
        errors = [abs(found.contrast - expected) for found, expected in cases([element], name, angles, phases, rng)]
        assert np.mean(np.array(errors) <= 0.03) >= 0.95 and max(errors) <= 0.05, (element.label, max(errors))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contrast_below_the_cutoff(name, rng):
    finest = BELOW[name][-1]
    check_below([Element.at(finest.index - 5), finest], name, (3,), PHASES[::3], rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_contrast_of_every_element_below_the_cutoff(name, rng):
    assert len(BELOW[name]) >= 20
    check_below(BELOW[name], name, (0, 3, 90), PHASES, rng)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_beyond_the_cutoff_there_is_no_contrast(name, rng):
    found = [each.contrast for each, _ in cases(BEYOND[name][:2], name, (3,), PHASES[::3], rng)]
    assert found == [0.0] * len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_beyond_the_cutoff_there_is_no_contrast_at_any_phase(name, rng):
    found = [each.contrast for each, _ in cases(BEYOND[name], name, (0, 3, 90), PHASES, rng)]
    assert np.mean(np.array(found) == 0) >= 0.99


def test_noise_alone_is_no_pattern(rng):
    """1 % noise on an even area, at 300 places of an element of 4.8 px a period."""
    scene = bar_scene(0.3, FINE, 0.074, 0)
    place = scene.place((60.3, 60.7))
    even = np.array([measure_bars(spline_coefficients(plane), place, ProfileNoise(plane)).contrast
                     for plane in 0.5 + rng.normal(0, NOISE, (300, 120, 120))])
    assert np.mean(even == 0) >= 0.99


def test_clear_bars_in_chrome_are_measured_like_dark_ones(rng):
    scene = bar_scene(0.6, FINE, 0.074, 0)
    image, centre = scene.frame()
    dark = measure_bars(spline_coefficients(image), scene.place(centre), ProfileNoise(image))
    place = scene.place(centre)
    clear = measure_bars(spline_coefficients(1.0 - image), type(place)(
        place.centre_px, place.period_px, place.bar_px, dark=False), ProfileNoise(image))
    assert clear.reason == "" and clear.i_max == pytest.approx(1 - dark.i_min)


def test_few_pixels_a_period_are_marked(rng):
    image = np.ones((60, 60))
    for period_um, limited in ((0.074 * 6.5, False), (0.074 * 5.5, True)):
        place = bar_scene(period_um, FINE, 0.074, 0).place((30.0, 30.0))
        assert measure_bars(spline_coefficients(image), place, ProfileNoise(image)).sampling_limited is limited


def test_the_noise_of_a_mean_is_measured_as_it_is(rng):
    white = rng.normal(0.5, 0.02, (400, 300))
    assert ProfileNoise(white).of_mean(9, 0) == pytest.approx(0.02 / 3, rel=0.03)
    doubled = np.repeat(np.repeat(white[:200, :150], 2, axis=0), 2, axis=1)  # neighbours share their noise
    # four independent pixels where the mean begins on a pair, fewer than 5 where it cuts one; independent ones: .0071
    assert ProfileNoise(doubled).of_mean(8, 1) == pytest.approx(0.02 / 2, rel=0.1)
