"""The exponential moving average of a network's weights (Polyak and Juditsky, SIAM J. Control Optim. 30, 838, 1992,
doi:10.1137/0330046; with a fading memory as in Tarvainen and Valpola, arXiv:1703.01780)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn


class WeightAverage:
    """average ← kept · average + (1 − kept) · weights, after each step.

    kept: share that the average keeps at most; at step t it keeps no more than (1 + t)/(10 + t), so that the random
    weights of the beginning are forgotten.  Buffers (statistics of batches) are taken as they are.
    """

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.kept = kept
        self._weights = {name: value.detach() for name, value in network.named_parameters()}
        self._average = {name: value.clone(memory_format=torch.preserve_format)
                         for name, value in self._weights.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        kept = min(self.kept, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._average.values()), list(self._weights.values()), 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights in place of its own, which are put back after, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The average, copied."""
        return {name: value.cpu().numpy().copy() for name, value in self._average.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `tensors` gave.  Raises KeyError or RuntimeError for those of another network."""
        for name, value in self._average.items():
            value.copy_(torch.from_numpy(tensors[name].copy()))

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weights in self._weights.items():
            kept: Tensor = weights.clone(memory_format=torch.preserve_format)
            weights.copy_(self._average[name])
            self._average[name].copy_(kept)
