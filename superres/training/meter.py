"""The loss over some steps, summed where it is computed: reading it makes the host wait, so it is read seldom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from superres.training.ranks import Ranks


@dataclass(frozen=True)
class Reading:
    """Since the last one: the sum over steps of the batches' mean losses.  spoilt_step: the first step whose loss was
    not finite, 0 for none.  stop: whether any process was asked to stop."""

    loss_sum: float
    spoilt_step: int
    stop: bool


class LossMeter:
    """Adds up losses on their device, in float64."""

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._spoilt = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, loss: Tensor, step: int) -> None:
        """loss: a scalar on the device; not waited for."""
        self._sum += loss
        first = (self._spoilt == 0) & ~torch.isfinite(loss)
        self._spoilt = torch.where(first, torch.full_like(self._spoilt, step), self._spoilt)

    def read(self, stop: bool) -> Reading:
        """Wait for the device, share among processes, begin anew.  All processes must read at the same steps."""
        wish = torch.full_like(self._sum, float(stop))
        values = self._ranks.total(torch.stack([self._sum / self._ranks.count, wish])).tolist()
        spoilt = int(self._spoilt)
        self._sum.zero_()
        self._spoilt.zero_()
        return Reading(values[0], spoilt, values[1] > 0)
