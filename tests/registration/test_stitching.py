"""Stitching against exact truth: places, flat field, pieces, blank tiles, wrong nominal places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from superres.api import Tile
from superres.api.registrar import mosaic_of
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.builtin.registrars.paper import PaperRegistrar
from superres.builtin.sources.places import along_image_axes
from superres.errors import ImageError, RegistrationError
from superres.image import Image
from superres.registration.edges import Edge
from superres.registration.frames import Frames
from superres.registration.layout import Layout, stitch
from superres.registration.misplaced import STAGE_AXES, explain_disconnected
from tests.registration.specimens import COARSE_UM, Slide, layout_rmse_px, speckle


@pytest.fixture(scope="module")
def slide() -> Slide:
    return Slide(speckle(1, 1800))


@pytest.fixture(scope="module")
def scan(slide: Slide) -> tuple[list[Tile], np.ndarray]:
    """9 tiles as a microscope gives them: 15 % overlap, jitter, a turned camera, a wrong pitch, noise and
    vignetting."""
    return slide.scan(3, 3, 256, 0.15, jitter_px=4, rotation_deg=0.3, noise=0.01, vignette=0.1, pitch_error=0.004)


@pytest.fixture(scope="module", params=[0, 3])
def stepped(request: pytest.FixtureRequest) -> tuple[list[Tile], np.ndarray]:
    """4 × 4 tiles of a stage that steps evenly, and of one that does not."""
    return Slide(speckle(1, 1250)).scan(4, 4, 128, 0.15, jitter_px=request.param, noise=0.01)


def lay(tiles: list[Tile], overlap: float | None = None) -> Layout:
    return stitch([t.image for t in tiles], [t.position_um for t in tiles], [t.grid for t in tiles], overlap)


def by_grid(tiles: list[Tile]) -> list[Tile]:
    return [replace(t, position_um=None) for t in tiles]


def unknown(tiles: list[Tile]) -> list[Tile]:
    return [replace(t, position_um=None, grid=None) for t in tiles]


@pytest.mark.parametrize("known", ["stage", "grid", "grid and overlap", "nothing"])
def test_tiles_lie_where_they_were_taken(scan: tuple[list[Tile], np.ndarray], known: str) -> None:
    """The bar is the project's for the harder grid, 0.05 px; noise alone allows about 0.01."""
    tiles, true = scan
    order = np.random.default_rng(3).permutation(len(tiles))
    tiles, true = [tiles[i] for i in order], true[order]
    given = tiles if known == "stage" else unknown(tiles) if known == "nothing" else by_grid(tiles)
    layout = lay(given, 0.15 if known == "grid and overlap" else None)
    assert layout_rmse_px(np.array(layout.origins_px), true) <= 0.05
    assert all(layout.linked)
    assert min(origin[0] for origin in layout.origins_px) == min(origin[1] for origin in layout.origins_px) == 0


@pytest.mark.parametrize(("known", "used", "said"), [
    (lambda t, hide: replace(t, position_um=None if hide else t.position_um, grid=None), "nothing",
     "stage positions of 7 of 9 tiles are not used"),
    (lambda t, hide: replace(t, position_um=None if hide else t.position_um), "row and column",
     "stage positions of 7 of 9 tiles are not used"),
    (lambda t, hide: replace(t, position_um=None, grid=None if hide else t.grid), "nothing",
     "rows and columns of 7 of 9 tiles are not used"),
    (lambda t, hide: t, "stage positions", None),
    (lambda t, hide: replace(t, position_um=None), "row and column", None),
    (lambda t, hide: replace(t, position_um=None, grid=None), "nothing", None)])
def test_places_that_are_known_in_part_are_said_to_be_left_out(
        scan: tuple[list[Tile], np.ndarray], known: Callable[[Tile, bool], Tile], used: str, said: str | None) -> None:
    tiles = [known(tile, index in (2, 3)) for index, tile in enumerate(scan[0])]
    notes = lay(tiles).notes
    assert str(notes["known beforehand"]).startswith(used)
    assert said is None if "warning" not in notes else said is not None and said in str(notes["warning"])
    if said is not None and used == "nothing":
        with pytest.raises(RegistrationError) as caught:
            lay([tile for index, tile in enumerate(tiles) if index in (0, 2, 8)])
        assert "of 2 of 3 tiles are not used" in caught.value.message


def test_strong_vignette_and_noise(slide: Slide) -> None:
    """The vignette grid of the registration study: 10 % overlap, 35 % vignette, noise 5/255; bar 0.05 px."""
    tiles, true = slide.scan(3, 3, 256, 0.10, jitter_px=6, noise=0.02, vignette=0.35, seed=4)
    assert layout_rmse_px(np.array(lay(tiles).origins_px), true) <= 0.05


@pytest.mark.parametrize("known", [True, False])
def test_dust_on_the_camera_does_not_tie_tiles_together(scan: tuple[list[Tile], np.ndarray], known: bool) -> None:
    """Spots that stand still in all frames match at a shift of zero; tiles must lie within 0.05 px of the truth."""
    dust = np.ones((256, 256), np.float32)
    for y, x in np.random.default_rng(2).integers(0, 256, (10, 2)):
        cv2.circle(dust, (int(x), int(y)), 4, 0.7, -1, cv2.LINE_AA)
    tiles = [replace(t, image=raw.with_pixels((raw.pixels * dust[..., None]).astype(np.uint8)))
             for t in scan[0] for raw in [t.image.read()]]
    layout = lay(tiles if known else unknown(tiles))
    assert layout_rmse_px(np.array(layout.origins_px), scan[1]) <= 0.05


def dusty(tiles: list[Tile], contrast: float, specks: int) -> list[Tile]:
    """Tiles of weak contrast under as many specks of half the light, 3 to 8 px wide, where they are in all tiles."""
    rng = np.random.default_rng(5)
    dust = np.ones(tiles[0].image.read().shape_px, np.float32)
    for y, x in rng.integers(0, min(dust.shape), (specks, 2)):
        cv2.circle(dust, (int(x), int(y)), int(rng.integers(1, 5)), 0.5, -1, cv2.LINE_AA)
    changed = []
    for tile in tiles:
        raw = tile.image.read()
        grey = 0.8 + contrast * (raw.grey() - raw.grey().mean())
        changed.append(replace(tile, image=raw.with_pixels(np.rint(255 * grey * dust).clip(0, 255).astype(np.uint8))))
    return changed


def test_heavy_dust_does_not_hide_weak_tissue(stepped: tuple[list[Tile], np.ndarray]) -> None:
    """0.4 of the contrast under 15 specks, which put tiles 7 px off or part them: the bar is twice that without dust.
    What is shown keeps its dust."""
    tiles = dusty(stepped[0], 0.4, 15)
    layout = lay(tiles)
    assert layout_rmse_px(np.array(layout.origins_px), stepped[1]) <= 0.1
    said = str(layout.notes["dust on the camera"])
    assert re.match(r"specks on \d+\.\d % of the frame, the darkest of [45]\d %", said)
    assert mosaic_of(tiles, layout).frame(4).pixels.min() < 0.5 * 0.8
    assert lay(stepped[0]).notes["dust on the camera"] == "none"
    assert "fewer than 16 tiles" in str(lay(stepped[0][:12]).notes["dust on the camera"])


def test_tiles_of_unknown_places_are_not_laid_by_their_dust(scan: tuple[list[Tile], np.ndarray]) -> None:
    """Nine tiles are too few to divide dust out: its matches put them 259 px off."""
    with pytest.raises(RegistrationError, match=r"fall into \d parts") as caught:
        lay(unknown(dusty(scan[0], 0.2, 60)))
    assert caught.value.reason == "disconnected"


def test_an_even_stage_is_not_taken_for_dust(slide: Slide) -> None:
    """All overlaps of a row at one shift, and a tile that was taken twice, so that two lie at one place."""
    tiles, true = slide.scan(3, 3, 200, 0.15, jitter_px=0, noise=0.01)
    again = slide.coarse((float(true[4][0]), float(true[4][1])), (200, 200), noise=0.01, name="again")
    layout = lay([*unknown(tiles), Tile(again, None, None)])
    assert layout_rmse_px(np.array(layout.origins_px), np.vstack([true, true[4:5]])) <= 0.05


def test_flat_field_is_the_vignette(scan: tuple[list[Tile], np.ndarray]) -> None:
    """Within 0.5 % of the lens's true fall-off (its own spread is 2.2 %)."""
    layout = lay(scan[0])
    assert layout.flat_field is not None
    y = (np.arange(256) + 0.5) / 256 - 0.5
    x = (np.arange(256) + 0.5) / 256 - 0.47
    true = 1 - 0.1 * 2 * (y[:, None] ** 2 + x[None] ** 2)
    true /= true.mean()
    assert layout.flat_field.shape == (256, 256, 3)
    assert np.sqrt(((layout.flat_field - true[..., None]) ** 2).mean()) < 0.005


def test_even_illumination_leaves_tissue_alone(slide: Slide) -> None:
    """Without shading the correction stays within 0.5 % although the tissue itself varies by tens of percent."""
    layout = lay(slide.scan(3, 3, 256, 0.15, jitter_px=4, noise=0.01, seed=2)[0])
    if layout.flat_field is not None:
        assert np.abs(layout.flat_field - 1).max() < 0.005


def test_two_tiles_get_no_flat_field(slide: Slide) -> None:
    layout = lay(slide.scan(1, 2, 200, 0.15, jitter_px=2, vignette=0.1)[0])
    assert layout.flat_field is None
    assert "none" in str(layout.notes["flat field"])


def test_notes_tell_camera_rotation_and_true_pitch(slide: Slide) -> None:
    """Without jitter both follow from the solved places: 0.3 degrees, and a stage that steps 0.4 % too far."""
    tiles, _ = slide.scan(3, 3, 256, 0.15, jitter_px=0.0, rotation_deg=0.3, pitch_error=0.004)
    notes = lay(tiles).notes
    assert notes["camera rotation against the stage (degrees)"] == pytest.approx(0.3, abs=0.005)
    assert notes["pixel size by the stage (µm)"] == pytest.approx(COARSE_UM / 1.004, rel=1e-4)


def test_single_tile() -> None:
    image = Image(np.full((40, 50), 9, np.uint8), 0.2, name="alone")
    layout = stitch([image], [None], [None])
    assert layout.origins_px == ((0.0, 0.0),) and layout.shape_px == (40, 50)


def blank(tile: Tile, seed: int = 0) -> Tile:
    shape = tile.image.read().pixels.shape
    noise = 0.95 * 255 + 2.5 * np.random.default_rng(seed).standard_normal(shape)
    return replace(tile, image=Image(np.rint(noise).clip(0, 255).astype(np.uint8), COARSE_UM, name=tile.name))


def test_blank_tile_is_placed_by_its_nominal_position_and_listed(scan: tuple[list[Tile], np.ndarray]) -> None:
    """It lands within the stage's own error (4 px jitter on each axis) and pulls no other tile."""
    tiles, true = list(scan[0]), scan[1]
    tiles[4] = blank(tiles[4])
    layout = lay(tiles)
    assert not layout.linked[4] and layout.residuals_um[4] is None
    assert layout.notes["placed by nominal position only"] == tiles[4].name
    others = [i for i in range(9) if i != 4]
    found = np.array(layout.origins_px)
    assert layout_rmse_px(found[others], true[others]) <= 0.05
    assert np.abs((found - true)[4] - (found - true)[others].mean(axis=0)).max() < 9


def alone(slide: Slide, jitter_px: float, hide: Sequence[int]) -> tuple[Layout, np.ndarray]:
    """Nine tiles with a turned stage that steps too far, some of them hidden; distances of all from the truth."""
    tiles, true = slide.scan(3, 3, 256, 0.15, jitter_px=jitter_px, rotation_deg=0.3, noise=0.01, pitch_error=0.004,
                             seed=6)
    layout = lay([blank(tile) if index in hide else tile for index, tile in enumerate(tiles)])
    off = np.array(layout.origins_px) - true
    seen = [index for index in range(1, 9) if index not in hide]
    return layout, np.hypot(*(off - off[seen].mean(axis=0)).T)


def test_a_structured_tile_among_blank_ones_is_held_by_its_corner(slide: Slide) -> None:
    """Both side neighbours of the first tile are empty; the one across the corner is not."""
    layout, off = alone(slide, 4.0, (1, 3))
    assert layout.linked[0] and off[0] <= 0.2


def test_a_structured_tile_among_none_but_blank_ones_follows_the_stage(slide: Slide) -> None:
    """By the rotation and the step that the other tiles give the stage: 0.3 degrees and 0.4 % would be 2 px."""
    layout, off = alone(slide, 0.0, (1, 3, 4))
    assert not layout.linked[0] and off[0] <= 0.1
    assert "no overlap joins r0c0 to the other tiles" in str(layout.notes["warning"])


def test_how_far_off_it_can_be_is_said(slide: Slide) -> None:
    """±4 px of jitter on each axis are 3.3 px RMS of the corner itself; that of the five others, from which it is
    extrapolated, makes 4.3 of it; from five tiles the spread is known to 30 %."""
    layout, _ = alone(slide, 4.0, (1, 3, 4))
    said = re.search(r"good to about ([\d.]+) px", str(layout.notes["warning"]))
    assert said is not None and 2.5 <= float(said[1]) <= 6.2


@pytest.mark.parametrize("seed", range(4))
def test_how_far_two_parts_are_off_each_other_is_said(seed: int) -> None:
    """A blank column between two columns: the right one goes where the stage says, as a part of its own, and no farther
    off than three times what is said."""
    tiles, true = Slide(speckle(1, 700)).scan(3, 3, 128, 0.15, jitter_px=3.0, noise=0.01, seed=seed)
    layout = lay([blank(tile) if index % 3 == 1 else tile for index, tile in enumerate(tiles)])
    assert [layout.parts[tile] for tile in (0, 3, 6, 2, 5, 8)] == [1, 1, 1, 2, 2, 2]
    assert layout.notes["parts placed by nominal position"] == "[r0c2, r1c2, r2c2]"
    assert layout.notes["placed by nominal position only"] == "r0c1, r1c1, r2c1"
    off = np.array(layout.origins_px) - true
    apart = float(np.hypot(*(off[[2, 5, 8]].mean(axis=0) - off[[0, 3, 6]].mean(axis=0))))
    said = re.search(r"good to about ([\d.]+) px", str(layout.notes["warning"]))
    assert said is not None and apart <= 3 * float(said[1])


def test_agreement_that_nothing_checks_is_not_called_good(slide: Slide) -> None:
    """Tiles in a row: each is held by one overlap, which agrees with itself."""
    layout = lay(slide.scan(1, 3, 200, 0.15, jitter_px=2)[0])
    assert "unknown" in str(layout.notes["edge residual (px, RMS)"]) and layout.residuals_um == (None,) * 3
    assert layout.notes["edges used"] == 2 and all(layout.linked)


def test_blank_tile_without_positions_fills_the_hole(scan: tuple[list[Tile], np.ndarray]) -> None:
    tiles, true = unknown(scan[0]), scan[1]
    tiles[4] = blank(tiles[4])
    found = np.array(lay(tiles).origins_px)
    assert np.abs((found - true)[4] - (found - true)[[0, 8]].mean(axis=0)).max() < 30


def test_mostly_blank_scan_is_refused(scan: tuple[list[Tile], np.ndarray]) -> None:
    tiles = [blank(t, i) if i > 2 else t for i, t in enumerate(scan[0])]
    with pytest.raises(RegistrationError, match="6 of 9 tiles show no structure") as caught:
        lay(tiles)
    assert caught.value.reason == "blank"


def test_blank_tiles_that_part_a_scan_without_positions_are_named(scan: tuple[list[Tile], np.ndarray]) -> None:
    """Both neighbours of a corner show nothing; the positions that the hint asks for hold it in place, to the stage's
    jitter of 4 px at worst."""
    tiles = [blank(tile, index) if index in (1, 3) else tile for index, tile in enumerate(scan[0])]
    with pytest.raises(RegistrationError, match="fall into 2 parts") as caught:
        lay(unknown(tiles))
    assert "r0c1, r1c0 show no structure" in caught.value.message and "positions.csv" in caught.value.hint
    assert layout_rmse_px(np.array(lay(tiles).origins_px), scan[1]) <= 4
    with pytest.raises(RegistrationError) as caught:
        lay(unknown([*scan[0][:1], *scan[0][8:]]))
    assert "no structure" not in caught.value.message and "positions.csv" not in caught.value.hint


@pytest.mark.parametrize("positions", [True, False])
def test_pieces_of_different_places_are_listed(slide: Slide, positions: bool) -> None:
    """Two tiles of one place and two of another, said to be neighbours."""
    near = slide.scan(1, 2, 200, 0.15, jitter_px=2)[0]
    far = [Tile(slide.coarse((400.0, 300.0 + 170 * c), (200, 200), name=f"r1c{c}"),
                (170 * COARSE_UM, 170 * c * COARSE_UM), (1, c)) for c in range(2)]
    tiles = near + far if positions else unknown(near + far)
    with pytest.raises(RegistrationError) as caught:
        lay(tiles)
    assert caught.value.reason == "disconnected"
    assert "[r0c0, r0c1]; [r1c0, r1c1]" in caught.value.message
    if positions:
        assert "no match between r0c0–r1c0" in caught.value.message


def test_pieces_go_where_the_stage_says_on_request(slide: Slide) -> None:
    near = slide.scan(1, 2, 200, 0.15, jitter_px=2)[0]
    far = [Tile(slide.coarse((400.0, 300.0 + 170 * c), (200, 200), name=f"r1c{c}"),
                (170 * COARSE_UM, 170 * c * COARSE_UM), (1, c)) for c in range(2)]
    with pytest.raises(RegistrationError, match="fall into 2 parts") as caught:
        PaperRegistrar().assemble(near + far)
    assert 'register.options.disconnected = "nominal"' in caught.value.hint
    mosaic = PaperRegistrar(disconnected="nominal").assemble(near + far)
    places = np.array([tile.to_mosaic.matrix[:2, 2] for tile in mosaic.tiles]) / COARSE_UM
    # Within a part tiles lie by measurement, the parts to each other by the stage, whose jitter is 2 px.
    assert np.abs((places[3] - places[2]) - (0, 170)).max() < 0.1
    assert np.abs((places[2] + places[3] - places[0] - places[1]) / 2 - (170, 0)).max() < 3
    assert all(tile.linked for tile in mosaic.tiles) and "r1c0, r1c1" in str(mosaic.notes["warning"])
    with pytest.raises(RegistrationError) as caught:
        PaperRegistrar(disconnected="nominal").assemble(unknown(near + far))
    assert caught.value.reason == "disconnected" and "nominal" not in caught.value.hint


@pytest.mark.parametrize(("edge", "said"), [
    (Edge(0, 1, (0.0, 170.0), 1.0, 4.2, "unmatched"), "unmatched: peak 4.2 above the median, expected at least 6"),
    (Edge(0, 1, (0.0, 170.0), 0.12, 9.0, "unmatched"), "unmatched: correlation 0.12, expected at least 0.3"),
    (Edge(0, 1, (12.0, 186.0), 1.0, 30.0, "out-of-bound"), "out-of-bound: best match 20.0 px off its nominal place"),
    (Edge(0, 1, (0.0, 170.0), 1.0, 30.0, "inconsistent", 7.25), "inconsistent: 7.2 px off the place by the other"),
])
def test_the_number_that_failed_is_shown(slide: Slide, edge: Edge, said: str) -> None:
    """Two tiles of different places whose correlation would have been good enough: it is not what must be shown."""
    frames = Frames([slide.coarse(at, (200, 200), name=name) for name, at in (("a", (0.0, 0.0)), ("b", (400, 300)))])
    error = explain_disconnected(frames, [[0], [1]], [edge], np.array([(0.0, 0.0), (0.0, 170.0)]))
    assert error.reason == "disconnected" and f"no match between a–b ({said}" in error.message
    assert ("correlation 1.00" in error.message) is False


def test_shift_beyond_the_bound_names_the_overlap_to_set(slide: Slide) -> None:
    """Tiles overlap by 30 % but the pipeline says 10 %."""
    tiles = by_grid(slide.scan(2, 2, 200, 0.30, jitter_px=1)[0])
    with pytest.raises(RegistrationError, match="more than the search allows") as caught:
        lay(tiles, 0.10)
    assert caught.value.reason == "out-of-bound"
    assert re.search("set source.options.overlap = 0.(3|29)", caught.value.hint)


def test_stage_axis_against_the_camera_is_recognised(slide: Slide) -> None:
    tiles = slide.scan(2, 2, 200, 0.15, jitter_px=1)[0]
    turned = [replace(t, position_um=(-t.position_um[0], t.position_um[1])) for t in tiles if t.position_um]
    with pytest.raises(RegistrationError) as caught:
        lay(turned)
    assert caught.value.reason == "out-of-bound" and "stage_axes = '-y,x'" in caught.value.hint


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda y, x: (2 * y, 2 * x), r"multiply the stage positions by 0\.(49|50)"),
    (lambda y, x: (y / 1000, x / 1000), r"they look like mm: call the columns y_mm, x_mm"),
    (lambda y, x: (y / COARSE_UM, x / COARSE_UM), r"they look like px: call the columns y_px, x_px"),
    (lambda y, x: (x, y), r"stage_axes = 'x,y'"),
    (lambda y, x: (-y, -x), r"both axes of the positions run against the camera.*'-y,-x'"),
    (lambda y, x: (x, -y), r"stage_axes = '-x,y'"),
    (lambda y, x: (1.5 * y, x), r"multiply the y positions by 0\.6[67]"),
    (lambda y, x: (0 * y, 0 * x), r"correct the positions, or set source\.options\.positions = 'none'"),
])
def test_what_is_wrong_with_all_positions_is_said(scan: tuple[list[Tile], np.ndarray], hint: str,
                                                  wrong: Callable[[float, float], tuple[float, float]]) -> None:
    """Also where no two tiles overlap by what the table says."""
    tiles = [replace(t, position_um=wrong(*t.position_um)) for t in scan[0] if t.position_um]
    with pytest.raises(RegistrationError) as caught:
        lay(tiles)
    assert caught.value.reason == "out-of-bound" and re.search(hint, caught.value.hint), caught.value.hint


@pytest.mark.parametrize("disconnected", ["refuse", "nominal"])
def test_a_tile_that_lies_elsewhere_is_named(scan: tuple[list[Tile], np.ndarray], disconnected: Literal["refuse",
                                             "nominal"]) -> None:
    """Two lines of the table are exchanged, or one is wrong: the images know better, whatever was asked for."""
    for change, names in (({0: 8, 8: 0}, "positions of r0c0, r2c2 do"), ({4: 2}, "position of r1c1 does")):
        tiles = [replace(t, position_um=scan[0][change.get(index, index)].position_um)
                 for index, t in enumerate(scan[0])]
        with pytest.raises(RegistrationError) as caught:
            PaperRegistrar(disconnected=disconnected).assemble(tiles)
        assert caught.value.reason == "out-of-bound", caught.value.message
        assert names in caught.value.hint and "multiply" not in caught.value.hint, caught.value.hint


WRONG_LINES: dict[str, dict[int, tuple[float, float]]] = {
    "exchanged in a ring": {1: (0.0, 3.0), 3: (2.0, 2.0), 12: (0.0, 1.0)},
    "elsewhere": {5: (60.0, 1.0), 6: (90.0, 2.0)},
    "none given": {9: (0.0, 0.0), 15: (0.0, 0.0)},
    "a fifth of a tile off": {4: (0.8, -0.2), 10: (2.2, 2.2), 15: (3.2, 3.2)}}
"""Tile: the row and column at which the table puts it, of 4 × 4 tiles."""


@pytest.mark.parametrize("lines", WRONG_LINES.values(), ids=WRONG_LINES)
def test_all_wrong_lines_of_a_table_are_named(stepped: tuple[list[Tile], np.ndarray],
                                              lines: dict[int, tuple[float, float]]) -> None:
    """Also where the stage steps so evenly that all overlaps are alike, as those of specks of dust are; and tiles that
    by the table lie beside none, or whose place some other tile takes."""
    tiles, _ = stepped
    step_um = 128 * 0.85 * COARSE_UM
    wrong = [replace(tile, position_um=(lines[index][0] * step_um, lines[index][1] * step_um)) if index in lines else
             tile for index, tile in enumerate(tiles)]
    with pytest.raises(RegistrationError) as caught:
        lay(wrong)
    names = ", ".join(tiles[index].name for index in sorted(lines))
    assert caught.value.reason == "out-of-bound"
    assert f"the positions of {names} do not fit the images, those of other tiles do" in caught.value.hint


def test_dust_does_not_contradict_the_stage(slide: Slide) -> None:
    """Two areas of a slide, far apart, with dark specks that match each other from any tile to any: certain matches at
    one shift, whatever the stage says.  The areas stay where it puts them."""
    tiles = [Tile(slide.coarse((top + 100.0 * r, 10 + 100.0 * c), (128, 128), noise=0.01, name=f"{top}-{r}{c}"),
                  ((3 * top + 100 * r) * COARSE_UM, 100 * c * COARSE_UM))
             for top in (10, 400) for r in range(2) for c in range(4)]
    dust = np.ones((128, 128), np.float32)
    for y, x in np.random.default_rng(2).integers(0, 128, (4, 2)):
        cv2.circle(dust, (int(x), int(y)), 4, 0.5, -1, cv2.LINE_AA)
    tiles = [replace(t, image=raw.with_pixels((raw.pixels * dust[..., None]).astype(np.uint8)))
             for t in tiles for raw in [t.image.read()]]
    assert lay(tiles).parts == (1,) * 8 + (2,) * 8


def test_unequal_tiles_are_refused() -> None:
    a, b = (Image(np.zeros((40, width), np.uint8), 0.2, name=name) for width, name in ((50, "a"), (51, "b")))
    with pytest.raises(ImageError, match=r"tile 'b' is \(40, 51\) px"):
        stitch([a, b], [None, None], [None, None])
    with pytest.raises(ImageError, match=r"0\.3 µm/px"):
        stitch([a, Image(a.pixels, 0.3, name="c")], [None, None], [None, None])


def test_inputs_stay_untouched_and_runs_agree(scan: tuple[list[Tile], np.ndarray]) -> None:
    before = [t.image.read().pixels.copy() for t in scan[0]]
    first, second = lay(scan[0]), lay(scan[0])
    assert first.origins_px == second.origins_px
    assert all(np.array_equal(a, t.image.read().pixels) for a, t in zip(before, scan[0], strict=True))


def test_mosaic_shows_the_slide(scan: tuple[list[Tile], np.ndarray], slide: Slide) -> None:
    """A region across seams equals the slide at the same sub-pixel place, after the camera's shading is taken out.

    The bar is the noise of one frame (0.01) plus half a per cent for the flat field's scale.
    """
    tiles, true = scan
    mosaic = IdentityRegistrar().assemble(tiles)
    shift = np.mean(true - np.array([t.to_mosaic.matrix[:2, 2] / COARSE_UM for t in mosaic.tiles]), axis=0)
    region = mosaic.read(150, 160, 150, 140)
    expected = slide.coarse((150 + shift[0], 160 + shift[1]), (150, 140)).unit()
    gain = (region.pixels * expected).sum() / (expected ** 2).sum()
    assert np.sqrt(((region.pixels / gain - expected) ** 2).mean()) < 0.013
    apart = mosaic.read(200, 210, 60, 50).pixels
    np.testing.assert_allclose(apart, region.pixels[50:110, 50:100], atol=1e-6)


def test_outside_the_tiles_is_zero_and_one_frame_comes_back_exactly() -> None:
    from superres.api import Mosaic

    pixels = np.random.default_rng(0).integers(1, 255, (30, 40, 3), dtype=np.uint8)
    mosaic = Mosaic.of(Image(pixels, 0.2))
    read = mosaic.read(-5, 10, 20, 50).pixels
    np.testing.assert_array_equal(read[:5], 0)
    np.testing.assert_array_equal(read[:, 30:], 0)
    np.testing.assert_allclose(read[5:, :30], pixels[:15, 10:] / np.float32(255), atol=1e-6)


def test_published_positions_of_a_real_mosaic(shared_data: Path) -> None:
    """tiles_sem: offsets within 1.5 px of the published ones, which are themselves good to about 1 px."""
    truth = json.loads((shared_data / "tiles_sem/truth.json").read_text())["coords"]
    images = [Image(cv2.imread(str(shared_data / "tiles_sem" / name), cv2.IMREAD_GRAYSCALE), 1.0, name=name)
              for name in truth]
    published = np.array(list(truth.values()))
    for cells in ([(int(name[8]), int(name[3])) for name in truth], [None] * len(truth)):
        found = np.array(stitch(images, [None] * len(truth), cells).origins_px)
        assert np.abs((found - found[0]) - (published - published[0])).max() < 1.5


def test_real_neighbouring_tiles(shared_data: Path) -> None:
    """tiles_tma: pair_1 lies about (−2, 461) from pair_0."""
    images = [Image(cv2.imread(str(shared_data / f"tiles_tma/pair_{i}.png"), cv2.IMREAD_GRAYSCALE), 0.5, name=f"{i}")
              for i in range(2)]
    origins = np.array(stitch(images, [None] * 2, [None] * 2).origins_px)
    assert np.abs(origins[1] - origins[0] - (-2, 461)).max() <= 1.0


@pytest.mark.slow
def test_hundred_tiles_of_unknown_order(tmp_path: Path) -> None:
    tiles, true = Slide(speckle(5, 5200)).scan(9, 9, 256, 0.15, jitter_px=4, noise=0.01, vignette=0.1)
    order = np.random.default_rng(0).permutation(len(tiles))
    layout = lay(unknown([tiles[i] for i in order]))
    assert layout_rmse_px(np.array(layout.origins_px), true[order]) <= 0.05


def test_the_axes_that_a_hint_names_do_to_positions_what_the_source_makes_of_them() -> None:
    """Registration lies below the sources and cannot ask them."""
    assert len(STAGE_AXES) == 7  # all but "y,x"
    for axes, linear in STAGE_AXES.items():
        assert tuple(np.array(linear) @ (3.0, 5.0)) == along_image_axes((3.0, 5.0), axes)
