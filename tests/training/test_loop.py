"""Training learns, keeps the best weights, and leaves its surroundings alone."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from superres.api.loss import Loss
from superres.builtin.losses.l1 import L1Loss
from superres.builtin.losses.mse import MseLoss
from superres.builtin.models.bicubic import BicubicModel
from superres.errors import PluginError, TrainingError
from superres.events import Events
from superres.training.history import COLUMNS, read_history
from superres.training.loop import train

from .jobs import Watch, small_job
from .specimens import make_pair


def test_the_loss_falls_and_the_history_tells(tmp_path):
    result = train(small_job(tmp_path, steps=120, validate_every=20, learning_rate=5e-3), Events())
    assert [row.step for row in result.history] == [20, 40, 60, 80, 100, 120]
    assert result.history[-1].validation_loss < 0.6 * result.history[0].validation_loss
    assert result.history[-1].training_loss < 0.3 * result.history[0].training_loss
    # 2 images of 24² in patches of 12 at a stride of 6: 18 patches; 4 of them a step.
    assert result.patches == 18
    assert result.history[0].epoch == pytest.approx(20 * 4 / 18)
    assert read_history(tmp_path / "history.csv") == result.history
    assert (tmp_path / "history.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert [row.seconds for row in result.history] == sorted(row.seconds for row in result.history)


def test_the_best_validation_weights_are_kept(tmp_path):
    """A rate that wrecks the network after a good start: the best step is not the last one."""

    class Wrecking(Watch):
        def progress(self, progress):
            if progress.done == 12:
                for group in self.optimiser.param_groups:
                    for parameter in group["params"]:
                        parameter.data.add_(0.5)

    from superres.training import loop

    events = Wrecking()
    session = loop._Training(small_job(tmp_path, steps=18), torch.device("cpu"), events)
    events.optimiser = session.learner.optimiser
    result = session.run()
    losses = [row.validation_loss for row in result.history]
    assert result.best_step == 6 == result.history[int(np.argmin(losses))].step
    last = session.learner.network.state_dict()
    assert any(not np.array_equal(result.tensors[name], last[name].numpy()) for name in last)


def test_that_compiling_does_not_pay_on_a_cpu_is_said_before_the_minutes_it_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda forward: forward)
    compiled, plain = Watch(), Watch()
    train(small_job(tmp_path / "compiled", steps=6, compile=True), compiled)
    train(small_job(tmp_path / "plain", steps=6), plain)
    assert any(note.startswith("train.compile on a CPU: minutes go by") for note in compiled.notes)
    assert not any("train.compile" in note for note in plain.notes)


def test_without_validation_the_last_weights_are_kept_and_it_is_said(tmp_path):
    events = Watch()
    result = train(small_job(tmp_path, validation=[]), events)
    assert result.best_step == 24
    assert all(math.isnan(row.validation_loss) for row in result.history)
    assert any("no validation pairs" in note for note in events.notes)
    assert read_history(tmp_path / "history.csv")[0].step == 6


def test_validation_is_a_function_of_the_weights_alone(tmp_path):
    """The validation loss of the kept weights, computed by hand on patches side by side."""
    job = small_job(tmp_path, losses=[(MseLoss(), 2.0), (L1Loss(), 0.5)])
    result = train(job, Events())
    network = job.model.build()
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in result.tensors.items()})
    pair = job.validation[0]
    coarse, fine = (torch.from_numpy(image.unit()).permute(2, 0, 1)[None] for image in (pair.coarse, pair.fine))
    losses = []
    with torch.no_grad():
        for top in (0, 12):
            for left in (0, 12):
                error = network(coarse[:, :, top:top + 12, left:left + 12])
                error = error - fine[:, :, top * 5 // 2:top * 5 // 2 + 30, left * 5 // 2:left * 5 // 2 + 30]
                losses.append(2.0 * error.square().mean().item() + 0.5 * error.abs().mean().item())
    kept = next(row for row in result.history if row.step == result.best_step)
    assert kept.validation_loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_surroundings_are_left_alone(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    train(small_job(tmp_path, steps=3), Events())
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert torch.get_num_threads() == threads


def test_equal_seeds_give_equal_bits_and_others_do_not(tmp_path):
    first = train(small_job(tmp_path / "a", steps=8), Events())
    torch.rand(5)
    second = train(small_job(tmp_path / "b", steps=8), Events())
    other = train(small_job(tmp_path / "c", steps=8, seed=6), Events())
    assert all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert any(not np.array_equal(first.tensors[name], other.tensors[name]) for name in first.tensors)


def test_progress_names_loss_and_speed(tmp_path):
    events = Watch()
    train(small_job(tmp_path, steps=8), events)
    assert events.steps == list(range(1, 9))
    assert events.messages[0].startswith("loss 0.") and "patches/s" in events.messages[0]
    assert "validation 0." in events.messages[-1]


def test_single_channel_pairs_train(tmp_path):
    result = train(small_job(tmp_path, steps=2, training=[make_pair(1, grey=True)], validation=[]), Events())
    assert result.parameters == sum(tensor.size for tensor in result.tensors.values())


class SpoiltLoss(Loss):
    """Not a number from its fourth call on."""

    name = "spoilt"

    def build(self):
        class Spoilt(nn.Module):
            calls = 0

            def forward(self, prediction, truth):
                self.calls += 1
                return (prediction - truth).square().mean() * (math.nan if self.calls > 3 else 1.0)

        return Spoilt()


def test_a_loss_that_is_not_finite_names_step_and_patches(tmp_path):
    job = small_job(tmp_path, losses=[(SpoiltLoss(), 1.0)], validation=[])
    with pytest.raises(TrainingError, match=r"the loss is not finite at step 4; .*'field-[12]' \(\d+, \d+\)") as caught:
        train(job, Events())
    assert "learning_rate" in caught.value.hint


class SteepLoss(Loss):
    """Finite, with a derivative that is not: the weights are spoilt after the first step."""

    name = "steep"

    def build(self):
        class Steep(nn.Module):
            def forward(self, prediction, truth):
                return (prediction - truth).square().mean() + torch.sqrt(0.0 * prediction.sum())

        return Steep()


def test_a_network_that_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(TrainingError, match=r"tensor 'input.weight' of the network is no longer finite after step 1"):
        train(small_job(tmp_path, losses=[(SteepLoss(), 1.0)], validation=[], steps=1), Events())
    assert not list(tmp_path.glob("*.safetensors"))
    with pytest.raises(TrainingError, match="validation loss is nan after step 1"):
        train(small_job(tmp_path, losses=[(SteepLoss(), 1.0)], steps=1), Events())


def test_out_of_memory_asks_for_smaller_batches(tmp_path):
    class Huge(Loss):
        name = "huge"

        def build(self):
            class Module(nn.Module):
                def forward(self, prediction, truth):
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

            return Module()

    with pytest.raises(TrainingError, match="not enough memory for batches of 4 patches of 12 px") as caught:
        train(small_job(tmp_path, losses=[(Huge(), 1.0)]), Events())
    assert "batch_size" in caught.value.hint


def test_a_model_that_breaks_its_geometry_is_named(tmp_path):
    class Wrong(BicubicModel):
        name = "wrong"

        def build(self):
            return nn.Conv2d(3, 3, 3, padding=1)

    with pytest.raises(PluginError, match=r"model 'wrong' gave \(4, 3, 12, 12\) .* promises \(4, 3, 30, 30\)"):
        train(small_job(tmp_path, model=Wrong(), odd_sides=0), Events())


def test_a_loss_that_is_no_scalar_is_named(tmp_path):
    class Map(Loss):
        name = "map"

        def build(self):
            return nn.MSELoss(reduction="none")

    with pytest.raises(PluginError, match="loss 'map' gave a tensor of shape"):
        train(small_job(tmp_path, losses=[(Map(), 1.0)]), Events())


class UnbuildableLoss(Loss):
    name = "unbuildable"

    def build(self):
        raise FileNotFoundError("vgg.pth")


class UnbuildableModel(BicubicModel):
    name = "unbuildable"
    build = UnbuildableLoss.build


def test_a_plugin_that_cannot_build_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"loss 'unbuildable' failed while it was built: FileNotFoundError: vgg\.pth"):
        train(small_job(tmp_path, losses=[(UnbuildableLoss(), 1.0)]), Events())
    with pytest.raises(PluginError, match="model 'unbuildable' failed while it built its network: FileNotFoundError"):
        train(small_job(tmp_path, model=UnbuildableModel()), Events())


def test_a_model_without_parameters_has_nothing_to_train(tmp_path):
    with pytest.raises(TrainingError, match="'bicubic' has nothing to train"):
        train(small_job(tmp_path, model=BicubicModel()), Events())
