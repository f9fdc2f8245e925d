"""Several processes train the network that one would have trained.  On gloo, between CPUs of one machine."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from superres.errors import TrainingError
from superres.events import Events
from superres.training.history import read_history
from superres.training.loop import train
from superres.training.ranks import ALONE, Ranks

from .jobs import small_job
from .one_of_several import BATCH, gradient

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = """
[run]
output = "run"
seed = 7
[source]
plugin = "simulate"
options = { scenes = ["builtin:tissue:3"], tissue_px = 256, give = "pairs" }
[register]
plugin = "identity"
[model]
plugin = "rivenson2017"
options = { base_channels = 6, blocks = 1, alpha = 2 }
[train]
patch_px = 20
batch_size = 8
steps = 20
validate_every = 10
[[evaluate]]
plugin = "psnr"
"""


def torchrun(folder, *words, restarts=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "--max-restarts", str(restarts), "--monitor-interval", "0.1", *words]
    return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, check=False, timeout=300)


def script(folder, what, restarts=0):
    done = torchrun(folder, str(ROOT / "tests/training/one_of_several.py"), str(folder), what, restarts=restarts)
    assert done.returncode == 0, done.stderr
    return done


def losses(history):
    return np.array([(row.training_loss, row.validation_loss) for row in history])


def test_two_processes_compute_what_one_computes(tmp_path):
    script(tmp_path, "together")
    alone = gradient(small_job(tmp_path / "alone", **BATCH), ALONE)
    for rank in (0, 1):
        shared = np.load(tmp_path / f"gradient-{rank}.npy")
        assert np.abs(shared - alone).max() < 1e-5 * np.abs(alone).max()
    # 2 × 32 patches a step against 1 × 64: the same curve, and the same weights on both.
    expected = train(small_job(tmp_path / "one", **BATCH), Events())
    history = read_history(tmp_path / "job-0" / "history.csv")
    np.testing.assert_allclose(losses(history), losses(expected.history), rtol=1e-4)
    first, second = (dict(np.load(tmp_path / f"result-{rank}.npz")) for rank in (0, 1))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])
        # 24 steps of Adam on gradients that differ in the last bits.
        np.testing.assert_allclose(tensor, expected.tensors[name], atol=2e-4)
    assert not (tmp_path / "job-1").exists(), "the first process alone writes"


def test_batches_that_cannot_be_shared_are_refused():
    assert Ranks(1, 4).share(8) == slice(2, 4)
    with pytest.raises(TrainingError, match="9 patches a step cannot be shared equally by 2 processes") as caught:
        Ranks(0, 2).share(9)
    assert "multiple of 2" in caught.value.hint


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_training_goes_on_from_the_checkpoint(tmp_path):
    done = script(tmp_path, "killed", restarts=2)
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr or "exitcode  : -9" in done.stderr
    # Validations, and so checkpoints, every 6 steps.
    assert [(tmp_path / f"steps-{rank}.txt").read_text() for rank in (0, 1)] == ["13 24", "13 24"]
    expected = train(small_job(tmp_path / "one", **BATCH), Events())
    np.testing.assert_allclose(losses(read_history(tmp_path / "history.csv")), losses(expected.history), rtol=1e-4)


@pytest.mark.slow
def test_all_stop_when_one_is_asked_to(tmp_path):
    script(tmp_path, "stopped")
    said = [(tmp_path / f"stopped-{rank}.txt").read_text() for rank in (0, 1)]
    assert said == ["training stopped at step 10 of 24"] * 2


@pytest.mark.slow
def test_a_whole_run_under_torchrun_makes_the_results_of_one_process(tmp_path):
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    together = torchrun(tmp_path, "-m", "superres", "run", "pipeline.toml")
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("report: run/report.html") == 1
    alone = subprocess.run([sys.executable, "-m", "superres", "run", "pipeline.toml", "--set", "run.output=alone"],
                           cwd=tmp_path, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    first, second = (read_history(tmp_path / each / "history.csv") for each in ("run", "alone"))
    np.testing.assert_allclose(losses(first), losses(second), rtol=1e-4)
    again = torchrun(tmp_path, "-m", "superres", "run", "pipeline.toml")
    assert again.returncode == 0 and "train:" not in again.stderr, "nothing is left to train"
