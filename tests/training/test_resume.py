"""Stopped in any way, a training goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from superres.api.model import Geometry, Model
from superres.api.source import Pair
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.errors import Cancelled, TrainingError
from superres.events import Events
from superres.image import Image
from superres.training import loop
from superres.training.history import read_history
from superres.training.loop import CHECKPOINT_FILE, HISTORY_FILE, train

from .jobs import Watch, small_job

ROOT = Path(__file__).resolve().parents[2]


def without_times(result):
    return [(row.step, row.epoch, row.learning_rate, row.training_loss, row.validation_loss) for row in result.history]


def assert_same(result, expected):
    assert result.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(result.tensors[name], tensor, err_msg=name)
    assert without_times(result) == without_times(expected)
    assert result.best_step == expected.best_step


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(small_job(tmp_path_factory.mktemp("whole")), Events())


@pytest.mark.parametrize("step", [1, 5, 6, 7, 12, 23])
def test_cancelled_at_any_step(tmp_path, uninterrupted, step):
    events = Watch({step: Events.cancel})
    with pytest.raises(Cancelled, match=f"stopped at step {step} of 24") as caught:
        train(small_job(tmp_path), events)
    assert "same command" in caught.value.hint
    resumed = Watch()
    result = train(small_job(tmp_path), resumed)
    assert resumed.steps[0] == step + 1 and resumed.notes == [f"going on from the checkpoint at step {step} of 24"]
    assert_same(result, uninterrupted)
    rows = read_history(tmp_path / HISTORY_FILE)
    assert rows == result.history, "no line stands twice"
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)


def test_a_device_that_is_looked_at_seldom_trains_the_same(tmp_path, uninterrupted, monkeypatch):
    """What a GPU does every 20 steps, here every 4: losses are summed on the device, and stops wait for a look."""
    monkeypatch.setattr(loop._Training, "_watched", lambda self, step: step % 4 == 0 or step % self.interval == 0)
    assert_same(train(small_job(tmp_path / "whole"), Events()), uninterrupted)
    asked = Watch({8: Events.cancel})
    with pytest.raises(Cancelled, match="stopped at step 8 of 24"):
        train(small_job(tmp_path / "parts"), asked)
    assert asked.steps == [4, 6, 8]

    class Late(Watch):
        """Asked to stop while the ninth batch is made."""

        @property
        def cancelled(self):
            return bool(self.steps) and self.steps[-1] >= 12

    with pytest.raises(Cancelled, match="stopped at step 12 of 24"):
        train(small_job(tmp_path / "parts"), Late())
    assert_same(train(small_job(tmp_path / "parts"), Events()), uninterrupted)


def interrupt(_):
    raise KeyboardInterrupt


def test_ctrl_c_keeps_the_work(tmp_path, uninterrupted):
    with pytest.raises(Cancelled, match="step 10"):
        train(small_job(tmp_path), Watch({10: interrupt}))
    resumed = Watch()
    assert_same(train(small_job(tmp_path), resumed), uninterrupted)
    assert resumed.steps[0] == 11


def test_ctrl_c_within_an_update_does_not_save_half_of_it(tmp_path, uninterrupted, monkeypatch):
    real = torch.optim.Adam.step
    calls = []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        result = real(self, *args, **kwargs)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    with pytest.raises(Cancelled):
        train(small_job(tmp_path), Events())
    monkeypatch.undo()
    resumed = Watch()
    assert_same(train(small_job(tmp_path), resumed), uninterrupted)
    assert resumed.steps[0] == 7, "back to the checkpoint of step 6"


def test_ctrl_c_within_a_row_of_the_history_does_not_save_half_of_it(tmp_path, uninterrupted):
    class Interrupted(list):
        def append(self, row):
            if len(self) == 1:
                raise KeyboardInterrupt
            super().append(row)

    session = loop._Training(small_job(tmp_path), torch.device("cpu"), Events())
    session.state.history = Interrupted()
    with pytest.raises(Cancelled, match="step 12"):
        session.run()
    resumed = Watch()
    assert_same(train(small_job(tmp_path), resumed), uninterrupted)
    assert resumed.steps[0] == 7, "back to the checkpoint of step 6"


def kill_at(folder, steps, **settings):
    """Run in a process of its own that is killed (signal 9) after each of the steps in turn."""
    for step in steps:
        code = (f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
                "from pathlib import Path\n"
                "from tests.training.jobs import Watch, kill_this_process, small_job\n"
                "from superres.training.loop import train\n"
                f"train(small_job(Path({str(folder)!r}), **{settings!r}), Watch({{{step}: kill_this_process}}))\n")
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                               capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_killed_between_checkpoints(tmp_path, uninterrupted):
    kill_at(tmp_path, [15])
    resumed = Watch()
    result = train(small_job(tmp_path), resumed)
    assert resumed.steps[0] == 13, "the checkpoint of the validation at step 12"
    assert_same(result, uninterrupted)
    assert read_history(tmp_path / HISTORY_FILE) == result.history


@pytest.mark.slow
def test_killed_again_and_again(tmp_path, uninterrupted):
    kill_at(tmp_path, [2, 7, 8, 13, 19, 23], checkpoint_every=1)
    assert_same(train(small_job(tmp_path, checkpoint_every=1), Events()), uninterrupted)


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path, uninterrupted):
    """Signal 9 from outside, at any instruction: within a step, a validation or the writing of a checkpoint."""
    rng = np.random.default_rng(3)
    code = (f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
            "import sys, time\n"
            "from pathlib import Path\n"
            "from tests.training.jobs import Watch, small_job\n"
            "from superres.training.loop import train\n"
            "class Slow(Watch):\n"
            "    def progress(self, progress):\n"
            "        print(progress.done, flush=True); time.sleep(0.05)\n"
            f"train(small_job(Path({str(tmp_path)!r}), checkpoint_every=1), Slow())\n")
    kills = 0
    while kills < 10:
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                 stdout=subprocess.PIPE, text=True)
        child.stdout.readline()  # a step has been done
        time.sleep(rng.uniform(0, 0.12))
        child.kill()
        child.communicate()
        kills += child.returncode == -signal.SIGKILL
        if child.returncode == 0:
            break
    assert kills == 10 or read_history(tmp_path / HISTORY_FILE)[-1].step == 24
    assert kills >= 8, "the training was over too early to be killed ten times"
    assert_same(train(small_job(tmp_path, checkpoint_every=1), Events()), uninterrupted)


def test_checkpoints_at_their_own_interval(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError, match="power cut"):
        train(small_job(tmp_path, checkpoint_every=5), Watch({23: _power_cut}))
    resumed = Watch()
    result = train(small_job(tmp_path, checkpoint_every=5), resumed)
    assert resumed.steps[0] == 21
    assert_same(result, uninterrupted)


def _power_cut(_):
    raise RuntimeError("power cut")


def test_a_finished_training_is_not_done_again(tmp_path):
    first = train(small_job(tmp_path), Events())
    again = Watch()
    assert_same(train(small_job(tmp_path), again), first)
    assert again.steps == []


class DropoutModel(Model):
    """Draws random numbers in training, and has buffers (batch normalisation)."""

    name = "dropout"
    geometry = property(lambda self: Geometry(2, 1))

    def build(self):
        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Dropout(0.5), nn.PixelShuffle(2))


def test_networks_that_draw_random_numbers_resume_too(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [Pair(f"p{k}", "s", Image(rng.random((16, 16, 3), np.float32), 0.2),
                  Image(rng.random((32, 32, 3), np.float32), 0.1)) for k in range(2)]
    values = {"model": DropoutModel(), "training": pairs, "validation": pairs[:1], "steps": 9}
    expected = train(small_job(tmp_path / "a", **values), Events())
    job = small_job(tmp_path / "b", **values)
    with pytest.raises(Cancelled):
        train(job, Watch({4: Events.cancel}))
    assert_same(train(job, Events()), expected)


class InterruptedModel(DropoutModel):
    """Ctrl-C in its ninth forward pass in training, after the statistics of that batch were taken in."""

    def build(self):
        calls = []

        def count(module, inputs):
            calls.append(1)
            if module.training and calls.count(1) == 9:
                raise KeyboardInterrupt

        network = super().build()
        network[2].register_forward_pre_hook(count)
        return network


def test_ctrl_c_within_a_forward_pass_does_not_save_its_statistics(tmp_path):
    rng = np.random.default_rng(0)
    pair = Pair("p", "s", Image(rng.random((16, 16, 3), np.float32), 0.2),
                Image(rng.random((32, 32, 3), np.float32), 0.1))
    values = {"training": [pair], "validation": [], "steps": 12}
    expected = train(small_job(tmp_path / "a", model=DropoutModel(), **values), Events())
    with pytest.raises(Cancelled, match="step 8"):
        train(small_job(tmp_path / "b", model=InterruptedModel(), **values), Events())
    resumed = train(small_job(tmp_path / "b", model=DropoutModel(), **values), Events())
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], tensor, err_msg=name)


def test_a_checkpoint_of_another_job_is_left_out_aloud(tmp_path, uninterrupted):
    with pytest.raises(Cancelled):
        train(small_job(tmp_path, fingerprint="other", learning_rate=1e-3), Watch({7: Events.cancel}))
    events = Watch()
    assert_same(train(small_job(tmp_path), events), uninterrupted)
    assert any("other settings" in note for note in events.notes)


@pytest.mark.parametrize("damage", [lambda content: content[:len(content) // 2], lambda content: b"",
                                    lambda content: content[:5], lambda content: b"PK\x03\x04" + bytes(200)])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path, uninterrupted, damage):
    with pytest.raises(Cancelled):
        train(small_job(tmp_path), Watch({2: Events.cancel}))
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match="cannot resume from the checkpoint") as caught:
        train(small_job(tmp_path), Events())
    assert "delete this file" in caught.value.hint and "--fresh" in caught.value.hint
    path.unlink()
    assert_same(train(small_job(tmp_path), Events()), uninterrupted)


@pytest.mark.parametrize("group", ["network", "best", "optimiser", "history"])
def test_a_checkpoint_that_a_disk_changed_is_not_trained_on(tmp_path, group):
    """One bit of one number: the format itself has no checksum."""
    with pytest.raises(Cancelled):
        train(small_job(tmp_path), Watch({7: Events.cancel}))
    path = tmp_path / CHECKPOINT_FILE
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    begin, _ = next(each["data_offsets"] for name, each in header.items() if name.startswith(group))
    content[8 + length + begin] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="not the ones that were written"):
        train(small_job(tmp_path), Events())


def test_a_checkpoint_of_another_network_says_so(tmp_path):
    with pytest.raises(Cancelled):
        train(small_job(tmp_path), Watch({2: Events.cancel}))
    with pytest.raises(TrainingError, match="of another network"):
        train(small_job(tmp_path, model=Rivenson2017Model(base_channels=7, blocks=1, alpha=2)), Events())


def test_a_half_written_history_line_does_no_harm(tmp_path, uninterrupted):
    with pytest.raises(Cancelled):
        train(small_job(tmp_path), Watch({13: Events.cancel}))
    with open(tmp_path / HISTORY_FILE, "a") as stream:
        stream.write("18,4.0,0.00")
    result = train(small_job(tmp_path), Events())
    assert_same(result, uninterrupted)
    assert read_history(tmp_path / HISTORY_FILE) == result.history
