"""Bicubic by exactly 5/2 against OpenCV's: the price of exact factors and of Keys' a = −0.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from superres.resample import bicubic


@pytest.fixture
def opencv_on_one_core() -> Iterator[None]:
    """The candidate runs on one core; a reference on all of them would make the ratio follow the machine's load."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.mark.usefixtures("opencv_on_one_core")
def test_bicubic_enlarges_beside_opencv(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator) -> None:
    side = 512 if measuring else 32
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side
    tints = rng.uniform(0.5, 1.5, 3).astype(np.float32)
    pixels = np.stack([0.5 + 0.4 * np.sin(9 * tint * rows) * np.cos(7 * columns) for tint in tints], axis=-1)
    out = side * 5 // 2
    outcome = versus(lambda: bicubic(pixels, Fraction(5, 2)),
                     lambda: cv2.resize(pixels, (out, out), interpolation=cv2.INTER_CUBIC),
                     reference_name="cv2.resize INTER_CUBIC", output_megapixels=out * out / 1e6)
    inner = slice(8, -8)            # the borders differ by design: OpenCV repeats the edge, superres renormalises
    difference = np.abs(outcome.candidate[inner, inner] - outcome.reference[inner, inner])
    # A cubic convolution kernel with parameter a bends a straight line of slope f' per pixel by at most
    # |2a + 1|·√3/18·f': nothing for Keys' −0.5, √3/36·f' for OpenCV's −0.75.  The steepest slopes here are 0.4·13.5 and
    # 0.4·7 per image side; terms of second order in 1/side are smaller than the slack of adding both maxima.
    steepest = 0.4 * (13.5 + 7) / side
    assert outcome.candidate.shape == outcome.reference.shape == (out, out, 3)
    assert difference.max() < np.sqrt(3) / 36 * steepest
    outcome.note(max_difference_from_reference=float(difference.max()))
