"""Patches that live on a GPU as they are stored: crops, flips, turns and stains are one gather there, and no pixel
crosses the bus during training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from superres.image import Image
from superres.training.patches import Change, PatchSet

SHARE_OF_FREE_MEMORY = 0.5
"""Of a GPU, at most, for the images; the rest is for activations."""


class ResidentPatches:
    """The images of a patch set in one block of memory on a device, and batches cut from it.

    Gives what `PatchSet.batch` gives, as (N, 3, p, p) and (N, 3, L·p, L·p) float32, channels last.
    """

    def __init__(self, patches: PatchSet, device: torch.device) -> None:
        self.patches = patches
        scale = patches.geometry.scale
        places = np.array([(each.pair, each.top, each.left) for each in patches.places], dtype=np.int64)
        up, down = np.array([1, *[scale.numerator] * 2]), np.array([1, *[scale.denominator] * 2])
        fine = np.asarray(places * up // down, dtype=np.int64)
        self._coarse = _Block([pair.coarse for pair in patches.pairs], places, patches.patch_px, device)
        self._fine = _Block([pair.fine for pair in patches.pairs], fine, patches.fine_patch_px, device)

    def batch(self, indices: Sequence[int], changes: Sequence[Change] | None = None) -> tuple[Tensor, Tensor]:
        """See `PatchSet.batch`."""
        device = self._coarse.device
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=device)
        if changes is None:
            return self._coarse.cut(chosen, None), self._fine.cut(chosen, None)
        turned = torch.tensor([(each.quarters, each.mirrored) for each in changes], device=device)
        colours = torch.tensor([each.channels for each in changes], device=device)
        strengths = torch.tensor([each.strengths for each in changes], dtype=torch.float32, device=device)
        return (self._coarse.cut(chosen, (turned, colours, strengths)),
                self._fine.cut(chosen, (turned, colours, strengths)))


def fits(patches: PatchSet, device: torch.device) -> bool:
    """Whether the images may live on this GPU."""
    return device.type == "cuda" and stored_bytes(patches) < SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]


def stored_bytes(patches: PatchSet) -> int:
    """Of all images as `ResidentPatches` keeps them."""
    return sum(_bytes([getattr(pair, kind) for pair in patches.pairs]) for kind in ("coarse", "fine"))


def _bytes(images: Sequence[Image]) -> int:
    return sum(3 * image.height * image.width for image in images) * _stored_dtype(images).itemsize


def _stored_dtype(images: Sequence[Image]) -> np.dtype[np.generic]:
    """One dtype for all: as stored where they agree on 8 or 16 bits, otherwise float32."""
    found = {image.pixels.dtype for image in images}
    integers = {np.dtype(np.uint8), np.dtype(np.uint16)}
    return found.pop() if len(found) == 1 and found <= integers else np.dtype(np.float32)


class _Block:
    """Images one behind the other, (pixels, 3), and where the patches lie in them."""

    def __init__(self, images: Sequence[Image], places: npt.NDArray[np.int64], side: int, device: torch.device) -> None:
        dtype = _stored_dtype(images)
        flat = np.concatenate([_three(image).reshape(-1, 3).astype(dtype, copy=False) for image in images])
        begins = np.cumsum([0, *(image.height * image.width for image in images)])
        widths = np.array([image.width for image in images], dtype=np.int64)
        pair, top, left = places.T
        self.device, self.side = device, side
        # Of torch's operations few know uint16: the same bits as int16, and 65535 & them as int32 when they are used.
        self._unsigned = dtype == np.uint16
        self._pixels = torch.from_numpy(flat.view(np.int16) if self._unsigned else flat).to(device)
        self._corner = torch.from_numpy(begins[pair] + top * widths[pair] + left).to(device)
        self._width = torch.from_numpy(widths[pair]).to(device)
        self._white = torch.tensor([image.white for image in images], dtype=torch.float32)[
            torch.from_numpy(np.ascontiguousarray(pair))].to(device)

    def cut(self, chosen: Tensor, changes: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        count, side = len(chosen), self.side
        y, x = torch.meshgrid(torch.arange(side, device=self.device), torch.arange(side, device=self.device),
                              indexing="ij")
        y, x = y.expand(count, -1, -1), x.expand(count, -1, -1)
        if changes is not None:
            y, x = _before_turning(y, x, changes[0], side)
        index = self._corner[chosen, None, None] + y * self._width[chosen, None, None] + x
        values = self._pixels.index_select(0, index.reshape(-1)).view(count, side, side, 3)
        unit = (values.to(torch.int32) & 0xFFFF if self._unsigned else values).to(torch.float32)
        if changes is not None:
            unit = unit.gather(3, changes[1][:, None, None, :].expand(-1, side, side, -1))
        unit = unit / self._white[chosen, None, None, None]
        if changes is not None:
            strengths = changes[2][:, None, None, :]
            # Not where every strength is 1: 1·x + 0 is x, and a training without stains pays nothing for them.
            unit = torch.where(strengths == 1, unit, unit * strengths + (1 - strengths))
        return unit.permute(0, 3, 1, 2)


def _before_turning(y: Tensor, x: Tensor, turned: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where the pixel that lies at (y, x) after the quarter turns and the mirroring lay before."""
    last = side - 1
    quarters, mirrored = turned[:, 0, None, None], turned[:, 1, None, None].bool()
    x = torch.where(mirrored, last - x, x)
    for turn in (1, 2, 3):  # numpy.rot90 turns counter-clockwise: what is at (y, x) came from (x, last − y)
        again = quarters >= turn
        y, x = torch.where(again, x, y), torch.where(again, last - y, x)
    return y, x


def _three(image: Image) -> npt.NDArray[np.generic]:
    pixels = image.pixels
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels
