"""Arrays of numpy and of other frameworks as torch tensors on the same memory."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from superres.image import Array


@runtime_checkable
class SupportsDLPack(Protocol):
    """What CuPy, JAX, TensorFlow and others give: an array that tells where it lies (the array API standard)."""

    def __dlpack__(self, **options: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


def tensor_on(array: Array) -> Tensor:
    """A torch tensor on an array's memory, read-only or not; it is for reading.

    Copied where torch cannot look: steps backwards, or between elements, and another byte order.
    """
    width = array.dtype.itemsize
    if not array.dtype.isnative or any(stride < 0 or stride % width for stride in array.strides):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    # Not torch.from_numpy, which warns of an array that is read-only.
    tensor: Tensor = from_dlpack(array)
    return tensor


def layout_of(tensor: Tensor) -> torch.memory_format:
    """Channels last for a tensor (N, C, H, W) that lies so, otherwise contiguous."""
    last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
