"""docs/registration.md shows what the committed benchmark records say, and these meet the project's gates."""

from pathlib import Path

import pytest

from benchmarks.registration.records import FOLDER, read_record
from benchmarks.registration.tables import PAGE, QUIET_LOAD, TABLES, filled
from superres.builtin.registrars.paper import PaperRegistrar
from superres.registration import correlated
from superres.registration.torn import PARTS, REACH_PX


def measured(name):
    return read_record(name)["measured"]


def test_the_tables_are_those_of_the_records():
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text) == text, "run python -m benchmarks.registration.tables"
    assert all((FOLDER / f"{name}.json").exists() and f"<!-- {name} -->" in text for name in TABLES)


@pytest.mark.parametrize(("view", "median", "p95", "bias"), [("clean", 0.01, 0.02, 0.005), ("hard", 0.05, 0.09, 0.015)])
def test_the_default_met_its_gates(view, median, p95, bias):
    default = measured("methods")[view]["icgn (default)"]
    assert default["fields"] >= 200 and default["refused"] <= 0.02 * default["fields"]
    assert default["median_px"] <= median and default["p95_px"] <= p95 and default["bias_px"] <= bias
    assert 0.7 <= default["estimate_over_error"] <= 1.4
    surf = measured("surf")[view]
    assert surf["fields"] + surf["refused"] >= 200
    assert surf["p95_px"] <= {"clean": 0.17, "hard": 0.7}[view]


def test_no_accepted_placement_was_wrong():
    total = measured("placements")["total"]
    assert total["placements"] >= 3000 and total["wrong"] == 0
    assert total["usable refused"] <= 0.02 * total["usable"]


@pytest.mark.parametrize(("kind", "bar"), [("easy", 0.03), ("vignette", 0.05), ("blank", 0.03)])
def test_stitching_met_its_gates(kind, bar):
    row = measured("stitching")["grids"][kind]
    own = sorted(row["superres"]["rmse_px"])
    assert len(own) >= 6
    assert own[-1] <= bar
    best = min(facts["median_rmse_px"] for name, facts in row.items() if name != "superres" and facts["rmse_px"])
    assert best >= 3 * row["superres"]["median_rmse_px"]
    assert row["superres"]["median_cpu_s"] <= 1.5 * row["ashlar"]["median_cpu_s"]


def test_dust_does_not_place_tiles():
    """What is divided out loses nothing without dust, and with it leaves no scan in a wrong place."""
    rows = measured("dust")["rows"]
    assert rows[0]["specks"] == 0 and rows[0]["divided out"] == rows[0]["left in"]
    found = [each for row in rows for each in row["divided out"] if each is not None]
    assert max(found) <= 0.1 and len(found) >= 0.9 * sum(len(row["divided out"]) for row in rows)
    assert max(each for row in rows for each in row["left in"] if each is not None) > 10


def test_from_tiles_to_place_met_its_gate():
    record = measured("end_to_end")
    row = record["all"]
    assert len(record["slides"]) >= 6 and row["p95_px"] <= 0.05
    assert row["refused"] <= 0.02 * (row["fields"] + row["refused"])


def test_error_grows_with_defocus_and_noise():
    """And the worst of either that is registered at all stays within the gate of the hard view."""
    for rows in measured("sweeps").values():
        assert all(row["fields"] + row["refused"] >= 24 for row in rows)
        assert rows[-1]["median_px"] > 2 * rows[0]["median_px"] and rows[-1]["p95_px"] <= 0.09
    (odd,) = [row for row in measured("sweeps")["defocus_um"] if row["value"] == 0.8]
    name, median = max(odd["section medians_px"].items(), key=lambda item: item[1])
    others = max(value for each, value in odd["section medians_px"].items() if each != name)
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert (f"{name.partition('.')[0]} lies at a median of {median:.3f} px there, the seven others at {others:.3f} at "
            "most") in text


def test_time_grows_with_the_work():
    record = measured("speed")
    assert record["peak_mib"] <= 2048
    assert record["stitching"][-1]["cpu_s"] <= 45
    last = record["finding"][-1]
    # On a busy machine the clock says nothing; two at a time on two processors, half of their seconds are left.
    seconds = last["wall_s"] if record["load"][0] < QUIET_LOAD else last["cpu_s"] / 2
    assert seconds <= 30 and last["usable refused"] <= 0.02 * last["fields"] and last["largest_error_px"] <= 0.5
    for rows, key in ((record["stitching"], "edges"), (record["finding"], "fields")):
        per_piece = [row["cpu_s"] / row[key] for row in rows]
        assert per_piece[-1] <= 1.1 * per_piece[0], "no faster than linearly"


def test_every_reason_of_the_registrar_is_explained():
    text = PAGE.read_text(encoding="utf-8")
    assert PaperRegistrar.register.__doc__ is not None
    source = "".join(path.read_text() for folder in ("registration", "builtin/registrars", "stages")
                     for path in (Path(PAGE).parents[1] / "superres" / folder).glob("*.py"))
    for reason in ("blank", "disconnected", "out-of-bound", "not-found", "ambiguous", "too-few-features",
                   "magnification", "rotation", "mirrored", "low-confidence", "outside", "too-small", "too-bright",
                   "unreadable", "exchanged"):
        assert f'"{reason}"' in source and f"`{reason}`" in text


def test_what_the_page_says_of_tears():
    rows = {view: {row["tear_px"]: row for row in rows} for view, rows in measured("tears").items()}
    clean, hard = rows["clean"], rows["hard"]

    def share(row, *names):
        return sum(row[name] for name in names) / row["fields"]

    assert min(share(clean[by], "silent") for by in (0.0, 0.3)) >= 0.9
    assert min(share(clean[by], "warned") for by in (0.5, 1.0)) >= 0.9
    assert min(share(clean[by], "torn") for by in (2.0, 3.0)) >= 0.9
    assert clean[0.0]["torn"] == hard[0.0]["torn"] == 0, "whole fields"
    assert max(row["not judged"] for row in (*clean.values(), *hard.values())) == 0
    assert share(hard[1.0], "warned") >= 0.9 and 0.6 <= share(hard[0.5], "warned") <= 0.75
    assert min(share(hard[by], "torn", "refused otherwise") for by in (2.0, 3.0)) >= 0.9
    assert (PARTS, 2 * correlated.MIN_SIDE_PX + 2 * correlated.BORDER_PX) == (4, 48)
    assert (REACH_PX, correlated.REACH_PX) == (16, 6)
    text = PAGE.read_text(encoding="utf-8")
    tears, unsaid = (sum(row[name] for row in (*clean.values(), *hard.values()))
                     for name in ("should show", "should show, silent"))
    assert f"Of {tears} tears of the table that\nare at least as large as their fields say, {unsaid} were kept" in text
    assert all(row["should show"] == (0 if by < 0.5 else row["fields"]) for by, row in clean.items())
    assert "up to 16 px off" in text and "up to 6 px off" in text and "less than 48 coarse pixels" in text
