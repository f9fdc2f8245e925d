"""The bicubic model gives the numbers of superres.resample."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from superres.builtin.models.bicubic import BicubicModel
from superres.resample import bicubic


def upsampled(image, up, down):
    with torch.no_grad():
        output = BicubicModel(up=up, down=down).build()(torch.from_numpy(image).permute(2, 0, 1)[None])
    return output[0].permute(1, 2, 0).numpy()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), up=st.integers(1, 8), down=st.integers(1, 4))
def test_equals_resample(height, width, up, down):
    up = max(up, down)
    image = np.random.default_rng(height * 41 + width).random((height, width, 3), dtype=np.float32)
    expected = bicubic(image, Fraction(up, down))
    assert expected.shape[:2] == BicubicModel(up=up, down=down).geometry.output_shape(height, width)
    # Two float32 summations of at most five products around 1, in another order.
    np.testing.assert_allclose(upsampled(image, up, down), expected, atol=1e-6, rtol=0)


def test_a_ramp_stays_a_ramp_inside():
    """Keys' kernel reproduces polynomials up to degree two; the half-pixel phase shows in the offset."""
    ramp = np.repeat(np.arange(20, dtype=np.float32)[:, None], 8, axis=1)[:, :, None].repeat(3, axis=2) / 20
    rows = (np.arange(50) + 0.5) / 2.5 - 0.5
    np.testing.assert_allclose(upsampled(ramp, 5, 2)[6:-6, 10, 0], rows[6:-6] / 20, atol=1e-6)


def test_it_is_not_trainable():
    assert BicubicModel.trainable is False
    assert not list(BicubicModel().build().parameters())
    assert BicubicModel().native(BicubicModel().build()) is None


def test_shrinking_is_refused():
    with pytest.raises(ValidationError, match="expected up >= down"):
        BicubicModel(up=1, down=2)
