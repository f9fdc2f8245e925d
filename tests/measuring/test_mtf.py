"""What may be claimed of a target: resolved in every direction, within what the input's objective passed."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from superres.measuring.mtf import measure_target_at, measure_target_image, not_measured
from superres.measuring.mtf_pages import marked_picture, target_curves, target_page, target_table
from superres.optics import Optics
from superres.optics.usaf.target import TargetSpec, draw_target

PIXEL_UM = 3.90625 / 12


@pytest.fixture(scope="module")
def drawn():
    """(sharp, blurred): groups 8 and 9 (256 to 912 cycles/mm) drawn by a network, and as the optics show them."""
    sharp = draw_target(TargetSpec(first_group=8, nests=1, margin_um=2.5), PIXEL_UM).transmittance.astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.002, sharp.shape)
    return sharp, (cv2.GaussianBlur(sharp, (0, 0), 1.0) + noise).astype(np.float32)


def test_what_lies_beyond_the_inputs_cutoff_or_above_the_truth_is_not_claimed(drawn):
    sharp, blurred = drawn
    truth = measure_target_image("100×", blurred, PIXEL_UM)
    bicubic = replace(measure_target_image("bicubic", blurred, PIXEL_UM), input_cutoff_per_um=0.6)
    output = measure_target_at("network output", sharp, bicubic)
    assert truth.finest.element.label == "9/6" and truth.finest.contrast > 0, "912 cycles/mm are in the fine image"
    assert output.finest.element.label == "9/2" == bicubic.finest.element.label  # 575 cycles/mm; 9/3 has 645
    doubt = not_measured(output, truth)
    assert [each.element.label for each in doubt.beyond] == ["9/3", "9/4", "9/5", "9/6"]
    assert "9/2" in [each.element.label for each, _ in doubt.above] and not not_measured(truth, truth).beyond
    assert not not_measured(bicubic, truth).above
    page = target_page([bicubic, output, truth], [], truth=truth)
    assert "network output resolves element 9/2 (575 cycles/mm" in page.headline
    assert "beyond the input's cut-off of 600 cycles/mm (9/3, 9/4, 9/5, 9/6)" in page.headline
    assert "of the network output" in page.headline and "above that of the truth" in page.headline
    warned = " ".join(page.sections[0].warnings)
    assert "No light brought it; it is not measured detail" in warned and "What exceeds the truth" in warned
    table = target_table([bicubic, output, truth], truth)
    marked = {row[0]: [("†" in cell) for cell in row[2:]] for row in table.rows}
    assert marked["9/6"] == [True, True, False] and marked["8/1"] == [False, False, False]
    assert "† not measured detail" in table.legend


def test_an_element_with_a_lost_direction_is_not_resolved_and_the_table_names_it(shared_data):
    """The real scan: the lying bars of 4/3 still have contrast 0.046, its standing ones none."""
    scan = measure_target_image("scan", np.load(shared_data / "usaf" / "usaf_real_scan_319x312.npy"), None)
    contrasts = {each.element.label: {row.pattern.bars: row.measured.contrast for row in each.rows}
                 for each in scan.elements}
    assert contrasts["4/3"]["lying"] > 0 == contrasts["4/3"]["standing"], "else another element has to show it"
    assert scan.finest.element.label == "4/2" and min(contrasts["4/2"].values()) > 0
    row = next(row for row in target_table([scan]).rows if row[0] == "4/3")
    assert row[2].startswith("lying 0.0") and "standing 0.000" in row[2]
    page = target_page([scan], [])
    assert "resolves element 4/2" in page.headline
    assert "lost in one direction: 4/3: standing" in page.sections[-1].paragraphs[0]
    assert next(point[1] for point in scan.points() if point[0] == pytest.approx(20.16, abs=0.01)) == 0


def test_labels_stand_on_black_and_on_white(drawn):
    """A label's bright letters have a black rim: in luma at least 100 of 255 apart from it."""
    result = measure_target_image("t", drawn[0], PIXEL_UM)
    picture = marked_picture(result).astype(int)
    coloured = picture[(picture.max(axis=2) - picture.min(axis=2)) > 120]
    assert len(coloured) > 500
    assert np.median(coloured @ [0.299, 0.587, 0.114]) > 140  # the former green had 109


def test_the_curves_labels_lie_outside_the_axes(drawn):
    """Cut-offs above, the legend below: y runs down."""
    result = measure_target_image("t", drawn[0], PIXEL_UM)
    svg = target_curves([result], [Optics(0.95), Optics(1.4)], with_paper=True)
    frame = re.search(r'<g id="patch_2">\s*<path d="M ([\d.]+) ([\d.]+) \s*L [\d.]+ [\d.]+ \s*L [\d.]+ ([\d.]+)', svg)
    bottom, top = sorted((float(frame[2]), float(frame[3])))[::-1]
    places = {text: float(y) for y, text in re.findall(
        r'<text[^>]*y="([\d.]+)"[^>]*>([^<]*(?:NA_c|sine MTF|paper)[^<]*)</text>', svg)}
    assert len(places) == 6, svg[:3000]
    assert all((y < top) if "NA_c" in text else (y > bottom) for text, y in places.items()), (top, bottom, places)
