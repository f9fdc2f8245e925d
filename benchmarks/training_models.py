"""Models beside each other: `python -m benchmarks.training_models` (about half an hour of one core).

The same slides, the same number of steps of 16 patches of 40², the same schedule and seed; scored on the slides of
test/ in condition `standard`, soft fields binned.  `edsr` is plugins/superres-edsr.  Predicted before the first
measurement: edsr gains .01 SSIM over rivenson2017 at this budget, since it begins as bicubic up-sampling, and takes 1.7
times as long.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import superres
from benchmarks import tissue
from superres.builtin.losses.mse_gradient import MseGradientLoss
from superres.catalog import Catalog
from superres.config import TrainSection
from superres.events import Events
from superres.io.weights import Weights
from superres.training.job import TrainingJob
from superres.training.loop import train

SETTINGS: dict[str, Any] = {"patch_px": 40, "batch_size": 16, "learning_rate": 1e-3, "schedule": "one-cycle",
                            "augment": "flips-turns-and-colours", "validate_every": 100, "pictures": False}
MODELS = ("rivenson2017", "edsr")


def images() -> dict[str, Any]:
    found = tissue.pairs("train", max_scene_px=1024)
    return {"training": [pair for pair in found if pair.specimen not in tissue.VALIDATION],
            "validation": [pair for pair in found if pair.specimen in tissue.VALIDATION],
            "test": tissue.pairs("test")}


def trained(name: str, steps: int, data: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    model = catalog.get("model", name)()
    job_settings = TrainSection(**SETTINGS, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(model, [(MseGradientLoss(), 1.0)], job_settings, data["training"], data["validation"], 7,
                          Path(folder))
        began = time.process_time()
        result = train(job, Events())
        seconds = time.process_time() - began
    weights = Weights(name, model.options.model_dump(mode="json"), asdict(model.geometry), 0.185, 0.074, result.tensors)
    engine = superres.Engine.from_weights(weights, device="cpu", catalog=catalog)
    scores = tissue.scores_of(engine, data["test"])
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    engine(image)
    began = time.process_time()
    for _ in range(3):
        engine(image)
    return {"parameters": result.parameters, "ssim": tissue.mean(scores, "ssim"), "psnr": tissue.mean(scores, "psnr"),
            "training_cpu_s": seconds, "cpu_s_per_megapixel": (time.process_time() - began) / 3 / 0.065536,
            "specimens": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description="Models beside each other, same data and budget.")
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parent / "studies/models.json")
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args()
    data, catalog = images(), Catalog.discover()
    bicubic = tissue.scores_of(None, data["test"])
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
                    "python": platform.python_version(), "processor": platform.machine()},
        "commit": subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True,
                                 cwd=tissue.ROOT, check=False).stdout.strip(),
        "budget": {**SETTINGS, "steps": arguments.steps},
        "models": {"bicubic": {"parameters": 0, "ssim": tissue.mean(bicubic, "ssim"),
                               "psnr": tissue.mean(bicubic, "psnr"), "specimens": bicubic}}}
    for name in MODELS:
        result["models"][name] = trained(name, arguments.steps, data, catalog)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name:14} SSIM {result['models'][name]['ssim']:.4f}", flush=True)


if __name__ == "__main__":
    main()
