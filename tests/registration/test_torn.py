"""Fields that no single map fits: torn, stretched, half blank, half scanned; and images that are not fields at all."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from superres.api import Mosaic
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.registration.diagnose import swapped
from superres.registration.torn import VISIBLE_TEAR, parts_of
from superres.transform import Transform, Warp, grid_points
from tests.registration.test_distortion import SIDE_PX, errors_px, view
from tests.registration.virtual import CLEAN, COARSE_UM, FINE_UM, stained_section

__all__ = ["view"]


@pytest.fixture(scope="module")
def straight() -> tuple[Image, Image, Transform]:
    """(fine field, coarse frame, fine µm → coarse µm)."""
    section, rng = stained_section(CLEAN), np.random.default_rng(12)
    truth = Transform.similarity(1.003, 0.6, (3.0, 3.0))
    return section.fine(truth, (SIDE_PX, SIDE_PX), rng), section.whole(rng), truth


def test_images_in_each_others_place_are_recognised(straight: tuple[Image, Image, Transform]) -> None:
    fine, coarse, _ = straight
    there, here = ("field", fine.grey()), ("tile", coarse.grey())
    error = swapped([("field", here[1])], [("tile", there[1])], Fraction(5, 2))
    assert error is not None and error.reason == "exchanged" and "exchange the two folders" in error.hint
    assert swapped([there], [here], Fraction(5, 2)) is None


def torn(fine: Image, by_px: int) -> Image:
    """The lower half moved along the tear, as scanners that lose a step do it."""
    pixels, half = fine.pixels.copy(), fine.height // 2
    pixels[half:] = np.roll(pixels[half:], by_px, axis=1)
    return fine.with_pixels(pixels)


@pytest.mark.parametrize("by_px", [4, 6, 12, 25])
def test_a_torn_field_is_refused(straight: tuple[Image, Image, Transform], by_px: int) -> None:
    """By 1.6 to 10 coarse pixels: the halves lie that far apart, so one of them is off by half of it at least."""
    fine, coarse, _ = straight
    with pytest.raises(RegistrationError, match="torn or stretched") as refused:
        PaperRegistrar().register(torn(fine, by_px), coarse)
    assert refused.value.reason == "torn" and "fold" in str(refused.value.hint)
    assert "beside" not in PaperRegistrar().register(fine, coarse).details.get("warning", "")


@pytest.mark.parametrize(("by_px", "warned"), [(1, None), (2, True)])
def test_a_small_tear_is_kept(straight: tuple[Image, Image, Transform], by_px: int, warned: bool | None) -> None:
    """By 0.4 and 0.8 coarse px.  The second is said; the first lies at the edge of what is, 0.2 px beside each half."""
    fine, coarse, _ = straight
    details = PaperRegistrar().register(torn(fine, by_px), coarse).details
    assert float(details["parts judged"]) >= 4
    if warned is not None:
        assert ("in a smooth pattern" in str(details.get("warning", ""))) == warned


def test_a_field_too_small_to_see_a_tear_in_says_so(straight: tuple[Image, Image, Transform]) -> None:
    """44 coarse pixels a side have features for a place, not for four of sixteen parts; the whole field has."""
    fine, coarse, _ = straight
    small = PaperRegistrar().register(fine.crop(60, 60, 110, 110), coarse).details
    assert float(small["parts judged"]) < 4 and small["unjudged"] == "tears (too little structure)"
    assert "unjudged" not in PaperRegistrar().register(fine, coarse).details


def test_the_tear_that_a_field_could_show_is_said_and_is_the_one_it_shows(
        straight: tuple[Image, Image, Transform]) -> None:
    """The smaller a field, the larger; a tear of that size or little more, in whole fine pixels, is refused or has a
    warning."""
    fine, coarse, _ = straight
    shows = []
    for side in (200, SIDE_PX):
        field = fine.crop(0, 0, side, side)
        details = PaperRegistrar().register(field, coarse).details
        assert "warning" not in details
        shows.append(float(details[VISIBLE_TEAR]))
        by_px = int(np.ceil(shows[-1] * COARSE_UM / FINE_UM))
        try:
            said = PaperRegistrar().register(torn(field, by_px), coarse).details.get("warning", "")
        except RegistrationError as error:
            said = error.reason
        assert said == "torn" or "in a smooth pattern" in str(said) or "halves" in str(said)
    assert shows[0] > shows[1] and shows[1] <= 0.7
    assert VISIBLE_TEAR not in PaperRegistrar().register(fine.crop(60, 60, 110, 110), coarse).details
    assert VISIBLE_TEAR not in PaperRegistrar(warp="smooth").register(fine, coarse).details


def test_a_stretched_field_is_refused_and_the_warp_takes_it(straight: tuple[Image, Image, Transform]) -> None:
    """2 % longer along one axis and 2 % shorter along the other."""
    import cv2

    fine, coarse, truth = straight
    stretch = np.diag([1.02, 0.98])
    middle = np.full(2, SIDE_PX / 2 - 0.5)
    matrix = np.hstack([stretch, (middle - stretch @ middle)[:, None]])
    pixels = cv2.warpAffine(fine.pixels, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                            borderMode=cv2.BORDER_REFLECT)
    bent = fine.with_pixels(pixels)
    with pytest.raises(RegistrationError, match="torn or stretched") as refused:
        PaperRegistrar().register(bent, coarse)
    assert 'warp = "smooth"' in str(refused.value.hint)
    found = PaperRegistrar(warp="smooth").register(bent, coarse)
    assert isinstance(found.transform, Warp)
    inner = grid_points(*fine.size_um) * 0.8 + 0.1 * SIDE_PX * FINE_UM
    # OpenCV counts x first; the inverse map takes stretched pixels to straight ones about the middle.
    centre = SIDE_PX * FINE_UM / 2
    straightened = centre + (inner - centre) @ np.diag([0.98, 1.02])
    off = found.transform.apply(truth.apply(straightened)) - inner
    assert np.hypot(*off.T).max() / COARSE_UM < 0.15


def test_only_certain_parts_are_judged() -> None:
    """Scattered matches say nothing, and one part beside its place does not make a tear."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (800, 2))
    size = (100.0, 100.0)
    assert not parts_of(points, rng.normal(0, 0.2, points.shape), size).torn
    assert len(parts_of(points, rng.uniform(-8, 8, points.shape), size).off_px) == 0
    one = np.where((points < 25).all(axis=1, keepdims=True), 3.0, 0.0) + rng.normal(0, 0.2, points.shape)
    assert parts_of(points, one, size).beside == 1 and not parts_of(points, one, size).torn
    half = np.where(points[:, :1] < 50, 3.0, 0.0) + rng.normal(0, 0.2, points.shape)
    assert parts_of(points, half, size).beside == 8 and parts_of(points, half, size).torn
    assert not parts_of(points[:0], half[:0], size).torn


def test_the_warp_is_fitted_beside_what_was_never_taken(view: tuple[Image, Image, Transform]) -> None:
    """A corner of the scan under the field is missing: the rest says enough."""
    fine, coarse, truth = view
    mosaic = holed(coarse, truth, 0.12)
    found = PaperRegistrar(warp="smooth").register(fine, mosaic)
    assert isinstance(found.transform, Warp) and "warning" not in found.details
    errors = errors_px(found, truth)
    assert np.sqrt((errors ** 2).mean()) <= 0.05 and np.median(errors) <= 0.03


def test_a_warp_that_cannot_be_fitted_is_said_and_not_asked_for(view: tuple[Image, Image, Transform]) -> None:
    fine, coarse, truth = view
    found = PaperRegistrar(warp="smooth").register(fine, holed(coarse, truth, 0.72))
    assert not isinstance(found.transform, Warp)
    said = str(found.details["warning"])
    assert "similarity alone" in said and "set register.options.warp" not in said


class Holed(Mosaic):
    """A mosaic of one frame of which a rectangle at the top left was never taken."""

    hole_px: tuple[int, int] = (0, 0)

    def covered(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        known = np.array(super().covered(top, left, height, width))
        known[:max(0, self.hole_px[0] - top), :max(0, self.hole_px[1] - left)] = False
        return known

    def frame_holding(self, points_um: object) -> None:
        return None


def holed(coarse: Image, truth: Transform, share: float) -> Mosaic:
    """share: of the field's side that the hole reaches across, from its top left corner."""
    end = truth.apply(np.full(2, share * SIDE_PX * FINE_UM)) / COARSE_UM
    plain = Mosaic.of(coarse)
    mosaic = Holed(plain.tiles, plain.shape_px, plain.pixel_size_um)
    object.__setattr__(mosaic, "hole_px", (int(end[0]), int(end[1])))
    return mosaic


def test_blank_parts_have_no_arrows(straight: tuple[Image, Image, Transform]) -> None:
    """An air bubble over a third of the fine field, with the camera's noise: what is shown beside it is as small as
    without it, and nothing is shown inside."""
    fine, coarse, _ = straight
    pixels = fine.pixels.copy()
    blank = SIDE_PX // 3
    pixels[:blank] = np.clip(np.random.default_rng(3).normal(235, 2, pixels[:blank].shape), 0, 255).astype(np.uint8)
    found = PaperRegistrar().register(fine.with_pixels(pixels), coarse)
    table = found.residual_map_um
    assert table is not None and len(table) > 30
    assert (table[:, 0] > (blank - 40) * FINE_UM).all()
    assert np.hypot(*table[:, 2:].T).max() / COARSE_UM < 0.5


@pytest.mark.parametrize("refine", ["icgn", "sift", "surf"])
def test_arrows_say_where_parts_lie_whatever_refines(straight: tuple[Image, Image, Transform], refine: str) -> None:
    """A tear of 0.8 coarse px: below it the fine image shows all two of its pixels farther right.  The arrows say
    it against the map that was fitted, which turns and stretches to follow a part of the tear."""
    fine, coarse, truth = straight
    found = PaperRegistrar(refine=refine).register(torn(fine, 2), coarse)
    table = found.residual_map_um
    assert table is not None and len(table) >= 8
    clear = np.abs(table[:, 0] - fine.size_um[0] / 2) > 20 * FINE_UM
    places, arrows = table[clear, :2], table[clear, 2:]
    shown = truth.inverse().apply(found.transform.inverse().apply(places))
    shown[:, 1] += np.where(places[:, 0] > fine.size_um[0] / 2, 2 * FINE_UM, 0.0)
    left = arrows - (shown - places)
    assert np.median(np.abs(left)) < 0.25 * np.median(np.abs(shown - places)[:, 1])
