"""What mtf, spectrum, consistency and frc say about outputs whose faults are known."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from superres.api import Case
from superres.builtin.evaluators.consistency import ConsistencyEvaluator
from superres.builtin.evaluators.fine_optics import FineOpticsOptions, forward_model
from superres.builtin.evaluators.frc import FrcEvaluator
from superres.builtin.evaluators.mtf import MtfEvaluator
from superres.builtin.evaluators.pictures import LabelledMap, draw_maps
from superres.builtin.evaluators.spectrum import SpectrumEvaluator
from superres.image import Image
from superres.optics.usaf.target import TargetSpec, draw_target
from superres.resample import bicubic
from superres.testing import EvaluatorContract


def scores(evaluator, case):
    evaluator.update(case)
    return {score.name: score for score in evaluator.compute()}


@pytest.mark.parametrize(("side", "shown", "block"), [(150, 600, 1), (200, 600, 1), (1000, 500, 2)])
def test_a_map_alone_is_as_large_as_a_page_shows_it(side, shown, block):
    """Its upper half is bright: the picture holds them at whole multiples, never stretched."""
    plane = np.zeros((side, side), dtype=np.float32)
    plane[:side // 2] = 1.0
    pixels, found = draw_maps([LabelledMap("map", plane)], 1.0, "%")
    column = pixels[:, 100].astype(int)
    bright = np.flatnonzero((column[:, 0] > 200) & (column[:, 2] < 200))  # inferno's upper end is yellow
    assert found == block and len(bright) == shown // 2


def test_blurring_a_target_loses_its_fine_elements_and_only_those():
    drawn = draw_target(TargetSpec(first_group=6, nests=1, numerals=False, margin_um=6.0), 15.625 / 10)
    truth = np.repeat(cv2.GaussianBlur(drawn.transmittance, (0, 0), 0.6)[:, :, None], 3, axis=2)
    noise = np.random.default_rng(0).normal(0, 0.003, truth.shape)
    sharp, soft = ((cv2.GaussianBlur(truth, (0, 0), sigma) + noise).clip(0, 1).astype(np.float32)
                   for sigma in (0.5, 2.2))
    coarse = Image(truth[::2, ::2].copy(), 2 * 15.625 / 10)
    found = scores(MtfEvaluator(), Case("f", "s", coarse, sharp, soft, truth, 15.625 / 10))
    # 5.6 px a period at 7/6: a blur of sd 2.2 px leaves exp(−2π²·2.2²/5.6²) = 5 % of it
    assert found["mtf-finest"].value > 200 > found["mtf-finest"].baseline > 64
    assert found["mtf-contrast"].value > found["mtf-contrast"].baseline + 0.1
    evaluator = MtfEvaluator()
    evaluator.update(EvaluatorContract().case(1))
    assert evaluator.compute() == () and "no USAF-1951 target" in evaluator.notes()[0]


def test_the_spectrum_of_a_filtered_output_is_the_filter_in_decibels(rng):
    """Half the amplitude beyond the coarse cut-off is −6 dB there and nothing below."""
    truth = 0.5 + 0.05 * rng.standard_normal((200, 200, 3))
    frequency = np.hypot(np.fft.fftfreq(200, 0.074)[:, None], np.fft.fftfreq(200, 0.074)[None])
    halved = np.where(frequency > 2.727, 0.5, 1.0)[:, :, None]
    output = np.fft.ifft2(np.fft.fft2(truth, axes=(0, 1)) * halved, axes=(0, 1)).real
    case = Case("f", "s", Image(np.zeros((80, 80, 3), np.float32), 0.185), output.astype(np.float32),
                truth.astype(np.float32), truth.astype(np.float32), 0.074)
    found = scores(SpectrumEvaluator(), case)
    assert found["spectrum-added"].value == pytest.approx(-6.02, abs=0.3)  # the window mixes neighbouring rings
    assert found["spectrum-passed"].value == pytest.approx(0, abs=0.1)
    assert found["spectrum-added"].baseline == pytest.approx(0, abs=1e-6)
    assert SpectrumEvaluator().illustrate(case)[0].pixels.shape[2] == 3


def test_an_output_that_contradicts_its_input_scores_worse_without_any_truth():
    case = EvaluatorContract().case(3, error=0.0, with_truth=False)
    coarse = forward_model(case, FineOpticsOptions()).coarsen(case.prediction, (24, 20))
    case = replace(case, input=Image(coarse, 0.185), bicubic=case.prediction)
    spotted = case.prediction.copy()
    spotted[20:27, 20:27] *= np.float32(0.5)
    found = scores(ConsistencyEvaluator(), replace(case, prediction=spotted))
    assert found["consistency-p99"].value > 20 * found["consistency-p99"].baseline
    (picture,) = ConsistencyEvaluator().illustrate(case)
    assert "a blank map there is no evidence" in picture.caption and "µm:" in picture.caption


def test_ring_correlation_is_refused_where_noise_is_not_independent(rng):
    frame = (0.5 + rng.normal(0, 0.01, (160, 160, 3))).astype(np.float32)
    case = EvaluatorContract().case(1)
    for pixels in (bicubic(frame, Fraction(2)), np.full_like(frame, 0.5)):
        evaluator = FrcEvaluator()
        evaluator.update(replace(case, input=Image(pixels, 0.185, name="f")))
        assert evaluator.compute() == () and "one image gives no ring correlation" in evaluator.notes()[0]
