"""Several processes train the network that one would have trained.  On gloo, between CPUs of one machine."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from superres import pipeline
from superres.errors import StorageError, TrainingError
from superres.events import Events
from superres.plan import load_plan
from superres.run import TRAINS
from superres.stages.store import RunFolder
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


class Store(dict):
    """What processes tell each other, in one process."""

    set, get = dict.__setitem__, dict.__getitem__


@pytest.mark.parametrize("same", [True, False], ids=["one folder", "another machine's folder"])
def test_a_process_that_does_not_see_the_run_folder_says_so_before_it_works(tmp_path, monkeypatch, same):
    monkeypatch.setattr(pipeline, "NETWORK_DISK_SECONDS", 0.0)
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    store = Store({pipeline.SIGNED: b"token", TRAINS: b"no"})
    monkeypatch.setattr(pipeline.Pipeline, "_ranks", lambda _: nullcontext(Ranks(1, 2, store)))
    folder = tmp_path / "run"
    RunFolder(folder).sign("token" if same else "of an earlier attempt")
    run = pipeline.Pipeline(load_plan(tmp_path / "pipeline.toml", overrides=[f"run.output={folder}"])).run
    if same:
        assert run().stages == ()
        return
    with pytest.raises(StorageError, match=r"process 1 of 2 does not see the first one's run folder at '/.*/run'") as e:
        run()
    assert "a disk that all processes see" in e.value.hint
    assert [each.name for each in (folder / "work").iterdir()] == ["signature"], "nothing was gathered"


class OfTwo(Ranks):
    """The second of two processes whose first one goes on from step 12."""

    def total(self, values):
        values[0] = 12
        return values


def test_processes_that_go_on_from_different_steps_are_refused():
    OfTwo(1, 2).require_same_step(12, torch.device("cpu"))
    with pytest.raises(TrainingError, match="process 0 of 2 would go on from step 12, process 1 from step 0") as caught:
        OfTwo(1, 2).require_same_step(0, torch.device("cpu"))
    assert "a disk that all processes see" in caught.value.hint


class Deserted(Ranks):
    def total(self, values):
        raise RuntimeError("[/src/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:42128: Connection reset")


def test_a_process_whose_neighbour_was_killed_does_not_blame_the_model(tmp_path):
    with pytest.raises(TrainingError, match="connection to another process of this training was lost") as caught:
        train(small_job(tmp_path), Events(), Deserted())
    assert "from the last checkpoint" in caught.value.hint


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_training_goes_on_from_the_checkpoint(tmp_path):
    done = script(tmp_path, "killed", restarts=2)
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr or "exitcode  : -9" in done.stderr
    assert "the connection to another process of this training was lost" in done.stderr
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
