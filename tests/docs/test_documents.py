"""Every command and every snippet in README.md and CONTRIBUTING.md is run; long ones on a reduced copy."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from superres.testing import LossContract

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WEIGHTS = ROOT / "tests" / "data" / "quickstart-weights.safetensors"

REDUCED = [
    "--set",
    "train.steps=3",
    "--set",
    "train.patch_px=20",
    "--set",
    "train.batch_size=2",
    "--set",
    "source.options.scenes=['builtin:tissue:2','builtin:ihc']",
    "--set",
    "source.options.tissue_px=400",
    "--set",
    "source.options.fields_per_specimen=1",
    "--set",
    "source.options.field_px=220",
]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def shell_commands(text):
    """Commands in shell blocks, in indented blocks and between backticks, without their comments."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(
        r"^    (\S.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE
    )
    lines += re.findall(r"`((?:superres|pip|make) [^`]+)`", text)
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


README_COMMANDS = [command for command in shell_commands(README) if command[0] == "superres"]
BOTH = [*shell_commands(README), *shell_commands(CONTRIBUTING)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A working folder as a reader of the README has it: the examples, a scan of one's own, trained weights."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for run in ("quickstart", "my-slides"):
        (folder / "runs" / run).mkdir(parents=True)
        shutil.copy(WEIGHTS, folder / "runs" / run / "weights.safetensors")
    (toml,) = blocks(README, "toml")
    (folder / "pipeline.toml").write_text(toml, encoding="utf-8")
    superres(
        folder,
        "simulate",
        "--out",
        str(folder / "own"),
        "--set",
        "source.options.scenes=['builtin:tissue:3']",
        "--set",
        "source.options.tissue_px=400",
        "--set",
        "source.options.fields_per_specimen=1",
        "--set",
        "source.options.field_px=220",
    )
    for part in ("coarse", "fine"):
        shutil.move(folder / "own" / part, folder / part)
    shutil.copy(next((folder / "coarse").glob("*/*.tif")), folder / "photo.tif")
    return folder


def superres(folder, *words):
    done = subprocess.run([sys.executable, "-m", "superres", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"superres {' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", README_COMMANDS, ids=" ".join)
def test_every_superres_command_of_the_readme_runs(desk, command):
    words = list(command[1:])
    if words[0] == "run":
        words += REDUCED if "quickstart" in words[1] else REDUCED[:6]
        words += ["--set", "run.output=runs/reduced-" + Path(words[1]).parent.name]
    if words[0] == "register":
        words += ["--out", "runs/registered"]
    if words[0] == "simulate":
        words += REDUCED[6:]
    superres(desk, *words)


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = {command[1] for command in BOTH if command[0] == "make"}
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_what_is_installed_by_pip_exists():
    for command in BOTH:
        if command[0] == "pip":
            assert all((ROOT / word).exists() for word in command[2:] if word != "-c")


def test_no_command_escapes_the_tests():
    assert {command[0] for command in BOTH} <= {"superres", "make", "pip"}


def test_the_snippet_that_embeds_runs(desk):
    snippet = next(block for block in blocks(README, "python") if "Engine.load" in block)
    snippet = snippet.replace(
        'overrides=["run.output=runs/embedded"]', f"overrides={['run.output=runs/embedded', *REDUCED[1::2]]!r}"
    )
    done = subprocess.run(
        [sys.executable, "-c", snippet + "\nassert sharp.shape == (1388, 833, 3)"],
        cwd=desk,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("embed_engine.py", "runs/quickstart/weights.safetensors"),
        ("embed_pipeline.py", "examples/quickstart/pipeline.toml", "run.output=runs/embedded", *REDUCED[1::2]),
    ],
    ids=["engine", "pipeline"],
)
def test_the_embedding_examples_run(desk, words):
    done = subprocess.run(
        [sys.executable, f"examples/{words[0]}", *words[1:]], cwd=desk, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(("name", "argument"), [("embed_engine.py", "WEIGHTS"), ("embed_pipeline.py", "PIPELINE")])
def test_an_embedding_example_without_its_argument_says_how_it_is_called(name, argument):
    done = subprocess.run([sys.executable, ROOT / "examples" / name], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: python examples/{name} {argument}") and "Traceback" not in done.stderr


def _readme_plugin():
    snippet = next(block for block in blocks(README, "python") if "class HuberLoss" in block)
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 10 + 1
    space = {}
    exec(snippet, space)
    return space["HuberLoss"]


class TestThePluginOfTheReadme(LossContract):
    plugin = _readme_plugin()


def test_the_picture_of_the_readme_can_be_made_again(desk):
    superres(desk, "run", "examples/quickstart/pipeline.toml", *REDUCED, "--set", "run.output=runs/picture")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "quickstart_picture.py", "runs/picture", "picture.png"],
        cwd=desk,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(desk / "picture.png")).shape == cv2.imread(str(ROOT / "docs" / "quickstart.png")).shape


def test_linked_files_exist():
    for text in (README, CONTRIBUTING, (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")):
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
            assert (ROOT / target).exists(), target


def test_examples_pass_the_check(desk, shared_data):
    environment = {**os.environ, "SUPERRES_DATA": str(shared_data), "SUPERRES_SCAN": str(desk)}
    for example in sorted((ROOT / "examples").glob("*/pipeline.toml")):
        done = subprocess.run(
            [sys.executable, "-m", "superres", "check", str(example)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
