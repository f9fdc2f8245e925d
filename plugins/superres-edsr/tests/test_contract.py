"""The network keeps superres's contract, and begins as what it improves on."""

import pytest
import torch
from pydantic import ValidationError
from superres_edsr.model import EdsrModel
from superres_edsr.network import enlarged

from superres.testing import ModelContract


class TestEdsr(ModelContract):
    plugin = EdsrModel
    options = {"features": 8, "blocks": 2}


class TestThreeHalves(ModelContract):
    plugin = EdsrModel
    options = {"features": 6, "blocks": 1, "up": 3, "down": 2, "residual_scale": 0.1}


class TestDouble(ModelContract):
    plugin = EdsrModel
    options = {"features": 6, "blocks": 1, "up": 4, "down": 2}


def test_it_has_the_parameters_that_its_summary_says():
    count = sum(each.numel() for each in EdsrModel().build().parameters())
    assert f"{count:,} parameters" in EdsrModel.summary


def test_it_begins_near_bicubic_up_sampling():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 12, 15)
    with torch.no_grad():
        difference = EdsrModel().build()(image) - enlarged(image, 5, 2)
    assert float(difference.abs().max()) < 0.01


def test_a_ramp_is_enlarged_about_pixel_centres():
    """x_coarse = (x_fine + ½)/2.5 − ½, for odd sizes too."""
    ramp = torch.arange(15.0, dtype=torch.float64).expand(1, 3, 9, 15)
    fine = enlarged(ramp, 5, 2)
    assert fine.shape == (1, 3, 23, 38)
    expected = (torch.arange(38.0, dtype=torch.float64) + 0.5) / 2.5 - 0.5
    inner = slice(5, 30)
    # torch's kernel (a = −0.75) leaves a ramp by up to 0.042; another convention of pixels is 0.3 off.
    torch.testing.assert_close(fine[0, 0, 4, inner], expected[inner], atol=0.05, rtol=0)
    assert abs(float((fine[0, 0, 4, inner] - expected[inner]).mean())) < 1e-3


def test_it_enlarges():
    with pytest.raises(ValidationError, match="expected up >= down"):
        EdsrModel(up=2, down=3)
