"""Where arrays and tensors lie in memory, as libsuperres must know it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from superres.errors import ImageError

CPU = -1
_DL_HOST, _DL_CUDA = (1, 3), 2
"""DLPack's numbers of devices: the host's memory, pinned or not, and CUDA's."""


@dataclass(frozen=True)
class Buffer:
    """Where an (N, 3, H, W) array lies: address of its first element, strides in elements, extent, whether uint8 (else
    float32), and which device: -1 for the host, else the ordinal of a GPU."""

    address: int
    strides: tuple[int, int, int, int]
    shape: tuple[int, int, int, int]
    is_u8: bool
    device: int


def buffer_of(image: Any) -> Buffer:
    """Where a numpy array or torch tensor lies.  Raises ImageError for another shape or dtype."""
    shape = tuple(int(extent) for extent in image.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape[2:]:
        raise ImageError(f"image has shape {shape}; expected (N, 3, H, W)")
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype not in ("uint8", "float32"):
        raise ImageError(f"image has dtype {dtype}; expected uint8 or float32")
    if isinstance(image, np.ndarray):
        width = image.dtype.itemsize
        if any(stride % width for stride in image.strides):
            raise ImageError(f"image has strides of {image.strides} bytes; expected multiples of {width}",
                             hint="copy it: numpy.ascontiguousarray")
        strides, address, device = tuple(stride // width for stride in image.strides), image.ctypes.data, CPU
    else:
        if image.device.type not in ("cuda", "cpu"):
            raise ImageError(f"image lies on {image.device}; expected cpu or cuda")
        if str(image.layout) != "torch.strided":
            raise ImageError(f"image has layout {image.layout}; expected torch.strided", hint="call its to_dense()")
        if image.is_neg():
            raise ImageError("image is a view of its negative, whose memory holds the other sign",
                             hint="call its resolve_neg()")
        strides, address = tuple(image.stride()), int(image.data_ptr())
        device = int(image.device.index or 0) if image.device.type == "cuda" else CPU
    return Buffer(address, strides, shape, dtype == "uint8", device)


def is_free_of_overlap(buffer: Buffer) -> bool:
    """Whether each axis, from the smallest stride up, steps over all that the axes before it reach.  Stricter than need
    be: an exotic layout whose elements interleave without meeting is not seen to be free."""
    if 0 in buffer.shape:
        return True
    reach = 0
    for stride, extent in sorted((abs(stride), extent) for stride, extent in zip(buffer.strides, buffer.shape,
                                                                                  strict=True) if extent > 1):
        if stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True


def have_common_memory(one: Buffer, other: Buffer) -> bool:
    """Whether the ranges of memory from the first to the last element meet.  Stricter than need be: what interleaves
    without meeting is not seen to be apart."""
    if one.device != other.device or 0 in one.shape or 0 in other.shape:
        return False
    (first, end), (other_first, other_end) = (_range(each) for each in (one, other))
    return first < other_end and other_first < end


def _range(buffer: Buffer) -> tuple[int, int]:
    """Addresses of the first byte and of the one after the last."""
    width = 1 if buffer.is_u8 else 4
    steps = [stride * (extent - 1) for stride, extent in zip(buffer.strides, buffer.shape, strict=True)]
    return (buffer.address + width * sum(min(0, step) for step in steps),
            buffer.address + width * (sum(max(0, step) for step in steps) + 1))


def is_tensor(image: Any) -> bool:
    """Whether it is a torch tensor, of whatever class; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def array_or_tensor(image: Any) -> Any:
    """A numpy array or torch tensor as it is; another object with `__dlpack__` as one of them on the same memory: an
    array on the host, a tensor on a GPU.

    Raises ImageError for another object or device, or for an element type that numpy does not have.
    """
    if isinstance(image, np.ndarray):
        return image
    if is_tensor(image):
        return image.resolve_neg()      # the same tensor, unless it is a view of its negative
    if not hasattr(image, "__dlpack__"):
        raise ImageError(f"image is a {type(image).__name__}; expected a numpy array, a torch tensor or an object with "
                         "__dlpack__")
    kind = int(image.__dlpack_device__()[0])
    if kind == _DL_CUDA:
        from torch.utils.dlpack import from_dlpack

        return from_dlpack(image)
    if kind not in _DL_HOST:
        raise ImageError(f"image lies on a device of DLPack kind {kind}; expected the CPU (1) or CUDA (2)")
    # Not through torch, which ends the process where a stride is negative (seen with 2.13).
    try:
        return np.from_dlpack(image)
    except (BufferError, RuntimeError, TypeError) as error:
        raise ImageError(f"image is a {type(image).__name__} that numpy cannot read through DLPack: {error}",
                         hint="convert it to uint8, uint16 or float32 on the CPU") from error


def place_name(device: int) -> str:
    return "the CPU" if device < 0 else f"cuda:{device}"


def buffer_name(buffer: Buffer) -> str:
    return f"{buffer.shape}, {'uint8' if buffer.is_u8 else 'float32'}, on {place_name(buffer.device)}"
