"""The compiled kernels on a GPU beside every way of PyTorch, in one process, at the paper's sizes.

Times are of the device (events), over inputs that take turns so that none stays in the cache, on random uint8 frames
that lie on the card; outputs are uint8 for the kernels and float for PyTorch, which spares it the way back.  Skipped
without a GPU.  Not yet run on one.

Predicted for an H200 at 2048²: layer by layer the kernels take 5.9 ms, 0.6 of the time of the fastest PyTorch way;
block by block 5.8 ms, and with the folded tail 5.4 ms, 0.5 of it.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.networks import trained_like_network
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.native.model import NativeModel, Variant

PAPERS_SIDES_PX = (160, 818, 2048)
ROUNDS = 30
VARIANTS: tuple[Variant, ...] = ("layers", "blocks", "folded")
Run = Callable[[Tensor], Tensor]


def unit(frames: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    return (frames.to(dtype) / 255).contiguous(memory_format=memory_format)


@contextmanager
def convolving(*, tf32: bool) -> Iterator[None]:
    """Whether cuDNN may round the inputs of float32 convolutions; afterwards as it was, for whoever runs next."""
    former = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = former


def eager_float32(network: nn.Module) -> Run:
    network = network.cuda()

    def run(frames: Tensor) -> Tensor:
        with convolving(tf32=False):
            return network(unit(frames, torch.float32, torch.contiguous_format))

    return run


def eager_tf32(network: nn.Module) -> Run:
    network = network.cuda().to(memory_format=torch.channels_last)

    def run(frames: Tensor) -> Tensor:
        with convolving(tf32=True):
            return network(unit(frames, torch.float32, torch.channels_last))

    return run


def half_channels_last(network: nn.Module) -> Run:
    network = network.cuda().to(dtype=torch.float16, memory_format=torch.channels_last)
    return lambda frames: network(unit(frames, torch.float16, torch.channels_last))


def half_compiled(network: nn.Module) -> Run:
    network = network.cuda().to(dtype=torch.float16, memory_format=torch.channels_last)
    compiled = torch.compile(lambda frames: network(unit(frames, torch.float16, torch.channels_last)),
                             mode="max-autotune", dynamic=False)
    return lambda frames: compiled(frames)


def half_padded(network: nn.Module) -> Run:
    """cuDNN with every layer's channels padded to a multiple of 8, which its tensor-core kernels want."""
    padded = padded_to_eight(network).cuda().to(dtype=torch.float16, memory_format=torch.channels_last)

    def run(frames: Tensor) -> Tensor:
        planes = nn.functional.pad(unit(frames, torch.float16, torch.channels_last), (0, 0, 0, 0, 0, 5))
        return padded(planes)

    return run


class PaddedNetwork(nn.Module):
    """The network with zero channels up to multiples of 8; gives what the network gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.input = _padded(network.input)
        self.blocks = nn.ModuleList(nn.ModuleList([_padded(block.first), _padded(block.second)])
                                    for block in network.blocks)
        self.expand, self.shuffle, self.output = _padded(network.expand), network.shuffle, network.output
        self.fine_channels = int(network.expand.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        for first, second in self.blocks:
            y = nn.functional.relu(second(nn.functional.relu(first(x))))
            missing = y.shape[1] - x.shape[1]
            x = y + nn.functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else y + x
        result: Tensor = self.output(self.shuffle(self.expand(x)[:, :self.fine_channels]))
        return result


def padded_to_eight(network: nn.Module) -> nn.Module:
    return PaddedNetwork(network).eval().requires_grad_(False)


def _padded(convolution: nn.Module) -> nn.Conv2d:
    outputs, inputs = (-(-count // 8) * 8 for count in (convolution.out_channels, convolution.in_channels))
    result = nn.Conv2d(inputs, outputs, 3, padding=1)
    with torch.no_grad():
        result.weight.zero_()
        result.weight[:convolution.out_channels, :convolution.in_channels] = convolution.weight
        assert result.bias is not None
        result.bias.zero_()
        result.bias[:convolution.out_channels] = convolution.bias
    return result


RIVALS: dict[str, Callable[[nn.Module], Run]] = {
    "float16 channels last": half_channels_last, "float16, channels padded to 8": half_padded, "eager tf32": eager_tf32,
    "eager float32": eager_float32, "torch.compile float16": half_compiled,
}
"""The strongest first: a run that is cut off has measured those."""


def device_ms(calls: Sequence[Run], inputs: Sequence[Tensor], rounds: int) -> list[list[float]]:
    """Milliseconds of each call in each round, one call after the other in every round."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 5):
        for call, kept in zip(calls, times, strict=True):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call(inputs[round_ % len(inputs)])
            end.record()
            end.synchronize()
            if round_ >= 5:     # the first ones choose algorithms and fill caches
                kept.append(start.elapsed_time(end))
    return times


def test_padding_changes_nothing() -> None:
    """The rival with padded channels is the same network: checked everywhere, on the CPU."""
    network = trained_like_network()
    planes = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    padded = padded_to_eight(network)(nn.functional.pad(planes, (0, 0, 0, 0, 0, 5)))
    torch.testing.assert_close(padded, network(planes), atol=1e-5, rtol=0)


class Asked(nn.Module):
    """A network that notes whether it may use tf32, and stays on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[bool] = []

    def cuda(self, device: object = None) -> Asked:
        return self

    def forward(self, planes: Tensor) -> Tensor:
        self.allowed.append(torch.backends.cudnn.allow_tf32)
        return planes


@pytest.mark.parametrize("former", [False, True])
def test_rivals_leave_tf32_as_it_was(monkeypatch: pytest.MonkeyPatch, former: bool) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", former)
    network, frames = Asked(), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    for rival in (eager_float32(network), eager_tf32(network), eager_float32(network)):
        rival(frames)
        assert torch.backends.cudnn.allow_tf32 is former
    assert network.allowed == [False, True, False]


@pytest.mark.parametrize("side", PAPERS_SIDES_PX)
@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.usefixtures("gpu")
def test_kernels_beside_pytorch(benchmark: Any, measuring: bool, side: int, name: str) -> None:
    side = side if measuring else 40
    network = trained_like_network()
    spec = Rivenson2017Model().native(network)
    kernels, rival = NativeModel.create(spec.hyper, spec.tensors, device=0), RIVALS[name](network)
    # Every variant in the same rounds, so that the first card decides which one is the default.
    variants = {variant: NativeModel.create(spec.hyper, spec.tensors, device=0, variant=variant)
                for variant in VARIANTS}
    generator = torch.Generator("cuda").manual_seed(7)
    frames = [torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, device="cuda", generator=generator)
              for _ in range(4)]
    with torch.inference_mode():
        difference = (kernels(frames[0]).float() - rival(frames[0]).float().clamp(0, 1) * 255).abs().max()
        own, other, *each = device_ms([kernels, rival, *variants.values()], frames, ROUNDS if measuring else 2)
    benchmark.extra_info["variants_ms"] = dict(zip(variants, map(statistics.median, each), strict=True))
    # One grey level of rounding, and float16 or tf32 sums of the rival's.
    assert float(difference) <= 4
    benchmark.pedantic(lambda: kernels(frames[0]), rounds=1)
    benchmark.extra_info.update({
        "reference": f"PyTorch {name}", "ratio": statistics.median(a / b for a, b in zip(own, other, strict=True)),
        "megapixels_per_s": (side * 5 // 2) ** 2 / 1e3 / statistics.median(own), "peak_mib": None,
        "quality": {"kernels_ms": statistics.median(own), "reference_ms": statistics.median(other),
                    "max_grey_levels_from_reference": float(difference)},
        "card": torch.cuda.get_device_name(), "side_px": side,
        "parity": os.environ.get("SUPERRES_PARITY", "not run")})
