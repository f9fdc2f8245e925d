"""A few training steps against a plain PyTorch loop: DataLoader, NCHW, Adam as it comes.

Predicted when the compiled convolutions came: 0.47 of the time (their three products take 0.42 to 0.5 of oneDNN's).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from superres import native
from superres.api.source import Pair
from superres.builtin.losses.mse import MseLoss
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.events import Events
from superres.image import Image
from superres.training.job import TrainingJob
from superres.training.loop import CHECKPOINT_FILE, train
from superres.training.patches import cut_patches


def test_steps_beside_a_plain_loop(versus: Callable[..., Any], measuring: bool, rng: np.random.Generator,
                                   tmp_path: Path) -> None:
    patch_px, batch_size, steps = (40, 16, 8) if measuring else (12, 2, 2)
    side = 4 * patch_px
    pair = Pair("speckle", "seed 7", Image(rng.integers(0, 256, (side, side, 3)).astype(np.uint8), 0.185),
                Image(rng.integers(0, 256, (side * 5 // 2, side * 5 // 2, 3)).astype(np.uint8), 0.074))
    model = Rivenson2017Model()
    job = TrainingJob(model=model, losses=[(MseLoss(), 1.0)], training=[pair], validation=[], seed=7, folder=tmp_path,
                      settings=TrainSection(patch_px=patch_px, batch_size=batch_size, steps=steps))
    patches = cut_patches([pair], model.geometry, patch_px, patch_px // 2)
    cut = patches.batch(range(len(patches)))
    coarse, fine = (torch.from_numpy(each).permute(0, 3, 1, 2).contiguous() for each in cut)

    def plain_loop() -> float:
        network = model.build()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
        loader = DataLoader(TensorDataset(coarse, fine), batch_size=batch_size, shuffle=True)
        total, done = 0.0, 0
        while done < steps:
            for inputs, truths in loader:
                optimiser.zero_grad()
                loss = torch.nn.functional.mse_loss(network(inputs), truths)
                loss.backward()
                optimiser.step()
                total, done = total + loss.item(), done + 1
                if done == steps:
                    break
        return total / steps

    def ours() -> float:
        (tmp_path / CHECKPOINT_FILE).unlink(missing_ok=True)  # each round from the start
        return train(job, Events()).history[-1].training_loss

    processor_s: dict[str, list[float]] = {"ours": [], "plain": []}

    def timed(name: str, loop: Callable[[], float]) -> Callable[[], float]:
        def run() -> float:
            began = time.process_time()
            loss = loop()
            processor_s[name].append(time.process_time() - began)
            return loss

        return run

    outcome = versus(timed("ours", ours), timed("plain", plain_loop),
                     reference_name="DataLoader, NCHW, torch.optim.Adam",
                     output_megapixels=steps * batch_size * (patch_px * 2.5) ** 2 / 1e6, rounds=5)
    if measuring:
        outcome.facts["patches_per_s"] = outcome.facts["megapixels_per_s"] * 1e6 / (patch_px * 2.5) ** 2
        # Of all threads: what others do on the machine meanwhile hardly enters it.
        outcome.facts["processor_time_ratio"] = (statistics.median(processor_s["ours"])
                                                 / statistics.median(processor_s["plain"]))
        outcome.facts["load_average"] = os.getloadavg()[0]
        if native.winograd() is not None:
            assert outcome.facts["ratio"] < 1 / 1.5, "the project's bar: 1.5 times the patches per second"
    # Uniform noise as truth and a network near 0 at its start: both losses are near the truth's mean square, 1/3.
    assert abs(outcome.candidate - 1 / 3) < 0.1 and abs(outcome.reference - 1 / 3) < 0.1
