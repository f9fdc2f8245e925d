"""An image that does not belong to the weights is told from one that does: real stained sections under the virtual
microscope (condition `standard`)."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from superres.errors import ImageError
from superres.guard import judge, require_fit
from superres.image import Image
from superres.io.images import read_image
from superres.optics import Optics
from superres.optics.camera import integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.training.stain import stain_statistics
from superres.transform import Transform
from tests.engine.specimens import SMALL, make_weights

H_AND_E = ("he_liver_2.jpg", "he_liver_3.jpg", "he_liver_gtex.jpg", "he_tupac_a.png", "he_histoqc_1.png",
           "he_histoqc_3.png", "he_histolab_high_nuclei.png")
SIDE_PX = 400


def scenes(shared_data, name, count=99):
    """Pieces of a sharp picture, (400, 400, 3); soft pictures are binned first."""
    with open(shared_data / "MANIFEST.csv", newline="", encoding="utf-8") as stream:
        row = next(row for row in csv.DictReader(stream) if row["file"] == name)
    pixels = read_image(shared_data / row["folder"] / name, pixel_size_um=1.0).rgb()
    if row["bin2_before_use"] == "yes":
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = pixels[:2 * height, :2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    side = min(SIDE_PX, *pixels.shape[:2])
    found = [pixels[top:top + side, left:left + side] for top in range(0, pixels.shape[0] - side + 1, side)
             for left in range(0, pixels.shape[1] - side + 1, side)]
    # As the virtual scan places its fields: a piece of clear glass belongs to no stain.
    return [piece for piece in found if np.mean(piece.mean(axis=2) < 0.88) >= 0.3 and piece.std() > 0.05][:count]


def seen(scene, rng, defocus_um=0.0, magnified=1.0):
    """Through 40×/0.95NA at 0.185 µm; magnified > 1: the true pixel is smaller than the 0.185 µm that are claimed."""
    optics = Optics(0.95, defocus_um=defocus_um)
    intensity = image_with_modes(scene, 0.074, coherent_modes(optics))
    signal = integrate_pixels(intensity, 0.074, np.eye(2) * 0.185 / magnified)
    side = int(scene.shape[0] / 2.5) - 2
    frame = sample(signal, Transform.similarity(1 / magnified, 0), (side, side), 0.185)
    noisy = np.clip(frame + rng.normal(0, 0.01, frame.shape), 0, 1)
    return Image(np.rint(noisy * 255).astype(np.uint8), 0.185, name="field")


def trained_on(fields):
    stain = stain_statistics(fields)
    return replace(make_weights(**SMALL), optical_density_mean=stain.mean, optical_density_covariance=stain.covariance)


def subjects(image, weights):
    return {each.subject for each in judge(image, weights)}


@pytest.fixture(scope="module")
def liver(shared_data):
    """(sharp scenes, fields of them): one H&E slide."""
    sharp = scenes(shared_data, "he_liver_2.jpg", 4)
    rng = np.random.default_rng(2)
    return sharp, [seen(scene, rng) for scene in sharp]


@pytest.fixture(scope="module")
def weights(liver):
    return trained_on(liver[1][:2])


def test_matching_fields_are_not_warned_about(liver, weights):
    assert [judge(field, weights) for field in liver[1]] == [()] * 4


def test_another_pixel_size_is(liver, weights):
    for factor in (1.5, 1 / 1.5):
        field = replace(liver[1][2], pixel_size_um=0.185 * factor)
        assert "pixel size" in subjects(field, weights)
        assert "pixel size" not in {each.subject for each in judge(field, weights, pixel_size_known=False)}
    assert judge(replace(liver[1][2], pixel_size_um=0.19), weights) == ()


def test_a_pixel_size_that_is_wrong_in_the_file_is_if_it_hides_empty_magnification(liver, weights, rng):
    assert subjects(seen(liver[0][2], rng, magnified=1.5), weights) == {"focus"}


@pytest.mark.parametrize("name", ["psr_liver.jpg", "ihc_colon_skimage.png", "mt_liver_1.png"])
def test_another_stain_is(shared_data, weights, name, rng):
    assert subjects(seen(scenes(shared_data, name, 1)[0], rng), weights) == {"stain"}


def test_a_grey_frame_is(liver, weights):
    field = liver[1][2]
    grey = np.rint(255 * field.grey()).astype(np.uint8)
    assert subjects(Image(grey, 0.185), weights) == {"colour"}
    assert subjects(Image(np.repeat(grey[:, :, None], 3, axis=2), 0.185), weights) == {"colour"}


def test_blank_and_dark_frames_are(weights, rng):
    for level in (0.97, 0.05):
        frame = np.clip(np.full((160, 160, 3), level) + rng.normal(0, 0.01, (160, 160, 3)), 0, 1)
        assert subjects(Image(frame.astype(np.float32), 0.185), weights) == {"blank"}


@pytest.mark.slow
@pytest.mark.parametrize("defocus_um", [1.0, -2.0, 3.0])
def test_out_of_focus_is(liver, weights, rng, defocus_um):
    assert subjects(seen(liver[0][2], rng, defocus_um), weights) & {"focus", "blank"}


def test_weights_without_statistics_cannot_judge_and_say_so(liver):
    bare = replace(make_weights(**SMALL), optical_density_mean=(), optical_density_covariance=(), coarse=None)
    (finding,) = judge(liver[1][0], bare)
    assert finding.subject == "unjudged" and "cannot be judged" in finding.text


def test_a_large_image_is_judged_by_windows_and_clear_glass_around_tissue_is_no_fault(liver, weights, rng):
    wide = np.clip(0.95 + rng.normal(0, 0.01, (1200, 900, 3)), 0, 1)
    tissue = liver[1][2].unit()
    for top, left in ((0, 0), (300, 250), (300, 500), (700, 500)):
        wide[top:top + len(tissue), left:left + len(tissue)] = tissue
    assert judge(Image(wide.astype(np.float32), 0.185), weights) == ()


def test_strict_refuses_with_all_reasons(liver, weights):
    findings = judge(replace(liver[1][2], pixel_size_um=0.3), weights)
    with pytest.raises(ImageError, match=r"'a\.tif' does not fit.*pixel size is 0\.3 µm"):
        require_fit(findings, "a.tif")
    require_fit((), "a.tif")


@pytest.mark.slow
def test_thirty_matching_fields_give_at_most_one_false_alarm_and_all_others_are_found(shared_data, rng):
    fields = {name: scenes(shared_data, name, 15) for name in H_AND_E}
    sharp = [(name, scene) for name, some in fields.items() for scene in some]
    assert len(sharp) >= 30
    images = [seen(scene, rng) for _, scene in sharp]
    weights = trained_on(images[::2])
    assert sum(bool(judge(image, weights)) for image in images) <= 1
    for name in ("psr_liver.jpg", "ihc_colon_skimage.png", "mt_liver_1.png", "mt_liver_2.png"):
        assert all("stain" in subjects(seen(scene, rng), weights) for scene in scenes(shared_data, name, 3)), name
    for defocus_um in (1.0, 2.0, 3.0):
        assert all(subjects(seen(some[0], rng, defocus_um), weights) & {"focus", "blank"} for some in fields.values())
    assert all("focus" in subjects(seen(some[0], rng, magnified=1.5), weights) for some in fields.values())
    assert all("pixel size" in subjects(replace(image, pixel_size_um=0.2775), weights) for image in images)
    assert all("colour" in subjects(Image(image.pixels[..., 1].copy(), 0.185), weights) for image in images)
