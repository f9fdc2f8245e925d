"""Cutting training pairs: the fine image must lie exactly on L times the coarse grid."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.api import Mosaic, PlacedTile, Registration
from superres.errors import RegistrationError
from superres.image import Image
from superres.stages.cutting import cut_pair, largest_covered
from superres.transform import Transform

COARSE_UM, FINE_UM = 0.185, 0.074
L = Fraction(5, 2)


def pattern(y_um, x_um):
    """Analytic intensity at any place of the object, three different channels, smooth at the fine pitch."""
    return np.stack([0.5 + 0.15 * np.sin(1.1 * y_um + k) + 0.15 * np.cos(0.9 * x_um - k) for k in range(3)], axis=-1)


def camera(shape, pitch, to_object, name):
    y, x = np.meshgrid((np.arange(shape[0]) + 0.5) * pitch, (np.arange(shape[1]) + 0.5) * pitch, indexing="ij")
    points = to_object.apply(np.stack([y, x], axis=-1))
    return Image(pattern(points[..., 0], points[..., 1]).astype(np.float32), pitch, name=name)


def view(rotation_deg=1.3, scale=1.004, tile_to_object=None):
    """A coarse frame, a fine field inside it, and the true map between them."""
    tile_to_object = tile_to_object or Transform.identity()
    fine_to_object = Transform.similarity(scale, rotation_deg, (6.0, 7.3))
    coarse = camera((140, 160), COARSE_UM, tile_to_object, "tile")
    fine = camera((200, 210), FINE_UM, fine_to_object, "field")
    return coarse, fine, tile_to_object.then(fine_to_object.inverse())


def test_both_images_of_a_pair_show_the_same_places():
    coarse, fine, truth = view()
    pair, window = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    assert window.tile == 0
    origin = np.array([window.top, window.left]) * COARSE_UM
    for image, pitch in ((pair.coarse, COARSE_UM), (pair.fine, COARSE_UM / float(L))):
        y, x = np.meshgrid(
            (np.arange(image.height) + 0.5) * pitch, (np.arange(image.width) + 0.5) * pitch, indexing="ij"
        )
        expected = pattern(y + origin[0], x + origin[1])
        # The coarse crop is stored in steps of 2e-5; the spline errs by 1e-4 at 0.08 rad a pixel near its border.
        np.testing.assert_allclose(image.unit(), expected, atol=3e-4)


def test_sizes_are_whole_and_l_apart():
    coarse, fine, truth = view()
    pair, _ = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    assert pair.coarse.height % 2 == 0 and pair.coarse.width % 2 == 0
    assert pair.fine.shape_px == (pair.coarse.height * 5 // 2, pair.coarse.width * 5 // 2)
    assert pair.fine.pixel_size_um == pytest.approx(COARSE_UM / 2.5)


def test_nothing_outside_the_fine_image_is_invented():
    coarse, fine, truth = view(rotation_deg=3.0)
    pair, window = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    corners = np.array([(0, 0), (0, window.width), (window.height, 0), (window.height, window.width)]) * COARSE_UM
    inside = truth.apply(corners + np.array([window.top, window.left]) * COARSE_UM)
    assert inside.min() >= 0
    assert (inside <= np.array(fine.size_um)).all()
    assert pair.fine.unit().min() > 0.1  # the fill value 0 would show


def test_the_frame_in_which_the_field_lies_deepest_is_taken():
    coarse, fine, truth = view()
    shifted = camera((140, 160), COARSE_UM, Transform.shift(0.5, 0.3), "better")
    mosaic = Mosaic(
        (PlacedTile(coarse, Transform.identity()), PlacedTile(shifted, Transform.shift(0.5, 0.3))),
        (200, 200),
        COARSE_UM,
    )
    pair, window = cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    assert mosaic.tiles[window.tile].name == "better"
    origin = np.array([window.top, window.left]) * COARSE_UM + (0.5, 0.3)
    y, x = np.meshgrid(
        (np.arange(pair.coarse.height) + 0.5) * COARSE_UM + origin[0],
        (np.arange(pair.coarse.width) + 0.5) * COARSE_UM + origin[1],
        indexing="ij",
    )
    np.testing.assert_allclose(pair.coarse.unit(), pattern(y, x), atol=3e-5)


def test_across_a_seam_the_mosaic_is_read():
    """Two frames that each hold half of the field; the pair must still show the analytic pattern."""
    _, fine, truth = view(rotation_deg=0.0, scale=1.0)
    left = camera((140, 90), COARSE_UM, Transform.identity(), "left")
    right = camera((140, 90), COARSE_UM, Transform.shift(0, 70 * COARSE_UM), "right")
    mosaic = Mosaic(
        (PlacedTile(left, Transform.identity()), PlacedTile(right, Transform.shift(0, 70 * COARSE_UM))),
        (140, 160),
        COARSE_UM,
    )
    pair, window = cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    assert window.tile is None
    y, x = np.meshgrid(
        (np.arange(pair.coarse.height) + 0.5 + window.top) * COARSE_UM,
        (np.arange(pair.coarse.width) + 0.5 + window.left) * COARSE_UM,
        indexing="ij",
    )
    np.testing.assert_allclose(pair.coarse.unit(), pattern(y, x), atol=2e-3)


def test_the_flat_field_is_divided_out_of_the_camera_pixels():
    coarse, fine, truth = view()
    shading = np.linspace(0.8, 1.2, 140, dtype=np.float32)[:, None] * np.ones((1, 160), np.float32)
    dimmed = coarse.with_pixels(coarse.pixels * shading[:, :, None])
    mosaic = Mosaic((PlacedTile(dimmed, Transform.identity()),), (140, 160), COARSE_UM, shading)
    plain, _ = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    flattened, _ = cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    np.testing.assert_allclose(flattened.coarse.unit(), plain.coarse.unit(), atol=5e-5)


def test_a_field_beside_the_scan_is_refused():
    coarse, fine, _ = view()
    with pytest.raises(RegistrationError, match="inside the scan") as caught:
        cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(Transform.shift(-24, -28), 0.0, 1.0), L)
    assert caught.value.reason == "too-small"


@pytest.mark.parametrize(
    "turn", [Transform(np.diag([1.0, -1.0, 1.0])), Transform(np.diag([-1.0, -1.0, 1.0])), Transform.similarity(1, 90)]
)
def test_mirrored_and_turned_cameras_give_upright_pairs(turn):
    """The fine camera sees the object mirrored, upside down or on its side; the pair must be upright all the same."""
    fine_to_object = turn.then(Transform.similarity(1.0, 1.0)).then(Transform.shift(14.0, 15.0))
    centred = Transform.shift(-100 * FINE_UM, -105 * FINE_UM).then(fine_to_object)
    coarse = camera((140, 160), COARSE_UM, Transform.identity(), "tile")
    fine = camera((200, 210), FINE_UM, centred, "field")
    pair, window = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(centred.inverse(), 0.0, 1.0), L)
    pitch = COARSE_UM / 2.5
    y, x = np.meshgrid(
        (np.arange(pair.fine.height) + 0.5) * pitch + window.top * COARSE_UM,
        (np.arange(pair.fine.width) + 0.5) * pitch + window.left * COARSE_UM,
        indexing="ij",
    )
    np.testing.assert_allclose(pair.fine.unit(), pattern(y, x), atol=3e-4)


def test_the_colour_profile_goes_along():
    coarse, fine, truth = view()
    profiled = Image(coarse.pixels, COARSE_UM, icc_profile=b"profile")
    pair, _ = cut_pair("p", "s", fine, Mosaic.of(profiled), Registration(truth, 0.0, 1.0), L)
    assert pair.coarse.icc_profile == b"profile"


@dataclass(eq=False)
class Filed:
    """An image in a file that counts how often it is decoded."""

    image: Image
    decoded: int = 0

    @property
    def name(self):
        return self.image.name

    def read(self):
        self.decoded += 1
        return self.image


def test_only_the_frame_that_is_cut_is_decoded():
    """Nine frames, all of which hold the field; without a flat field the shape comes from the mosaic."""
    _, fine, truth = view()
    shifts = [Transform.shift(y * COARSE_UM, x * COARSE_UM) for y in range(3) for x in range(3)]
    files = [Filed(camera((140, 160), COARSE_UM, shift, f"{n}")) for n, shift in enumerate(shifts)]
    tiles = tuple(PlacedTile(file, shift) for file, shift in zip(files, shifts, strict=True))
    mosaic = Mosaic(tiles, (142, 162), COARSE_UM, tile_shape_px=(140, 160))
    _, window = cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    assert [file.decoded for file in files] == [int(n == window.tile) for n in range(9)]


def ragged(left_px, right_px):
    """Two frames side by side, their top edges at the two given places; each holds half of the field's width."""
    shifts = [Transform.shift(left_px * COARSE_UM, 0), Transform.shift(right_px * COARSE_UM, 70 * COARSE_UM)]
    tiles = tuple(PlacedTile(camera((100, 90), COARSE_UM, s, f"{n}"), s) for n, s in enumerate(shifts))
    return Mosaic(tiles, (140, 160), COARSE_UM)


@pytest.mark.parametrize(("left_px", "right_px"), [(45.3, 0.0), (0.0, 44.6), (40.0, 50.0)])
def test_a_pair_at_the_ragged_border_shows_only_what_was_scanned(left_px, right_px):
    """The field begins at row 32; where a frame begins below that, its pixels above were never taken."""
    _, fine, truth = view(rotation_deg=0.0, scale=1.0)
    mosaic = ragged(left_px, right_px)
    pair, window = cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    assert window.tile is None
    assert mosaic.covered(window.top, window.left, window.height, window.width).all()
    # The rows that field and both frames hold, less parts of pixels at both ends and one to make L·height whole.
    field_ends_px = truth.inverse().apply(fine.size_um)[0] / COARSE_UM
    assert window.height >= min(field_ends_px, 100 + min(left_px, right_px)) - max(left_px, right_px) - 3
    y, x = np.meshgrid(
        (np.arange(pair.coarse.height) + 0.5 + window.top) * COARSE_UM,
        (np.arange(pair.coarse.width) + 0.5 + window.left) * COARSE_UM,
        indexing="ij",
    )
    # The outermost row of a frame is half extrapolated: 2.5e-3 of white here; a row that was not taken is off by 0.3.
    np.testing.assert_allclose(pair.coarse.unit(), pattern(y, x), atol=4e-3)
    assert pair.fine.shape_px == (pair.coarse.height * 5 // 2, pair.coarse.width * 5 // 2)


@settings(max_examples=60)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
def test_the_largest_covered_rectangle_is_the_largest(rows):
    """Against every rectangle there is."""
    covered = np.array(rows)
    top, left, height, width = largest_covered(covered)
    assert covered[top : top + height, left : left + width].all()
    y, x = range(covered.shape[0] + 1), range(covered.shape[1] + 1)
    assert height * width == max(
        (b - t) * (r - l) for t in y for b in y[t:] for l in x for r in x[l:] if covered[t:b, l:r].all()
    )


def test_a_field_between_the_tiles_is_refused():
    """The mosaic's bounding box holds the field, but no tile does."""
    _, fine, truth = view(rotation_deg=0.0, scale=1.0)
    tile = camera((30, 160), COARSE_UM, Transform.identity(), "tile")
    below = Transform.shift(130 * COARSE_UM, 0)
    mosaic = Mosaic((PlacedTile(tile, Transform.identity()), PlacedTile(tile, below)), (160, 160), COARSE_UM)
    with pytest.raises(RegistrationError, match="field 'p' lies where no tile was taken") as caught:
        cut_pair("p", "s", fine, mosaic, Registration(truth, 0.0, 1.0), L)
    assert caught.value.reason == "outside" and caught.value.hint


@pytest.mark.parametrize("which", ["coarse", "fine"])
def test_a_wrong_white_level_is_refused_instead_of_clipped(which):
    """Pairs hold up to 1.33 × white.  A float file whose values reach 2.6 × white has another white than was said."""
    coarse, fine, truth = view()
    bright = {"coarse": coarse, "fine": fine}
    bright[which] = bright[which].with_pixels(bright[which].pixels * np.float32(4))
    with pytest.raises(RegistrationError, match=rf"of the {which} image of field 'p' .* 1\.33 × white") as caught:
        cut_pair("p", "s", bright["fine"], Mosaic.of(bright["coarse"]), Registration(truth, 0.0, 1.0), L)
    assert caught.value.reason == "too-bright" and "white_level" in caught.value.hint


@pytest.mark.parametrize("rows", [0, 60])
def test_a_coarse_frame_that_is_empty_where_the_field_shows_tissue_is_refused(rows):
    """An exposure that failed: even grey with a camera's noise, in the lower part of the frame or in all of it."""
    coarse, fine, truth = view()
    pixels = coarse.pixels.copy()
    pixels[rows:] = 0.94 + np.random.default_rng(3).normal(0, 0.01, pixels[rows:].shape)
    empty = coarse.with_pixels(pixels.astype(np.float32))
    with pytest.raises(RegistrationError, match=r"tile 'tile' is empty over \d+ % of the tissue") as caught:
        cut_pair("p", "s", fine, Mosaic.of(empty), Registration(truth, 0.0, 1.0), L)
    assert caught.value.reason == "blank" and caught.value.hint


def test_clear_glass_in_both_images_is_kept():
    coarse, fine, truth = view()
    coarse, fine = (image.with_pixels(np.full_like(image.pixels, 0.94)) for image in (coarse, fine))
    pair, _ = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    assert pair.coarse.unit().max() == pytest.approx(0.94, abs=1e-4)


def test_a_few_glints_are_clipped():
    """Three pixels of 5,000: dust that glints does not cost the field, and its neighbours stay as they were."""
    coarse, fine, truth = view()
    pixels = coarse.pixels.copy()
    glints = [(70, 80), (71, 80), (60, 90)]
    for y, x in glints:
        pixels[y, x] = 3.0
    plain, window = cut_pair("p", "s", fine, Mosaic.of(coarse), Registration(truth, 0.0, 1.0), L)
    pair, _ = cut_pair("p", "s", fine, Mosaic.of(coarse.with_pixels(pixels)), Registration(truth, 0.0, 1.0), L)
    rows, columns = np.nonzero((pair.coarse.pixels != plain.coarse.pixels).any(axis=2))
    assert list(zip(rows + window.top, columns + window.left, strict=True)) == sorted(glints)
    assert pair.coarse.unit().max() == pytest.approx(65535 / 49152)
