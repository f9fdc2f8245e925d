"""Consistency with the optics: invented structure lights up, the truth does not, and what lies beyond the coarse
objective cannot be seen."""

import numpy as np
import pytest
from scipy import ndimage

from superres.optics import Optics
from superres.optics.camera import integrate_pixels, sample
from superres.optics.consistency import ForwardModel, consistency_map, finest_visible, noise_level, visible_spots
from superres.optics.modes import coherent_modes, image_with_modes
from superres.optics.transfer import pixel_transfer, weak_object_transfer
from superres.transform import Transform

COARSE = Optics(0.95, magnification=40)
FINE = Optics(1.4, refractive_index=1.515, magnification=100)
MODEL = ForwardModel(COARSE, FINE, 0.185, 0.074)
NOISE = 0.01


@pytest.fixture(scope="module")
def section():
    """(coarse, fine): a real stained section seen by both objectives, in colour, without noise."""
    from skimage import data

    scene = data.immunohistochemistry().astype(np.float32)[100:420, 100:420] / 255
    signals = [integrate_pixels(image_with_modes(scene, 0.074, coherent_modes(optics)), 0.074, pixel * np.eye(2))
               for optics, pixel in ((COARSE, 0.185), (FINE, 0.074))]
    return (sample(signals[0], Transform.identity(), (128, 128), 0.185),
            sample(signals[1], Transform.identity(), (320, 320), 0.074))


def noisy(coarse, rng):
    return (coarse + rng.normal(0, NOISE, coarse.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def threshold(section):
    """B: the map's 99th percentile on the truth."""
    coarse, fine = section
    return float(np.percentile(consistency_map(MODEL, fine, noisy(coarse, np.random.default_rng(1))), 99))


def bright_places(fine, count, rng):
    brightness = ndimage.uniform_filter(fine.mean(axis=2), 7)
    brightness[:20] = brightness[-20:] = brightness[:, :20] = brightness[:, -20:] = 0
    y, x = np.nonzero(brightness >= 0.5)
    chosen = rng.choice(len(y), count, replace=False)
    return list(zip(y[chosen], x[chosen], strict=True))


@pytest.mark.parametrize(("side_px", "contrast"), [(7, 0.2), (5, 0.3)])
def test_a_planted_dark_square_lights_up(section, threshold, rng, side_px, contrast):
    coarse, fine = section
    seen = noisy(coarse, rng)
    found = []
    # The map is local: four squares far apart are planted at a time.
    for y, x in bright_places(fine, 40, rng):
        changed, half = fine.copy(), side_px // 2
        changed[y - half:y + half + 1, x - half:x + half + 1] *= np.float32(1 - contrast)
        top, left = max(int(y / 2.5) - 32, 0) // 2 * 2, max(int(x / 2.5) - 32, 0) // 2 * 2
        window = np.s_[top:top + 64, left:left + 64]
        fine_window = np.s_[top * 5 // 2:top * 5 // 2 + 160, left * 5 // 2:left * 5 // 2 + 160]
        local = consistency_map(MODEL, changed[fine_window], seen[window])
        cy, cx = int(y / 2.5) - top, int(x / 2.5) - left
        found.append(local[max(cy - 3, 0):cy + 4, max(cx - 3, 0):cx + 4].max())
    assert np.mean(np.array(found) >= 5 * threshold) >= 0.9


def test_the_truth_with_other_noise_does_not(section, threshold, rng):
    coarse, fine = section
    assert np.mean(consistency_map(MODEL, fine, noisy(coarse, rng)) <= 2 * threshold) >= 0.99


def test_a_grating_beyond_the_coarse_cutoff_does_not_though_it_is_invented(section, threshold, rng):
    """The stated limit: 3.2 cycles/µm, 20 %, under a smooth envelope of 3 µm."""
    coarse, fine = section
    y = x = (np.arange(320) - 160) * 0.074
    envelope = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * 3.0 ** 2))
    grating = 1 + 0.2 * envelope * np.cos(2 * np.pi * 3.2 * x)[None]
    invented = consistency_map(MODEL, (fine * grating[:, :, None]).astype(np.float32), noisy(coarse, rng))
    assert np.mean(invented <= 2 * threshold) >= 0.99
    assert invented.max() <= 1.2 * consistency_map(MODEL, fine, noisy(coarse, rng)).max()


@pytest.mark.parametrize("frequency", [0.5, 1.5, 2.2])
def test_a_fine_grating_comes_down_by_the_ratio_of_the_transfers(frequency):
    x = (np.arange(500) + 0.5) * 0.074
    fine = np.broadcast_to(0.5 + 0.1 * np.cos(2 * np.pi * frequency * x), (500, 500)).astype(np.float32)
    coarse = MODEL.coarsen(fine, (200, 200))[100, 40:160]
    centres = (np.arange(40, 160) + 0.5) * 0.185
    ratio = (weak_object_transfer(frequency, COARSE) * pixel_transfer(frequency, 0.185)
             / weak_object_transfer(frequency, FINE) / pixel_transfer(frequency, 0.074))
    assert coarse == pytest.approx(0.5 + 0.1 * ratio * np.cos(2 * np.pi * frequency * centres), abs=0.0005)


def test_pieces_give_what_the_whole_gives(section, monkeypatch):
    coarse, fine = section
    whole = consistency_map(MODEL, fine, coarse)
    monkeypatch.setattr("superres.optics.consistency.PIECE_PX", 64)
    # 4 µm of coherence reach beyond the margin with less than 1e-4 of the light
    assert consistency_map(MODEL, fine, coarse) == pytest.approx(whole, abs=2e-4)


def test_stored_values_with_their_white_give_what_unit_intensities_give(section):
    coarse, fine = section
    whites = 4095, 65535
    stored = [np.rint(np.clip(image, 0, 1) * white).astype(np.uint16)
              for image, white in zip((fine, coarse), whites, strict=True)]
    units = [image.astype(np.float32) / white for image, white in zip(stored, whites, strict=True)]
    assert consistency_map(MODEL, *stored, 4095.0, 65535.0) == pytest.approx(consistency_map(MODEL, *units), abs=1e-6)


def test_noise_alone_gives_the_level_that_is_announced(rng):
    fine = np.full((500, 500, 3), 0.7, dtype=np.float32)
    coarse = noisy(np.full((200, 200, 3), 0.7), rng)
    assert np.percentile(consistency_map(MODEL, fine, coarse), 99) == pytest.approx(noise_level(NOISE, 3), rel=0.05)
    grey = consistency_map(MODEL, fine[:, :, 0], coarse[:, :, 0])
    assert np.percentile(grey, 99) == pytest.approx(noise_level(NOISE, 1), rel=0.05)


def test_the_smallest_visible_contrast_is_what_just_reaches_the_threshold():
    spots = {round(spot.side_um / 0.074): spot.contrast for spot in visible_spots(MODEL, 0.02)}
    fine = np.ones((400, 400), dtype=np.float32)
    fine[197:204, 197:204] -= np.float32(spots[7])
    reached = consistency_map(MODEL, fine, np.ones((160, 160), dtype=np.float32)).max()
    assert reached == pytest.approx(0.02, rel=0.05)  # the square's place on the coarse grid differs
    assert spots[3] > spots[5] > spots[7] > spots[11]
    assert visible_spots(MODEL, 0.9)[0].contrast is None


def test_the_finest_visible_grating_lifts_the_map_to_the_threshold_and_finer_ones_do_not():
    """At 1 % noise 20 % contrast shows up to 1.8 cycles/µm, at 10 % to little beyond 1.5."""
    limit = 2 * noise_level(NOISE, 3)
    finest = finest_visible(MODEL, limit, 0.2)
    assert 1.7 < finest < 2.0 and 1.4 < finest_visible(MODEL, limit, 0.1) < 1.7
    x = (np.arange(1500) + 0.5) * 0.074
    for factor, seen in ((0.93, True), (1.07, False)):
        line = (1 + 0.2 * np.cos(2 * np.pi * factor * finest * x)) / 1.2
        grating = np.broadcast_to(line, (150, 1500)).astype(np.float32)
        flat = np.full((60, 600), grating.mean(), dtype=np.float32)
        found = consistency_map(MODEL, grating, flat)[20:40, 50:-50]
        assert bool(found.max() > limit) is seen
    assert finest_visible(MODEL, 0.5, 0.2) is None
