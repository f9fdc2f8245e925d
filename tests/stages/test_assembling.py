"""A damaged tile costs that tile: it is named, and the others are stitched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from superres.api import Acquisition, FineField, Mosaic, Scan, Tile
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import ImageError, RegistrationError
from superres.events import Events
from superres.io.images import ImageFile, write_image
from superres.stages.assembling import assemble
from superres.stages.register import register
from superres.stages.store import StageFolder
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, Slide, layout_rmse_px, speckle


@pytest.fixture(scope="module")
def cells() -> Slide:
    return Slide(speckle(3, 1000))


@pytest.fixture
def scan(cells: Slide, tmp_path: Path) -> tuple[Scan, np.ndarray]:
    """3 × 3 tiles on disk, and their true places in coarse px."""
    tiles, true = cells.scan(3, 3, 140, 0.15, jitter_px=3, noise=0.01)
    files = []
    for tile in tiles:
        path = tmp_path / "coarse" / "s1" / f"{tile.name}.tif"
        write_image(path, tile.image.read())
        files.append(replace(tile, image=ImageFile(path, COARSE_UM, name=tile.name)))
    return Scan("s1", tuple(files), ()), true


def damage(scan: Scan, *numbers: int) -> None:
    for number in numbers:
        path = scan.tiles[number].image.path
        content = path.read_bytes()
        path.write_bytes(content[:len(content) // 3])


def test_the_others_lie_where_they_lay(scan: tuple[Scan, np.ndarray]) -> None:
    tiles, true = scan
    damage(tiles, 4)
    mosaic = assemble(PaperRegistrar(), tiles)
    assert [tile.name for tile in mosaic.tiles] == [tile.name for n, tile in enumerate(tiles.tiles) if n != 4]
    places = np.array([tile.to_mosaic.matrix[:2, 2] for tile in mosaic.tiles]) / COARSE_UM
    assert layout_rmse_px(places, np.delete(true, 4, axis=0)) < 0.05
    assert mosaic.notes["tiles that cannot be read"] == "r1c1"
    warning = str(mosaic.notes["warning"])
    assert "1 of 9 tiles cannot be read (r1c1)" in warning and "coarse/s1" in warning


def test_too_few_are_left(scan: tuple[Scan, np.ndarray]) -> None:
    damage(scan[0], 0, 1, 2, 3, 4)
    with pytest.raises(RegistrationError, match=r"5 of 9 tiles cannot be read \(r0c0, .*at most half") as found:
        assemble(PaperRegistrar(), scan[0])
    assert found.value.reason == "unreadable" and found.value.hint


def test_what_fails_for_another_reason_passes_as_it_is(scan: tuple[Scan, np.ndarray]) -> None:

    class Stubborn(IdentityRegistrar):
        asked = 0

        def assemble(self, tiles: Sequence[Tile], overlap: float | None = None) -> Mosaic:
            self.asked += 1
            raise ImageError("tiles differ")

    stubborn = Stubborn()
    with pytest.raises(ImageError, match="tiles differ"):
        assemble(stubborn, scan[0])
    assert stubborn.asked == 1


def test_the_run_goes_on_and_says_it(scan: tuple[Scan, np.ndarray], cells: Slide, tmp_path: Path) -> None:
    tiles, _ = scan
    damage(tiles, 8)
    fine = cells.fine(Transform.shift(12.0, 12.0), (220, 220), noise=0.004, name="f0")
    heard: list[str] = []

    class Heard(Events):
        def note(self, stage: str, text: str) -> None:
            heard.append(text)

    acquisition = Acquisition((replace(tiles, fields=(FineField(fine, "s1"),)),))
    registered = register(acquisition, PaperRegistrar(), Fraction(5, 2), 0.5, StageFolder(tmp_path / "work"), Heard())
    assert [pair.name for pair in registered.pairs] == ["f0"]
    assert any("r2c2" in text and "left out" in text for text in heard)
    facts = json.loads((tmp_path / "work" / "registration.json").read_text())["mosaics"]["s1"]
    assert len(facts["tiles"]) == 8
    damage(tiles, 0, 1, 2, 3)
    heard.clear()
    with pytest.raises(RegistrationError, match=r"none of 1 fine fields.*5 of 9 tiles cannot be read"):
        register(acquisition, PaperRegistrar(), Fraction(5, 2), 0.5, StageFolder(tmp_path / "again"), Heard())
    assert not heard, "the error of the only slide is said once"
