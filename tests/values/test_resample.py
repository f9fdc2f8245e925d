"""Bicubic with exact factors, and warping."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.resample import bicubic, index_matrix, warp
from superres.transform import Transform


def wave(shape, pitch, origin=0.0):
    """A smooth pattern sampled at pixel centres of a grid with this pitch, in units of the first grid."""
    y, x = ((np.arange(n) + 0.5) * pitch + origin for n in shape)
    return (0.5 + 0.2 * np.sin(0.11 * y)[:, None] + 0.2 * np.cos(0.13 * x)[None, :]).astype(np.float32)


def direct_bicubic(row, scale):
    """The definition, one output pixel at a time (a = −0.5, stretched when shrinking, renormalised at borders)."""

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    stretch = max(1.0, 1 / scale)
    out = []
    for i in range(-(-len(row) * scale.numerator // scale.denominator)):
        centre = (i + 0.5) / float(scale) - 0.5
        weights = [kernel((j - centre) / stretch) for j in range(len(row))]
        out.append(sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights))
    return np.array(out)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 30),
    st.sampled_from([Fraction(5, 2), Fraction(2, 5), Fraction(3, 1), Fraction(4, 3), Fraction(1, 2)]),
    st.integers(0, 1000),
)
def test_bicubic_is_its_definition(length, scale, seed):
    row = np.random.default_rng(seed).random(length).astype(np.float32)
    image = np.repeat(row[:, None], 4, axis=1)
    np.testing.assert_allclose(bicubic(image, scale)[:, 1], direct_bicubic(row, scale), atol=1e-5)


@pytest.mark.parametrize("scale", [Fraction(5, 2), Fraction(2, 5)])
def test_pixel_centres_do_not_move(scale):
    """A linear ramp keeps its value at every position: an error of half a pixel would shift it by 0.5 or 1.25.

    Enlarging reproduces a ramp to rounding; the stretched kernel sampled at whole pixels errs by ±0.009 when shrinking.
    """
    ramp = np.repeat((np.arange(60, dtype=np.float32) + 0.5)[:, None], 4, axis=1)
    resized = bicubic(ramp, scale)[:, 0]
    expected = (np.arange(len(resized)) + 0.5) / float(scale)
    np.testing.assert_allclose(resized[8:-8], expected[8:-8], atol=1e-4 if scale > 1 else 0.01)


def test_size_is_rounded_up_never_the_factor():
    assert bicubic(np.zeros((333, 555), np.float32), Fraction(5, 2)).shape == (833, 1388)


def test_colour_planes_do_not_mix(rng):
    image = rng.random((12, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(bicubic(image, Fraction(5, 2))[:, :, 1], bicubic(image[:, :, 1], Fraction(5, 2)))


def test_pillow_agrees_where_the_size_is_whole(rng):
    """Pillow's BICUBIC is Keys with a = −0.5, antialiased, pixel centres aligned: an outside reference."""
    from PIL import Image as Pillow

    image = rng.random((40, 60)).astype(np.float32)
    for scale, shape in ((Fraction(5, 2), (150, 100)), (Fraction(2, 5), (24, 16))):
        reference = np.asarray(Pillow.fromarray(image).resize(shape, Pillow.Resampling.BICUBIC))
        np.testing.assert_allclose(bicubic(image, scale), reference, atol=2e-6)


def test_warp_finds_the_same_pattern_on_a_turned_and_scaled_grid():
    """Sampling an analytic pattern through a transform, against evaluating it at the transformed centres."""
    pattern = wave((80, 90), 1.0)
    to_input = Transform.similarity(1.01, 2.0, (3.3, -1.7), (20, 20))
    result = warp(pattern, index_matrix(to_input.matrix, 0.8, 1.0), (40, 40))
    y, x = np.meshgrid((np.arange(40) + 0.5) * 0.8, (np.arange(40) + 0.5) * 0.8, indexing="ij")
    points = to_input.apply(np.stack([y, x], axis=-1))
    expected = 0.5 + 0.2 * np.sin(0.11 * points[..., 0]) + 0.2 * np.cos(0.13 * points[..., 1])
    inside = (points > 10).all(-1) & (points[..., 0] < 70) & (points[..., 1] < 80)
    # A cubic spline errs by the fourth power of 0.13 rad a pixel, and its border fades within ten pixels.
    np.testing.assert_allclose(result[inside], expected[inside], atol=1e-5)
