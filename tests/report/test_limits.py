"""The section on what to believe says what follows from the facts, and warns where it must."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from superres.api import Optics, Score
from superres.report.data import ImageScores, PairRow, RegistrationView, ReportData, SpecimenUse
from superres.report.limits import Statement, finest_period_um, is_worse, limits


def said(data: ReportData) -> dict[str, Statement]:
    return {statement.heading: statement for statement in limits(data)}


def test_the_finest_period_is_that_of_the_paper() -> None:
    assert f"{finest_period_um(Optics(0.95)):.3f}" == "0.367"  # supplement §6 and OPTICS: λ/(NA + NA condenser)
    assert f"{finest_period_um(Optics(1.4)):.3f}" == "0.282"


def test_few_specimens_are_a_warning_and_many_are_not(run: ReportData) -> None:
    assert said(run)["How much was tested"].warning
    score = (Score("ssim", 0.9, "", 1, "higher", baseline=0.8),)
    more = tuple(ImageScores(f"field {index}", f"slide {index}", score) for index in range(3))
    statement = said(dataclasses.replace(run, images=more))["How much was tested"]
    assert not statement.warning and "3 fields of 3 specimens (slide 0, slide 1, slide 2)" in statement.text


def test_a_test_specimen_that_training_saw_is_called_out(run: ReportData) -> None:
    assert "Unseen specimens" in said(run)
    for role in ("training", "validation"):
        leak = dataclasses.replace(run, specimens=(*run.specimens, SpecimenUse("lung-2", role, 3)))  # type: ignore[arg-type]
        statement = said(leak)["Training has seen the test"]
        assert statement.warning and statement.text.startswith("lung-2 served")
        assert "Unseen specimens" not in said(leak)
    before = said(dataclasses.replace(run, seen=("lung-2",)))  # by the weights that training started from
    assert before["Training has seen the test"].text.startswith("lung-2 served") and "Unseen specimens" not in before


def test_nothing_is_claimed_about_tissues_and_nothing_about_an_untrained_model(run: ReportData) -> None:
    """No source says which tissue a specimen shows."""
    statement = said(run)["Tissue and stain"]
    assert "is not recorded" in statement.text and "cannot tell" in statement.text and not statement.warning
    assert "Tissue and stain" not in said(dataclasses.replace(run, trained=False))


def test_many_rejected_fields_are_a_warning(run: ReportData) -> None:
    def registered(kept: int, rejected: int) -> Statement:
        pairs = (*(PairRow(f"k{index}", "s", True, 0.037, 0.9) for index in range(kept)),
                 *(PairRow(f"r{index}", "s", False, reason="blank") for index in range(rejected)))
        return said(dataclasses.replace(run, registration=RegistrationView("paper", 0.5, pairs)))["Registration"]

    clean = registered(20, 0)
    assert not clean.warning and "20 of 20 fields" in clean.text and "0.0370 µm (0.200 coarse px)" in clean.text
    assert "true error" not in clean.text and "rejected" not in clean.text
    assert not registered(19, 1).warning and "leave out 1 rejected field," in registered(19, 1).text
    assert registered(8, 2).warning


def test_without_optics_the_rule_is_given_in_letters(run: ReportData) -> None:
    assert "λ/(NA of the objective" in said(dataclasses.replace(run, coarse=None))["Finer than the objective"].text


@pytest.mark.parametrize(("value", "baseline", "better", "worse"), [
    (1.0, 2.0, "higher", True), (2.0, 1.0, "higher", False), (2.0, 1.0, "lower", True), (1.0, 2.0, "lower", False),
    (1.0, 1.0, "higher", False), (1.0, 9.0, "neither", False), (1.0, None, "higher", False)])
def test_worse_follows_the_direction_of_the_score(
        value: float, baseline: float | None, better: Literal["higher", "lower", "neither"], worse: bool) -> None:
    assert is_worse(Score("a", value, "", 1, better, baseline=baseline)) is worse
