"""Frames of a stream: what may be given as many frames, and a frame that stays as it is while it waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from superres.errors import ImageError
from superres.image import Array, Image

Frame = Array | Tensor | Image


def require_many(frames: object) -> None:
    """Raises ImageError for one image, whose rows would be taken for frames (those of a colour image even pass for grey
    ones, three pixels wide)."""
    if isinstance(frames, Image):
        shape: tuple[int, ...] = frames.pixels.shape
    elif isinstance(frames, np.ndarray | Tensor):
        shape = tuple(frames.shape)
        least = 5 if isinstance(frames, Tensor) else 3      # of tensors each frame is a batch already
        if len(shape) >= least and not (isinstance(frames, np.ndarray) and len(shape) == 3 and shape[2] == 3):
            return
    else:
        return
    what, hint = ("image", "give a list: [image]") if not isinstance(frames, Tensor) else \
        ("tensor", "give many batches (N, 3, H, W), such as batch.split(1)")
    raise ImageError(f"frames is a single {what} of shape {shape}; expected many", hint=hint)


def kept(frame: Any) -> Any:
    """A copy on the host, so that whoever gave the frame may use its memory for the next one, as drivers of cameras do.

    Not of a memory map, which would be read whole into memory, of a tensor on a GPU, or of another framework's object.
    """
    if isinstance(frame, np.ndarray):
        return frame if isinstance(frame, np.memmap) else frame.copy(order="K")
    if isinstance(frame, Tensor):
        return frame if frame.device.type != "cpu" else frame.detach().clone(memory_format=torch.preserve_format)
    return frame.with_pixels(kept(frame.pixels)) if isinstance(frame, Image) else frame
