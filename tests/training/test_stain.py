"""The colours of stained tissue, kept for each specimen and compared with an image's."""

import numpy as np
import pytest

from superres.api.source import Pair
from superres.image import Image
from superres.training.stain import StainSums, nearest_stain, optical_density, stain_coordinates, stains_of

DYES = {"purple": (0.45, 0.40, 0.15), "pink": (0.15, 0.55, 0.30), "brown": (0.20, 0.30, 0.50)}
"""Shares of red, green and blue in what a dye absorbs."""


def dyed(*dyes, rng, strength=1.0, side=40):
    """(side, side, 3) in units of white: flat patches of 4 px, each of a mixture of the dyes (Beer's law)."""
    amounts = rng.dirichlet(np.ones(len(dyes)), size=(side // 4, side // 4))
    density = strength * rng.uniform(0.4, 1.2, amounts.shape[:2])[..., None] * (amounts @ [DYES[dye] for dye in dyes])
    return np.repeat(np.repeat(10.0 ** -density, 4, axis=0), 4, axis=1).astype(np.float32)


def stain(unit, name="seen"):
    sums = StainSums()
    sums.add(unit)
    return sums.stain(name)


def apart(seen, *known):
    return nearest_stain(stain(seen), [stain(each, str(number)) for number, each in enumerate(known)])


def test_density_of_known_intensities():
    density = optical_density(np.array([1.0, 0.1, 0.01, 0.0], np.float32))
    assert density == pytest.approx([0, 1, 2, np.log10(255)], abs=1e-6)


def test_a_flat_colour_has_the_shares_of_its_dye_however_strong(rng):
    for strength in (0.5, 1.0, 2.0):
        unit = np.broadcast_to(10.0 ** -(strength * np.array(DYES["pink"])), (8, 9, 3)).astype(np.float32)
        coordinates, weight = stain_coordinates(unit)
        assert coordinates == pytest.approx(np.tile([0.15, 0.30, np.log(strength)], (72, 1)), abs=1e-5)
        assert weight == pytest.approx(np.full(72, strength), rel=1e-5)


def test_statistics_equal_numpys_over_all_stained_pixels_of_a_specimen(rng):
    images = [Image(np.rint(255 * dyed("purple", "pink", rng=rng)).astype(np.uint8), 0.2),
              Image(np.rint(4095 * dyed("purple", rng=rng, side=24)).astype(np.uint16), 0.2, white_level=4095)]
    fine = Image(np.zeros((5, 5, 3), np.uint8), 0.08)
    clear = Image(np.full((20, 20, 3), 250, np.uint8), 0.2)
    pairs = [Pair("a", "one", images[0], fine), Pair("b", "glass", clear, fine), Pair("c", "one", images[1], fine)]
    (found,) = stains_of(pairs)
    assert found.specimen == "one"
    both = [stain_coordinates(image.rgb()) for image in images]
    coordinates, weight = (np.concatenate(parts) for parts in zip(*both, strict=True))
    assert found.mean == pytest.approx(np.average(coordinates, axis=0, weights=weight), rel=1e-9)
    assert np.array(found.covariance) == pytest.approx(np.cov(coordinates.T, aweights=weight, ddof=0), abs=1e-12)


def test_the_same_dyes_weaker_or_in_other_proportion_are_near_and_another_dye_is_far(rng):
    known = dyed("purple", "pink", rng=rng), dyed("brown", rng=rng)
    assert apart(dyed("purple", "pink", rng=rng, strength=0.7), *known)[0] < 1
    only_one = apart(dyed("pink", rng=rng), known[0])
    assert only_one[0] < 3 and only_one[1].specimen == "0"
    assert apart(dyed("brown", rng=rng), *known)[1].specimen == "1"
    assert apart(dyed("purple", "brown", rng=rng), known[0])[0] > 20


def test_specimens_are_not_averaged(rng):
    """Halfway between two dyes lies a third colour, that neither specimen has."""
    known = dyed("pink", rng=rng), dyed("brown", rng=rng)
    between = dyed("pink", "brown", rng=rng)
    assert max(apart(each, *known)[0] for each in known) < 0.1 and apart(between, *known)[0] > 20


def test_grey_is_a_third_of_each(rng):
    image = Image(np.full((4, 4), 0.1, np.float32), 0.2)
    assert stain(image.rgb()).mean[:2] == pytest.approx((1 / 3, 1 / 3), abs=1e-6)
