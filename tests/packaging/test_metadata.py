"""What the package says about itself: what it needs, what to cite, and what its sdist takes along."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.packaging.test_distributions import build

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=! ]", distribution)[0]).lower()


def test_everything_that_is_imported_is_declared() -> None:
    """Not only present because something else needs it; pytest alone belongs to superres.testing."""
    names = metadata.packages_distributions()
    declared = {normal(each) for each in PROJECT["dependencies"]}
    extras = {normal(each) for each in PROJECT["optional-dependencies"]["openvino"]}
    for path in (ROOT / "superres").rglob("*.py"):
        allowed = declared | extras | ({"pytest"} if path.parent.name == "testing" else set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [str(node.module)] if isinstance(node, ast.ImportFrom) else [])
            for module in (each.partition(".")[0] for each in modules):
                if module not in {*sys.stdlib_module_names, "superres"}:
                    assert {normal(each) for each in names[module]} & allowed, f"{path}, line {node.lineno}: {module}"


def test_every_dependency_is_pinned_for_make() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line) for line in lines if "==" in line}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    assert {normal(each) for group in groups for each in group} - {"superres"} - pinned == set()


def test_the_citation_says_what_the_package_says() -> None:
    assert re.search(r"^cff-version: 1\.2\.0$", CITATION, re.MULTILINE)
    assert all(re.search(rf"^{key}: *\S|^{key}:$", CITATION, re.MULTILINE) for key in ("message", "title", "authors"))
    assert f"\nlicense: {PROJECT['license']}\n" in CITATION
    assert f'- name: "{PROJECT["authors"][0]["name"]}"' in CITATION
    assert re.findall(r"^  - (\S.*)$", CITATION.partition("keywords:")[2].partition("references:")[0],
                      re.MULTILINE) == PROJECT["keywords"]
    (doi,) = re.findall(r"doi: (\S+)", CITATION)
    assert f"https://doi.org/{doi.lower()}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "version:" not in CITATION.replace("cff-version:", ""), "the version has one place, superres/_version.py"


def test_the_sdist_is_the_repository(tmp_path: Path, bare_environment: dict[str, str]) -> None:
    """Building, testing and reading: all that is tracked, but for what only git and a desk of the project's read."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git here to tell what belongs to the repository")
    tracked = subprocess.run([git, "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True,
                             check=True).stdout.split("\0")
    left_out = (".gitignore", ".ci/")
    wanted = {name for name in tracked if name and not name.startswith(left_out) and (ROOT / name).exists()}
    for name in wanted:
        (tmp_path / "sources" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "sources" / name)
    sdist, _ = build(tmp_path / "sources", "sdist", bare_environment)
    with tarfile.open(sdist) as archive:
        names = {each.name.partition("/")[2] for each in archive if each.isfile()}
    assert wanted - names == set()
    assert {name for name in names - wanted if ".egg-info/" not in name} == {"PKG-INFO", "setup.cfg"}
