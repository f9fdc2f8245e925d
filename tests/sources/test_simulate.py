"""The virtual microscope: its frames lie where the truth says, and hold what optics and camera promise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from superres.api import Acquisition
from superres.builtin.sources.simulate import SimulateSource
from superres.errors import SourceError
from superres.image import Image
from superres.optics.transfer import pixel_transfer, weak_object_transfer
from superres.transform import Transform

PITCH_UM = 0.074
SILENT = {"noise_coarse": 0.0, "noise_fine": 0.0, "vignetting": 0.0, "bits": 16}
STILL = {"stage_jitter_um": 0.0, "camera_rotation_deg": 0.0, "magnification_error": 0.0, "field_rotation_deg": 0.0,
         "field_scale_error": 0.0}


def scan_of(path: Path, scene: np.ndarray, **options: object) -> Acquisition:
    """The acquisition of one grey scene, stored with 16 bits so that its values survive."""
    file = path / "scene.png"
    cv2.imwrite(str(file), np.rint(scene * 65535).astype(np.uint16))
    return SimulateSource(scenes=[str(file)], avoid_blank=False, **options).acquire()


def spots(shape: tuple[int, int], rng: np.random.Generator, spacing_px: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Dark Gaussian spots of sd 0.3 µm at sub-pixel places on a clear ground; their places in µm, (N, 2) as (y, x)."""
    y, x = np.meshgrid(np.arange(30, shape[0] - 25, spacing_px), np.arange(30, shape[1] - 25, spacing_px),
                       indexing="ij")
    places = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(-6, 6, size=(y.size, 2))
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    scene = np.ones(shape)
    sd = 0.3 / PITCH_UM
    for row, column in places:
        scene -= 0.7 * np.outer(np.exp(-0.5 * ((rows - row) / sd) ** 2),
                                np.exp(-0.5 * ((columns - column) / sd) ** 2))
    return scene, (places + 0.5) * PITCH_UM


def measured_against_truth(image: Image, to_object: Transform, spots_um: np.ndarray) -> np.ndarray:
    """(N, 2) distances in pixels between the centroids of spots in a frame and the places that the truth predicts."""
    expected_px = to_object.inverse().apply(spots_um) / image.pixel_size_um - 0.5
    reach = int(np.ceil(1.3 / image.pixel_size_um))
    inside = np.all((expected_px > reach + 1) & (expected_px < np.array(image.shape_px) - reach - 2), axis=1)
    dark = 1 - image.unit()
    dark = np.clip(dark - 0.02, 0, None)  # fringes around a spot are shallower than 2 %
    errors = []
    for place in expected_px[inside]:
        corner = np.rint(place).astype(int) - reach
        window = dark[corner[0]:corner[0] + 2 * reach + 1, corner[1]:corner[1] + 2 * reach + 1]
        errors.append(np.array(ndimage.center_of_mass(window)) + corner - place)
    return np.array(errors)


@pytest.mark.parametrize(("shape", "tiles"), [((820, 1000), 12), ((300, 320), 1)], ids=["many tiles", "one tile"])
def test_spots_lie_where_the_ground_truth_says(shape: tuple[int, int], tiles: int, tmp_path: Path,
                                               rng: np.random.Generator) -> None:
    scene, spots_um = spots(shape, rng)
    acquisition = scan_of(tmp_path, scene, tile_px=128, camera_rotation_deg=2.0, magnification_error=0.02,
                          field_rotation_deg=2.0, field_scale_error=0.02, **SILENT)
    scan, truth = acquisition.scans[0], acquisition.truth
    assert truth is not None and len(scan.tiles) == tiles
    found = 0
    for name, image, place in [(t.name, t.image.read(), truth.tiles[scan.slide, t.name]) for t in scan.tiles] + \
                              [(f.name, f.image.read(), truth.fields[scan.slide, f.name]) for f in scan.fields]:
        errors = measured_against_truth(image, place, spots_um)
        found += len(errors)
        if len(errors):
            # 0.02 px: spot centroids cut at 1.3 µm; a half-pixel convention error would be 0.1 to 0.3 px.
            assert np.abs(errors).max() < 0.05, name
            assert np.abs(errors.mean(axis=0)).max() < 0.02, name
    assert found >= 20


def test_frames_stay_on_the_scene_and_fields_inside_the_tiles(tmp_path: Path, rng: np.random.Generator) -> None:
    acquisition = scan_of(tmp_path, rng.uniform(0.3, 1, size=(700, 900)), tile_px=100, camera_rotation_deg=3.0,
                          magnification_error=-0.03, stage_jitter_um=20.0, fields_per_specimen=12, field_px=150)
    scan, truth = acquisition.scans[0], acquisition.truth
    assert truth is not None and scan.overlap == 0.15
    corners = {}
    for frames, places in ((scan.tiles, truth.tiles), (scan.fields, truth.fields)):
        for frame in frames:
            height, width = frame.image.read().size_um
            where = places[scan.slide, frame.name].apply([[0, 0], [0, width], [height, width], [height, 0]])
            assert where.min() >= 0 and (where <= np.array([700, 900]) * PITCH_UM).all()
            corners[frame.name] = where
    for field in scan.fields:
        inside = np.zeros(25, dtype=bool)
        steps = np.linspace(0, 1, 5)
        a, b, _, d = corners[field.name]
        points = np.array([a + u * (b - a) + v * (d - a) for u in steps for v in steps])
        for tile in scan.tiles:
            there = truth.tiles[scan.slide, tile.name].inverse().apply(points)
            inside |= np.all((there >= 0) & (there <= np.array(tile.image.read().size_um)), axis=1)
        assert inside.all(), field.name


@pytest.mark.parametrize(("side", "frequency"), [("coarse", 0.6), ("coarse", 1.25), ("coarse", 2.0), ("fine", 1.25),
                                                 ("fine", 2.3), ("fine", 2.9)])
def test_gratings_have_the_contrast_of_optics_and_pixel(side: str, frequency: float, tmp_path: Path) -> None:
    """Amplitude at the grating's frequency = modulation × transfer × pixel."""
    modulation = 0.1
    x = (np.arange(420) + 0.5) * PITCH_UM
    # A scene's samples are points of a continuous object: its own grid passes the cosine unchanged.
    line = (1 + modulation * np.cos(2 * np.pi * frequency * x)) / (1 + modulation)
    acquisition = scan_of(tmp_path, np.tile(line, (300, 1)), field_px=256, fields_per_specimen=1, **SILENT, **STILL)
    scan = acquisition.scans[0]
    image = (scan.tiles[0] if side == "coarse" else scan.fields[0]).image.read()
    optics = acquisition.coarse if side == "coarse" else acquisition.fine
    assert optics is not None
    rows = image.unit().mean(axis=0, dtype=np.float64)[8:-8]
    places = np.arange(len(rows)) * image.pixel_size_um
    phase = 2 * np.pi * frequency * places
    basis = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)])
    level, *wave = np.linalg.lstsq(basis.T, rows, rcond=None)[0]
    expected = weak_object_transfer(frequency, optics) * pixel_transfer(frequency, image.pixel_size_um)
    # 0.01: second-order contrast at a modulation of 0.1, and 75 points across the condenser.
    assert np.hypot(*wave) / level / modulation == pytest.approx(float(expected), abs=0.01)


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (12, 4095), (16, 65535)])
def test_noise_bits_and_white_level_are_those_of_the_options(bits: int, white: int, tmp_path: Path) -> None:
    acquisition = scan_of(tmp_path, np.full((400, 400), 0.6), bits=bits, vignetting=0.0)
    scan = acquisition.scans[0]
    for frame, sd in ((scan.tiles[0], 0.01), (scan.fields[0], 0.004)):
        image = frame.image.read()
        assert image.white == white and image.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
        rounding = 1 / white / np.sqrt(12)
        assert image.unit().std() == pytest.approx(np.hypot(sd, rounding), rel=0.03)  # 22,500 samples: 3 sd are 1.4 %
        assert image.unit().mean() == pytest.approx(0.6, abs=0.002)


def test_vignetting_is_that_of_the_options(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, np.full((400, 400), 0.9), vignetting=0.25, noise_coarse=0.0, noise_fine=0.0).scans[0]
    for frame in (scan.tiles[0], scan.fields[0]):
        unit = frame.image.read().unit()
        middle = unit[unit.shape[0] // 2, unit.shape[1] // 2]
        assert middle == pytest.approx(0.9, abs=0.003)
        assert unit[0, 0] / middle == pytest.approx(0.75, abs=0.01)


def test_the_same_options_give_the_same_bits_and_another_seed_others(tmp_path: Path, rng: np.random.Generator
                                                                     ) -> None:
    scene = rng.uniform(0.2, 1, size=(256, 256))
    first, second, other = (scan_of(tmp_path, scene, seed=seed) for seed in (5, 5, 6))
    frames = [[*acquisition.scans[0].tiles, *acquisition.scans[0].fields] for acquisition in (first, second, other)]
    for a, b, c in zip(*frames, strict=True):
        assert a.name == b.name and np.array_equal(a.image.read().pixels, b.image.read().pixels)
        assert not np.array_equal(a.image.read().pixels, c.image.read().pixels)
    assert first.truth is not None and second.truth is not None
    for key, place in first.truth.fields.items():
        assert np.array_equal(place.matrix, second.truth.fields[key].matrix)


@pytest.mark.parametrize(("positions", "has_position", "has_grid", "off"), [
    ("exact", True, True, False), ("nominal", True, True, True), ("grid", False, True, None),
    ("none", False, False, None)])
def test_positions_tell_as_much_as_asked(positions: str, has_position: bool, has_grid: bool, off: bool | None,
                                         tmp_path: Path) -> None:
    acquisition = scan_of(tmp_path, np.full((500, 500), 0.7), tile_px=112, positions=positions, camera_rotation_deg=0.0,
                          magnification_error=0.0, fields_per_specimen=1)
    assert acquisition.truth is not None
    assert len(acquisition.scans[0].tiles) == 4
    for tile in acquisition.scans[0].tiles:
        assert (tile.position_um is not None, tile.grid is not None) == (has_position, has_grid)
        if tile.position_um is not None:
            strayed = np.abs(acquisition.truth.tiles["scene", tile.name].apply([0, 0]) - tile.position_um).max()
            assert (strayed > 1e-3) if off else (strayed < 1e-9)


def test_scenes_of_one_specimen_are_slides_of_it(tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("a 1", "a 2", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, size=(300, 300, 3), dtype=np.uint8))
    acquisition = SimulateSource(scenes=[f"{tmp_path}/*.png"], specimens={"a*": "mouse"},
                                 fields_per_specimen=2).acquire()
    assert [scan.slide for scan in acquisition.scans] == ["mouse.a-1", "mouse.a-2", "b"]
    assert acquisition.specimens == ("mouse", "b")
    assert [tile.name for tile in acquisition.scans[2].tiles] == ["b_r00_c00"]
    assert [field.name for field in acquisition.scans[0].fields] == ["mouse.a-1_f00", "mouse.a-1_f01"]
    assert acquisition.scans[0].fields[0].image.read().channels == 3
    assert "0.074 µm/px" in acquisition.simulated and "3 scenes" in acquisition.simulated
    assert acquisition.provenance["scene mouse.a-1"].startswith("a 1.png, 300 × 300 px")


def test_fields_avoid_clear_glass(tmp_path: Path, rng: np.random.Generator) -> None:
    scene = np.ones((600, 600))
    scene[:, 400:] = rng.uniform(0.2, 0.9, size=(600, 200))
    options = {"fields_per_specimen": 6, "field_px": 150, **SILENT}
    file = tmp_path / "edge.png"
    cv2.imwrite(str(file), np.rint(scene * 65535).astype(np.uint16))
    fields = SimulateSource(scenes=[str(file)], **options).acquire().scans[0].fields
    assert all(np.mean(field.image.read().unit() < 0.88) > 0.25 for field in fields)
    anywhere = SimulateSource(scenes=[str(file)], avoid_blank=False, **options).acquire().scans[0].fields
    assert any(np.mean(field.image.read().unit() < 0.88) < 0.25 for field in anywhere)


def test_a_tiny_scene_is_one_tile_and_a_field_that_does_not_fit_names_both_sizes(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, np.full((299, 299), 0.7)).scans[0]
    assert len(scan.tiles) == 1 and scan.overlap is None
    assert 115 <= scan.tiles[0].image.read().height <= 119
    both = r"fine field of 480 px \(35\.5 µm\) does not fit .* 21\.\d × 21\.\d µm"
    with pytest.raises(SourceError, match=both) as caught:
        scan_of(tmp_path, np.full((299, 299), 0.7), field_px=480)
    assert "set field_px between 64 and 2" in caught.value.hint
    with pytest.raises(SourceError, match=r"scene 'scene' is too small: 4\.4 × 4\.4 µm"):
        scan_of(tmp_path, np.full((60, 60), 0.7))


def test_every_option_is_described_and_impossible_ones_are_refused() -> None:
    fields = SimulateSource.Options.model_fields
    assert all(field.description for field in fields.values())
    for values, message in [({"coarse_na": 1.2}, "coarse_na is 1.2, but an aperture stays below the refractive index"),
                            ({"condenser_na": 1.0}, "condenser_na is 1, above coarse_na 0.95"),
                            ({"fine_pixel_size_um": 0.4}, "0.4 is larger than coarse_pixel_size_um 0.185"),
                            ({"bits": 10}, "8, 12 or 16"), ({"overlap": 0.9}, "less than or equal to 0.5"),
                            ({"scenes": []}, "at least 1 item"), ({"noise": 0.1}, "Extra inputs")]:
        with pytest.raises(ValidationError, match=message):
            SimulateSource(**values)


def test_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    file = tmp_path / "scene.png"
    cv2.imwrite(str(file), np.zeros((64, 64), dtype=np.uint8))
    source = SimulateSource(scenes=[str(file), "builtin:ihc"])
    before = source.fingerprint()
    cv2.imwrite(str(file), np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8))
    assert source.fingerprint() != before


@pytest.mark.parametrize(("scenes", "words"), [
    (["builtin:tissue"], "1 scene (drawn, no real section), declared"),
    (["builtin:tissue:2"], "2 scenes (drawn, no real sections), declared"),
    (["builtin:tissue:2", "builtin:ihc"], "3 scenes (2 drawn, no real sections), declared"),
    (["builtin:ihc"], "1 scene, declared")])
def test_what_was_drawn_is_not_passed_off_as_a_section(scenes, words) -> None:
    acquired = SimulateSource(scenes=scenes, give="pairs", max_scene_px=128, tissue_px=128).acquire()
    assert f"a virtual microscope imaged {words} to be sampled" in acquired.simulated


def test_defaults_are_the_condition_standard() -> None:
    """What `../shared/data/README.md` calls condition `standard`."""
    o = SimulateSource().options
    assert (o.coarse_pixel_size_um, o.fine_pixel_size_um, o.condenser_na, o.wavelength_um) == (0.185, 0.074, 0.55, 0.55)
    assert (o.coarse_na, o.fine_na, o.coarse_defocus_um, o.fine_defocus_um) == (0.95, 1.4, 0.0, 0.0)
    assert (o.noise_coarse, o.noise_fine, o.shot_share, o.bits) == (0.01, 0.004, 0.0, 8)
