"""docs/reproduced.md is what its record says: of the weights that come along, beside the numbers of the paper."""

import json
import re
from typing import get_args

import pytest

from benchmarks import reproduced
from superres.cli.reproduction import Figure, Table
from superres.measuring import paper
from superres.measuring.reproduction import Item
from superres.weights import shipped_weights

RECORD = json.loads(reproduced.RECORD.read_text(encoding="utf-8"))
PAGE = reproduced.PAGE.read_text(encoding="utf-8")


def rows(item, title):
    return next(each["table"] for each in RECORD["items"][item]["sections"] if each["title"] == title)["rows"]


def test_the_page_is_that_of_the_record():
    assert reproduced.page(RECORD) == PAGE, "run python -m benchmarks.reproduced"


def test_nothing_of_the_paper_is_left_out():
    assert set(RECORD["items"]) == set(get_args(Item))
    assert len(get_args(Item)) == len(get_args(Table)) + len(get_args(Figure))
    for each in RECORD["items"].values():
        assert f"## {reproduced._plain(each['title'])}\n" in PAGE
        assert re.fullmatch("[0-9a-f]{7,}", each["made"]["commit"]), "measured at a commit, not between two"


def test_the_weights_are_those_that_come_along():
    """Whoever trains them anew measures anew."""
    again = "make weights, then python -m benchmarks.reproduced runs/weights"
    assert RECORD["weights"] == reproduced.digest(shipped_weights()), again
    assert RECORD["second"] == reproduced.digest(reproduced.SECOND), f"{again} figure-S9"


def test_the_papers_numbers_stand_beside_ours():
    assert [(row[3], row[4]) for row in rows("S1", "SSIM, paper and ours")[:2]] == [
        (f"{row.bicubic:.3f}", f"{row.network:.3f}") for row in paper.TABLE_S1]
    assert [row[3] for row in rows("S2", "Training, paper and ours")[:2]] == [str(row.epochs) for row in paper.TABLE_S2]
    times = {row[0].split(" ")[0]: row[3:] for row in rows("S3", "Run times")}
    for row in paper.TABLE_S3:
        known = [f"{value:.3f}" for value in (row.once, row.twice, row.once_two_gpus, row.twice_two_gpus)]
        assert times.get(str(row.side_px), known) == known
    assert len(times) >= 2
    assert [row[-2:] for row in rows("S4", "Contrast, paper and ours")] == [
        [f"{before:.3f}", f"{after:.3f}"] for _, before, after in paper.TABLE_S4]


@pytest.mark.parametrize("item", get_args(Item))
def test_its_commands_can_be_typed(superres, item, tmp_path, monkeypatch):
    """As far as their words go: what they load is replaced."""
    command = reproduced.command(item)
    assert f"```sh\n{command}\n```" in PAGE
    asked = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/weights").mkdir(parents=True)
    for name in ("weights.safetensors", "history.csv"):
        (tmp_path / "runs/weights" / name).touch()
    monkeypatch.setattr("superres.cli.reproduction.weights_of", lambda _: None)
    monkeypatch.setattr("superres.engine.Engine.from_weights", lambda *_: object())
    monkeypatch.setattr("superres.measuring.scoring.load_pairs", lambda where, *levels: where)
    monkeypatch.setattr("superres.measuring.reproduction.reproduce", lambda asked_for, subject, _: (
        asked.append((asked_for, subject)) or reproduced.Page("t", "done", [])))
    assert superres(*command.split()[1:]).status == 0
    assert asked[0][0] == item and len(asked[0][1].engines) == (2 if item == "figure-S9" else 1)
    assert [word.split("/")[-1].removesuffix(".png") for word in asked[0][1].acquisition or ()] == [
        *reproduced.SCENES.get(item, ())]


def test_links_lead_somewhere(project_root):
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in target]
    assert targets and all((project_root / "docs" / target).exists() for target in targets)


def test_seconds_of_a_busy_machine_are_not_passed_off_as_its_speed():
    made = {"date": "2026-01-01", "commit": "abcdef0", "processor": "P", "threads": 1, "cores": 2, "load": 1.9}
    assert "upper bounds" not in reproduced._hardware(made)
    assert reproduced._hardware(made | {"load": 2.1}).endswith("others worked beside: seconds are upper bounds.*")


def test_text_stays_text_in_markdown():
    assert reproduced._plain("a_b |x| *y* `z` <w") == r"a\_b \|x\| \*y\* \`z\` \<w"
