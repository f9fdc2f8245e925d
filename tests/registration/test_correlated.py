"""Parts of a field say where they lie by correlation: also where features say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from superres.api import Mosaic
from superres.builtin.registrars import paper
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.registration.correlated import REACH_PX, correlated_parts
from superres.registration.torn import NO_PARTS, Parts
from superres.transform import Transform, Warp
from tests.registration.test_torn import torn
from tests.registration.virtual import HARD, random_place
from tests.registration.virtual import tissue as tissue_of

SIDE_PX = 110
PITCH_UM = 0.2


def tissue(seed: int, side_px: int = 2 * SIDE_PX) -> np.ndarray:
    """Smooth random structure: (side, side) float32 about 0.5."""
    plane = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side_px, side_px)), 1.5)
    return (0.5 + 0.2 * plane / plane.std()).astype(np.float32)


def noisy(plane: np.ndarray, seed: int) -> np.ndarray:
    return plane + np.random.default_rng(seed).normal(0, 0.05, plane.shape).astype(np.float32)


def look(field: np.ndarray, scene: np.ndarray, place: Transform | Warp, known: np.ndarray | None = None) -> Parts:
    everywhere = np.ones(scene.shape, bool)
    return correlated_parts(field, PITCH_UM, scene, PITCH_UM, place, everywhere if known is None else known)


@pytest.fixture(scope="module")
def planes() -> tuple[np.ndarray, np.ndarray]:
    """(field, scene): the field is what the scene shows from pixel (50, 40) on, its right half from 3 rows lower."""
    scene = tissue(1)
    field = scene[50:50 + SIDE_PX, 40:40 + SIDE_PX].copy()
    field[:, SIDE_PX // 2:] = scene[53:53 + SIDE_PX, 40 + SIDE_PX // 2:40 + SIDE_PX]
    return noisy(field, 2), noisy(scene, 3)


def test_parts_are_found_where_they_lie(planes: tuple[np.ndarray, np.ndarray]) -> None:
    parts = look(*planes, Transform.shift(50 * PITCH_UM, 40 * PITCH_UM))
    assert len(parts.off_px) == 16 and parts.torn
    expected = np.where(parts.places_um[:, 1:] > SIDE_PX / 2 * PITCH_UM, (3.0, 0.0), (0.0, 0.0))
    wrong = np.abs(parts.off_px - expected)
    assert wrong.max() < 0.3
    # What it takes for its errors are not less than they are.  They are more: the filters saw half of the field astray.
    assert 0.2 < np.sqrt(((wrong / parts.errors_px[:, None]) ** 2).mean()) < 1.2


def test_against_a_warp_that_puts_them_there_nothing_is_beside(planes: tuple[np.ndarray, np.ndarray]) -> None:
    """The right half three pixels lower, as a displacement field."""
    size = (SIDE_PX * PITCH_UM, SIDE_PX * PITCH_UM)
    moved = np.zeros((2, 41, 2))
    moved[:, 21:, 0] = 3 * PITCH_UM
    place = Warp(Transform.identity(), moved, size, Transform.shift(50 * PITCH_UM, 40 * PITCH_UM))
    parts = look(*planes, place)
    assert len(parts.off_px) == 16 and parts.beside == 0 and np.abs(parts.off_px).max() < 0.3


def test_shifts_are_in_the_axes_of_the_scene() -> None:
    """A field turned by a quarter, laid half a pixel too low: the scene shows it higher, whatever its own axes."""
    scene = tissue(4)
    turned = np.ascontiguousarray(np.rot90(scene[50:50 + SIDE_PX, 40:40 + SIDE_PX]))
    middle = SIDE_PX / 2 * PITCH_UM
    laid = [Transform.similarity(1.0, angle, (50.5 * PITCH_UM, 40 * PITCH_UM), (middle, middle)) for angle in (90, -90)]
    right, wrong = sorted((look(noisy(turned, 5), noisy(scene, 6), place) for place in laid),
                          key=lambda parts: -len(parts.off_px))
    assert len(right.off_px) == 16 and len(wrong.off_px) == 0
    np.testing.assert_allclose(np.median(right.off_px, axis=0), (-0.5, 0.0), atol=0.05)


def test_other_tissue_and_what_was_never_taken_say_nothing(planes: tuple[np.ndarray, np.ndarray]) -> None:
    field, scene = planes
    place = Transform.shift(50 * PITCH_UM, 40 * PITCH_UM)
    assert len(look(noisy(tissue(9, SIDE_PX), 2), scene, place).off_px) == 0
    known = np.ones(scene.shape, bool)
    known[:50 + SIDE_PX // 2] = False
    below = look(field, scene, place, known)
    assert 0 < len(below.off_px) <= 8 and (below.places_um[:, 0] > SIDE_PX / 2 * PITCH_UM).all()


def test_a_part_beyond_reach_and_a_small_field_are_not_judged(planes: tuple[np.ndarray, np.ndarray]) -> None:
    field, scene = planes
    far = look(field, scene, Transform.shift((50 - REACH_PX - 4) * PITCH_UM, 40 * PITCH_UM))
    assert len(far.off_px) == 0
    small = look(field[:45, :45], scene, Transform.shift(50 * PITCH_UM, 40 * PITCH_UM))
    assert small is NO_PARTS


def test_a_tear_is_seen_out_of_focus_where_features_are_too_few(shared_data: Path, monkeypatch) -> None:
    """By 2 coarse px, with features that judge fewer than four parts; without correlation it is kept."""
    view, rng = tissue_of(shared_data, "he_liver_2.jpg", HARD), np.random.default_rng(4)
    truth = random_place(view, 480, rng)
    fine, coarse = view.fine(truth, (480, 480), rng), Mosaic.of(view.whole(rng))
    assert fates(fine, coarse) == ["kept", "torn"]
    monkeypatch.setattr(paper, "judged_parts", lambda *given: given[-1])
    assert fates(fine, coarse) == ["kept", "kept"]


def fates(fine: Image, coarse: Mosaic) -> list[str]:
    found = []
    for each in (fine, torn(fine, 5)):
        try:
            PaperRegistrar().register(each, coarse)
            found.append("kept")
        except RegistrationError as error:
            found.append(error.reason)
    return found
