"""A trial before training names who breaks the contract, model or loss, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superres.api import Geometry, Loss, Model
from superres.errors import PluginError
from superres.stages.trial import try_out
from tests.training.jobs import small_job


class Answering(nn.Module):
    """Gives what a function makes of its inputs."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        super().__init__()
        self.gain, self.answer = nn.Parameter(torch.ones(1)), answer

    def forward(self, *given: Tensor) -> Any:
        return self.answer(*given)


def model_of(answer: Callable[..., Any] | None) -> Model:
    class Named(Model):
        name = "named"
        geometry = Geometry(1, 1)  # type: ignore[assignment]

        def build(self) -> Any:
            return None if answer is None else Answering(answer)

    return Named()


def loss_of(answer: Callable[..., Any] | None) -> Loss:
    class Named(Loss):
        name = "named"

        def build(self) -> Any:
            return 3 if answer is None else Answering(answer)

    return Named()


def refuse(*_: Tensor) -> Tensor:
    raise KeyError("colour")


@pytest.mark.parametrize(("answer", "words"), [
    (None, "while it built its network: TypeError: build returned a NoneType"),
    (refuse, "on a trial patch, before training: KeyError: 'colour'"),
    (lambda x: (x, x), "TypeError: forward returned a tuple; expected a tensor"),
    (lambda x: x[:, :, 1:], r"ValueError: forward gave \(2, 3, 15, 16\) for patches of 16 × 16 px; its geometry"),
    (lambda x: x / 0 - x / 0, "ValueError: forward gave NaN or infinite values"),
])
def test_a_model_that_breaks_its_contract_is_named(tmp_path: Path, answer: Callable[..., Any], words: str) -> None:
    job = small_job(tmp_path, model=model_of(answer), losses=[(loss_of(lambda a, b: (a - b).abs().mean()), 1.0)],
                    patch_px=16)
    with pytest.raises(PluginError, match=f"model 'named' failed .*{words}"):
        try_out(job)


@pytest.mark.parametrize(("answer", "words"), [
    (None, "TypeError: build returned a int; expected a torch.nn.Module"),
    (refuse, "KeyError: 'colour'"),
    (lambda a, b: 0.5, "TypeError: forward returned a float; expected a scalar tensor"),
    (lambda a, b: (a - b).abs(), r"ValueError: forward gave a tensor of shape \(2, 3, 40, 40\); expected a scalar"),
    (lambda a, b: (a - b).mean() / 0, "ValueError: forward gave -?inf for a finite prediction"),
    (lambda a, b: (a - b).mean() * float("nan"), "ValueError: forward gave nan"),
    (lambda a, b: (a.detach() - b).abs().mean(), "ValueError: the value has no gradient"),
    (lambda a, b: (a - a).abs().sqrt().mean(), "ValueError: the gradient .* is missing or not finite"),
])
def test_a_loss_that_breaks_its_contract_is_named(tmp_path: Path, answer: Callable[..., Any], words: str) -> None:
    good = loss_of(lambda a, b: (a - b).square().mean())
    job = small_job(tmp_path, losses=[(good, 1.0), (loss_of(answer), 1.0)], patch_px=16)
    with pytest.raises(PluginError, match=f"loss 'named' failed on a trial patch, before training: {words}"):
        try_out(job)


def test_a_trial_draws_nothing_from_the_callers_generator_and_writes_nothing(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    try_out(small_job(tmp_path, patch_px=16))
    assert torch.equal(torch.rand(4), expected) and list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_is_left_for_training_to_tell(tmp_path: Path) -> None:
    def greedy(*_: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    try_out(small_job(tmp_path, model=model_of(greedy), patch_px=16))
