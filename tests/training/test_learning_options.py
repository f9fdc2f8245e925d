"""What the options of [train] do to a step, against the same arithmetic written out."""

import numpy as np
import pytest
import torch

from superres.api.source import Acquisition
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.errors import Cancelled, TrainingError
from superres.events import Events
from superres.stages.store import StageFolder
from superres.stages.train import train as train_stage
from superres.training.average import WeightAverage
from superres.training.learner import Learner, check_arithmetic
from superres.training.loop import train
from superres.training.ranks import ALONE

from .jobs import SMALL_MODEL, Watch, small_job
from .specimens import make_pair
from .test_resume import assert_same


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A weights file of twelve steps."""
    folder = tmp_path_factory.mktemp("trained")
    job = small_job(folder, steps=12)
    acquisition = Acquisition(pairs=tuple(job.training), coarse_pixel_size_um=0.185, fine_pixel_size_um=0.074)
    return train_stage(job, acquisition, {}, StageFolder(folder), Events())


def test_the_average_is_the_sum_that_its_definition_gives():
    network = torch.nn.Linear(3, 2)
    average, expected = WeightAverage(network, kept=0.6), network.weight.detach().clone()
    for step in range(1, 9):
        with torch.no_grad():
            network.weight += step
        kept = min(0.6, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * network.weight.detach()
        average.follow(step)
    own = network.weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(network.weight.detach(), expected)
    assert torch.equal(network.weight, own), "put back bit for bit"
    np.testing.assert_allclose(average.tensors()["weight"], expected.numpy(), rtol=1e-6)


def test_the_averaged_weights_are_the_ones_that_are_validated_and_kept(tmp_path):
    plain = train(small_job(tmp_path / "plain"), Events())
    averaged = train(small_job(tmp_path / "average", average=0.9), Events())
    own = [row.training_loss for row in plain.history]
    assert [row.training_loss for row in averaged.history] == own, "the steps themselves are the same"
    assert any(not np.array_equal(averaged.tensors[name], plain.tensors[name]) for name in plain.tensors)
    assert [row.validation_loss for row in averaged.history] != [row.validation_loss for row in plain.history]


@pytest.mark.parametrize("options", [{"average": 0.9}, {"clip_gradient": 0.05}, {"precision": "bfloat16"},
                                     {"schedule": "cosine", "warm_up": 4}, {"odd_sides": 1.0}], ids=str)
def test_every_option_resumes_bit_for_bit(tmp_path, options):
    expected = train(small_job(tmp_path / "whole", steps=14, **options), Events())
    job = small_job(tmp_path / "parts", steps=14, **options)
    for step in (3, 9):
        with pytest.raises(Cancelled):
            train(job, Watch({step: Events.cancel}))
    assert_same(train(job, Events()), expected)


def test_clipping_shortens_the_gradient_and_keeps_its_direction(tmp_path):
    job = small_job(tmp_path, clip_gradient=1e-3)
    learner = Learner(job, torch.device("cpu"), ALONE)
    learner.set_losses(job.losses)
    learner.gradient(torch.rand(2, 3, 12, 12), torch.rand(2, 3, 30, 30))
    before = torch.cat([each.grad.flatten() for each in learner.network.parameters()])
    learner.update(1e-3, 1)
    after = torch.cat([each.grad.flatten() for each in learner.network.parameters()])
    assert float(before.norm()) > 1e-2
    assert float(after.norm()) == pytest.approx(1e-3, rel=1e-4)
    torch.testing.assert_close(after / after.norm(), before / before.norm(), rtol=1e-4, atol=1e-6)


def test_patience_ends_a_training_that_no_longer_gains(tmp_path):
    # A learning rate that wrecks the network after the first validation: nothing gets better.
    wrecking = {"steps": 60, "validate_every": 3, "learning_rate": 0.3, "schedule": "constant", "patience": 2}
    events = Watch()
    result = train(small_job(tmp_path, **wrecking), events)
    losses = [row.validation_loss for row in result.history]
    assert result.steps < 60 and result.steps == result.history[-1].step
    assert result.history[int(np.argmin(losses))].step == result.best_step == result.steps - 2 * 3
    assert any("2 validations without a better one" in note for note in events.notes)
    again = Watch()
    assert_same(train(small_job(tmp_path, **wrecking), again), result)
    assert again.steps == [], "finished is finished"


def test_fine_tuning_begins_with_the_given_weights(tmp_path, trained):
    job = small_job(tmp_path, steps=1, learning_rate=1e-12)
    begun = TrainSection(**job.settings.model_dump())
    tuned = train(type(job)(**{**vars(job), "settings": begun, "start_from": trained}), Events())
    from superres.io.weights import read_weights

    given = read_weights(trained).tensors
    for name, tensor in tuned.tensors.items():
        np.testing.assert_allclose(tensor, given[name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("stopped", [False, True])
def test_fine_tuning_that_only_does_harm_keeps_the_weights_that_it_began_with(tmp_path, trained, stopped):
    from superres.io.weights import read_weights

    job = small_job(tmp_path, learning_rate=0.3, schedule="constant")
    job = type(job)(**{**vars(job), "start_from": trained})
    if stopped:
        with pytest.raises(Cancelled):
            train(job, Watch({2: Watch.cancel}))
    events = Watch()
    result = train(job, events)
    assert result.best_step == 0 and result.steps == 24
    given = read_weights(trained).tensors
    for name, tensor in result.tensors.items():
        np.testing.assert_array_equal(tensor, given[name], err_msg=name)
    assert any("they are kept" in note for note in events.notes)
    assert any("of the weights that training starts from" in note for note in events.notes) != stopped


def test_weights_of_another_model_are_refused(tmp_path, trained):
    job = small_job(tmp_path, model=Rivenson2017Model(**{**SMALL_MODEL, "alpha": 3}))
    with pytest.raises(TrainingError, match=r"holds weights of 'rivenson2017' \(alpha 2.*trains .*\(alpha 3") as caught:
        train(type(job)(**{**vars(job), "start_from": trained}), Events())
    assert "same model" in caught.value.hint


def test_float16_asks_for_a_gpu():
    with pytest.raises(TrainingError, match="float16, which needs a GPU; this training runs on cpu") as caught:
        check_arithmetic(TrainSection(precision="float16"), torch.device("cpu"))
    assert "float32" in caught.value.hint


def test_bfloat16_trains_float32_weights(tmp_path):
    """The same losses to bfloat16's three digits, from weights that stay float32."""
    plain = train(small_job(tmp_path / "a", steps=8), Events())
    rough = train(small_job(tmp_path / "b", steps=8, precision="bfloat16"), Events())
    assert all(tensor.dtype == np.float32 for tensor in rough.tensors.values())
    assert rough.history[0].training_loss == pytest.approx(plain.history[0].training_loss, rel=0.02)
    assert rough.history[0].training_loss != plain.history[0].training_loss


@pytest.mark.slow
def test_a_compiled_training_gives_the_same_losses(tmp_path):
    plain = train(small_job(tmp_path / "a", steps=6), Events())
    compiled = train(small_job(tmp_path / "b", steps=6, compile=True), Events())
    for ours, theirs in zip(compiled.history, plain.history, strict=True):
        assert ours.training_loss == pytest.approx(theirs.training_loss, rel=1e-5)


def test_a_compiler_that_is_not_there_is_named(tmp_path, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def broken(forward):
        def fails(coarse):
            raise InvalidCxxCompiler
        return fails

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TrainingError, match=r"torch.compile failed on model 'rivenson2017'") as caught:
        train(small_job(tmp_path, compile=True, validation=[make_pair(3)]), Events())
    assert "train.compile = false" in caught.value.hint and "C++ compiler" in caught.value.hint


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_what_a_killed_compilation_left_is_named_with_its_folder(tmp_path, monkeypatch, where):
    from torch._inductor.exc import CppCompileError

    said = CppCompileError(["g++", "kernel.cpp"], "In function kernel:\nkernel.cpp:13:37: error: no such thing\nmore")

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            if where == "forward":
                raise said
            return values.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise said

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr(torch, "compile", lambda network: lambda coarse: Broken.apply(network(coarse)))
    with pytest.raises(TrainingError, match=r"torch.compile failed .*: kernel.cpp:13:37: error: no such") as caught:
        train(small_job(tmp_path / "job", compile=True), Events())
    assert str(tmp_path / "compiled") in caught.value.hint and "killed" in caught.value.hint
