"""docs/training.md says what is so: its tables are the studies', its keys the configuration's, its snippets pass."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import training_tables
from superres.config import TrainSection
from superres.plan import load_plan, make_plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_committed_studies():
    assert training_tables.page(PAGE) == PAGE, "run python benchmarks/training_tables.py"


def test_every_key_of_train_is_in_the_table_with_its_default():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert named == set(TrainSection.model_fields)
    for key, default in (("learning_rate", "1e-4"), ("schedule", "`constant`"), ("precision", "`float32`"),
                         ("augment", "`none`"), ("convolutions", "`auto`"), ("odd_sides", "0.5")):
        assert any(f"`{key}`" in row.split("|")[1] and default in row.split("|")[2] for row in rows), key
        assert str(TrainSection.model_fields[key].default) in (default.strip("`"), "0.0001")


def test_what_a_step_takes_is_what_was_recorded():
    last = max((ROOT / "benchmarks" / "history").glob("*-training.json"))  # names begin with the date
    facts = json.loads(last.read_text())["benchmarks"][0]["extra_info"]
    words = " ".join(PAGE.split())
    assert (f"takes {facts['ratio']:.2f} of the time of a plain PyTorch loop (DataLoader, NCHW, float32), and "
            f"{facts['processor_time_ratio']:.2f} of its processor time: {1 / facts['ratio']:.2f} times its") in words
    assert facts["ratio"] < 1 / 1.5


def test_the_snippet_of_fine_tuning_passes():
    (snippet,) = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert make_plan({"source": {"plugin": "simulate"}, **tomllib.loads(snippet)}).start_from is not None


def test_the_papers_training_is_the_reference(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERRES_SCAN", str(tmp_path))
    path = ROOT / "examples" / "paper" / "lung.toml"
    train = load_plan(path).config.train
    assert train.model_copy(update={"epochs": None, "odd_sides": 0.5}) == TrainSection()
    assert train.epochs == 630 and train.odd_sides == 0, "every patch of the paper had 60² pixels"
    assert (train.patch_px, train.batch_size, train.learning_rate, train.schedule) == (60, 64, 1e-4, "constant")


def test_links_and_the_cluster_script_hold():
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    for page in ("superres/weights/stained-tissue-2.5x.md", "plugins/superres-edsr/README.md"):
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / page).parent.joinpath(target).resolve().exists(), target
    checked = subprocess.run(["bash", "-n", ROOT / "examples/cluster/train.slurm"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(("asked", "processes"), [({"SLURM_GPUS_PER_NODE": "4"}, "4"),
                                                  ({"SLURM_GPUS_PER_NODE": "a100:4"}, "4"),
                                                  ({"SLURM_GPUS_ON_NODE": "2", "SLURM_GPUS_PER_NODE": "a100:4"}, "2"),
                                                  ({}, "1")], ids=str)
def test_the_cluster_script_starts_a_process_for_each_gpu(tmp_path, asked, processes):
    for name, says in (("srun", 'echo "$@"'), ("scontrol", "echo node-1; echo node-2")):
        (tmp_path / name).write_text(f"#!/bin/bash\n{says}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2",
                   "SLURM_JOB_NODELIST": "node-[1-2]", **asked}
    done = subprocess.run(["bash", ROOT / "examples/cluster/train.slurm", "pipeline.toml"], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"torchrun --nnodes 2 --nproc-per-node {processes} --max-restarts 3 " in done.stdout
    assert done.stdout.endswith("--rdzv-endpoint node-1:29500 -m superres run pipeline.toml\n")


def test_make_targets_of_the_page_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)`", PAGE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("words", ["-m superres run pipeline.toml", "--nproc-per-node 2", "--max-restarts 3"])
def test_the_command_of_several_processes_is_what_the_slow_tests_run(words):
    """tests/training/test_ranks.py runs it, whole; here only that the page still says the same."""
    assert words in PAGE


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`python -m (benchmarks\.[a-z_.]+)", PAGE))))
def test_a_study_starts_by_the_command_that_is_named(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"python benchmarks/\w+\.py", PAGE)
