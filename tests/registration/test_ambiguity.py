"""Fields that look alike at first: borders between tissue and glass, copies, tiles that lie beside their places."""

from __future__ import annotations

import numpy as np
import pytest

from superres.api import Mosaic, PlacedTile
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.image import Image
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, FINE_UM, Slide, placement_error_px, speckle

PIECES = ((550, 480), (1000, 300))
"""Where two pieces of tissue begin on the glass, in fine pixels; the field shows a strip of the first."""


def glass_with_tissue(copied: bool) -> Slide:
    """copied: the second piece is the first one again, not other tissue."""
    tissue = speckle(3, 1400) * 0.55
    slide = np.full_like(tissue, 0.95)
    for top, left in PIECES:
        source = PIECES[0] if copied else (top, left)
        slide[top:top + 300, left:left + 460] = tissue[source[0]:source[0] + 300, source[1]:source[1] + 460]
    return Slide(slide)


def border_field(slide: Slide) -> tuple[Image, Mosaic, Transform]:
    truth = Transform.similarity(1.0, 0.5, (330 * FINE_UM, 450 * FINE_UM))
    fine = slide.fine(truth, (400, 400), noise=0.004, name="border")
    return fine, Mosaic.of(slide.coarse((0.0, 0.0), (560, 560), noise=0.01)), truth


def test_a_border_of_glass_and_tissue_is_told_from_another() -> None:
    """Their correlation peaks stand at 0.73 to 1; at a stricter limit than that, features must tell them apart."""
    fine, coarse, truth = border_field(glass_with_tissue(copied=False))
    found = PaperRegistrar(max_peak_ratio=0.6).register(fine, coarse)
    assert float(found.details["peak ratio"]) > 0.6
    assert placement_error_px(found.transform.inverse(), truth, fine, COARSE_UM) < 0.1
    assert "warning" not in found.details, "blocks of glass say nothing of distortion"


def test_tissue_that_the_slide_shows_twice_stays_ambiguous() -> None:
    fine, coarse, _ = border_field(glass_with_tissue(copied=True))
    with pytest.raises(RegistrationError) as caught:
        PaperRegistrar().register(fine, coarse)
    assert caught.value.reason == "ambiguous"


@pytest.mark.parametrize(("off_px", "said"), [(0.0, ""), (0.8, "tiles 'left' and 'right', which are 0.")])
def test_tiles_beside_their_places_are_not_called_distortion(off_px: float, said: str) -> None:
    """Half of the field on each of two tiles, the second of which stands off_px too far down."""
    cells = Slide(speckle(7, 900))
    tiles = tuple(
        PlacedTile(cells.coarse((0.0, column), (320, 180), noise=0.01, name=name),
                   Transform.shift((0.0 if name == "left" else off_px) * COARSE_UM, column * COARSE_UM))
        for name, column in (("left", 0.0), ("right", 140.0)))
    fine = cells.fine(Transform.shift(200 * FINE_UM, 200 * FINE_UM), (400, 400), noise=0.004)
    found = PaperRegistrar().register(fine, Mosaic(tiles, (321, 320), COARSE_UM))
    assert found.frame is None
    warning = str(found.details.get("warning", ""))
    assert said in warning and bool(said) == bool(warning) and "lens" not in warning
