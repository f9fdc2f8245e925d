"""Batches of a training on its device: from a GPU's own memory where the images fit there, otherwise cut on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from superres.config import TrainSection
from superres.training.patches import Change, PatchSet, epoch_order, patch_order, random_changes, random_sides
from superres.training.ranks import Ranks
from superres.training.resident import ResidentPatches, fits


class Batches:
    """The batch of every step: a function of the patches, the seed and the step's number.

    Each of several processes gets its own part of it.  Coarse (N, 3, h, w) and fine (N, 3, ceil(L·h), ceil(L·w))
    float32 in units of white, channels last, on the device; h and w are the patches' side or, where odd_sides says so,
    a little less.
    """

    def __init__(self, patches: PatchSet, settings: TrainSection, seed: int, device: torch.device,
                 ranks: Ranks) -> None:
        self.patches, self.device = patches, device
        self._settings, self._seed = settings, seed
        self._share = ranks.share(settings.batch_size)
        # Shuffling the paper's 51,008 patches takes a millisecond, which a GPU's step of three should not pay.
        self._shuffled = lru_cache(maxsize=2)(epoch_order)
        self._resident = ResidentPatches(patches, device) if fits(patches, device) else None

    @property
    def resident(self) -> bool:
        """Whether the images live on the GPU."""
        return self._resident is not None

    def indices(self, step: int) -> list[int]:
        """The patches of this process at a step."""
        order = patch_order(len(self.patches), self._settings.batch_size, step, self._seed, self._shuffled)
        chosen: list[int] = order[self._share].tolist()
        return chosen

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """The part of this process; its sides are the same in all."""
        settings, patches = self._settings, self.patches
        changes = random_changes(settings.augment, settings.batch_size, step, self._seed)
        own, indices = None if changes is None else changes[self._share], self.indices(step)
        height, width = random_sides(settings.odd_sides, patches.patch_px, patches.geometry, step, self._seed)
        coarse, fine = (self._from_images(patches, indices, own) if self._resident is None else
                        self._resident.batch(indices, own))
        return _cut(coarse, height, width), _cut(fine, *patches.geometry.output_shape(height, width))

    def unchanged(self, patches: PatchSet, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch of other patches (those of validation), as they are."""
        return self._from_images(patches, indices, None)

    def _from_images(self, patches: PatchSet, indices: Sequence[int],
                     changes: Sequence[Change] | None) -> tuple[Tensor, Tensor]:
        coarse, fine = patches.batch(indices, changes)
        # (N, H, W, C) in memory seen as (N, C, H, W) is channels last: no copy.
        return self._to_device(torch.from_numpy(coarse)), self._to_device(torch.from_numpy(fine))

    def _to_device(self, batch: Tensor) -> Tensor:
        if self.device.type == "cuda":
            # From page-locked memory the copy runs beside the computation of the step before.
            return batch.pin_memory().to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return batch.permute(0, 3, 1, 2)


def _cut(batch: Tensor, height: int, width: int) -> Tensor:
    """The top left of (N, 3, H, W); the batch itself where that is all of it."""
    return batch[:, :, :height, :width].contiguous(memory_format=torch.channels_last)
