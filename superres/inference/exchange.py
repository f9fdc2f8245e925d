"""Images of other frameworks, through DLPack and without a copy: as numpy arrays and torch tensors on the same memory.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from superres.errors import ImageError
from superres.image import Array

_CPU_KINDS, _CUDA = (1, 3), 2
"""DLPack's numbers of devices: the host's memory, pinned or not, and CUDA's."""


@runtime_checkable
class SupportsDLPack(Protocol):
    """What CuPy, JAX, TensorFlow and others give: an array that tells where it lies (the array API standard)."""

    def __dlpack__(self, **options: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


def array_or_tensor(image: SupportsDLPack) -> Array | Tensor:
    """A numpy array on the memory of an object of the host, a torch tensor on that of one of a GPU.

    Raises ImageError for another device, or for an element type that numpy does not have.
    """
    kind = int(image.__dlpack_device__()[0])
    if kind == _CUDA:
        tensor: Tensor = from_dlpack(image)
        return tensor
    if kind not in _CPU_KINDS:
        raise ImageError(f"image lies on a device of DLPack kind {kind}; expected the CPU (1) or CUDA (2)")
    # Not through torch, which ends the process where a stride is negative (seen with 2.13).
    try:
        return np.from_dlpack(image)
    except (BufferError, RuntimeError, TypeError) as error:
        raise ImageError(f"image is a {type(image).__name__} that numpy cannot read through DLPack: {error}",
                         hint="convert it to uint8, uint16 or float32 on the CPU") from error


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
