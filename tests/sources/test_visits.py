"""Scenes that are scanned several times under conditions of their own, and exact pairs of whole scenes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from superres.builtin.sources.simulate import SimulateSource
from superres.errors import SourceError
from superres.resample import bicubic

from .test_simulate import SILENT


@pytest.fixture
def scene(tmp_path: Path, rng: np.random.Generator) -> str:
    """A smooth colour scene of 130 × 170 px, stored with 16 bits."""
    pixels = cv2.GaussianBlur(rng.random((130, 170, 3)), (0, 0), 7)
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    cv2.imwrite(str(tmp_path / "scene.png"), np.rint(pixels * 65535).astype(np.uint16))
    return str(tmp_path / "scene.png")


def test_a_pair_is_one_field_on_one_grid(scene: str) -> None:
    """Structure far coarser than either objective resolves: enlarging the coarse image gives the fine one."""
    acquisition = SimulateSource(scenes=[scene], give="pairs", **SILENT).acquire()
    (pair,) = acquisition.pairs
    assert acquisition.scans == () and acquisition.truth is None and "Simulated" in acquisition.simulated
    assert pair.coarse.shape_px == (52, 68) and pair.fine.shape_px == (130, 170)
    assert (pair.coarse.pixel_size_um, pair.fine.pixel_size_um) == (0.185, 0.074)
    enlarged = bicubic(pair.coarse.unit(), Fraction(5, 2))
    inner = (slice(20, -20), slice(20, -20))
    difference = np.abs(enlarged - pair.fine.unit())[inner]
    shifted = np.abs(np.roll(enlarged, 1, axis=0) - pair.fine.unit())[inner]
    assert difference.mean() < 0.2 * shifted.mean(), "not a fifth of a fine pixel off"


def test_each_visit_has_its_own_noise_and_conditions(scene: str) -> None:
    options = {"scenes": [scene], "give": "pairs", "visits": 3, "vary": {"noise_coarse": (0.002, 0.05)}, "seed": 4}
    acquisition = SimulateSource(**options, noise_fine=0.0).acquire()
    still = SimulateSource(scenes=[scene], give="pairs", **{**SILENT, "bits": 8}).acquire().pairs[0]
    assert [pair.name for pair in acquisition.pairs] == [f"scene-visit{n}" for n in (1, 2, 3)]
    assert {pair.specimen for pair in acquisition.pairs} == {"scene"}, "visits stay on one side of a split"
    told = [float(acquisition.provenance[f"conditions {pair.name}"].split()[-1]) for pair in acquisition.pairs]
    inside = (still.coarse.pixels > 60) & (still.coarse.pixels < 195)  # where clipping does not narrow the noise
    seen = [float((pair.coarse.unit() - still.coarse.unit())[inside].std()) for pair in acquisition.pairs]
    assert len(set(told)) == 3 and all(0.002 <= value <= 0.05 for value in told)
    # Rounding to 8 bits adds 1/255/√12 twice; 10 %: some 5,000 pixels.
    np.testing.assert_allclose(seen, np.hypot(told, 2 ** 0.5 / 255 / 12 ** 0.5), rtol=0.1)
    again = SimulateSource(**options, noise_fine=0.0).acquire()
    assert all(np.array_equal(one.coarse.pixels, two.coarse.pixels)
               for one, two in zip(acquisition.pairs, again.pairs, strict=True))


def test_a_range_does_not_change_what_is_drawn_from_another(scene: str) -> None:
    def defocus(**vary: tuple[float, float]) -> str:
        source = SimulateSource(scenes=[scene], give="pairs", vary={"coarse_defocus_um": (-1.0, 1.0), **vary})
        return next(part for part in source.acquire().provenance["conditions scene"].split(", ") if "defocus" in part)

    assert defocus() == defocus(noise_coarse=(0.0, 0.1))


def test_visits_of_scans_are_slides_of_one_specimen(scene: str) -> None:
    acquisition = SimulateSource(scenes=[scene], visits=2, avoid_blank=False, fields_per_specimen=1).acquire()
    assert [scan.slide for scan in acquisition.scans] == ["scene-visit1", "scene-visit2"]
    assert acquisition.specimens == ("scene",)
    assert acquisition.truth is not None
    assert {slide for slide, _ in acquisition.truth.fields} == {"scene-visit1", "scene-visit2"}


def test_the_first_visit_is_what_one_visit_alone_gives(scene: str) -> None:
    alone, first = (SimulateSource(scenes=[scene], give="pairs", visits=visits).acquire().pairs[0] for visits in (1, 2))
    np.testing.assert_array_equal(alone.coarse.pixels, first.coarse.pixels)


@pytest.mark.parametrize(("options", "message"), [
    ({"vary": {"noise_coarse": (0.03, 0.01)}}, r"vary.noise_coarse is \[0.03, 0.01\]; expected the smaller"),
    ({"vary": {"noise_coarse": (0.0, 0.5)}}, "vary.noise_coarse"),
    ({"vary": {"condenser_na": (0.3, 1.1)}}, "condenser_na is 1.1, above coarse_na"),
    ({"vary": {"tile_px": (100.0, 200.0)}}, "tile_px"),
    ({"give": "pairs", "coarse_pixel_size_um": 0.19371}, "a fraction such as 5/2"),
])
def test_impossible_ranges_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimulateSource(scenes=["builtin:ihc"], **options)


def test_a_scene_without_room_for_a_pair_says_so(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "tiny.png"), np.full((4, 64, 3), 200, np.uint8))
    with pytest.raises(SourceError, match="less than 2 coarse pixels"):
        SimulateSource(scenes=[str(tmp_path / "tiny.png")], give="pairs").acquire()
