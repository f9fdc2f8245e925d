"""Registrars `phase` and `identity`."""

from __future__ import annotations

import numpy as np
import pytest

from superres.builtin.registrars.identity import IdentityRegistrar
from superres.builtin.registrars.phase import PhaseRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, FINE_UM, Slide, placement_error_px, speckle


@pytest.fixture(scope="module")
def slide() -> Slide:
    return Slide(speckle(6, 900))


@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (3.3, -5.7), (-11.25, 8.5)])
def test_phase_finds_the_shift_between_images_of_one_field(slide: Slide, shift_px: tuple[float, float]) -> None:
    """Standard noise; the bar is the project's for the paper chain, 0.08 px."""
    coarse = slide.coarse((60.0, 60.0), (140, 130), noise=0.01)
    corner = ((60 + shift_px[0]) * COARSE_UM, (60 + shift_px[1]) * COARSE_UM)
    fine = slide.fine(Transform.shift(*corner), (350, 325), noise=0.004)
    found = PhaseRegistrar().register(fine, coarse)
    truth = Transform.shift(shift_px[0] * COARSE_UM, shift_px[1] * COARSE_UM)
    assert placement_error_px(found.transform.inverse(), truth, fine, COARSE_UM) < 0.08
    assert found.confidence > 0.8


def test_phase_sharpens_a_guess_in_a_larger_scan(slide: Slide) -> None:
    coarse = slide.coarse((0.0, 0.0), (350, 350), noise=0.01)
    truth = Transform.shift(150.4 * COARSE_UM, 97.8 * COARSE_UM)
    fine = slide.fine(truth, (300, 300), noise=0.004)
    found = PhaseRegistrar().register(fine, coarse, guess=Transform.shift(-145 * COARSE_UM, -101 * COARSE_UM))
    assert placement_error_px(found.transform.inverse(), truth, fine, COARSE_UM) < 0.08


def test_phase_refuses_what_a_shift_cannot_mend(slide: Slide) -> None:
    coarse = slide.coarse((0.0, 0.0), (350, 350))
    fine = slide.fine(Transform.shift(30.0, 20.0), (300, 300))
    cases = {"rotation": Transform.similarity(1.0, 5.0), "magnification": Transform.similarity(1.1, 0.0),
             "not-found": Transform.shift(-500.0, 0.0)}
    for reason, guess in cases.items():
        with pytest.raises(RegistrationError) as caught:
            PhaseRegistrar().register(fine, coarse, guess=guess)
        assert caught.value.reason == reason
    with pytest.raises(RegistrationError, match=r"lies .* coarse px from its guess") as caught:
        near = Transform.shift(-30.0 - 9 * COARSE_UM, -20.0)
        PhaseRegistrar(max_shift_px=4).register(fine, coarse, guess=near)
    assert caught.value.reason == "out-of-bound" and "max_shift_px = 1" in caught.value.hint
    with pytest.raises(RegistrationError) as caught:
        PhaseRegistrar().register(Image(np.full((300, 300), 240, np.uint8), FINE_UM, name="empty"), coarse)
    assert caught.value.reason == "blank"


def test_phase_refuses_another_place(slide: Slide) -> None:
    coarse = slide.coarse((0.0, 0.0), (120, 120), noise=0.01)
    fine = slide.fine(Transform.shift(40.0, 40.0), (300, 300), noise=0.004)
    with pytest.raises(RegistrationError, match="does not fit near its guess") as caught:
        PhaseRegistrar().register(fine, coarse)
    assert caught.value.reason == "not-found"


def test_phase_takes_black_for_a_colour(slide: Slide) -> None:
    """Half of the frame lets no light through; a camera offset of 1/255 must change nothing."""
    fine = slide.fine(Transform.shift(61.5 * COARSE_UM, 58.0 * COARSE_UM), (350, 325), noise=0.004)
    raw = slide.coarse((60.0, 60.0), (140, 130), noise=0.01).pixels
    limit = np.median(raw, axis=(0, 1))
    stained = np.where(raw > limit, raw - limit, 0).astype(np.uint8)
    black, offset = (PhaseRegistrar().register(fine, Image(stained + np.uint8(darkest), COARSE_UM))
                     for darkest in (0, 1))
    np.testing.assert_allclose(black.transform.matrix, offset.transform.matrix, atol=1e-6)
    assert black.confidence == pytest.approx(offset.confidence, abs=1e-3)


def test_identity_passes_the_guess_on_and_checks_sizes(slide: Slide) -> None:
    coarse, fine = slide.coarse((0.0, 0.0), (101, 100)), slide.fine(Transform.identity(), (253, 250))
    assert np.array_equal(IdentityRegistrar().register(fine, coarse).transform.matrix, np.eye(3))
    guess = Transform.shift(1.0, 2.0)
    assert IdentityRegistrar().register(fine, coarse, guess).transform is guess
    with pytest.raises(RegistrationError, match=r"covers 18\.72 × 18\.50 µm") as caught:
        IdentityRegistrar().register(fine, slide.coarse((0.0, 0.0), (120, 100)))
    assert caught.value.reason == "magnification"
