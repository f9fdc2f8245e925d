"""The measuring commands as a user types them: tables to stdout, pages that load nothing, errors in two lines."""

import re
from dataclasses import replace
from fractions import Fraction
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from superres.api.plugin import PluginOptions
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.catalog import Catalog, Entry
from superres.diagnosis import processor
from superres.errors import SuperresError
from superres.guard import judge
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.io.weights import read_weights, write_weights
from superres.measuring.reproduction import DEFAULT_SUBJECT
from superres.measuring.scoring import load_pairs
from superres.optics import Optics
from superres.optics.consistency import ForwardModel
from superres.optics.usaf.target import TargetSpec, draw_target
from superres.report.pages import Page
from superres.resample import bicubic
from superres.training.history import HistoryRow, write_history
from superres.weights import shipped_weights
from tests.optics.edges import gaussian_edge

WEIGHTS = "tests/data/quickstart-weights.safetensors"


def check_page(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().split()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text), "a page loads nothing"
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    return text


@pytest.fixture
def target_file(tmp_path):
    drawn = draw_target(TargetSpec(first_group=8, nests=1, margin_um=2.5), 3.90625 / 12)
    pixels = np.rint(255 * drawn.transmittance).astype(np.uint8)
    write_image(tmp_path / "target.tif", Image(pixels, 3.90625 / 12))
    return tmp_path / "target.tif"


def test_mtf_reads_a_target_and_draws_the_papers_24_frequencies_beside(superres, target_file, tmp_path):
    outcome = superres("mtf", target_file, "--na", "0.25", "--page", tmp_path / "p.html", "--csv", tmp_path / "t.csv")
    assert outcome.status == 0, outcome.err
    assert "note:" not in outcome.err and "Contradicted" not in outcome.out
    lines = outcome.out.splitlines()
    row = next(line for line in lines if line.startswith("8/1"))
    assert row.split()[1] == "256.0" and float(row.split()[2]) > 0.9
    assert len([line for line in lines if re.match(r"\d+/\d ", line)]) == 12
    text = check_page(tmp_path / "p.html")
    assert "paper, 100×/1.4NA (S4)" in text and "sine MTF, 0.25NA" in text
    assert "= 909" in text  # (0.25 + 0.25)/0.55: a condenser counts no wider than the objective
    table = (tmp_path / "t.csv").read_text().splitlines()
    assert len(table) == 25 and table[0].startswith("image,group,element,bars,cycles_per_mm")


@pytest.mark.parametrize("words", [["mtf", "{image}", "--csv", "{image}"],
                                   ["resolution", "{image}", "--page", "{image}"],
                                   ["upscale", "{image}", "{out}", "--drift-report", "{image}"],
                                   ["upscale", "{image}", "{out}", "--consistency-map", "{out}"]])
def test_no_side_output_takes_the_place_of_an_image(superres, target_file, tmp_path, words):
    content = target_file.read_bytes()
    outcome = superres(*(word.format(image=target_file, out=tmp_path / "out.tif") for word in words))
    assert outcome.status == 2 and "hint: give it another name" in outcome.err
    assert target_file.read_bytes() == content and not (tmp_path / "out.tif").exists()


def test_mtf_tells_which_image_it_reads(superres, target_file):
    outcome = superres("mtf", target_file)
    assert f"mtf: looking for a target in {Path(target_file).name}" in outcome.err and "mtf: done in" in outcome.err


def test_mtf_warns_where_the_target_contradicts_the_files_pixel_size(superres, target_file):
    told = 3.90625 / 12
    for factor in (1.3, 4.0):  # by its bars; by its numerals, which are two groups off
        outcome = superres("mtf", target_file, "--pixel-size-um", told * factor)
        assert outcome.status == 0, outcome.err
        assert f"stated as {told * factor:.4g} µm" in outcome.err and "one of them is wrong" in outcome.err
        assert "Contradicted pixel size: target.tif." in outcome.out.splitlines()[0]
        assert float(re.search(r"its target says ([\d.]+) µm", outcome.err)[1]) == pytest.approx(told, rel=0.03)


def test_the_papers_table_s4_is_whole():
    from superres.measuring.paper import TABLE_S4

    assert len(TABLE_S4) == 24
    for index, (frequency, before, after) in enumerate(TABLE_S4):
        assert frequency == pytest.approx(256 * 2 ** (index / 6), rel=1e-6)
        assert 0 <= before <= 1 and 0 <= after <= 1
    # READING: the input reaches 0 at 2299 cycles/mm, the output at 3251
    assert next(round(row[0]) for row in TABLE_S4 if row[1] == 0) == 2299
    assert next(round(row[0]) for row in TABLE_S4 if row[2] == 0) == 3251


def test_mtf_of_an_edge(superres, tmp_path):
    pixels = np.rint(255 * gaussian_edge(5, 1.0)).astype(np.uint8)
    whole = np.full((260, 160), 230, dtype=np.uint8)
    whole[30:230, 40:140] = pixels
    write_image(tmp_path / "edge.png", Image(whole, 1.0))
    outcome = superres("mtf", tmp_path / "edge.png", "--target", "edge", "--region", "30,40,200,100",
                       "--page", tmp_path / "e.html")
    assert outcome.status == 0, outcome.err
    half = float(re.search(r"half contrast at ([\d.]+) cycles/px", outcome.out)[1])
    assert half == pytest.approx(np.sqrt(np.log(2) / 2) / np.pi, abs=0.003)  # a Gaussian of sd 1 px
    check_page(tmp_path / "e.html")
    refused = superres("mtf", tmp_path / "edge.png", "--target", "edge", "--region", "30,40,999,100")
    assert refused.status == 2 and "leaves 'edge.png'" in refused.err


def test_mtf_of_a_clipped_edge_says_so_in_headline_and_notes(superres, tmp_path, rng):
    edge = gaussian_edge(5, 1.0) + rng.normal(0, 0.01, (200, 100))
    for name, gain in (("fair.png", 1.0), ("clipped.png", 1.15)):  # 0.9 · 1.15 lies above white
        pixels = np.rint(255 * np.clip(gain * edge, 0, 1)).astype(np.uint8)
        write_image(tmp_path / name, Image(pixels, 1.0))
    outcome = superres("mtf", tmp_path / "fair.png", tmp_path / "clipped.png", "--target", "edge")
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[0].endswith("Clipped: clipped.png.")
    share = re.search(r"note: (\d+)% of the pixels of clipped.png are at 0 or at the white level", outcome.err)
    assert 40 <= int(share[1]) <= 50 and "fair.png are" not in outcome.err  # the bright half


@pytest.mark.parametrize(("words", "error"), [
    (("mtf", "blank.png"), "no USAF-1951 target was found"),
    (("mtf", "blank.png", "--target", "edge"), "opposite sides"),
    (("mtf", "none.png"), "no such file"),
    (("resolution", "blank.png"), "states no pixel size"),
    (("resolution", "blank.png", "--exposures", "--pixel-size-um", "0.1"), "expected two"),
    (("mtf", "blank.png", "--target", "edge", "--region", "1,2"), "expected top,left,height,width"),
    (("mtf", "blank.png", "--target", "edge", "--region", "0,0,0,0"), "expected top,left,height,width"),
    (("mtf", "blank.png", "--na", "0"), "--na is 0; expected above 0"),
    (("mtf", "blank.png", "--na", "-1"), "--na is -1; expected above 0"),
    (("mtf", "blank.png", "--na", "0.9", "--condenser-na", "nan"), "--condenser-na is nan; expected above 0"),
    (("resolution", "blank.png", "--wavelength-um", "0"), "--wavelength-um is 0; expected above 0"),
    (("resolution", "blank.png", "--pixel-size-um", "0"), "--pixel-size-um is 0; expected a positive number"),
    (("mtf", "empty.npy"), "'empty.npy' is empty"),
    (("mtf", "negative.npy"), "holds values from -3 to 1; expected intensities of 0 and more"),
    (("mtf", "text.npy"), "cannot be read"),
    (("mtf", "words.npy"), "expected one array of numbers"),
    (("mtf", "none.npy"), "no such file"),
    (("reproduce",), "name either a table or a figure"),
    (("reproduce", "--table", "S1", "--figure", "S6"), "name either a table or a figure"),
    (("reproduce", "--figure", "S4", "--run", "nowhere"), "is no finished run"),
    (("evaluate", "nowhere", "--weights", WEIGHTS), "neither a folder of pairs nor an image file"),
])
def test_wrong_use_says_what_to_do(superres, tmp_path, monkeypatch, project_root, words, error):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((90, 90, 3), 200, dtype=np.uint8))
    np.save(tmp_path / "empty.npy", np.zeros((0, 4)))
    np.save(tmp_path / "negative.npy", np.array([[1.0, -3.0]]))
    np.save(tmp_path / "words.npy", np.array([["black", "white"]]))
    (tmp_path / "text.npy").write_text("no array")
    monkeypatch.chdir(tmp_path)
    words = [project_root / word if word == WEIGHTS else word for word in words]
    outcome = superres(*words)
    assert outcome.status == 2 and error in outcome.err and "hint:" in outcome.err and "Traceback" not in outcome.err


def test_resolution_measures_camera_frames_and_refuses_resampled_ones(superres, tmp_path, rng):
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    grain = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (256, 256))) * (radius < 0.2)).real
    for name in ("a.tif", "b.tif"):
        frame = 0.5 + 0.2 * grain / grain.std() * 0.5 + rng.normal(0, 0.01, (256, 256))
        write_image(tmp_path / name, Image(np.rint(65535 * np.clip(frame, 0, 1)).astype(np.uint16), 0.185, 65535.0))
    outcome = superres("resolution", tmp_path / "a.tif", tmp_path / "b.tif", "--exposures", "--na", "0.95",
                       "--page", tmp_path / "r.html", "--csv", tmp_path / "r.csv")
    assert outcome.status == 0, outcome.err
    period = float(re.search(r"noise-limited resolution ([\d.]+) µm", outcome.out)[1])
    assert period == pytest.approx(0.185 / 0.2, rel=0.06)  # three rings of 1/256 cycles/px
    check_page(tmp_path / "r.html")
    smooth = read_image(tmp_path / "a.tif").unit()
    enlarged = np.rint(65535 * np.clip(bicubic(smooth, Fraction(5, 2)), 0, 1)).astype(np.uint16)
    write_image(tmp_path / "up.tif", Image(enlarged, 0.074, 65535.0))
    refused = superres("resolution", tmp_path / "up.tif")
    assert refused.status == 0 and "refused" in refused.out and "no white noise" in refused.err


def test_resolution_of_noise_alone_or_of_two_fields_is_refused(superres, tmp_path, rng):
    def grain():
        radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
        field = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (256, 256))) * (radius < 0.2)).real
        return 0.5 + 0.1 * field / field.std() + rng.normal(0, 0.01, (256, 256))

    frames = {"noise.tif": 0.5 + rng.normal(0, 0.01, (256, 256)), "one.tif": grain(), "two.tif": grain()}
    for name, frame in frames.items():
        write_image(tmp_path / name, Image(np.rint(65535 * np.clip(frame, 0, 1)).astype(np.uint16), 0.185, 65535.0))
    alone = superres("resolution", tmp_path / "noise.tif", "--page", tmp_path / "r.html")
    assert alone.status == 0 and "no resolution: there is nothing but noise in it" in alone.out
    assert "refused" in alone.out.splitlines()[-1] and not re.search(r"0\.\d+ µm", alone.out)
    check_page(tmp_path / "r.html")
    unrelated = superres("resolution", tmp_path / "one.tif", tmp_path / "two.tif", "--exposures")
    assert "no resolution: they do not show one field in one place" in unrelated.out
    write_image(tmp_path / "two.tif", Image(read_image(tmp_path / "one.tif").pixels // 2, 0.2, 65535.0))
    other = superres("resolution", tmp_path / "one.tif", tmp_path / "two.tif", "--exposures")
    assert other.status == 2 and "0.185 µm, that of 'two.tif' 0.2 µm" in other.err


@pytest.mark.parametrize("shift", [(2, 3), (-5, 0), (1, -9)])
def test_a_shift_between_two_exposures_is_cropped_away_and_told(superres, tmp_path, rng, shift):
    """Two crops of one object; a shift left in would lower rings at f by J₀(2π·f·shift)."""
    from skimage import data

    radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])
    scene = np.fft.ifft2(np.fft.fft2(data.brick() / 255) * (radius < 0.2)).real

    def expose(name, down, right):
        frame = scene[100 - down:340 - down, 100 - right:360 - right] + rng.normal(0, 0.01, (240, 260))
        write_image(tmp_path / name, Image(np.rint(65535 * np.clip(frame, 0, 1)).astype(np.uint16), 0.185, 65535.0))

    expose("a.tif", 0, 0)
    expose("b.tif", *shift)
    outcome = superres("resolution", tmp_path / "a.tif", tmp_path / "b.tif", "--exposures")
    period = float(re.search(r"noise-limited resolution ([\d.]+) µm", outcome.out)[1])
    assert period == pytest.approx(0.185 / 0.2, rel=0.06)
    assert f"note: The second exposure lies ({shift[0]}, {shift[1]}) px (y, x) off the first" in outcome.err
    expose("b.tif", 0, 0)
    still = superres("resolution", tmp_path / "a.tif", tmp_path / "b.tif", "--exposures")
    assert "note:" not in still.err
    expose("b.tif", 30, 10)
    far = superres("resolution", tmp_path / "a.tif", tmp_path / "b.tif", "--exposures")
    assert "no resolution: they do not show one field in one place" in far.out and "px apart" in far.out


@pytest.fixture
def stained_file(tmp_path, project_root):
    """The middle of the real section, as the virtual microscope sees it."""
    from superres.builtin.sources.simulate import SimulateSource

    pair = SimulateSource(scenes=["builtin:ihc"], give="pairs", max_scene_px=240).acquire().pairs[0]
    write_image(tmp_path / "coarse" / "ihc" / "field.tif", pair.coarse)
    write_image(tmp_path / "fine" / "ihc" / "field.tif", pair.fine)
    return tmp_path / "coarse" / "ihc" / "field.tif"


@pytest.fixture
def network(weights_file):
    """An untrained network that knows its objectives and no stain."""
    weights = replace(read_weights(weights_file), coarse=Optics(0.95, magnification=40),
                      fine=Optics(1.4, refractive_index=1.515, magnification=100))
    write_weights(weights_file, weights)
    return weights_file


def test_resolution_refuses_outputs_by_what_their_file_says_and_by_their_noise(superres, stained_file, tmp_path):
    """8-bit outputs hold rounding, which is white like a camera's noise."""
    for name in ("out.png", "out.tif"):
        made = superres("upscale", stained_file, tmp_path / name)
        assert made.status == 0, made.err
        told = superres("resolution", tmp_path / name, "--na", "0.95")
        assert "no resolution: one image gives no ring correlation: its file says that a network" in told.out
    fallen_silent = tmp_path / "fallen-silent.png"
    cv2.imwrite(str(fallen_silent), cv2.imread(str(tmp_path / "out.png")))
    seen = superres("resolution", fallen_silent, "--pixel-size-um", "0.074", "--na", "0.95")
    assert seen.status == 0 and "times the rounding of its levels" in seen.out, seen.out
    twice = superres("resolution", tmp_path / "out.png", stained_file, "--exposures", "--pixel-size-um", "0.1")
    assert "no resolution: 'out.png': its file says that a network" in twice.out


def test_nothing_finer_than_the_optical_cutoff_is_called_resolution(superres, tmp_path, rng):
    """Half of the band of the grid, 0.25 cycles/px, at a pixel so small that no light carries it."""
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    grain = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (256, 256))) * (radius < 0.2)).real
    frame = 0.5 + 0.1 * grain / grain.std() + rng.normal(0, 0.01, (256, 256))
    write_image(tmp_path / "a.png", Image(np.rint(255 * np.clip(frame, 0, 1)).astype(np.uint8), 0.06))
    free = superres("resolution", tmp_path / "a.png")
    assert float(re.search(r"resolution ([\d.]+) µm", free.out)[1]) == pytest.approx(0.3, rel=0.06)
    bound = superres("resolution", tmp_path / "a.png", "--na", "0.95")
    first, *_, row = bound.out.splitlines()
    assert "at most the optical cut-off of 0.367 µm" in first and "therefore is not resolution" in first
    assert "cut-off, 0.367" in row and "0.3 " not in row and not re.search(r"0\.[0-2]\d\d", row), row


def test_upscale_warns_refuses_and_draws(superres, stained_file, network, tmp_path):
    words = ("upscale", stained_file, tmp_path / "out.tif", "--weights", network)
    warned = superres(*words, "--pixel-size-um", "0.2775", "--consistency-map", tmp_path / "map.html",
                      "--passes", "2", "--drift-report", tmp_path / "drift.html")
    assert warned.status == 0, warned.err
    assert "may not fit these weights: its pixel size is 0.2775 µm" in warned.err
    assert "the stain cannot be judged" in warned.err and "Consistency of 'field.tif'" in warned.err
    assert "written: " in warned.err and warned.err.count(str(tmp_path / "map.html")) == 1
    assert warned.err.count(f"written: {tmp_path / 'drift.html'}") == 1
    told = check_page(tmp_path / "map.html")
    assert "What this map can and cannot show" in told and "never confirm" in told
    assert "a blank map there is no evidence" in told and ".." not in re.sub(r"base64,[^\"]*", "", told)
    assert "after pass 2" in check_page(tmp_path / "drift.html")
    (tmp_path / "out.tif").unlink()
    refused = superres(*words, "--pixel-size-um", "0.2775", "--strict")
    assert refused.status == 2 and "does not fit these weights" in refused.err and not (tmp_path / "out.tif").exists()
    for option, name, error in (("--consistency-map", "map.jpg", "expected .html"),
                                ("--drift-report", "drift.png", "expected a page"),
                                ("--drift-report", ".", "is a folder")):
        early = superres(*words, option, tmp_path / name)
        assert early.status == 2 and error in early.err and not (tmp_path / "out.tif").exists()
        assert "upscale:" not in early.err, "said before anything is loaded"
    lost = superres("upscale", tmp_path / "lost.tif", *words[2:])
    assert lost.status == 2 and lost.err.startswith("error: no such file")


def test_the_map_claims_no_sensitivity_that_it_disproves(stained_file, network):
    """Without camera noise the model's own error decides; where the output is off everywhere, what the map shows."""
    from superres.measuring.consistency import consistency_page, measure_consistency

    weights, fine = read_weights(network), read_image(stained_file.parents[2] / "fine" / "ihc" / "field.tif")
    model = ForwardModel(weights.coarse, weights.fine, 0.185, 0.074)
    seen = model.coarsen(fine.unit(), (96, 96))
    given = Image(seen.astype(np.float32), 0.185, 1.0, "field")
    true = measure_consistency(given, fine, weights)
    assert true.noise == true.level == 0.5 and true.striking < 0.01
    planted = fine.pixels.copy()
    planted[117:124, 117:124] //= 2
    false = measure_consistency(given, fine.with_pixels(planted), weights)
    assert false.level == 0.5 and false.percent[44:52, 44:52].max() > 2 * false.level
    off = np.clip(fine.unit() + 0.03 * np.random.default_rng(0).choice([-1, 1], (48, 48, 1)).repeat(5, 0).repeat(5, 1),
                  0, 1)
    spread = measure_consistency(given, Image(off.astype(np.float32), 0.074, 1.0), weights)
    assert spread.striking > 0.2 and np.mean(spread.percent > 2 * spread.level) < 0.05
    for few, many in zip(true.spots, spread.spots, strict=True):
        assert few.contrast is not None and (many.contrast is None or many.contrast > 2 * few.contrast)
    for result in (true, spread):
        cells = [row[1] for row in consistency_page(result, given).sections[1].table.rows]
        assert all(re.fullmatch(r"not even black|< 1 %|[1-9]\d* %", cell) for cell in cells), cells


@pytest.mark.parametrize("side", [1, 47])
def test_an_image_smaller_than_the_forward_models_reach_gets_no_map(superres, network, tmp_path, side):
    write_image(tmp_path / "small.png", Image(np.full((side, side, 3), 200, dtype=np.uint8), 0.185))
    outcome = superres("upscale", tmp_path / "small.png", tmp_path / "out.tif", "--weights", network,
                       "--consistency-map", tmp_path / "map.html")
    assert outcome.status == 2 and f"{side} × {side} px, too small for a consistency map" in outcome.err
    assert "±24 px" in outcome.err and not (tmp_path / "out.tif").exists()


def test_weights_without_objectives_allow_no_map_and_say_so_before_the_work(superres, stained_file, weights_file,
                                                                            tmp_path):
    outcome = superres("upscale", stained_file, tmp_path / "out.tif", "--weights", weights_file, "--consistency-map",
                       tmp_path / "map.html")
    assert outcome.status == 2 and "do not say which objectives" in outcome.err
    assert not (tmp_path / "out.tif").exists()


def test_the_map_as_numbers_lies_on_the_inputs_grid(superres, stained_file, network, tmp_path):
    outcome = superres("upscale", stained_file, tmp_path / "out.tif", "--weights", network, "--consistency-map",
                       tmp_path / "map.tif")
    assert outcome.status == 0, outcome.err
    assert "a blank map there is no evidence" in outcome.err and f"written: {tmp_path / 'map.tif'}" in outcome.err
    given, found = read_image(stained_file), read_image(tmp_path / "map.tif", white_level=100.0)
    assert found.shape_px == given.shape_px and found.pixels.dtype == np.float32
    assert found.pixel_size_um == pytest.approx(given.pixel_size_um)
    assert found.pixels.mean() > 5  # an untrained network does not draw the section


def test_upscale_says_what_of_a_file_it_leaves_behind(superres, network, tmp_path, rng):
    pixels = rng.integers(0, 256, (20, 24, 4)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "alpha.png")
    PIL.Image.fromarray(pixels).save(tmp_path / "alpha.tif")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels[..., :3]).save(tmp_path / "turned.jpg", exif=exif)
    PIL.Image.fromarray(pixels[..., :3]).save(tmp_path / "plain.png")
    for name, words in (("alpha.png", "an alpha channel"), ("alpha.tif", "an alpha channel"),
                        ("turned.jpg", "orientation 6"), ("plain.png", "")):
        outcome = superres("upscale", tmp_path / name, tmp_path / "out.tif", "--weights", network)
        assert outcome.status == 0, outcome.err
        assert (f"'{name}' has {words}" in outcome.err) == bool(words)


def test_drift_of_an_image_too_small_for_a_spectrum(superres, network, tmp_path, rng):
    write_image(tmp_path / "tiny.png", Image(rng.integers(0, 256, (9, 24, 3)).astype(np.uint8), 0.185))
    outcome = superres("upscale", tmp_path / "tiny.png", tmp_path / "out.tif", "--weights", network,
                       "--drift-report", tmp_path / "d.html")
    assert outcome.status == 0, outcome.err
    assert "2.5× in all" in check_page(tmp_path / "d.html")


def test_an_evaluator_that_needs_options_is_refused_in_two_lines(superres, monkeypatch):
    class Needy(SsimEvaluator):
        class Options(PluginOptions):
            model: str

    monkeypatch.setattr(Catalog, "entry", lambda *_: Entry(Needy, "somebody", "1"))
    refused = superres("evaluate", "builtin:ihc", "--evaluator", "needy")
    assert refused.status == 2 and "evaluator 'needy' has options without a default: model" in refused.err
    assert "hint: evaluate with it in a pipeline file" in refused.err


def test_evaluate_scores_a_folder_of_pairs(superres, stained_file, network, tmp_path):
    outcome = superres("evaluate", tmp_path, "--weights", network, "--page", tmp_path / "e.html",
                       *(word for name in ("ssim", "difference-map", "consistency", "spectrum", "frc", "mtf")
                         for word in ("--evaluator", name)))
    assert outcome.status == 0, outcome.err
    assert re.search(r"^ssim ", outcome.out, flags=re.MULTILINE) and "consistency-p99" in outcome.out
    assert "Images may not fit the weights: unjudged" in outcome.out.splitlines()[0]
    assert "1 of 1 image may not fit these weights. ihc-field" in outcome.err
    assert "spectrum-added" in outcome.out and "no USAF-1951 target" in check_page(tmp_path / "e.html")


@pytest.fixture
def trained_on_it(network):
    """Weights that say that they were trained on the specimen of `stained_file`."""
    weights = read_weights(network)
    write_weights(network, replace(weights, provenance={"training": {"specimens": ["ihc"]}}))
    return network


NOT_NEW = ("had seen specimens of these names: ihc. Their scores are not of slides that training never saw.")


def test_evaluate_marks_what_the_weights_were_trained_on(superres, stained_file, trained_on_it, tmp_path):
    told = superres("evaluate", tmp_path, "--weights", trained_on_it, "--evaluator", "ssim", "--page",
                    tmp_path / "e.html", "--csv", tmp_path / "e.csv")
    assert told.status == 0, told.err
    assert "Seen in training: 1 of 1 specimen (†)." in told.out.splitlines()[0]
    assert re.search(r"^ihc-field  ihc † ", told.out, flags=re.MULTILINE) and "† training had seen it" in told.out
    page = check_page(tmp_path / "e.html")
    for text in (told.err, page):
        assert f"The training of these weights {NOT_NEW}" in text
    assert ">ihc †</td>" in page
    head, first, *_ = (tmp_path / "e.csv").read_text().splitlines()
    assert head == "image,specimen,seen_in_training,score,network,bicubic,unit,better"
    assert first.startswith("ihc-field,ihc,yes,ssim,0.")


def test_evaluate_marks_nothing_that_is_new(superres, stained_file, network, tmp_path):
    new = superres("evaluate", tmp_path, "--weights", network, "--evaluator", "ssim", "--csv", tmp_path / "e.csv")
    assert new.status == 0 and "†" not in new.out and "had seen" not in new.err
    assert ",ihc,no,ssim,0." in (tmp_path / "e.csv").read_text()


def test_cross_tissue_marks_the_scores_of_networks_on_their_own_slides(superres, stained_file, trained_on_it, tmp_path):
    other = tmp_path / "other.safetensors"
    write_weights(other, replace(read_weights(trained_on_it), provenance={}))
    told = superres("cross-tissue", tmp_path, "--weights", trained_on_it, "--weights", other, "--page",
                    tmp_path / "c.html", "--csv", tmp_path / "c.csv")
    assert told.status == 0, told.err
    assert "Seen in training: 1 of 2 scores (†)." in told.out.splitlines()[0]
    own, others = (next(line for line in told.out.splitlines() if line.startswith(name))
                   for name in (f"{trained_on_it.parent.name} ", "other "))
    assert own.endswith(") †") and "†" not in others
    for text in (told.err, check_page(tmp_path / "c.html")):
        assert f"{trained_on_it.parent.name} {NOT_NEW}" in text and f"other {NOT_NEW}" not in text
    assert [line.split(",")[1:3] for line in (tmp_path / "c.csv").read_text().splitlines()] == [
        ["specimen", "seen_in_training"], ["ihc", "yes"], ["ihc", "no"]]


@pytest.mark.parametrize("item", ["--table S1", "--figure S6", pytest.param("--figure S7", marks=pytest.mark.slow)])
def test_reproduce_marks_what_the_weights_were_trained_on(superres, stained_file, trained_on_it, tmp_path, item):
    told = superres("reproduce", tmp_path, *item.split(), "--weights", trained_on_it, "--page", tmp_path / "p.html")
    assert told.status == 0, told.err
    assert "Seen in training: 1 of 1 specimen (†)." in told.out.splitlines()[0]
    assert NOT_NEW in told.err and NOT_NEW in check_page(tmp_path / "p.html")
    assert (" ihc † " in told.out) == (item != "--figure S6")


@pytest.mark.parametrize("item", [
    ("--table", "S1"), ("--table", "S2"),
    *(pytest.param(("--" + kind, name), marks=pytest.mark.slow)
      for kind, name in (("table", "S3"), ("table", "S4"), ("figure", "S6"), ("figure", "S7"), ("figure", "S9")))
], ids=" ".join)
def test_reproduce_prints_the_papers_numbers_beside_ours(superres, stained_file, network, tmp_path, item):
    weights = ["--weights", network]
    if item[1] == "S9":
        write_weights(tmp_path / "second" / "weights.safetensors", read_weights(network))
        weights += ["--weights", tmp_path / "second" / "weights.safetensors"]
    outcome = superres("reproduce", tmp_path, *item, *weights, "--sides", "64", "--page", tmp_path / "p.html")
    assert outcome.status == 0, outcome.err
    expected = {"S1": "0.796", "S2": "51,008", "S3": "paper, two GPUs, twice",
                "S4": "sine MTF, 100×/1.4NA", "S6": "Fig. S6 shows pictures and gives no numbers",
                "S7": "Fig. S7 shows maps and gives no numbers", "S9": "bicubic"}
    text = check_page(tmp_path / "p.html")
    assert f"Processor: {processor()}." in unescape(text.split("What differs in data and hardware")[1])
    assert expected[item[1]] in outcome.out + text
    assert ("not looked at" in outcome.err) == (item[1] in ("S2", "S3", "S4")), "only some are made of the images"
    if item[1] == "S6":
        assert text.index("after pass 3") < text.index("<b>fine image</b>"), "the paper shows it too"
        assert "Images may not fit the weights: unjudged" in outcome.out.splitlines()[0]
        assert "the stain cannot be judged" in outcome.err and "the stain cannot be judged" in text
    if item[1] == "S7":
        order = [text.index(title) for title in ("Beside the paper", "maps and curves", "Scores")]
        assert order == sorted(order), "the maps are the figure"
        assert re.search(r"^difference-mean [\d.]+ %, bicubic [\d.]+ %", outcome.out, flags=re.MULTILINE)
    if item[1] == "S4":
        row = next(line for line in outcome.out.splitlines() if line.startswith("11/6")).split()
        assert row[1] == "3649.1" and row[-2:] == ["0.000", "0.000"]  # the paper's last row
        assert "(NA + NA_c)/λ = 2727" in text and "(NA + NA_c)/λ = 3545" in text


def test_weights_of_one_name_are_told_apart_by_their_folders(tmp_path, monkeypatch):
    from superres.cli.scoring import weights_names

    monkeypatch.chdir(tmp_path)
    files = [Path(name) for name in ("lung/a/weights.safetensors", "liver/a/weights.safetensors", "b.safetensors",
                                     "weights.safetensors")]
    assert weights_names([*files, None]) == ["lung/a", "liver/a", "b", tmp_path.name, "superres"]
    with pytest.raises(SuperresError, match="given twice"):
        weights_names([files[2], tmp_path / "b.safetensors"])


def test_reproduce_figure_s4_draws_the_course_of_a_run(superres, stained_file, network, tmp_path):
    rows = [HistoryRow(step, step / 10, 1e-3, 1 / step, 2 / step, step) for step in (10, 20, 30)]
    write_history(network.parent / "history.csv", rows)
    outcome = superres("reproduce", tmp_path, "--figure", "S4", "--run", network.parent, "--page", tmp_path / "p.html")
    assert outcome.status == 0 and "3 epochs; the paper's lung network: 630" in outcome.out, outcome.err
    assert "validation" in check_page(tmp_path / "p.html")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["20", "2", "0.05", "0.1"] in lines, "the figure in numbers"


@pytest.mark.parametrize(("figure", "error", "hint"), [
    ("S4", "only a run knows", "--run"), ("S9", "one weights file is given", "--weights once for each")])
def test_what_a_figure_lacks_is_said_before_anything_is_loaded(superres, tmp_path, monkeypatch, figure, error, hint):
    from superres.engine import Engine

    def never(*args, **kwargs):
        raise AssertionError("a network is loaded, though the figure cannot be made")

    monkeypatch.setattr(Engine, "from_weights", never)
    outcome = superres("reproduce", tmp_path / "nowhere", "--figure", figure)
    assert outcome.status == 2 and error in outcome.err and hint in outcome.err


def test_the_default_subject_is_one_that_the_weights_were_trained_for(superres, monkeypatch):
    found = load_pairs(DEFAULT_SUBJECT)
    assert not [finding for pair in found.pairs for finding in judge(pair.coarse, read_weights(shipped_weights()))]
    assert "imaged 1 scene (drawn, no real section), declared" in found.simulated
    asked = []
    monkeypatch.setattr("superres.measuring.scoring.load_pairs", lambda where, *levels: asked.append(where) or found)
    monkeypatch.setattr("superres.measuring.reproduction.reproduce", lambda *_: Page("t", "done", []))
    assert superres("reproduce", "--table", "S1").status == 0 and asked == [DEFAULT_SUBJECT]
    assert superres("reproduce", "--table", "S2").status == 0 and len(asked) == 1, "S2 is made of no images"


def test_reproduce_alone_writes_its_page_unasked(superres, stained_file, network, tmp_path, monkeypatch, project_root):
    """As the first paragraph of docs/measuring.md says."""
    monkeypatch.chdir(tmp_path)
    said = " ".join((project_root / "docs" / "measuring.md").read_text(encoding="utf-8").split("\n\n")[1].split())
    assert "where `--page` names one; `superres reproduce` always writes one" in said
    for words, pages in ((("evaluate", ".", "--weights", network, "--evaluator", "ssim"), []),
                         (("cross-tissue", ".", "--weights", network), []),
                         (("resolution", stained_file), []),
                         (("reproduce", "--table", "S2", "--page", "other.html"), ["other.html"]),
                         (("reproduce", "--table", "S2"), ["other.html", "reproduce-table-S2.html"])):
        outcome = superres(*words)
        assert outcome.status == 0, outcome.err
        assert sorted(each.name for each in tmp_path.glob("**/*.html")) == pages, words
    assert f"`{pages[-1].replace('S2', 'S1')}`" in said


def test_table_s2_of_weights_without_their_run(superres, tmp_path):
    """Epochs follow from the steps: 4,000 steps of 16 patches out of 9,762 are 6.56."""
    outcome = superres("reproduce", "--table", "S2", "--page", tmp_path / "p.html")
    assert outcome.status == 0, outcome.err
    ours = re.split(r" {2,}", next(line for line in outcome.out.splitlines() if line.startswith("superres ")))
    assert ours[2:5] == ["9,762 of 40²", "6.56", "4,000 of 16"], ours
    lung = re.split(r" {2,}", next(line for line in outcome.out.splitlines() if "lung  " in line))
    assert lung[2:] == ["9,536 of 60²", "630", "93,870 of 64", "4.58 h", "2 × GTX 1080"]
    differs = check_page(tmp_path / "p.html").split("What differs in data and hardware")[1]
    assert "builtin:ihc" not in differs and "virtual microscope imaged 1 " not in differs and "13 scenes" in differs
