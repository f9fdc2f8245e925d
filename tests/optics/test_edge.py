"""Slanted-edge transfer against closed forms."""

import numpy as np
import pytest
from scipy import ndimage

from superres.errors import ImageError
from superres.optics.edge import slanted_edge
from tests.optics.edges import boxed_edge, gaussian_edge

EDGES = [pytest.param(angle, sigma, id=f"{angle}°, {f'sigma {sigma}' if sigma else 'pixel box'}")
         for angle in (3, 5, 8) for sigma in (0.5, 0.7, 1.0, 2.0, None)]


def edge(angle_deg, sigma_px, rows=200):
    return gaussian_edge(angle_deg, sigma_px, rows) if sigma_px else boxed_edge(angle_deg, rows)


def expected(frequency, angle_deg, sigma_px):
    if sigma_px:
        return np.exp(-2 * (np.pi * sigma_px * frequency) ** 2)
    angle = np.deg2rad(angle_deg)
    return np.abs(np.sinc(frequency * np.cos(angle)) * np.sinc(frequency * np.sin(angle)))


@pytest.mark.parametrize(("angle_deg", "sigma_px"), EDGES)
def test_transfer_of_a_noise_free_edge(angle_deg, sigma_px):
    found = slanted_edge(edge(angle_deg, sigma_px))
    assert found.frequency[0] == 0 and found.frequency[-1] == 0.5
    assert np.abs(found.transfer - expected(found.frequency, angle_deg, sigma_px)).max() <= 0.02
    assert found.angle_deg == pytest.approx(angle_deg, abs=0.05)
    assert (found.dark, found.bright) == pytest.approx((0.1, 0.9), abs=0.005)


@pytest.mark.parametrize(("angle_deg", "sigma_px"),
                         [case for case in EDGES if case.values[1] != 2.0])
def test_transfer_of_a_noisy_edge(angle_deg, sigma_px, rng):
    for _ in range(5):
        noisy = edge(angle_deg, sigma_px, rows=400)
        found = slanted_edge(noisy + rng.normal(0, 0.01, noisy.shape), window_px=16)
        assert np.abs(found.transfer - expected(found.frequency, angle_deg, sigma_px)).max() <= 0.03


@pytest.mark.parametrize("turned", [lambda e: e[::-1], lambda e: e[:, ::-1], lambda e: e.T, lambda e: 1 - e.T[::-1]])
def test_any_orientation_and_polarity_gives_the_same(turned):
    plain = slanted_edge(gaussian_edge(5, 0.7))
    assert slanted_edge(turned(gaussian_edge(5, 0.7))).transfer == pytest.approx(plain.transfer, abs=0.01)


def test_half_contrast_frequency_of_a_gaussian():
    found = slanted_edge(gaussian_edge(5, 1.0))
    assert found.frequency_at(0.5) == pytest.approx(np.sqrt(np.log(2) / 2) / np.pi, abs=0.002)
    assert found.frequency_at(0.001) is None


def distance_px(angle_deg, rows=200, columns=100):
    y, x = np.indices((rows, columns))
    angle = np.deg2rad(angle_deg)
    return (x - columns / 2) * np.cos(angle) - (y - rows / 2) * np.sin(angle)


def with_bar(plane, first, width, depth=0.8):
    """A dark bar on the bright side, along the edge; depth in units of the edge's step of 0.8."""
    beside = distance_px(5)
    return plane - 0.8 * depth * ((beside > first) & (beside < first + width))


def slanted_ramp(angle_deg, wide_px):
    return np.clip(0.5 + distance_px(angle_deg) / wide_px, 0.05, 0.95)


@pytest.mark.parametrize("factor", [1.0, 0.93], ids=["even light", "7 % less light on one side"])
def test_sharpened_blurred_and_noisy_edges_are_still_edges(factor, rng):
    """What users have: an unsharp mask with its overshoot, defocus, uneven light."""
    edge = gaussian_edge(5, 1.5) * np.linspace(1, factor, 100)
    sharpened = edge + 1.0 * (edge - ndimage.gaussian_filter(edge, 2.0))
    defocused = gaussian_edge(5, 6.0) * np.linspace(1, factor, 100)
    for plane in (sharpened, defocused, edge + rng.normal(0, 0.05, edge.shape)):
        assert slanted_edge(plane).transfer[0] == pytest.approx(1)


@pytest.mark.parametrize(("plane", "reason"), [
    (np.full((100, 100), 0.5), "opposite sides"),
    (np.tile(np.linspace(0, 1, 100) > 0.5, (100, 1)).astype(float), "tilted by 0.0°"),
    (gaussian_edge(5, 1.0)[:15], "expected at least 20"),
    (gaussian_edge(5, 1.0, rows=200, columns=24), "beside the edge"),
    (with_bar(gaussian_edge(5, 1.0), first=12, width=6), "a second edge, a bar"),
    (with_bar(gaussian_edge(5, 1.0), first=3, width=4), "a second edge, a bar"),
    (with_bar(gaussian_edge(5, 1.0), first=14, width=8, depth=0.2), "a second edge, a bar"),
    (slanted_ramp(5, wide_px=90), "a ramp, no edge"),
    (np.where(np.indices((200, 100)).sum(axis=0) == 7, np.nan, gaussian_edge(5, 1.0)), "8 of 20000 pixels are NaN"),
])
def test_what_is_no_slanted_edge_is_refused_with_the_reason(plane, reason):
    with pytest.raises(ImageError, match=reason):
        slanted_edge(plane)


def test_two_edges_are_not_taken_for_one():
    plane = gaussian_edge(5, 1.0, 200, 200)
    plane[100:] = plane[100:, ::-1]
    with pytest.raises(ImageError):
        slanted_edge(plane)
