"""Packages of other laboratories: the template, installed and used, and one that is broken."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

TEMPLATE_RUN = """
[run]
output = "runs/template"
[source]
plugin = "template-cells"
[register]
plugin = "template-ncc"
[model]
plugin = "template-espcn"
options = { width = 8 }
[[loss]]
plugin = "template-charbonnier"
[train]
patch_px = 16
batch_size = 4
steps = 6
[[evaluate]]
plugin = "template-colour"
[[evaluate]]
plugin = "ssim"
"""


def superres(folder, *words, path=""):
    done = subprocess.run(
        [sys.executable, "-m", "superres", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(path)},
    )
    return done


@pytest.fixture(scope="module")
def template_installed():
    # `make test` installs it with pip; without it these tests would test nothing.
    assert metadata.version("superres-template"), "pip install plugins/superres-template"


@pytest.mark.usefixtures("template_installed")
def test_the_template_is_listed_with_its_distribution(tmp_path):
    listed = json.loads(superres(tmp_path, "plugins", "--json").stdout)["plugins"]
    from_template = {(row["kind"], row["name"]) for row in listed if row["from"].startswith("superres-template ")}
    assert from_template == {
        ("source", "template-cells"),
        ("registrar", "template-ncc"),
        ("model", "template-espcn"),
        ("loss", "template-charbonnier"),
        ("evaluator", "template-colour"),
    }


@pytest.mark.usefixtures("template_installed")
def test_a_run_uses_all_five_plugins_of_the_template(tmp_path):
    (tmp_path / "pipeline.toml").write_text(TEMPLATE_RUN)
    done = superres(tmp_path, "run", "pipeline.toml")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "template"
    scores = json.loads((folder / "scores.json").read_text())["summary"]
    assert "ciede2000" in scores and scores["ciede2000"]["bicubic"] > 0
    plan = json.loads((folder / "plan.json").read_text())
    assert all(label.startswith("superres-template ") for name, label in plan["plugins"].items() if "template" in name)
    kept = json.loads((folder / "registration.json").read_text())["pairs"]
    assert all(row["kept"] for row in kept)


def test_files_of_the_template_stay_short(project_root):
    for path in (project_root / "plugins/superres-template/superres_template").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path.name


@pytest.fixture
def broken_package(tmp_path):
    """A package as pip leaves it on disk, whose module raises when it is imported."""
    site = tmp_path / "site"
    info = site / "superres_ruin-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: superres-ruin\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[superres]\nruin = superres_ruin.hooks\n")
    (site / "superres_ruin").mkdir()
    (site / "superres_ruin" / "__init__.py").write_text("")
    (site / "superres_ruin" / "hooks.py").write_text("import a_library_that_is_gone\n")
    return site


def test_a_broken_package_is_listed_with_its_reason_and_everything_else_works(tmp_path, broken_package):
    listed = json.loads(superres(tmp_path, "plugins", "--json", path=broken_package).stdout)
    assert listed["broken"] == [
        {
            "package": "superres-ruin 0.3",
            "entry_point": "ruin = superres_ruin.hooks",
            "reason": "ModuleNotFoundError: No module named 'a_library_that_is_gone'",
        }
    ]
    assert any(row["name"] == "rivenson2017" for row in listed["plugins"])
    assert "broken: superres-ruin 0.3" in superres(tmp_path, "plugins", path=broken_package).stdout
    (tmp_path / "p.toml").write_text('[source]\nplugin = "simulate"\n')
    assert superres(tmp_path, "check", "p.toml", path=broken_package).returncode == 0
    unknown = superres(tmp_path, "check", "p.toml", "--set", "model.plugin=ruin-net", path=broken_package)
    assert unknown.returncode == 2 and "superres-ruin" in unknown.stderr


def test_a_package_can_bring_a_command(tmp_path):
    """The group superres.commands; `--help` lists it without importing it, calling it does."""
    site = tmp_path / "site"
    info = site / "superres_tool-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: superres-tool\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        "[superres.commands]\ngreet = superres_tool:greet\nruined = superres_ruined:main\n"
    )
    (site / "superres_tool.py").write_text("def greet(name: str) -> None:\n    print('hello', name)\n")
    assert superres(tmp_path, "greet", "lab", path=site).stdout == "hello lab\n"
    text = superres(tmp_path, "--help", path=site).stdout
    assert "greet" in text and "ruined" in text
    ruined = superres(tmp_path, "ruined", path=site)
    assert ruined.returncode == 2 and "superres_ruined" in ruined.stderr and "Traceback" not in ruined.stderr
