"""An extra is named in one way, and it is one that works: `pip install 'superres[NAME]'`, wherever the user stands."""

import re
import subprocess
import sys
import tomllib

import pytest

EXTRA = re.compile(r"pip install[^`\n]*?(?P<word>\S*\[(?P<extra>[a-z]+)\]\S*)")


def named(project_root):
    """(file, word, extra) of every `pip install` of an extra that users read."""
    files = [project_root / "README.md", project_root / "CONTRIBUTING.md", *(project_root / "docs").glob("*.md"),
             *(project_root / "superres").rglob("*.py")]
    for path in files:
        for found in EXTRA.finditer(path.read_text(encoding="utf-8")):
            yield path.name, found["word"], found["extra"]


def test_every_place_names_an_extra_that_exists_in_one_spelling(project_root):
    known = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = list(named(project_root))
    assert {extra for _, _, extra in found} >= {"track", "openvino", "rivals"}
    # The quotes: zsh takes the brackets for a pattern.  Not ".[track]": that works in the folder of the sources alone.
    odd = [(name, word) for name, word, extra in found if f"'superres[{extra}]'" not in word or extra not in known]
    assert not odd


def test_the_spelling_needs_neither_the_sources_nor_an_index_for_superres(tmp_path):
    """pip takes the superres that is installed, and only looks for what the extra adds."""
    pytest.importorskip("tensorboard", reason="the extra superres[track] is not installed")
    install = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--disable-pip-version-check"]
    there = subprocess.run([*install, "superres[track]"], cwd=tmp_path, capture_output=True, text=True)
    assert there.returncode == 0, there.stderr
    assert "Requirement already satisfied: superres[track]" in there.stdout
    assert subprocess.run([*install, ".[track]"], cwd=tmp_path, capture_output=True).returncode != 0
