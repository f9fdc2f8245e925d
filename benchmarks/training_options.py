"""What each option of [train] buys on real tissue: `python benchmarks/training_options.py` (about 20 minutes of one
core).

The same budget for all: STEPS steps of 8 patches of 32², three seeds, rivenson2017, trained on the slides of train/ and
scored on those of test/ (condition `standard`, soft fields binned).  A gain is the mean SSIM over the test specimens
minus that of bicubic up-sampling.  Predicted before the first measurement:

    paper         constant 1e-4: far from done after 300 steps, below bicubic
    constant      1e-3: above bicubic by .03
    warm-up       the same with 30 steps of warm-up: + .00 to .01, and less spread between seeds
    one-cycle     2e-3: + .02 over constant; cosine with warm-up the same within the spread
    average       of constant's weights (0.98): + .01; of cosine's: nothing, its rate ends near 0
    clipping      of one-cycle: nothing
    bfloat16      (the CPU emulates it): nothing lost, slower
    shipped       300 steps from the shipped weights at 2e-4: the shipped weights' own gain
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import superres
from benchmarks import tissue
from superres.builtin.losses.mse_gradient import MseGradientLoss
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.events import Events
from superres.io.weights import Weights
from superres.training.job import TrainingJob
from superres.training.loop import train
from superres.weights import shipped_weights

STEPS = 300
BASE: dict[str, Any] = {"patch_px": 32, "batch_size": 8, "steps": STEPS, "augment": "flips-turns-and-colours",
                        "validate_every": 30, "pictures": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {"learning_rate": 1e-4},
    "constant": {"learning_rate": 1e-3},
    "constant, warm-up": {"learning_rate": 1e-3, "warm_up": 30},
    "constant, average": {"learning_rate": 1e-3, "average": 0.98},
    "one-cycle": {"learning_rate": 2e-3, "schedule": "one-cycle"},
    "cosine, warm-up": {"learning_rate": 2e-3, "schedule": "cosine", "warm_up": 30},
    "cosine, warm-up, average": {"learning_rate": 2e-3, "schedule": "cosine", "warm_up": 30, "average": 0.98},
    "one-cycle, clipped": {"learning_rate": 2e-3, "schedule": "one-cycle", "clip_gradient": 0.05},
    "one-cycle, patience": {"learning_rate": 2e-3, "schedule": "one-cycle", "patience": 3},
    "from the shipped weights": {"learning_rate": 2e-4, "schedule": "one-cycle", "start_from": "shipped"},
}


def run(options: dict[str, Any], seed: int, data: dict[str, Any], folder: Path) -> dict[str, float]:
    """One training; its gains on the test, and what it took."""
    model = Rivenson2017Model()
    settings = TrainSection(**{**BASE, **options})
    job = TrainingJob(model, [(MseGradientLoss(), 1.0)], settings, data["training"], data["validation"], seed, folder,
                      start_from=shipped_weights() if settings.start_from else None)
    began = time.process_time()
    result = train(job, Events())
    seconds = time.process_time() - began
    geometry = {"up": 5, "down": 2, "channels": 3, "halo_px": 13, "origin_multiple": 2}
    weights = Weights("rivenson2017", model.options.model_dump(mode="json"), geometry, 0.185, 0.074, result.tensors)
    scores = tissue.scores_of(superres.Engine.from_weights(weights, device="cpu"), data["test"])
    return {"ssim": tissue.mean(scores, "ssim"), "psnr": tissue.mean(scores, "psnr"), "steps": result.steps,
            "best_step": result.best_step, "cpu_seconds": seconds,
            "validation_loss": min(row.validation_loss for row in result.history)}


def images() -> dict[str, Any]:
    found = tissue.pairs("train", max_scene_px=512)
    return {"training": [pair for pair in found if pair.specimen not in tissue.VALIDATION],
            "validation": [pair for pair in found if pair.specimen in tissue.VALIDATION],
            "test": tissue.pairs("test")}


def main() -> None:
    parser = argparse.ArgumentParser(description="What each option of [train] buys on real tissue.")
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parent / "studies/training-options.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(OPTIONS),
                        help="these, in this order; default: those that the output lacks")
    arguments = parser.parse_args()
    data = tissue.kept("options", images)
    bicubic = tissue.scores_of(None, data["test"])
    earlier = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"options": {}}
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
                    "python": platform.python_version(), "processor": platform.machine()},
        "commit": subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True,
                                 cwd=tissue.ROOT, check=False).stdout.strip(),
        "budget": BASE, "seeds": arguments.seeds,
        "bicubic": {"ssim": tissue.mean(bicubic, "ssim"), "psnr": tissue.mean(bicubic, "psnr")},
        "options": earlier["options"]}
    for name in arguments.only or [each for each in OPTIONS if each not in earlier["options"]]:
        options = OPTIONS[name]
        runs = []
        for seed in range(1, arguments.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(run(options, seed, data, Path(folder)))
        gains = [each["ssim"] - result["bicubic"]["ssim"] for each in runs]
        result["options"][name] = {"settings": options, "gain": statistics.mean(gains),
                                   "spread": statistics.stdev(gains) if len(gains) > 1 else 0.0, "runs": runs}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name:28} gain {statistics.mean(gains):+.4f} ± {result['options'][name]['spread']:.4f}", flush=True)


if __name__ == "__main__":
    main()
