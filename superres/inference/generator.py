"""torch's global random generator, borrowed: one borrower at a time, and given back as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ONE_AT_A_TIME = threading.RLock()
"""A lock for the process, because the generator that it guards is one for the process: `nn.init` and dropout take no
generator of one's own.  Without it, an engine that loads while a pipeline trains would draw in the midst of that
training's numbers.  Re-entrant: the network of a plug-in may load another one while it is built."""


@contextmanager
def borrowed_generator(device: torch.device | None = None, seed: int | None = None) -> Iterator[None]:
    """Let the caller draw from torch's global generators of the CPU and of `device`; their states are put back after.

    seed: below 2⁶³, sets both; None leaves them as they are.  Every borrower in superres waits for the one before; code
    of an embedding program that draws in another thread meanwhile is not held back, and its draws may repeat.
    """
    on_gpu = device is not None and device.type == "cuda"
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[device] if on_gpu else []):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if on_gpu:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        yield
