"""3×3 convolutions of a network in training, computed on a CPU by the compiled module's Winograd transform.

oneDNN, which torch calls, runs these convolutions within a fifth of the processor's peak; only fewer multiplications
make them faster.  Validation, and everything after training, uses torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from superres import native

FEWEST_CHANNELS = 16
"""Of input and output: with fewer the transforms cost more than the multiplications that they save."""


def take_fast_convolutions(network: nn.Module) -> int:
    """Let the convolutions of a network that can use the compiled form do so while they train; returns how many do.

    Changes neither parameters nor their names.  0 where the compiled module or the processor does not have it.
    """
    core = native.winograd()
    suitable = [each for each in network.modules() if core is not None and _suits(each)]
    for each in suitable:
        each.forward = _Forward(each, core)
    return len(suitable)


class _Forward:
    """Takes the place of a convolution's own forward."""

    def __init__(self, convolution: nn.Module, core: Any) -> None:
        self._convolution, self._core = convolution, core

    def __call__(self, x: Tensor) -> Tensor:
        module = self._convolution
        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor)
        if not module.training or x.dtype != torch.float32 or x.device.type != "cpu" or x.ndim != 4:
            return functional.conv2d(x, weight, bias, padding=1)  # type: ignore[arg-type]
        result: Tensor = _Convolution.apply(x, weight, bias, self._core)  # type: ignore[no-untyped-call]
        return result


class _Convolution(torch.autograd.Function):
    """See csrc/include/superres/winograd.h."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, core: Any) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.core, ctx.sizes = core, (len(x), *x.shape[2:], x.shape[1], len(weight))
        ctx.save_for_backward(x, weight)
        y = _channels_last(x, len(weight))
        core.winograd_forward(ctx.sizes, x.data_ptr(), weight.data_ptr(), weight.stride(),
                              0 if bias is None else bias.data_ptr(), y.data_ptr(), torch.get_num_threads())
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        threads = torch.get_num_threads()
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _channels_last(x, x.shape[1])
            ctx.core.winograd_input_gradient(ctx.sizes, gradient.data_ptr(), weight.data_ptr(), weight.stride(),
                                             of_x.data_ptr(), threads)
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            ctx.core.winograd_weight_gradient(ctx.sizes, x.data_ptr(), gradient.data_ptr(), of_weight.data_ptr(),
                                              of_weight.stride(), threads)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3))
        return of_x, of_weight, of_bias, None


def _channels_last(like: Tensor, channels: int) -> Tensor:
    # No view of another tensor: activations after it work in place.
    return torch.empty((len(like), channels, *like.shape[2:]), memory_format=torch.channels_last)


def _suits(module: nn.Module) -> bool:
    # Exactly Conv2d: a subclass may compute something else.
    return (type(module) is nn.Conv2d and module.kernel_size == (3, 3) and module.stride == (1, 1)
            and module.padding == (1, 1) and module.dilation == (1, 1) and module.groups == 1
            and module.padding_mode == "zeros" and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
            and module.weight.dtype == torch.float32)
