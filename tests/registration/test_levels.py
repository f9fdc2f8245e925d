"""Tiles of uneven brightness: seams go from what is looked at and searched, and training inputs stay as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from superres.api import FineField, Mosaic, Registration, Scan, Tile
from superres.api.registrar import mosaic_of
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.image import Image
from superres.registration.blend import overview
from superres.registration.layout import Layout, stitch
from superres.stages.cutting import cut_pair
from superres.stages.placing import Placing
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, Slide, speckle

GAINS = np.array([0.93, 1.0, 1.05, 0.98, 1.04, 0.95, 1.02, 0.96, 1.07])
OFFSETS = np.array([0.05, -0.04, 0.0, 0.03, -0.05, 0.04, 0.01, -0.02, -0.02])


@pytest.fixture(scope="module")
def even() -> list[Tile]:
    """3 × 3 tiles of one exposure under 10 % vignetting, dark enough that no gain here saturates."""
    tiles, _ = Slide(speckle(1, 900)).scan(3, 3, 128, 0.15, jitter_px=3, noise=0.005, vignette=0.1)
    return [changed(tile, lambda grey: 0.8 * grey) for tile in tiles]


def changed(tile: Tile, change: Callable[[np.ndarray], np.ndarray]) -> Tile:
    raw = tile.image.read()
    return replace(tile, image=raw.with_pixels(np.clip(np.rint(255 * change(raw.grey())), 0, 255).astype(np.uint8)))


def uneven(tiles: list[Tile], offsets: np.ndarray = 0 * OFFSETS) -> list[Tile]:
    return [changed(tile, lambda grey, g=gain, o=offset: g * grey + o)
            for tile, gain, offset in zip(tiles, GAINS, offsets, strict=True)]


def lay(tiles: list[Tile]) -> Layout:
    return stitch([t.image for t in tiles], [t.position_um for t in tiles], [t.grid for t in tiles])


def test_gains_are_found_and_the_mosaic_has_no_seams(even: list[Tile]) -> None:
    """Planted steps of 6 % come down to less than one grey level of 255, 0.4 %; the gains' mean is 1, and no offset is
    made up.  The blended mosaic is then that of even tiles within 1.5 % of its brightness, more than 3 % off without;
    what is left goes slowly over the scan, where no overlap tells it from shading."""
    tiles = uneven(even)
    layout = lay(tiles)
    levels = layout.levels
    assert levels is not None and levels.before > 0.05 and levels.after < 0.004
    assert "evened out by gains" in str(layout.notes["brightness of tiles"])
    assert np.mean(levels.gains) == pytest.approx(1, abs=1e-6) and not any(levels.offsets)
    product = np.array(levels.gains) * GAINS
    assert np.abs(product / product.mean() - 1).max() < 0.02
    right = mosaic_of(even, lay(even))
    mosaic = mosaic_of(tiles, layout)
    shape = min(right.shape_px[0], mosaic.shape_px[0]), min(right.shape_px[1], mosaic.shape_px[1])
    known = mosaic.covered(0, 0, *shape) & right.covered(0, 0, *shape)

    def off(equalised: bool) -> float:
        ratio = mosaic.read(0, 0, *shape, equalised=equalised).grey()[known] / right.read(0, 0, *shape).grey()[known]
        return float(np.std(ratio / np.median(ratio)))

    assert off(True) < 0.015 < 0.03 < off(False)
    shown, covered = overview(mosaic, 4)
    wanted, _ = overview(right, 4)
    inside = covered & np.isfinite(wanted[:shown.shape[0], :shown.shape[1]]) & (wanted > 0)
    ratio = shown[inside] / wanted[inside]
    assert np.std(ratio / np.median(ratio)) < 0.015


def test_offsets_are_fitted_where_gains_leave_much(even: list[Tile]) -> None:
    layout = lay(uneven(even, OFFSETS))
    levels = layout.levels
    assert levels is not None and any(levels.offsets)
    assert levels.before > 0.06 and levels.after < 0.005
    # gain · (g · v + o) + offset is the same line of v for every tile.
    slopes = np.array(levels.gains) * GAINS
    assert np.std(slopes) / slopes.mean() < 0.03


@pytest.mark.parametrize("exposed", [{4: 0.1}, {0: 0.2}, {2: 0.2, 3: 0.2}, {4: 0.1, 2: 0.0}])
def test_dark_tiles_are_evened_out_and_do_not_dim_the_others(even: list[Tile], exposed: dict[int, float]) -> None:
    """Exposed a tenth, a tile comes up to its neighbours within 2 %, and these keep their brightness, which a mean gain
    of 1 over all tiles halved.  A black one, with which nothing is compared, keeps gain 1."""
    light = [exposed.get(index, 1.0) for index in range(len(even))]
    levels = lay([changed(tile, lambda grey, light=light: light * grey)
                  for tile, light in zip(even, light, strict=True)]).levels
    assert levels is not None and levels.after < 0.005
    for gain, of_light in zip(levels.gains, light, strict=True):
        assert gain * (of_light or 1.0) == pytest.approx(1, abs=0.02)
    assert levels.gains[2] == 1 or exposed.get(2) != 0


def test_the_flat_field_does_not_bend_with_the_gains(even: list[Tile]) -> None:
    """Within 0.5 % of the lens's fall-off, as without gains; steps taken for shading bend it by 2 %."""
    flat = lay(uneven(even)).flat_field
    assert flat is not None
    y, x = (np.arange(128) + 0.5) / 128 - 0.5, (np.arange(128) + 0.5) / 128 - 0.47
    true = 1 - 0.1 * 2 * (y[:, None] ** 2 + x[None] ** 2)
    assert np.sqrt(((flat - true / true.mean()) ** 2).mean()) < 0.005


def test_a_slope_that_may_be_a_drift_is_said(even: list[Tile]) -> None:
    """A lamp that fades by a tenth a row makes the lower edge of every tile brighter than the upper one of the next, as
    a slope of the camera does; the lens's shading does not."""
    fading = [changed(tile, lambda grey, row=tile.grid[0]: (1 - 0.1 * row) * grey) for tile in even if tile.grid]
    said = str(lay(fading).notes["flat field"])
    found = re.search(r"falls by (\d+) % from bottom to top: shading, or a drift over the scan", said)
    assert found is not None and 5 <= int(found[1]) <= 15, said
    assert "drift" not in str(lay(even).notes["flat field"])


def test_a_serpentine_does_not_tell_a_drift_from_a_slope(even: list[Tile]) -> None:
    """Why the order of a scan is not asked: begun at the left and fading, or at the right and brightening, the tiles
    differ by a plane, and what the scan is left with is as even."""
    left = np.array([3 * row + (column if row % 2 == 0 else 2 - column) for row in range(3) for column in range(3)])
    right = np.array([3 * row + (2 - column if row % 2 == 0 else column) for row in range(3) for column in range(3)])
    found = []
    for order, change in ((left, -0.01), (right, 0.01)):
        tiles = [changed(tile, lambda grey, g=1 + change * (when - 4): g * grey)
                 for tile, when in zip(even, order, strict=True)]
        layout = lay(tiles)
        assert layout.flat_field is not None
        found.append((layout.flat_field[-16:].mean() - layout.flat_field[:16].mean(),
                      0.0 if layout.levels is None else layout.levels.after))
    (fading, one), (brightening, other) = found
    assert fading > 0.01 and brightening < -0.01 and max(one, other) < 0.004


def test_even_tiles_are_left_alone(even: list[Tile]) -> None:
    layout = lay(even)
    assert layout.levels is None and layout.notes["brightness of tiles"] == "even"


def test_glass_is_compared_and_a_failed_exposure_is_not(even: list[Tile]) -> None:
    """The middle tile shows nothing: as a camera that failed it takes no part; of glass seen by all it has a gain."""
    failed = list(uneven(even))
    failed[4] = changed(failed[4], lambda grey: np.full_like(grey, 0.4))
    levels = lay(failed).levels
    assert levels is not None and levels.after < 0.004
    rng = np.random.default_rng(0)
    glass = [changed(tile, lambda grey: np.where(np.arange(128)[:, None] < 100, grey, 0.7)
                     + 0.005 * rng.standard_normal(grey.shape)) if tile.grid and tile.grid[0] == 1 else tile
             for tile in even]
    glass[6:] = [changed(tile, lambda grey, g=gain: g * (0.7 + 0.005 * rng.standard_normal(grey.shape)))
                 for tile, gain in zip(glass[6:], (0.9, 1.0, 1.1), strict=True)]
    levels = lay(glass).levels
    assert levels is not None
    assert levels.gains[6] / levels.gains[8] == pytest.approx(1.1 / 0.9, rel=0.03)


def test_tissue_is_not_evened_out_against_a_tile_that_shows_nothing(even: list[Tile]) -> None:
    """The middle column failed, at a brightness near that of the tissue, smooth as it is at the scale of blocks: the
    rows of the other columns have planted gains, which alone are evened out, and the failed tiles keep theirs."""
    tiles = [changed(tile, lambda grey: 0.6 + 0.05 * (grey - grey.mean())) for tile in even]
    gains = [1.0, 0.9, 1.1]
    rng = np.random.default_rng(0)
    tiles = [changed(tile, (lambda grey: 0.75 + 0.004 * rng.standard_normal(grey.shape)) if index % 3 == 1 else
                     (lambda grey, gain=gains[index // 3]: gain * grey)) for index, tile in enumerate(tiles)]
    levels = lay(tiles).levels
    assert levels is not None
    for column in (0, 2):
        product = np.array(levels.gains)[column::3] * gains
        assert np.ptp(product) / product.mean() < 0.02
    assert np.ptp(np.array(levels.gains)[1::3]) < 0.02 and levels.gains[1] == pytest.approx(1, abs=0.03)


def test_the_order_of_tiles_does_not_show(even: list[Tile]) -> None:
    tiles = uneven(even)
    order = np.random.default_rng(3).permutation(len(tiles))
    one, other = lay(tiles).levels, lay([tiles[i] for i in order]).levels
    assert one is not None and other is not None
    assert np.abs(np.array(one.gains)[order] - other.gains).max() <= 2e-6


def test_training_inputs_stay_as_the_camera_saw_them(even: list[Tile]) -> None:
    """A field across a seam is cut from the blended frames as they are; one inside a frame, from that frame."""
    tiles = uneven(even)
    mosaic = mosaic_of(tiles, lay(tiles))
    plain = Mosaic(tuple(replace(tile, gain=1.0, offset=0.0) for tile in mosaic.tiles), mosaic.shape_px,
                   mosaic.pixel_size_um, mosaic.flat_field, {}, mosaic.tile_shape_px)
    rng = np.random.default_rng(1)
    fine = Image(rng.integers(120, 135, (150, 150), dtype=np.uint8), COARSE_UM / 2.5, name="f")
    for corner_px, across in ((85.0, True), (20.0, False)):
        found = Registration(Transform.shift(-corner_px * COARSE_UM, -corner_px * COARSE_UM), 0.0, 1.0)
        pairs = [cut_pair("f", "s", fine, each, found, Fraction(5, 2)) for each in (mosaic, plain)]
        assert (pairs[0][1].tile is None) == across
        assert np.array_equal(pairs[0][0].coarse.pixels, pairs[1][0].coarse.pixels)
    assert not np.array_equal(mosaic.read(85, 85, 40, 40).pixels, plain.read(85, 85, 40, 40).pixels)


class Told(IdentityRegistrar):
    """Puts every field where it is told to lie, in coarse pixels down and right."""

    def __init__(self, corner_px: float, details: dict[str, float | str]) -> None:
        super().__init__()
        self.found = Registration(Transform.shift(-corner_px * COARSE_UM, -corner_px * COARSE_UM), 0.0, 1.0, details)

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        return self.found


def test_a_step_between_exposures_in_a_training_input_is_said(even: list[Tile]) -> None:
    """Four tiles meet in the field, the darkest and the brightest with planted gains of .93 and 1.04."""
    fine = Image(np.random.default_rng(1).integers(120, 135, (150, 150), dtype=np.uint8), COARSE_UM / 2.5, name="f")
    field = FineField(fine, "s")
    scan = Scan("s", tuple(uneven(even)), (field,))
    for tiles, corner_px, expected in ((uneven(even), 85.0, 11), (uneven(even), 20.0, None), (even, 85.0, None)):
        mosaic = mosaic_of(tiles, lay(tiles))
        for details in ({}, {"warning": "its refinement was refused"}):
            placing = Placing(scan, mosaic, Told(corner_px, details), Fraction(5, 2), 0.5, None)
            _, record = placing.place(field)
            assert record.kept
            said = str(record.details.get("warning", ""))
            assert said.startswith(str(details.get("warning", "")))
            step = re.search(r"across tile 'r1c1' and the (\d+) % darker 'r0c0'", said)
            assert (None if step is None else int(step[1])) == (expected if expected is None else
                                                                pytest.approx(expected, abs=1.1))


def test_real_micrographs_with_automatic_brightness(shared_data: Path) -> None:
    """tiles_sem: neighbours differ by 40 % in brightness and contrast; less than 0.5 % is left."""
    folder = shared_data / "tiles_sem"
    names = list(json.loads((folder / "truth.json").read_text(encoding="utf-8"))["coords"])
    images = [Image(cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE), 1.0, name=name) for name in names]
    layout = stitch(images, [None] * len(images), [(int(name[8]), int(name[3])) for name in names])
    levels = layout.levels
    assert levels is not None and any(levels.offsets)
    assert levels.before > 0.3 and levels.after < 0.005
