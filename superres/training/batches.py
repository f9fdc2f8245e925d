"""Batches of a training on its device: from a GPU's own memory where the images fit there, otherwise cut on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from superres.config import Augment
from superres.training.patches import PatchSet, epoch_order, patch_order, random_changes
from superres.training.ranks import Ranks
from superres.training.resident import ResidentPatches, fits


class Batches:
    """The batch of every step: a function of the patches, the seed and the step's number.

    Each of several processes gets its own part of it.  Coarse (N, 3, p, p) and fine (N, 3, L·p, L·p) float32 in units
    of white, channels last, on the device.
    """

    def __init__(self, patches: PatchSet, batch_size: int, augment: Augment, seed: int, device: torch.device,
                 ranks: Ranks) -> None:
        self.patches, self.device = patches, device
        self._batch_size, self._augment, self._seed = batch_size, augment, seed
        self._share = ranks.share(batch_size)
        # Shuffling the paper's 51,008 patches takes a millisecond, which a GPU's step of three should not pay.
        self._shuffled = lru_cache(maxsize=2)(epoch_order)
        self._resident = ResidentPatches(patches, device) if fits(patches, device) else None

    @property
    def resident(self) -> bool:
        """Whether the images live on the GPU."""
        return self._resident is not None

    def indices(self, step: int) -> list[int]:
        """The patches of this process at a step."""
        order = patch_order(len(self.patches), self._batch_size, step, self._seed, self._shuffled)
        chosen: list[int] = order[self._share].tolist()
        return chosen

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        changes = random_changes(self._augment, self._batch_size, step, self._seed)
        indices = self.indices(step)
        if self._resident is not None:
            return self._resident.batch(indices, None if changes is None else changes[self._share])
        coarse, fine = self.patches.batch(indices, None if changes is None else changes[self._share])
        # (N, H, W, C) in memory seen as (N, C, H, W) is channels last: no copy.
        return self._to_device(torch.from_numpy(coarse)), self._to_device(torch.from_numpy(fine))

    def unchanged(self, patches: PatchSet, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch of other patches (those of validation), as they are."""
        coarse, fine = patches.batch(indices)
        return self._to_device(torch.from_numpy(coarse)), self._to_device(torch.from_numpy(fine))

    def _to_device(self, batch: Tensor) -> Tensor:
        if self.device.type == "cuda":
            # From page-locked memory the copy runs beside the computation of the step before.
            return batch.pin_memory().to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return batch.permute(0, 3, 1, 2)
