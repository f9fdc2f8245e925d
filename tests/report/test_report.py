"""The page says what the run found, good or bad, and loads nothing from outside."""

from __future__ import annotations

import base64
import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from superres.api import Picture, Score
from superres.errors import StorageError
from superres.report.builder import build_report, duration, headline, number, render
from superres.report.data import FieldView, Layer, PairRow, RegistrationView, ReportData, SpecimenUse

ReadPage = Callable[[str], Any]


def test_everything_found_is_on_the_page(html: str, read_page: ReadPage) -> None:
    text = read_page(html).text
    for fact in ("quickstart", "2024-05-06 07:08", "0.185 → 0.074 µm", "A virtual microscope over two drawn sections.",
                 "not comparable to the paper's", "0.912", "0.861", "+0.051", "2.50 %", "−1.25", "slide 2/c",
                 "ambiguous", "two places match equally well", "0.031", "kept 2 of 3 fields", "800 steps", "4 min 05 s",
                 "train.patch_px",
                 "9f2c" * 16, "torch 2.13.0", "taken from the earlier run", "lung-3, 9 fields", "drawn, seed 7",
                 "torch on cpu: no CUDA device", "'slide 2/x' is not scored", "40×/0.95NA", "0.367 µm", "0.282 µm"):
        assert fact in text, fact


def test_the_headline_is_the_first_score_beside_bicubic(run: ReportData) -> None:
    assert headline(run) == ("ssim of the network is 0.806, of bicubic up-sampling 0.801: better by 0.005 "
                             "(mean over 2 specimens, 2 fields).")
    worse = dataclasses.replace(run, summary=(Score("psnr", 27.0, "dB", 2, "higher", baseline=28.5),))
    assert "psnr of the network is 27.00 dB, of bicubic up-sampling 28.50 dB: worse by 1.50 dB" in headline(worse)


def test_a_score_worse_than_bicubic_is_marked_and_said(html: str, run: ReportData, read_page: ReadPage) -> None:
    marked = re.findall(r'<span class="worse" title="worse than bicubic">([^<]*)</span>', html)
    # slide 2/b: by specimen, by field, and in its own card
    assert marked == ["−0.050"] * 3
    said = "In 1 of 2 fields at least one score of the network is worse than bicubic's: slide 2/b."
    assert said in read_page(html).text
    better = dataclasses.replace(run, images=run.images[:1], by_specimen=run.by_specimen[:1], fields=run.fields[1:])
    assert 'class="worse"' not in render(better)


def test_lower_is_better_for_differences(run: ReportData) -> None:
    worse = dataclasses.replace(run, summary=(Score("difference-mean", 4.0, "%", 2, "lower", baseline=3.0),))
    assert "+1.00, worse than bicubic" in render(worse)
    assert "worse by 1.00 %" in headline(worse)


def test_nothing_is_loaded_from_outside(html: str, read_page: ReadPage) -> None:
    assert "http:" not in html and "https:" not in html and "url(//" not in html and "@import" not in html
    page = read_page(html)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (name, target)


def test_links_of_the_contents_lead_somewhere(html: str, read_page: ReadPage) -> None:
    page = read_page(html)
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.named("a")]
    assert len(links) >= 6
    assert {str(link)[1:] for link in links} <= places


EVIL = '<script>alert("x")</script>'


def test_strings_of_the_user_stay_text(run: ReportData, read_page: ReadPage) -> None:
    field = dataclasses.replace(run.fields[0], name=EVIL, specimen=EVIL, place=EVIL, window=EVIL,
                                pictures=(Picture(EVIL, EVIL, np.zeros((2, 2, 3), dtype=np.uint8)),))
    data = dataclasses.replace(
        run, title=EVIL, simulated=EVIL, engine=EVIL, fields=(field,), notes=(EVIL,), plan=((EVIL, EVIL),),
        specimens=(SpecimenUse(EVIL, "test", 1),), provenance=((EVIL, EVIL),),
        by_specimen=((EVIL, run.summary),), model=EVIL,
        registration=RegistrationView(EVIL, 0.5, (PairRow(EVIL, EVIL, False, reason=EVIL, message=EVIL),)))
    html = render(data)
    assert html.count("<script>") == 1 and "alert(&#34;x&#34;)" in html
    assert len(read_page(html).named("script")) == 1
    onload = dataclasses.replace(run, fields=(dataclasses.replace(run.fields[0], name='x" onload="alert(1)'),))
    assert not any("onload" in attributes for attributes in read_page(render(onload)).named("img"))


def test_each_layer_of_the_slider_is_the_image_it_is_called(html: str, run: ReportData, read_page: ReadPage) -> None:
    found = re.findall(r'data-layer="(\w+)"><img src="data:image/jpeg;base64,([^"]+)"', html)
    assert [title for title, _ in found] == ["input", "bicubic", "output", "truth"] * 2
    layers = [layer for field in run.fields for layer in field.layers]
    for (_, encoded), layer in zip(found, layers, strict=True):
        content = np.frombuffer(base64.b64decode(encoded), dtype=np.uint8)
        decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1]
        assert decoded.shape == layer.pixels.shape
        assert np.abs(decoded.astype(int) - layer.pixels.astype(int)).max() <= 4  # a flat colour: YCbCr rounding
    page = read_page(html)
    radios = [attributes for attributes in page.named("input") if attributes["type"] == "radio"]
    assert len({attributes["name"] for attributes in radios}) == 4  # left and right of each of two fields
    assert [attributes["value"] for attributes in radios if "checked" in attributes] == ["bicubic", "output"] * 2
    assert len([attributes for attributes in page.named("input") if attributes["type"] == "range"]) == 2


def test_the_scale_bar_is_as_long_as_it_says(html: str, run: ReportData) -> None:
    percent = float(re.findall(r"--bar: ([\d.]+)%", html)[0])
    label_um = float(re.findall(r'<span class="scale">([\d.]+) µm</span>', html)[0])
    assert percent / 100 * run.fields[0].width_um == pytest.approx(label_um, rel=1e-3)  # three decimals of a percent


def test_the_number_of_fields_left_out_is_said(html: str, run: ReportData, read_page: ReadPage) -> None:
    assert "All 2 fields are shown." in read_page(html).text
    assert "2 of 57 fields are shown: the worst, the median and the best." in read_page(
        render(dataclasses.replace(run, fields_total=57))).text


def test_a_field_without_truth_and_scores_is_shown_as_such(run: ReportData, read_page: ReadPage) -> None:
    field = FieldView("a", "s", "", (), run.fields[0].layers[:3], 3.0, "the whole field")
    data = dataclasses.replace(run, summary=(), by_specimen=(), images=(), fields=(field,), fields_total=1, notes=())
    text = read_page(render(data)).text
    assert "No field could be scored: there was no fine image to compare with." in text
    assert "Nothing was scored" in text and "There is no fine image of this field." in text and "Not scored." in text


def test_a_fixed_up_sampler_is_no_network(run: ReportData, read_page: ReadPage) -> None:
    text = read_page(render(dataclasses.replace(run, model="bicubic", trained=False, training=None))).text
    assert "Nothing was trained." in text and "The model bicubic has nothing to train." in text
    assert "bicubic output" in text and "the network is" not in text


def test_registration_with_all_kept_all_rejected_or_none(run: ReportData, read_page: ReadPage) -> None:
    assert run.registration is not None
    kept, rejected = run.registration.pairs[:2], run.registration.pairs[2:]

    def text(pairs: tuple[PairRow, ...]) -> str:
        return str(read_page(render(dataclasses.replace(run, registration=RegistrationView("paper", 0.5, pairs)))).text)

    assert "No field was rejected." in text(kept)
    assert "kept 0 of 1 field;" in text(rejected) and "Rejected (1)" in text(rejected)
    assert "The pairs came registered" in read_page(render(dataclasses.replace(run, registration=None))).text


def test_camera_images_carry_no_notice_of_simulation(run: ReportData, read_page: ReadPage) -> None:
    assert "Simulated" not in read_page(render(dataclasses.replace(run, simulated=""))).text


def test_the_same_run_gives_the_same_file(run: ReportData, tmp_path: Path) -> None:
    build_report(run, tmp_path / "first.html")
    build_report(run, tmp_path / "new folder" / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "new folder" / "second.html").read_bytes()
    assert [path.name for path in tmp_path.glob("*.html")] == ["first.html"]  # nothing temporary left


def test_a_folder_that_cannot_be_written_is_named(run: ReportData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write '.*report\.html'"):
        build_report(run, tmp_path / "file" / "report.html")


def test_a_field_costs_less_than_an_eighth_of_six_megabytes(run: ReportData) -> None:
    """Noise of sd 8 grey levels on every layer: harder to compress than any stained section."""
    rng = np.random.default_rng(3)

    def noisy(height: int, width: int) -> np.ndarray:
        return np.clip(rng.normal(170, 8, (height, width, 3)), 0, 255).astype(np.uint8)

    layers = (Layer("input", noisy(178, 178), pixelated=True), Layer("bicubic", noisy(445, 445)),
              Layer("output", noisy(445, 445)), Layer("truth", noisy(445, 445)))
    pictures = tuple(Picture("map", "", noisy(330, 690)) for _ in range(2))
    field = dataclasses.replace(run.fields[0], layers=layers, pictures=pictures)
    without = len(render(dataclasses.replace(run, fields=())))
    assert len(render(dataclasses.replace(run, fields=(field,)))) - without < 6_000_000 / 8


def test_contracts_of_the_report_cost_no_heavy_import() -> None:
    """The values, the selection of fields and the evaluate stage load neither torch nor the drawing libraries; and
    nothing of the report ever loads pyplot, which keeps global state."""
    code = ("import sys, superres.stages.evaluate, superres.report.data\n"
            "assert not {'torch', 'matplotlib', 'jinja2', 'skimage'} & set(sys.modules), 'heavy'\n"
            "import superres.report.builder\n"
            "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules), 'pyplot'\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("seconds", "text"), [
    (0.04, "0.0 s"), (59.9, "59.9 s"), (59.97, "1 min 00 s"), (245, "4 min 05 s"), (3599.7, "1 h 00 min"),
    (7500, "2 h 05 min")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "unit", "text"), [
    (0.91234, "", "0.912"), (27.456, "dB", "27.46 dB"), (None, "%", "–")])
def test_numbers_carry_their_unit(value: float | None, unit: str, text: str) -> None:
    assert number(value, unit) == text
