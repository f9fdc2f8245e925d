"""The losses against numpy, written from Eq. S4 and S5."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from superres.builtin.losses.l1 import L1Loss
from superres.builtin.losses.mse import MseLoss
from superres.builtin.losses.mse_gradient import MseGradientLoss

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=np.float64)


def equation_s4(prediction, truth, weight):
    """By scipy's correlation over valid pixels, every image and colour by itself."""
    error = np.mean((prediction - truth) ** 2)
    energy = [correlate2d(plane, kernel, mode="valid") ** 2
              for image in prediction for plane in image for kernel in (SOBEL, SOBEL.T)]
    return error + weight * 2 * np.mean(energy)


def value(loss, prediction, truth):
    return loss.build()(torch.from_numpy(prediction), torch.from_numpy(truth)).item()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(3, 12), st.integers(3, 12), st.floats(0, 1), st.integers(0, 1000))
def test_mse_gradient_is_equation_s4(count, height, width, weight, seed):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.standard_normal((2, count, 3, height, width))
    assert value(MseGradientLoss(gradient_weight=weight), prediction, truth) == \
        pytest.approx(equation_s4(prediction, truth, weight), rel=1e-12)


def test_gradient_of_a_ramp_is_eight_times_its_slope():
    """Raw Sobel kernels weigh a slope of s per pixel with 8·s; the border invents no edge."""
    ramp = np.broadcast_to(0.01 * np.arange(9.0), (1, 3, 7, 9)).copy()
    assert value(MseGradientLoss(gradient_weight=0.5), ramp, ramp) == pytest.approx(0.5 * 0.08**2, rel=1e-12)
    flat = np.full((1, 3, 5, 5), 0.7)
    assert value(MseGradientLoss(gradient_weight=1.0), flat, flat) == 0.0


def test_the_default_weight_is_the_papers():
    assert MseGradientLoss().options.gradient_weight == 0.001


def test_plain_losses():
    prediction, truth = np.full((2, 3, 4, 5), 0.75), np.full((2, 3, 4, 5), 0.25)
    assert value(MseLoss(), prediction, truth) == 0.25
    assert value(L1Loss(), prediction, truth) == 0.5


def test_images_without_a_valid_pixel_have_a_finite_loss():
    assert value(MseGradientLoss(), np.ones((1, 3, 2, 9)), np.zeros((1, 3, 2, 9))) == 1.0


def test_derivative_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(1, 3, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = torch.rand(1, 3, 5, 6, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: MseGradientLoss(gradient_weight=0.1).build()(x, truth), (prediction,))
