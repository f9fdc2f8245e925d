"""The random numbers of a training that its network draws: functions of seed and step, so a resumed run draws them
again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from superres.inference.generator import borrowed_generator

# Second words of the seeds, so that the streams are independent; the patches have more (superres.training.patches).
WEIGHTS, STEP, VALIDATION, LOSSES = 3, 4, 6, 7


@dataclass(frozen=True)
class Streams:
    """seed: of the job.  rank: of this process, which draws its own numbers in a step and the others' elsewhere."""

    seed: int
    device: torch.device
    rank: int = 0

    def of(self, stream: int, number: int = 0) -> AbstractContextManager[None]:
        """torch's global generator at the beginning of a stream, given back as it was afterwards.

        number: of the step, or of the batch of a validation.
        """
        words = [self.seed, stream, number, *([self.rank] if stream == STEP and self.rank else [])]
        state = np.random.SeedSequence(words).generate_state(1, np.uint64)
        return borrowed_generator(self.device, int(state[0] >> np.uint64(1)))
