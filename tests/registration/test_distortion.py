"""A lens with distortion: noticed, and taken out by the smooth warp in one resampling."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from superres.api import Mosaic, Registration
from superres.builtin.registrars.paper import PaperRegistrar
from superres.image import Image
from superres.stages.cutting import cut_pair
from superres.transform import Transform, Warp, grid_points
from tests.registration.virtual import CLEAN, COARSE_UM, FINE_UM, stained_section

SIDE_PX = 440
STRENGTH_PX = 2.5
"""Displacement at the corners in fine pixels, growing with the cube of the distance: one coarse pixel, far more than a
similarity can follow."""


def barrel(points_um: np.ndarray) -> np.ndarray:
    """Where the distorted camera's point of the field would lie without distortion, beside itself, in µm."""
    centred = points_um / (SIDE_PX * FINE_UM / 2) - 1
    return STRENGTH_PX * FINE_UM * centred * (centred ** 2).sum(axis=-1, keepdims=True) / 2 ** 1.5


@pytest.fixture(scope="module")
def view() -> tuple[Image, Image, Transform]:
    """(fine field through the distorting lens, coarse frame, true fine µm → coarse µm without distortion)."""
    section, rng = stained_section(CLEAN), np.random.default_rng(2)
    coarse = section.whole(rng)
    truth = Transform.similarity(1.004, 0.8, (2.3, 1.9))
    fine = section.fine(truth, (SIDE_PX, SIDE_PX), rng)
    y, x = np.indices(fine.shape_px)
    centres = (np.stack([y, x], axis=-1) + 0.5) * FINE_UM
    at = (centres + barrel(centres)) / FINE_UM - 0.5
    bent = ndimage.map_coordinates(fine.pixels.astype(float), np.moveaxis(at, -1, 0), order=3, mode="nearest")
    return fine.with_pixels(np.rint(bent).clip(0, 255).astype(np.uint8)), coarse, truth


def errors_px(found: Registration, truth: Transform) -> np.ndarray:
    """At places of the coarse frame under the inner field: distance between the fine point that is found and the true
    one, in coarse pixels."""
    inner = grid_points(SIDE_PX * FINE_UM * 0.9, SIDE_PX * FINE_UM * 0.9) + 0.05 * SIDE_PX * FINE_UM
    shown = found.transform.apply(truth.apply(inner))
    return np.hypot(*(shown + barrel(shown) - inner).T) / COARSE_UM


def test_distortion_is_noticed_and_the_smooth_warp_takes_it_out(view: tuple[Image, Image, Transform]) -> None:
    fine, coarse, truth = view
    plain = PaperRegistrar().register(fine, coarse)
    assert "warp = \"smooth\"" in str(plain.details["warning"])
    assert np.sqrt((errors_px(plain, truth) ** 2).mean()) > 0.06
    smooth = PaperRegistrar(warp="smooth").register(fine, coarse)
    assert isinstance(smooth.transform, Warp) and "warning" not in smooth.details
    errors = errors_px(smooth, truth)
    assert np.sqrt((errors ** 2).mean()) <= 0.03 and errors.max() <= 0.1
    assert smooth.residual_um / COARSE_UM <= 0.03


def test_residual_maps_point_to_where_the_content_is(view: tuple[Image, Image, Transform]) -> None:
    """With the similarity alone, the arrows show the distortion that it leaves: along −barrel, less its linear part."""
    fine, coarse, truth = view
    found = PaperRegistrar().register(fine, coarse)
    table = found.residual_map_um
    assert table is not None and len(table) >= 60
    back = found.transform.inverse()
    # The true fine place of the coarse content that the transform puts at a block's centre, by fixed point.
    aim = truth.inverse().apply(back.apply(table[:, :2]))
    place = aim.copy()
    for _ in range(20):
        place = aim - barrel(place)
    expected = place - table[:, :2]
    assert np.corrcoef(table[:, 2:].ravel(), expected.ravel())[0, 1] > 0.8
    slope = (table[:, 2:] * expected).sum() / (expected ** 2).sum()
    assert 0.6 < slope < 1.2, "robust weights make large arrows somewhat short"


def test_a_straight_lens_gets_no_warning_and_no_worse(view: tuple[Image, Image, Transform]) -> None:
    section, rng = stained_section(CLEAN), np.random.default_rng(4)
    coarse, truth = section.whole(rng), Transform.similarity(0.997, -1.1, (2.0, 2.2))
    fine = section.fine(truth, (SIDE_PX, SIDE_PX), rng)
    plain, smooth = (PaperRegistrar(warp=warp).register(fine, coarse) for warp in ("none", "smooth"))
    assert "warning" not in plain.details
    inner = grid_points(*fine.size_um) * 0.9 + 0.05 * SIDE_PX * FINE_UM
    off = np.hypot(*(smooth.transform.apply(truth.apply(inner)) - inner).T) / COARSE_UM
    assert np.sqrt((off ** 2).mean()) <= 0.02


def test_a_warped_pair_is_cut_on_the_coarse_grid(view: tuple[Image, Image, Transform]) -> None:
    """The pair of the distorted field equals that of the straight one, within noise, once the warp is known."""
    fine, coarse, truth = view
    smooth = PaperRegistrar(warp="smooth").register(fine, coarse)
    pair, window = cut_pair("p", "s", fine, Mosaic.of(coarse), smooth, Fraction(5, 2))
    straight = stained_section(CLEAN).fine(truth, (SIDE_PX, SIDE_PX), np.random.default_rng(9))
    other, place = cut_pair("q", "s", straight, Mosaic.of(coarse), Registration(truth.inverse(), 0.0, 1.0),
                            Fraction(5, 2))
    top, left = max(window.top, place.top), max(window.left, place.left)
    height = min(window.top + window.height, place.top + place.height) - top
    width = min(window.left + window.width, place.left + place.width) - left
    parts = [each.fine.unit()[(top - at.top) * 5 // 2:, (left - at.left) * 5 // 2:][:height * 5 // 2 - 3,
                                                                                       :width * 5 // 2 - 3]
             for each, at in ((pair, window), (other, place))]
    assert np.sqrt(((parts[0] - parts[1]) ** 2).mean()) < 0.02
