"""Which processor runs a network, and what it can do."""

from __future__ import annotations

import torch

from superres.errors import EngineError


def resolve_device(name: str) -> torch.device:
    """"auto" (a GPU where torch sees one, otherwise the CPU), "cpu", "cuda" or "cuda:N".

    Raises EngineError for another name, or for a GPU that is not there.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if cards else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdigit()) or name.endswith(":"):
        raise EngineError(f"device '{name}' is unknown; expected auto, cpu, cuda or cuda:N")
    index = int(number or 0)
    if index >= cards:
        seen = f"torch {torch.__version__} sees {cards} CUDA devices"
        raise EngineError(f"device '{name}' is not here: {seen}", hint="use device = \"cpu\" or \"auto\"")
    return torch.device("cuda", index)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 in hardware; without it "fast" is no faster than "exact"."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(key)) for key in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
