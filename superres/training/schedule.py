"""How many steps a training takes, and the learning rate over them.  Pure functions of the step."""

from __future__ import annotations

import math

from superres.config import Schedule, TrainSection
from superres.errors import TrainingError

PAPER_EPOCHS = 630
"""Table S2, lung tissue: what a run does that names neither steps nor epochs."""

VALIDATIONS_PER_RUN = 20

WARM_UP = 0.1
"""Share of the one-cycle schedule in which the rate rises."""
FIRST_RATE, LAST_RATE = 0.04, 0.001
"""Start of the one-cycle schedule, and end of it and of cosine, as shares of the peak."""


def step_count(settings: TrainSection, patches: int) -> int:
    """Optimiser steps of the whole training; epochs are rounded up to whole batches.

    Raises TrainingError where the rate would still rise at the end, which for epochs is known here only.
    """
    if settings.steps is not None:
        return settings.steps
    epochs = settings.epochs or PAPER_EPOCHS
    steps = math.ceil(epochs * patches / settings.batch_size)
    if settings.warm_up >= steps:
        raise TrainingError(f"train.warm_up is {settings.warm_up} of {steps} steps, which {epochs} epochs of {patches} "
                            "patches take; expected fewer than all", hint="lower train.warm_up, or train longer")
    return steps


def validation_interval(settings: TrainSection, steps: int) -> int:
    """Steps between validations."""
    return settings.validate_every or max(1, math.ceil(steps / VALIDATIONS_PER_RUN))


def learning_rate(schedule: Schedule, peak: float, step: int, steps: int, warm_up: int = 0) -> float:
    """The rate of step 0 … steps − 1.

    constant: the peak.  one-cycle: a linear rise to the peak over the first tenth, then half a cosine down
    (Smith and Topin, arXiv:1708.07120).  cosine: half a cosine down from the peak (Loshchilov and Hutter,
    arXiv:1608.03983, without restarts).  warm_up: before constant and cosine, the number of steps of a linear rise.
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if schedule == "constant":
        return peak
    rise = WARM_UP * steps if schedule == "one-cycle" else float(warm_up)
    if step < rise:
        return peak * (FIRST_RATE + (1 - FIRST_RATE) * step / rise)
    fall = (step - rise) / max(1.0, steps - 1 - rise)
    return peak * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


def rate_of(settings: TrainSection, step: int, steps: int) -> float:
    """The rate of a step of a training with these settings."""
    return learning_rate(settings.schedule, settings.learning_rate, step, steps, settings.warm_up)
