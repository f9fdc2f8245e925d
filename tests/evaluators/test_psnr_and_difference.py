"""PSNR and difference maps on errors whose size is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from superres.api import Case
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator, region_statistics
from superres.builtin.evaluators.pictures import block_mean
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.image import FloatArray

MakeCase = Callable[..., Case]
Speckle = Callable[..., FloatArray]


@pytest.mark.parametrize("error", [0.5, 0.1, 0.01])
def test_psnr_of_a_uniform_error_is_twenty_decades(make_case: MakeCase, error: float, speckle: Speckle) -> None:
    truth = 0.4 * speckle(0)
    case = make_case(prediction=truth + np.float32(error))
    object.__setattr__(case, "truth", truth)
    evaluator = PsnrEvaluator()
    evaluator.update(case)
    # relative 1e-5: the error itself is a float32 difference of numbers near 1 (1e-7 / 0.01)
    assert evaluator.compute()[0].value == pytest.approx(-20 * np.log10(error), rel=1e-5)


def test_psnr_is_averaged_over_images_in_decibels(make_case: MakeCase, speckle: Speckle) -> None:
    evaluator = PsnrEvaluator()
    truth = 0.5 * speckle(0)
    for error in (0.1, 0.001):
        case = make_case(prediction=truth + np.float32(error))
        object.__setattr__(case, "truth", truth)
        evaluator.update(case)
    assert evaluator.compute()[0].value == pytest.approx((20 + 60) / 2, rel=1e-4)


def test_an_identical_image_gets_the_documented_cap_instead_of_infinity(make_case: MakeCase, speckle: Speckle) -> None:
    evaluator = PsnrEvaluator()
    evaluator.update(make_case(prediction=speckle(0)))
    assert evaluator.compute()[0].value == 100.0


def test_difference_is_percent_of_white_averaged_over_colours(make_case: MakeCase) -> None:
    truth = np.full((50, 40, 3), 0.25, dtype=np.float32)
    prediction = truth.copy()
    prediction[..., 0] += 0.3  # red alone is wrong by 30 % of white: 10 % over the three colours
    prediction[0, :, :] = 1.0  # one row of 50 is wrong by 75 %
    case = make_case(prediction=prediction)
    object.__setattr__(case, "truth", truth)
    object.__setattr__(case, "bicubic", truth)
    evaluator = DifferenceMapEvaluator()
    evaluator.update(case)
    mean, worst = evaluator.compute()
    assert mean.value == pytest.approx((75 + 49 * 10) / 50, rel=1e-5)
    assert worst.value == pytest.approx(75, rel=1e-5)
    assert (mean.baseline, worst.baseline) == (0, 0)
    assert (mean.unit, mean.better) == ("%", "lower")


def test_block_means_weigh_partial_blocks_by_their_own_pixels() -> None:
    plane = np.arange(35, dtype=np.float32).reshape(5, 7)
    means = block_mean(plane, 3)
    assert means.shape == (2, 3)
    assert means[0, 0] == pytest.approx(plane[:3, :3].mean())
    assert means[1, 2] == pytest.approx(plane[3:, 6:].mean())


def test_maps_show_the_scale_they_claim(make_case: MakeCase) -> None:
    """A map of 100 % everywhere is the top colour of the bar, one of 0 % the bottom colour; 700 px at most."""
    truth = np.ones((900, 640, 3), dtype=np.float32)
    case = make_case(prediction=np.zeros_like(truth))
    object.__setattr__(case, "truth", truth)
    object.__setattr__(case, "bicubic", truth)
    pictures = DifferenceMapEvaluator(scales_percent=[100, 25], regions=0).illustrate(case)
    assert [picture.title.split(",")[1].strip() for picture in pictures] == ["0–100 %", "0–25 %"]
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        assert max(height, width) <= 700 and picture.pixels.dtype == np.uint8
        output, bicubic = picture.pixels[height // 2, 100], picture.pixels[height // 2, 350]
        # the ends of inferno are (0.98836, 0.99836, 0.64492) and (0.00146, 0.00047, 0.01387); ± rounding
        assert output.tolist() == pytest.approx([252.0, 254.6, 164.5], abs=1)
        assert bicubic.tolist() == pytest.approx([0.4, 0.1, 3.5], abs=1)
    assert "3 × 3 px" in pictures[0].caption and "larger differences look like 25 %" in pictures[1].caption


def test_a_small_field_is_enlarged_so_that_its_map_can_be_seen(make_case: MakeCase) -> None:
    assert min(picture.pixels.shape[1] for picture in DifferenceMapEvaluator(regions=0).illustrate(make_case())) > 500


def test_regions_have_their_own_numbers(make_case: MakeCase) -> None:
    percent = np.zeros((60, 91), dtype=np.float32)
    percent[:20, :30] = 30.0  # the first of 3 × 3 regions is wrong everywhere, the last in one pixel of 600
    percent[59, 90] = 60.0
    table = region_statistics(percent, 3)
    assert [each.box for each in table][:2] == [(0, 0, 20, 30), (0, 30, 20, 31)] and len(table) == 9
    assert (table[0].mean, table[0].p99) == (30.0, 30.0)
    assert table[-1].mean == pytest.approx(60 / 600) and table[-1].p99 == 0.0
    assert sum(each.mean * each.box[2] * each.box[3] for each in table) == pytest.approx(percent.sum())
    picture = DifferenceMapEvaluator(regions=2).illustrate(make_case())[-1]
    assert "2 × 2" in picture.title and "tissue" in picture.caption
