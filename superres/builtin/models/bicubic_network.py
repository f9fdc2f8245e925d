"""The torch module of `bicubic`.  Imported when the model is built: this file imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from superres.resample import bicubic_weights


class BicubicUpsampling(nn.Module):
    """(N, C, H, W) → (N, C, ceil(up·H/down), ceil(up·W/down)); taps beyond the border are left out, as in
    `resample`."""

    def __init__(self, up: int, down: int) -> None:
        super().__init__()
        self.up = up
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        return self._along(self._along(x, 2), 3)

    def _along(self, x: Tensor, axis: int) -> Tensor:
        indices, weights = bicubic_weights(x.shape[axis], self.up, self.down)
        shape = [1] * x.ndim
        shape[axis] = -1
        result: Tensor | None = None
        for tap in range(indices.shape[1]):
            taken = x.index_select(axis, torch.tensor(indices[:, tap], device=x.device))
            factor = torch.tensor(weights[:, tap], dtype=x.dtype, device=x.device).reshape(shape)
            result = taken * factor if result is None else result.addcmul_(taken, factor)
        assert result is not None
        return result
