"""The pictures of registration: fields drawn where they lie, arrows as long as they say, squares that join."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from superres.api import Pair
from superres.image import Image
from superres.report.builder import build_registration_page, render
from superres.report.data import FieldOutline, PairRow, RegistrationPage, ReportData, SlideView
from superres.report.registration import arrow_stretch, arrows_px, longest_arrow_um
from superres.stages.quality import checkerboard

SQUARE = ((10.0, 20.0), (10.0, 60.0), (50.0, 60.0), (50.0, 20.0))


@pytest.fixture
def slide() -> SlideView:
    """100 × 120 px of 0.5 µm; one field kept, with an arrow of 0.05 µm down, and one rejected."""
    kept = FieldOutline("slide 1/a", True, SQUARE, ((15.0, 20.0, 0.05, 0.0),))
    rejected = FieldOutline("slide 1/b", False, ((60.0, 70.0), (60.0, 100.0), (90.0, 100.0), (90.0, 70.0)))
    return SlideView("slide 1", np.full((100, 120), 200, np.uint8), 0.5, (kept, rejected), (("tiles", "4"),))


def shown(run: ReportData, slide: SlideView) -> ReportData:
    assert run.registration is not None
    return dataclasses.replace(run, registration=dataclasses.replace(run.registration, slides=(slide,)))


def test_fields_are_drawn_where_they_lie(run: ReportData, slide: SlideView, read_page: Callable[[str], Any]) -> None:
    """SVG takes x first; the rejected one can be told apart, by more than its colour."""
    html = render(shown(run, slide))
    page = read_page(html)
    polygons = [tag["points"].split() for tag in page.named("polygon")]
    assert polygons[0] == ["20.0,10.0", "60.0,10.0", "60.0,50.0", "20.0,50.0"]
    assert {"kept", "rejected"} <= {tag.get("class") for tag in page.named("g")}
    assert "2 fields found, rejected ones dashed" in page.text
    assert re.search(r"\.rejected polygon \{[^}]*stroke-dasharray", html)


def test_arrows_are_as_long_as_the_page_says(slide: SlideView) -> None:
    stretch = arrow_stretch(slide)
    (y0, x0, y1, x1), = arrows_px(slide, slide.fields[0], stretch)
    assert (y0, x0, x1) == (30.0, 40.0, 40.0)
    assert (y1 - y0) * 0.5 / stretch == pytest.approx(0.05)
    assert longest_arrow_um(slide) == pytest.approx(0.05)
    assert 0.02 * 40 <= y1 - y0 <= 0.12 * 40, "a legible part of the field's side"


def test_rejected_fields_say_what_to_do(run: ReportData, read_page: Callable[[str], Any]) -> None:
    """In a column of its own, and one below the other where the screen is narrow."""
    assert run.registration is not None
    row = PairRow("f7", "lung-1", False, None, None, "mirrored", "seen in a mirror", None, "set flip")
    html = render(dataclasses.replace(run, registration=dataclasses.replace(run.registration, pairs=(row,))))
    cells = re.findall(r"<td>(.*?)</td>", html[html.index("Rejected (1)"):])
    assert cells[:5] == ["f7", "lung-1", "<strong>mirrored</strong>", "seen in a mirror", "set flip"]
    assert re.search(r"max-width: 560px.*\.rejected td \{ display: block", html, re.DOTALL)


@pytest.mark.parametrize(("hint", "option"), [
    ('set register.options.flip = "x"', "--set register.options.flip=x"),
    ("leave it out, or set source.options.stage_axes = '-y,x'", "--set source.options.stage_axes=-y,x<"),
    ("leave the field out", None)])
def test_keys_are_said_as_options_too(run: ReportData, hint: str, option: str | None) -> None:
    """A page does not know whether its command was given a pipeline file or folders."""
    assert run.registration is not None
    row = PairRow("f7", "lung-1", False, None, None, "mirrored", "seen in a mirror", None, hint)
    html = render(dataclasses.replace(run, registration=dataclasses.replace(run.registration, pairs=(row,))))
    assert ("where a folder was given, the command takes it as" in html) == (option is not None)
    assert option is None or f"<code>{option}" in html


def test_a_warning_of_a_kept_field_is_on_the_page(run: ReportData, read_page: Callable[[str], Any]) -> None:
    """In a column that is there only where one has something to say, with a sentence that is always seen."""
    assert run.registration is not None
    rows = (PairRow("f1", "lung", True, 0.01, 0.7, warning="its refinement was refused"),
            PairRow("f2", "lung", True, 0.01, 1.0))
    warned, quiet = (render(dataclasses.replace(run, registration=dataclasses.replace(run.registration, pairs=pairs)))
                     for pairs in (rows, rows[1:]))
    assert "1 kept field with a warning" in read_page(warned).text and "<th>warning</th>" in warned
    assert "<td>its refinement was refused</td>" in warned
    assert "with a warning" not in quiet and "<th>warning</th>" not in quiet
    # Stacked on a narrow screen as rejected ones are, or the last column lies beyond the edge; numbers have names.
    assert 'class="scroll rejected"' in warned and 'data-name="confidence "' in warned
    assert re.search(r"max-width: 560px.*\.rejected td\[data-name\]::before", warned, re.DOTALL)


def test_what_could_not_be_judged_is_on_the_page(run: ReportData, read_page: Callable[[str], Any]) -> None:
    assert run.registration is not None
    what = "tears (too little structure)"
    rows = (PairRow("f1", "lung", True, 0.01, 0.7, unjudged=what), PairRow("f2", "lung", True, 0.01, 1.0),
            PairRow("f3", "lung", False, unjudged=what))
    blind, seen = (read_page(render(dataclasses.replace(run, registration=dataclasses.replace(
        run.registration, pairs=pairs)))).text for pairs in (rows, rows[1:]))
    assert re.search(r"1 kept field could not be judged for tears \(too little structure\) ?: f1\.", blind)
    assert "judged for" not in seen


def test_the_page_says_which_tears_would_have_been_seen(run: ReportData, read_page: Callable[[str], Any]) -> None:
    assert run.registration is not None
    rows = [PairRow(f"f{number}", "lung", True, 0.01, 0.7, visible_tear_px=px)
            for number, px in enumerate((0.5, 0.5, 1.4, None))]
    page, even, without = (render(dataclasses.replace(run, registration=dataclasses.replace(
        run.registration, pairs=tuple(pairs)))) for pairs in (rows, rows[:2], rows[3:]))
    assert "said from 0.5 coarse px on (median; from 1.4 px on in f2): smaller ones pass" in read_page(page).text
    assert "said from 0.5 coarse px on: smaller ones pass in silence" in read_page(even).text
    assert "tears show from" in page and "tear" not in read_page(without).text.split("Registration")[-1]


def test_a_page_of_its_own_tells_the_same(run: ReportData, slide: SlideView, read_page: Callable[[str], Any],
                                          tmp_path: Any) -> None:
    assert run.registration is not None
    view = dataclasses.replace(run.registration, slides=(slide,))
    build_registration_page(RegistrationPage("mine", 0.185, 0.074, view, "", "Drawn."), tmp_path / "registration.html")
    page = read_page((tmp_path / "registration.html").read_text())
    assert "kept 2 of 3" in page.text and "two places match equally well" in page.text and "Drawn." in page.text
    assert all(str(tag.get("href", "")).startswith("data:") for tag in page.named("image")), "nothing is loaded"


def test_squares_of_a_perfect_pair_join() -> None:
    """A ramp is the same in both images, so the checkerboard is the ramp; shifted by a coarse pixel it has steps."""
    x = (np.arange(200) + 0.5) / 2.5
    fine = np.broadcast_to(0.2 + 0.005 * x, (200, 200)).astype(np.float32)
    coarse = np.broadcast_to(0.2 + 0.005 * (np.arange(80) + 0.5), (80, 80)).astype(np.float32)
    boards = [checkerboard(Pair("p", "s", Image(c.copy(), 0.185), Image(fine.copy(), 0.074)))[..., 0]
              for c in (coarse, coarse + np.float32(0.005))]
    steps = [np.abs(np.diff(board[10:-10, 10:-10], axis=1)).max() for board in boards]
    assert steps[0] < 0.0025 < 0.005 < steps[1] + 1e-4
