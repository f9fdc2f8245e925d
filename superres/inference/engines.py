"""Which of the ways to run a network is taken here, and why.  Nothing is taken in place of what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from superres import native
from superres.api.model import Model, NativeSpec
from superres.config import Precision
from superres.errors import EngineError, WeightsError
from superres.inference.device import has_fast_bfloat16
from superres.inference.folded_tail import FoldedNetwork, is_worth_folding
from superres.inference.native_network import native_network
from superres.inference.openvino_network import openvino_network, openvino_version
from superres.native.model import ARCHITECTURE
from superres.stages.blame import blamed

EngineName = Literal["auto", "torch", "native", "openvino"]
EXACT_ON_GPU = "float16 storage, float32 sums"
FLOAT16_LIMIT = 65504

TORCH_TILE_PX = 384
"""Of 128 … 512 the one with the least CPU time for the paper's network: small tiles compute halo, large ones leave the
cache."""
OPENVINO_TILE_PX = 704
"""OpenVINO takes 5.5 to 5.6 µs of CPU time per pixel at 282, 410 and 709 px alike, so the halo decides: 2048 px are
three tiles, which compute 5 % of halo (with 384 px 13 %), in 1 GB."""
TORCH_GPU_TILE_PX = 1024
"""Not measured.  By arithmetic a tile of 384 px gives a GPU some 0.1 ms of work for thirteen launches; this one seven
times as much, in about a gigabyte."""
NATIVE_TILE_PX = 704
"""Of 384 … 2048 as fast as any: 16 s of CPU time for 2048², 17 to 18 with 384 px, which computes more halo, and 20 with
2048, which leaves every cache.  400 MB."""
NATIVE_GPU_TILE_PX = 2048
"""Not measured.  The paper's 2048² frame is one tile, without halo and without putting tiles together: 1.01 GB of
workspace.  Where that is not to be had the runner halves it."""


def tile_px_for(engine: EngineName, device: torch.device) -> int:
    """The side of a tile's core that suits an engine, not "auto", on a device."""
    if device.type == "cuda":
        return NATIVE_GPU_TILE_PX if engine == "native" else TORCH_GPU_TILE_PX
    return {"openvino": OPENVINO_TILE_PX, "native": NATIVE_TILE_PX}.get(engine, TORCH_TILE_PX)


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A network ready to run.

    engine: what runs it, never "auto".  network: on its device, of `dtype`.  arithmetic: in words.  why: in words.
    tile_px: side of a tile's core that suits it.  reads_as_stored: whether the network also takes uint8, 255 for white,
    which it gives clamped and rounded, and reads its input where it lies, whatever the strides.
    """

    engine: EngineName
    network: nn.Module
    dtype: torch.dtype
    arithmetic: str
    why: str
    tile_px: int
    reads_as_stored: bool = False


def check_names(engine: str, precision: str) -> None:
    """Raises EngineError for an engine or precision that there is not."""
    if engine not in get_args(EngineName):
        raise EngineError(f"engine '{engine}' is unknown; expected one of {', '.join(get_args(EngineName))}")
    if precision not in get_args(Precision):
        raise EngineError(f"precision '{precision}' is unknown; expected exact or fast")


def arrange(model: Model, network: nn.Module, device: torch.device, engine: EngineName,
            precision: Precision) -> Arrangement:
    """Prepare a network, float32 on the CPU as `network_of` gives it, to run on a device.

    engine: "auto" takes what `choose` says.
    Raises EngineError for one that cannot run here, WeightsError for weights that it cannot take, PluginError where
    `Model.native` fails.
    """
    with blamed(model, "while it gave its native form"):
        spec = model.native(network)
    chosen, why = (engine, "asked for") if engine != "auto" else \
        choose(None if spec is None else spec.architecture, device, precision, is_within_float16(spec))
    tile_px = tile_px_for(chosen, device)
    if chosen == "native":
        if precision == "fast" and engine == "native":
            raise EngineError("engine 'native' has no precision 'fast'",
                              hint="use precision = \"exact\", or engine = \"auto\"")
        compiled = native_network(spec, device, torch.get_num_threads())
        if device.type == "cuda":
            require_float16_suffices(compiled, network, torch.zeros((), device=device))
        arithmetic = compiled.model.describe()["arithmetic"]
        if precision == "fast":     # by "auto", where it is what "exact" is
            arithmetic = arithmetic_of(device, precision)[1]
        return Arrangement(chosen, compiled, torch.float32, arithmetic, why, tile_px, reads_as_stored=True)
    dtype, arithmetic = arithmetic_of(device, precision)
    if chosen == "openvino":
        if device.type != "cpu":
            raise EngineError(f"engine 'openvino' runs on the CPU; the device is {device}",
                              hint="use device = \"cpu\", or engine = \"auto\"")
        inside: Precision = "fast" if dtype == torch.bfloat16 else "exact"
        return Arrangement(chosen, openvino_network(spec, inside, torch.get_num_threads()), torch.float32, arithmetic,
                           why, tile_px)
    if device.type == "cpu" and spec is not None and spec.architecture == ARCHITECTURE and is_worth_folding(spec):
        # 8 % less time than the module as it is built (benchmarks/bench_inference.py), the same within rounding.
        network = FoldedNetwork(spec).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(device=device, dtype=dtype)
    return Arrangement(chosen, network, dtype, arithmetic, why, tile_px)


def is_within_float16(spec: NativeSpec | None) -> bool:
    return spec is None or all(np.abs(tensor).max(initial=0) <= FLOAT16_LIMIT for tensor in spec.tensors.values())


@torch.no_grad()
def require_float16_suffices(network: nn.Module, reference: nn.Module, like: torch.Tensor) -> None:
    """Run black, white and noise through the compiled network on a GPU, and compare with the same one in float32.

    reference: float32, on the CPU.  like: a tensor of the dtype and device that the network takes.
    Activations beyond 65504 become infinite, and the kernels' ReLU may hide what follows.  This proves nothing about
    other frames, but weights that fail on one fail on most.  Raises WeightsError.
    """
    noise = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    noise[0], noise[1] = 0.0, 1.0
    expected, result = reference(noise), network(noise.to(like)).float().cpu()
    off = float((result - expected).square().mean().sqrt() / expected.square().mean().sqrt().clamp_min(1e-6))
    # A dozen roundings to float16 make 5e-4 of it, in networks that were trained and in random ones.
    if not off <= 0.02:
        raise WeightsError(f"in float16 these weights are {off:.2g} off on a test frame, relative to the output; "
                           f"expected at most 0.02: activations leave its range ({FLOAT16_LIMIT})",
                           hint="use device = \"cpu\", which computes in float32")


def choose(architecture: str | None, device: torch.device, precision: Precision, is_within_float16: bool = True,
           ) -> tuple[EngineName, str]:
    """The fastest installed engine for a precision on a device that can run a network, and why.

    architecture: of its native form, None where it has none; only torch runs another one than ARCHITECTURE.
    is_within_float16: whether its weights are; libsuperres takes no others, on any device.
    On a CPU without bfloat16 `fast` is what `exact` is, and so is the choice.
    """
    known = architecture == ARCHITECTURE
    if device.type == "cpu":
        # benchmarks/history/2026-11-26-df27920.json: 0.71 of OpenVINO's time at 2048², 0.63 of torch's.
        if not _is_measured(device, precision):
            other = "no engine was measured on a CPU with AVX-512 or bfloat16, as this one is"
        elif known and is_within_float16 and native.winograd() is not None:
            return "native", "auto takes libsuperres: the fastest on the CPU that was measured"
        else:
            other = "libsuperres, which was the fastest on the CPU that was measured, cannot run here"
        if known and openvino_version():
            return "openvino", f"auto takes OpenVINO {openvino_version()}: {other}"
        if architecture is None:
            other = "this model has no form that another engine could be given"
        elif not known:
            other = f"no other engine can be given the architecture '{architecture}'"
        return "torch", f"auto takes torch {torch.__version__}: {other}"
    if known and native.device_count():
        return "torch", (f"auto takes torch {torch.__version__}: native can run here, but is not yet measured on a "
                         "GPU; ask for it by name")
    return "torch", f"auto takes torch {torch.__version__}: native cannot run on {device} here"


def _is_measured(device: torch.device, precision: Precision) -> bool:
    """Whether CPUs like this one were: with AVX2 alone.  OpenVINO and torch have code for AVX-512 and bfloat16,
    libsuperres has none."""
    return not torch.cpu.get_capabilities().get("avx512_f") and arithmetic_of(device, precision)[0] == torch.float32


def arithmetic_of(device: torch.device, precision: Precision) -> tuple[torch.dtype, str]:
    """What a precision means on a device, for torch and OpenVINO, and in words.

    `fast` is never slower than `exact`: a CPU without bfloat16 would emulate it, at many times the time of float32
    (benchmarks/bench_cpu_engines.py), so there it is float32.
    """
    if device.type == "cuda":
        return torch.float16, EXACT_ON_GPU
    if precision == "exact":
        return torch.float32, "float32"
    if has_fast_bfloat16(device):
        return torch.bfloat16, "bfloat16"
    return torch.float32, "float32, which is the fastest here: this processor has no bfloat16"
