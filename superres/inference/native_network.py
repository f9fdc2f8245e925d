"""libsuperres behind torch: a custom operator, and a module for `Runner`.  Importing this registers the operator."""

import itertools
import weakref

import torch
from torch import Tensor, nn

from superres.api.model import NativeSpec
from superres.errors import EngineError
from superres.inference.exchange import layout_of
from superres.native.buffer import CPU
from superres.native.model import ARCHITECTURE, NativeModel

_MODELS: "weakref.WeakValueDictionary[int, NativeModel]" = weakref.WeakValueDictionary()
"""Operators take tensors and numbers only, so a model travels as its number.  Numbers are never used twice, and a
number whose model is gone is an error, not a stale pointer."""
_NUMBERS = itertools.count()


# Annotations are read by torch when the operator is declared, so this file does not postpone them.
@torch.library.custom_op("superres::native_forward", mutates_args=())
def native_forward(image: Tensor, model: int, up: int, down: int) -> Tensor:
    """(N, 3, H, W) uint8 or float32, any strides → (N, 3, ceil(L·H), ceil(L·W)) of the same dtype and device.

    model: the number that `registered` gave.  up, down: of that model, for the shape where nothing is computed.
    """
    known = _MODELS.get(model)
    if known is None:
        raise EngineError(f"native model {model} is gone; expected one that is still held by its NativeNetwork")
    result: Tensor = known(image)
    return result


@native_forward.register_fake
def _(image: Tensor, model: int, up: int, down: int) -> Tensor:
    count, _, height, width = image.shape
    shape = (count, 3, (height * up + down - 1) // down, (width * up + down - 1) // down)
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=layout_of(image))


def registered(model: NativeModel) -> int:
    """The number by which the operator knows a model, as long as something holds it."""
    number = next(_NUMBERS)
    _MODELS[number] = model
    return number


class NativeNetwork(nn.Module):
    """A NativeModel as a module: (N, 3, H, W) → (N, 3, ceil(L·H), ceil(L·W)), float32 or uint8.  No gradients."""

    def __init__(self, model: NativeModel) -> None:
        super().__init__()
        self.model = model
        self.number = registered(model)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = native_forward(image, self.number, self.model.up, self.model.down)
        return result


def native_network(spec: NativeSpec | None, device: torch.device, threads: int) -> NativeNetwork:
    """The compiled form of a network.

    spec: what `Model.native` gave.  threads: of the CPU.
    Raises EngineError for a network without one or for a device that the native module cannot use; WeightsError.
    """
    if spec is None or spec.architecture != ARCHITECTURE:
        what = "this model has no compiled form" if spec is None else \
            f"the architecture '{spec.architecture}' is not compiled in"
        raise EngineError(f"engine 'native' cannot run here: {what}", hint="use engine = \"torch\", or \"auto\"")
    place = CPU if device.type == "cpu" else int(device.index or 0)
    return NativeNetwork(NativeModel.create(spec.hyper, spec.tensors, place, threads))
