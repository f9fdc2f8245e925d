"""Fourier ring correlation against a known band limit, and power spectra against known noise."""

from fractions import Fraction

import numpy as np
import pytest
from skimage import data

from superres.errors import ImageError
from superres.optics.spectrum import (
    RingCorrelation,
    fourier_ring_correlation,
    noise_floor,
    radial_spectrum,
    single_image_correlation,
    why_not_camera_noise,
)
from superres.resample import bicubic

IMAGES = ("camera", "brick", "grass", "gravel")
NOISE = 0.01


def band_limited(name, limit):
    """512² greys of scikit-image behind an ideal low-pass filter."""
    image = getattr(data, name)().astype(np.float64) / 255
    radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])
    return np.fft.ifft2(np.fft.fft2(image) * (radius <= limit)).real


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("limit", [0.15, 0.20, 0.25, 0.30, 0.35])
def test_two_noisy_copies_agree_up_to_the_band_limit(name, limit, rng):
    clean = band_limited(name, limit)
    first, second = (clean + rng.normal(0, NOISE, clean.shape) for _ in range(2))
    assert fourier_ring_correlation(first, second).limit == pytest.approx(limit, rel=0.05)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("limit", [0.15, 0.19, 0.23])
def test_one_image_split_diagonally_agrees_too(name, limit, rng):
    noisy = band_limited(name, limit) + rng.normal(0, NOISE, (512, 512))
    assert single_image_correlation(noisy).limit == pytest.approx(limit, rel=0.05)


def test_the_half_pixel_between_the_halves_is_taken_back(rng):
    """Left in, it would lower the correlation of a ring at f cycles per pixel of a half to J₀(√2·π·f): .35 at .4."""
    noisy = band_limited("grass", 0.23) + rng.normal(0, NOISE, (512, 512))
    taken_back = single_image_correlation(noisy)
    left_in = fourier_ring_correlation(noisy[0::2, 0::2], noisy[1::2, 1::2])
    ring = np.abs(left_in.frequency - 0.4) < 0.02
    assert left_in.correlation[ring].mean() == pytest.approx(0.35, abs=0.1)
    assert taken_back.correlation[ring].mean() > 0.95


def test_stricter_thresholds_give_coarser_limits_and_the_half_bit_falls_to_its_asymptote(rng):
    clean = band_limited("camera", 0.3)
    first, second = (clean + rng.normal(0, 0.05, clean.shape) for _ in range(2))
    found = fourier_ring_correlation(first, second)
    assert found.limit_at(0.5) < found.limit_at(found.half_bit()) <= found.limit_at(1 / 7) == found.limit
    # it falls towards 0.2071/1.2071 = 0.172; at 804 coefficients it has come to 0.222
    assert found.half_bit()[-1] == pytest.approx(0.222, abs=0.002) and found.half_bit()[0] > 0.5
    # a ring of radius r has 2πr coefficients, half of them independent; single rings scatter by 6 %
    assert found.coefficients[50:150].mean() == pytest.approx(np.pi * np.arange(51, 151).mean(), rel=0.01)


@pytest.mark.parametrize(("last", "limit"), [
    ((0.9, 0.4, 0.9, 0.9), None), ((0.9, 0.9, 0.9, 0.4), 0.25), ((0.9, 0.9, 0.4, 0.3), 0.2),
    ((0.4, 0.3, 0.2, 0.9), 0.1)])
def test_a_correlation_that_ends_below_a_threshold_has_crossed_it(last, limit):
    """The highest frequency leaves no room for three rings; a single dip before it is still none."""
    frequency = np.array([0.05, 0.1, 0.15, 0.2, 0.25])
    found = RingCorrelation(frequency, np.array([1.0, *last]), np.full(5, 100.0), threshold=1 / 7)
    assert found.limit_at(0.5) == limit


def test_white_noise_has_its_variance_at_every_frequency(rng):
    for shape in ((128, 128), (96, 200)):
        spectrum = radial_spectrum(rng.normal(0.5, 0.02, shape))
        # rings of a few coefficients scatter; the mean over the outer half has over 5,000 of them
        assert spectrum.power[len(spectrum.power) // 2:].mean() == pytest.approx(0.02 ** 2, rel=0.05)


def test_a_grating_stands_at_its_frequency():
    grating = 0.5 + 0.2 * np.cos(2 * np.pi * 0.125 * np.arange(128))[None] * np.ones((128, 1))
    spectrum = radial_spectrum(grating)
    assert spectrum.frequency[np.argmax(spectrum.power)] == pytest.approx(0.125)


def test_camera_noise_is_told_from_resampled_denoised_and_compressed_images(rng):
    frame = band_limited("brick", 0.35) + rng.normal(0, NOISE, (512, 512))
    assert noise_floor(frame).sd == pytest.approx(NOISE, rel=0.05)
    rounded = np.rint(frame * 255) / 255
    assert why_not_camera_noise(rounded, 1 / 255) == ""
    small = rounded[:208, :208].astype(np.float32)
    assert "resampled" in why_not_camera_noise(bicubic(small, Fraction(5, 2)))
    assert "no noise" in why_not_camera_noise(np.rint(band_limited("brick", 0.35) * 255) / 255, 1 / 255)


@pytest.mark.parametrize(("noise", "told"), [(0.0, "no noise"), (0.001, "times the rounding"), (0.002, "times the"),
                                             (0.003, ""), (0.004, ""), (0.01, "")])
def test_noise_that_may_be_rounding_is_not_taken_for_a_cameras(rng, noise, told):
    """Of 8 bits: twice the rounding is 0.23 % of white.  16 bits tell the same noise from rounding."""
    frame = band_limited("grass", 0.3) + rng.normal(0, noise, (512, 512))
    reason = why_not_camera_noise(np.rint(frame * 255) / 255, 1 / 255)
    assert told in reason and bool(told) == bool(reason)
    if noise:
        assert why_not_camera_noise(np.rint(frame * 65535) / 65535, 1 / 65535) == ""


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ImageError, match=r"\(64, 64\) and \(64, 65\)"):
        fourier_ring_correlation(np.zeros((64, 64)), np.zeros((64, 65)))
    with pytest.raises(ImageError, match="at least 64"):
        single_image_correlation(np.zeros((100, 200)))
