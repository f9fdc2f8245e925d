"""Several processes that train one model: who they are, and how they agree.  `torchrun` starts them; see
docs/training.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from superres.errors import TrainingError

PATIENCE = timedelta(hours=24)
"""How long processes wait for the first one, which alone gathers and registers the images."""

SAME_FOLDER = ("put run.output on a disk that all processes see, and start them in the same folder or give it as a "
               "whole path")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.  rank: its number, 0 … count − 1; the first one alone writes
    files."""

    rank: int = 0
    count: int = 1
    store: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of a batch.  Raises TrainingError where the processes cannot have equal parts: the mean
        of their gradients would not be the batch's."""
        if batch_size % self.count:
            raise TrainingError(f"{batch_size} patches a step cannot be shared equally by {self.count} processes",
                                hint=f"set train.batch_size to a multiple of {self.count}")
        each = batch_size // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place; all of them must come here.  Alone: the values."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def require_same_step(self, step: int, device: torch.device) -> None:
        """Raises TrainingError where the processes do not all go on from one step: the gradients of different networks
        would be averaged."""
        if self.count > 1:
            steps = torch.zeros(self.count, dtype=torch.int64, device=device)
            steps[self.rank] = step
            others = {rank: int(each) for rank, each in enumerate(self.total(steps)) if each != steps[0]}
            if others:
                rank, other = next(iter(others.items()))
                raise TrainingError(f"process 0 of {self.count} would go on from step {int(steps[0])}, process {rank} "
                                    f"from step {other}: they do not read the same checkpoint", hint=SAME_FOLDER)

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def say(self, what: str, value: str) -> None:
        """Tell the other processes something, which `hear` gives them; the first one does."""
        if self.count > 1:
            self.store.set(what, value)

    def hear(self, what: str) -> str:
        """Wait for what the first process says."""
        return bytes(self.store.get(what)).decode()


ALONE = Ranks()


def started_by_torchrun() -> bool:
    """Whether this process is one of several that train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarted() -> bool:
    """Whether torchrun has started this process again, after one of them was killed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def is_lost_process(error: RuntimeError) -> bool:
    """Whether it says that another process does not answer any more: gloo has no class of its own for that."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, as a group: gloo between CPUs, nccl between GPUs.

    The group's store has a prefix that counts restarts: after a process was killed torchrun starts all of them anew
    against the same store, whose old keys would otherwise be taken for answers of the new ones.
    """
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    shared = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, is_master=rank == 0 and not hosted,
        timeout=PATIENCE)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"superres-try{attempt}", shared)  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=count,
                            timeout=PATIENCE)
    try:
        yield Ranks(rank, count, store)
    finally:
        dist.destroy_process_group()


def local_device(name: str) -> str:
    """The device of this process: with several GPUs in a machine each process has its own; any other name stays."""
    if name in ("auto", "cuda") and started_by_torchrun() and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
    return name
