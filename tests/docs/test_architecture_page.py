"""ARCHITECTURE.md and README.md name levels, files and numbers as they are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from superres import api
from superres.builtin.registrars.paper import PaperRegistrar
from superres.stages.ahead import MAX_WORKERS
from superres.stages.cutting import PAIR_WHITE
from superres.training.schedule import PAPER_EPOCHS
from tests.architecture.test_layers import LEVELS

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE, README, CONTRIBUTING = ((ROOT / f"{name}.md").read_text(encoding="utf-8")
                                      for name in ("ARCHITECTURE", "README", "CONTRIBUTING"))
KINDS = (api.Source, api.Registrar, api.Model, api.Loss, api.Evaluator)


def words(page: str) -> str:
    return " ".join(page.split())


def test_the_table_of_levels_is_the_one_that_imports_are_held_to() -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", ARCHITECTURE, re.MULTILINE)
    told = {name: int(level) for level, names in rows for name in re.findall(r"`(\w+)(?:\.py|/)`", names)}
    assert told == {name: level for name, level in LEVELS.items() if name not in ("_version", "__main__")}


def test_every_folder_of_the_repository_is_told() -> None:
    told = re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE, re.MULTILINE)
    assert all((ROOT / name).is_dir() for name in told)
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git here to tell what belongs to the repository")
    tracked = subprocess.run(["git", "-C", ROOT, "ls-tree", "-d", "--name-only", "HEAD"], capture_output=True,
                             text=True, check=True).stdout.split()
    assert set(told) == {name for name in tracked if not name.startswith(".")} - {"superres"}


def test_source_files_that_the_pages_name_exist() -> None:
    folders = ("superres", "csrc", "tests", "examples", "benchmarks")
    there = [f"/{path.relative_to(ROOT).as_posix()}" for folder in folders for path in (ROOT / folder).rglob("*.*")]
    for page in (ARCHITECTURE, README, CONTRIBUTING):
        named = re.findall(r"`([\w./]+\.(?:py|h|cpp|cu))`", page)
        assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []
    assert len(re.findall(r"`[\w./]+\.(?:py|h|cpp|cu)`", ARCHITECTURE)) > 40


@pytest.mark.parametrize("folder", ["superres", "csrc", "tests", "benchmarks", "plugins", "examples"])
def test_pages_that_source_files_cite_are_in_the_repository(folder: str) -> None:
    """A reader has nothing but the repository; paths that begin with ../ lead to data that come separately."""
    pages = {path.name for part in (".", "docs", "superres/weights", "plugins/*") for path in ROOT.glob(f"{part}/*.md")}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in (".py", ".h", ".cpp", ".cu", ".toml", ".html") and "build" not in path.parts:
            cited = re.findall(r"(?<![\w./*-])[\w./-]+\.md\b", path.read_text(encoding="utf-8"))
            lost = [name for name in cited if Path(name).name not in pages and not name.startswith("../shared/data")]
            assert lost == [], path


def test_numbers_of_the_design_are_those_of_the_code() -> None:
    page, limits = words(ARCHITECTURE), PaperRegistrar().options
    assert f"with white at {PAIR_WHITE:.0f}:" in page
    assert f"costs {1 / PAIR_WHITE:.0e} of white".replace("e-05", "e-5") in page
    assert MAX_WORKERS == 4 and "each of up to four processors" in page
    assert len(KINDS) == 5 and "the five abstract classes" in page
    assert (f"same orientation within {limits.max_rotation_deg:g}° and the nominal magnification within "
            f"{100 * limits.max_scale_error:g} %") in words(README)
    assert f"the paper's {PAPER_EPOCHS} epochs" in words(README)


def test_the_training_of_the_readme_takes_as_long_as_it_says() -> None:
    """By the patches a second that two cores of a quiet machine last made; validation comes on top."""
    (snippet,) = re.findall(r"^```toml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    train = tomllib.loads(snippet)["train"]
    last = max((ROOT / "benchmarks" / "history").glob("*-training.json"))  # names begin with the date
    (facts,) = (each["extra_info"] for each in json.loads(last.read_text())["benchmarks"])
    assert (train["patch_px"], train["batch_size"]) == (40, 16), "what benchmarks/bench_training.py measures"
    minutes = train["steps"] * train["batch_size"] / facts["patches_per_s"] / 60
    assert "# Half an hour to an hour on two cores." in snippet and 20 < minutes < 50


def test_a_plugin_has_as_many_methods_as_the_readme_says() -> None:
    assert {len(kind.__abstractmethods__) for kind in KINDS} == {1, 2, 3}
    assert "a class with a name, its options, and one to three methods" in words(README)
