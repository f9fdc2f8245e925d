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
            "hint": f"raised in {broken_package}/superres_ruin/hooks.py, line 1",
        }
    ]
    assert any(row["name"] == "rivenson2017" for row in listed["plugins"])
    assert "broken: superres-ruin 0.3" in superres(tmp_path, "plugins", path=broken_package).stdout
    assert "superres_ruin/hooks.py, line 1" in superres(tmp_path, "doctor", path=broken_package).stdout
    (tmp_path / "p.toml").write_text('[source]\nplugin = "simulate"\n')
    assert superres(tmp_path, "check", "p.toml", path=broken_package).returncode == 0
    unknown = superres(tmp_path, "check", "p.toml", "--set", "model.plugin=ruin-net", path=broken_package)
    assert unknown.returncode == 2 and "superres-ruin" in unknown.stderr


GREETING = """from pathlib import Path
Path("imported").touch()
def greet(name: str) -> None:
    print("hello", name)
"""


def command_package(site, name, points, module="", version="0.1"):
    """A package as pip leaves it on disk, with commands for superres."""
    info = site / f"superres_{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: superres-{name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[superres.commands]\n" + "\n".join(points) + "\n")
    if module:
        (site / f"superres_{name}.py").write_text(module)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    command_package(folder, "tool", ["greet = superres_tool:greet"], GREETING)
    return folder


@pytest.mark.parametrize("words", [("greet", "lab"), ("--", "greet", "lab"), ("greet", "--", "lab")])
def test_a_package_can_bring_a_command(tmp_path, site, words):
    assert superres(tmp_path, *words, path=site).stdout == "hello lab\n"


def test_help_lists_commands_without_importing_them(tmp_path, site):
    text = superres(tmp_path, "--help", path=site).stdout
    assert "greet" in text and "from superres-tool 0.1" in text
    assert superres(tmp_path, "run", path=site).returncode == 2
    assert not (tmp_path / "imported").exists()
    help_of_it = superres(tmp_path, "greet", "--help", path=site).stdout
    assert "Arguments" in help_of_it and "hello" not in help_of_it
    assert (tmp_path / "imported").exists()


def test_a_typer_application_is_a_group_of_commands(tmp_path, site):
    module = "import typer\napp = typer.Typer()\n@app.command()\ndef up() -> None:\n    print('up')\n"
    module += "@app.command()\ndef down() -> None:\n    print('down')\n"
    command_package(site, "stage", ["stage = superres_stage:app"], module)
    assert superres(tmp_path, "stage", "down", path=site).stdout == "down\n"


@pytest.mark.parametrize(("module", "reason"), [
    ("import a_library_that_is_gone", "ModuleNotFoundError: No module named 'a_library_that_is_gone'"),
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("main = 7", "TypeError"),
    ("def main(value: 'Gone') -> None: ...", "NameError: name 'Gone' is not defined"),
    ("other = 1", "AttributeError"),
])
def test_a_broken_command_is_an_error_when_called_and_listed(tmp_path, site, module, reason):
    command_package(site, "ruined", ["ruined = superres_ruined:main"], module)
    message = "command 'ruined' of superres-ruined 0.1 is broken: "
    for words in (("ruined",), ("--", "ruined", "x"), ("ruined", "--help")):
        called = superres(tmp_path, *words, path=site)
        assert called.returncode == 2 and called.stdout == "" and "Traceback" not in called.stderr
        assert called.stderr.startswith(f"error: {message}") and reason in called.stderr
    assert superres(tmp_path, "greet", "lab", path=site).stdout == "hello lab\n"
    listed = json.loads(superres(tmp_path, "plugins", "--json", path=site).stdout)["commands"]
    assert [(each["name"], each["from"]) for each in listed] == [
        ("greet", "superres-tool 0.1"), ("ruined", "superres-ruined 0.1")]
    assert listed[0]["problem"] == "" and listed[1]["problem"].startswith(message)
    assert f"broken: {message}" in superres(tmp_path, "plugins", path=site).stdout


def test_commands_whose_names_clash_are_named_and_superres_keeps_its_own(tmp_path, site):
    command_package(site, "thief", ["doctor = superres_thief:main", "greet = superres_thief:main"],
                    "def main() -> None:\n    print('stolen')\n", "2.0")
    listed = superres(tmp_path, "plugins", path=site).stdout
    assert "clash: command 'doctor' of superres-thief 2.0 has the name of a command of superres itself" in listed
    assert "clash: command 'greet' of superres-tool 0.1 has the name of a command of superres-thief 2.0" in listed
    found = superres(tmp_path, "doctor", path=site)
    assert found.returncode == 0 and "stolen" not in found.stdout and "torch" in found.stdout
    notes = [line for line in found.stdout.splitlines() if line.startswith("note") and "command" in line]
    assert sum("superres-thief 2.0" in line for line in notes) == 3
    called = superres(tmp_path, "greet", "lab", path=site)
    assert called.returncode == 2 and "superres-tool 0.1" in called.stderr and "superres-thief 2.0" in called.stderr
