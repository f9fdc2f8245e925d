"""An image that does not belong to the shipped weights is told from one that does: real stained sections under the
virtual microscope (condition `standard`)."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from superres.errors import ImageError
from superres.guard import STRUCTURE_LIMIT, judge, require_fit
from superres.image import Image
from superres.io.images import read_image
from superres.io.weights import read_weights
from superres.optics import Optics
from superres.optics.camera import integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.training.stain import StainSums
from superres.transform import Transform
from superres.weights import shipped_weights

TRAINED_ON = {"OS-1": "he_OS-1_hamamatsu.png", "CMU-1": "he_CMU-1-small.svs", "liverquant-2": "he_liver_2.jpg",
              "GTEX-12584": "he_liver_gtex.jpg", "tupac": "he_tupac_a.png", "histoqc-1": "he_histoqc_1.png",
              "histoqc-3": "he_histoqc_3.png", "histolab-high": "he_histolab_high_nuclei.png"}
"""H&E slides of the shipped weights, by specimen."""
SIDE_PX = 400


def scenes(shared_data, name, count=99, binned=None):
    """Pieces of a sharp picture, (400, 400, 3); soft pictures are binned first, unless it is said."""
    with open(shared_data / "MANIFEST.csv", newline="", encoding="utf-8") as stream:
        row = next(row for row in csv.DictReader(stream) if row["file"] == name)
    pixels = read_image(shared_data / row["folder"] / name, pixel_size_um=1.0).rgb()
    if binned if binned is not None else row["bin2_before_use"] == "yes":
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


def subjects(image, weights):
    return {each.subject for each in judge(image, weights)}


def without(weights, specimen):
    """As if the network had never seen that slide."""
    return replace(weights, stains=tuple(stain for stain in weights.stains if stain.specimen != specimen))


@pytest.fixture(scope="module")
def weights():
    """Those that come with superres: H&E of many slides, and one of picrosirius red."""
    return read_weights(shipped_weights())


@pytest.fixture(scope="module")
def liver(shared_data):
    """(sharp scenes, fields of them): an H&E slide that validated the training, and is in no statistics."""
    sharp = scenes(shared_data, "he_liver_3.jpg", 3)
    rng = np.random.default_rng(2)
    return sharp, [seen(scene, rng) for scene in sharp]


def test_matching_fields_are_not_warned_about(liver, weights):
    assert [judge(field, weights) for field in liver[1]] == [()] * 3


def test_another_pixel_size_is(liver, weights):
    for factor in (1.5, 1 / 1.5):
        field = replace(liver[1][2], pixel_size_um=0.185 * factor)
        assert "pixel size" in subjects(field, weights)
        assert "pixel size" not in {each.subject for each in judge(field, weights, pixel_size_known=False)}
    assert judge(replace(liver[1][2], pixel_size_um=0.19), weights) == ()


def test_a_pixel_size_that_is_wrong_in_the_file_is_if_it_hides_empty_magnification(liver, weights, rng):
    assert subjects(seen(liver[0][2], rng, magnified=1.5), weights) == {"focus"}


@pytest.mark.parametrize("name", ["ihc_colon_skimage.png", "mt_liver_1.png", "mt_liver_2.png"])
@pytest.mark.parametrize("binned", [True, False])
def test_another_stain_is(shared_data, weights, name, binned, rng):
    assert subjects(seen(scenes(shared_data, name, 1, binned)[0], rng), weights) == {"stain"}


def test_a_stain_is_another_if_its_slide_was_not_among_the_training(shared_data, weights, rng):
    field = seen(scenes(shared_data, "psr_liver.jpg", 1)[0], rng)
    assert judge(field, weights) == ()
    assert subjects(field, without(weights, "liverquant-psr")) == {"stain"}


def test_exchanged_channels_are(liver, weights):
    for field in liver[1]:
        (finding,) = judge(Image(field.pixels[..., ::-1].copy(), 0.185), weights)
        assert finding.subject == "stain" and "blue, green, red" in finding.text


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.75, 0.85)])
def test_a_grey_frame_is_whatever_its_tint_and_noise(liver, weights, rng, noise, tint):
    grey = liver[1][2].grey()
    frame = grey[:, :, None] * np.array(tint) + rng.normal(0, noise, (*grey.shape, 3))
    found = subjects(Image(np.rint(255 * np.clip(frame, 0, 1)).astype(np.uint8), 0.185), weights)
    assert found == ({"colour", "noise"} if noise > 0.02 else {"colour"})
    assert subjects(Image(np.rint(255 * grey).astype(np.uint8), 0.185), weights) == {"colour"}


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9), (2, 2, 3), (5, 5, 3), (20, 20, 3), (47, 300, 3)])
def test_images_without_a_spectrum_are_too_small_to_judge_and_not_called_grey(weights, rng, shape):
    """Clear glass of a colour slide, for one."""
    glass = np.clip(0.95 + rng.normal(0, 0.01, shape), 0, 1).astype(np.float32)
    (finding,) = judge(Image(glass, 0.185), weights)
    assert finding.subject == "unjudged" and f"too small to judge ({shape[0]} × {shape[1]} px" in finding.text
    with pytest.raises(ImageError, match=r"whether 'a\.tif' fits these weights is unknown: it is too small"):
        require_fit((finding,), "a.tif")
    assert subjects(Image(glass, 0.3), weights) == {"pixel size", "unjudged"}


def test_blank_and_dark_frames_are(weights, rng):
    for level in (0.97, 0.05):
        frame = np.clip(np.full((160, 160, 3), level) + rng.normal(0, 0.01, (160, 160, 3)), 0, 1)
        assert subjects(Image(frame.astype(np.float32), 0.185), weights) == {"blank"}


def test_noise_is_not_said_to_be_weak(weights, rng):
    """Its power is above that of an empty field; it is the noise beside it that takes its meaning away."""
    (finding,) = judge(Image(rng.random((160, 160, 3), dtype=np.float32), 0.185), weights)
    said = re.search(r"hardly more than noise: .* has a power of (0\.\d+), (\d+\.\d) times that of the noise; expected "
                     r"over 8 times", finding.text)
    assert finding.subject == "blank" and float(said[1]) > STRUCTURE_LIMIT and float(said[2]) < 8
    (finding,) = judge(Image(np.full((160, 160, 3), 0.9, dtype=np.float32), 0.185), weights)
    power, limit = re.search(r"has a power of (0\.\d+); expected over (0\.\d+)", finding.text).groups()
    assert float(power) < float(limit)


@pytest.mark.slow
@pytest.mark.parametrize("defocus_um", [1.0, -2.0, 3.0])
def test_out_of_focus_is(liver, weights, rng, defocus_um):
    assert subjects(seen(liver[0][2], rng, defocus_um), weights) & {"focus", "blank"}


def test_weights_without_statistics_cannot_judge_and_say_so(liver, weights):
    (finding,) = judge(liver[1][0], replace(weights, stains=()))
    assert finding.subject == "unjudged" and "cannot be judged" in finding.text


def test_weights_for_grey_cameras_take_grey_and_not_colour(liver, weights):
    grey = Image(np.rint(255 * liver[1][0].grey()).astype(np.uint8), 0.185)
    sums = StainSums()
    sums.add(grey.rgb())
    of_grey = replace(weights, stains=(sums.stain("grey"),))
    assert judge(grey, of_grey) == () and subjects(liver[1][0], of_grey) == {"stain"}


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
def test_thirty_fields_of_slides_that_the_statistics_never_saw_give_at_most_one_false_alarm(shared_data, weights, rng):
    """H&E of four slides: two validated the training, two are of test/."""
    unseen = {"liverquant-3", "histolab-medium", "histolab-t", "histoqc-2"}
    assert not unseen & {each.specimen for each in weights.stains}
    sharp = [scene for name in ("he_liver_3.jpg", "he_histolab_medium_nuclei.png", "he_histolab_t1.png",
                                "he_histolab_t2.png", "he_histoqc_2.png") for scene in scenes(shared_data, name, 30)]
    sharp += scenes(shared_data, "he_liver_3.jpg", 4, binned=True)
    assert len(sharp) >= 30
    alarms = [judge(seen(scene, rng), weights) for scene in sharp]
    assert sum(bool(each) for each in alarms) <= 1, [each for each in alarms if each]


@pytest.mark.slow
def test_a_slide_left_out_of_the_statistics_still_matches_the_others_of_its_stain(shared_data, weights, rng):
    """All but OS-1, whose scanner's colours no other slide has: without it, it would be warned about."""
    for specimen, name in TRAINED_ON.items():
        left = without(weights, specimen)
        alarms = [judge(seen(scene, rng), left) for scene in scenes(shared_data, name, 5)]
        assert sum(bool(each) for each in alarms) == (len(alarms) if specimen == "OS-1" else 0), (specimen, alarms)


@pytest.mark.slow
def test_what_does_not_match_is_found_on_every_slide(shared_data, weights, rng):
    for name in ("ihc_colon_skimage.png", "mt_liver_1.png", "mt_liver_2.png"):
        for binned in (True, False):
            found = [subjects(seen(scene, rng, defocus_um), weights) for defocus_um in (0.0, 0.3)
                     for scene in scenes(shared_data, name, 4, binned)]
            assert all("stain" in each for each in found), (name, binned, found)
    first = {name: scenes(shared_data, name, 1)[0] for name in ("he_liver_3.jpg", *list(TRAINED_ON.values())[1:])}
    for name, scene in first.items():
        for defocus_um in (1.0, 2.0, 3.0):
            assert subjects(seen(scene, rng, defocus_um), weights) & {"focus", "blank"}, (name, defocus_um)
        assert "focus" in subjects(seen(scene, rng, magnified=1.5), weights), name
        field = seen(scene, rng)
        assert "pixel size" in subjects(replace(field, pixel_size_um=0.2775), weights)
        grey = field.pixels[..., 1]
        assert "colour" in subjects(Image(grey.copy(), 0.185), weights)
        noisy = np.clip(grey[:, :, None] / 255 * [1, 0.8, 0.9] + rng.normal(0, 0.02, (*grey.shape, 3)), 0, 1)
        assert "colour" in subjects(Image(noisy.astype(np.float32), 0.185), weights), name
