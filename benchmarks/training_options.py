"""What each option of [train] buys on real tissue: `python -m benchmarks.training_options` (about 25 minutes of one
core; stopped, the same command goes on).

The same budget for all: STEPS steps of 8 patches of 32², three seeds, rivenson2017, trained on the slides of train/ and
scored on those of test/ (condition `standard`, soft fields binned).  Every option differs in one thing from the one
that it is compared with, seed by seed.  A gain is the mean SSIM over the test specimens minus that of bicubic.
Predicted before the measurement, as differences from what each is compared with:

    the paper's rate             -0.3 and far below bicubic: its rate needs its 93,870 steps
    twice the rate               +0.00 +- 0.02: faster, and worse first steps
    warm-up                      +0.01
    cosine, one-cycle            +0.01: the end of a short training at a low rate
    average                      -0.01: the past is worse when everything still improves; after cosine -0.005
    clipped                      +0.03
    patience                     0: constant is still improving, nothing is stopped
    bfloat16                     -0.00 +- 0.005, and slower: this processor emulates it
    even sides alone             0 +- 0.003: one row in eighty is another
    no augmentation              -0.01: 200 steps see no patch twice
    from the shipped weights     +0.05
    clipped, one-cycle           +0.01; clipped, twice the rate +0.01
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import superres
from benchmarks import tissue
from superres.builtin.losses.mse_gradient import MseGradientLoss
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.events import Events
from superres.io.atomic import write_json
from superres.io.weights import Weights
from superres.training.job import TrainingJob
from superres.training.loop import train
from superres.weights import shipped_weights

STEPS = 200
BASELINE = "constant"
BASE: dict[str, Any] = {"patch_px": 32, "batch_size": 8, "steps": STEPS, "augment": "flips-turns-and-colours",
                        "learning_rate": 1e-3, "validate_every": 20, "pictures": False}


@dataclass(frozen=True)
class Option:
    """against: the option that it is compared with.  change: the one setting in which it differs from that."""

    against: str
    change: dict[str, Any]


OPTIONS: dict[str, Option] = {
    BASELINE: Option("", {}),
    "the paper's rate": Option(BASELINE, {"learning_rate": 1e-4}),
    "twice the rate": Option(BASELINE, {"learning_rate": 2e-3}),
    "warm-up": Option(BASELINE, {"warm_up": 20}),
    "cosine": Option(BASELINE, {"schedule": "cosine"}),
    "one-cycle": Option(BASELINE, {"schedule": "one-cycle"}),
    "average": Option(BASELINE, {"average": 0.98}),
    "cosine, average": Option("cosine", {"average": 0.98}),
    "clipped": Option(BASELINE, {"clip_gradient": 0.05}),
    "clipped, one-cycle": Option("clipped", {"schedule": "one-cycle"}),
    "clipped, twice the rate": Option("clipped", {"learning_rate": 2e-3}),
    "patience": Option(BASELINE, {"patience": 3}),
    "even sides alone": Option(BASELINE, {"odd_sides": 0.0}),
    "no augmentation": Option(BASELINE, {"augment": "none"}),
    "from the shipped weights": Option(BASELINE, {"start_from": "shipped"}),
    "bfloat16": Option(BASELINE, {"precision": "bfloat16"}),
}


def changes_of(name: str) -> dict[str, Any]:
    """All settings in which an option differs from BASE."""
    option = OPTIONS[name]
    return {**(changes_of(option.against) if option.against else {}), **option.change}


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
            "validation_loss": min(row.validation_loss for row in result.history), "seed": seed}


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
                        help="measure these anew; default: what the output lacks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = images()
    bicubic = tissue.scores_of(None, data["test"])
    baseline = {"ssim": tissue.mean(bicubic, "ssim"), "psnr": tissue.mean(bicubic, "psnr")}
    study: dict[str, Any] = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    if study.get("budget") != BASE or study.get("bicubic") != baseline:  # of another budget: nothing can be compared
        study = {"options": {}}
    study |= {"machine": {"cores": os.cpu_count(), "threads": 1, "torch": torch.__version__,
                          "python": platform.python_version(), "processor": platform.machine()},
              "budget": BASE, "bicubic": baseline}
    measured = commit()
    for name in arguments.only or OPTIONS:
        known = study["options"].get(name, {})
        runs = [] if arguments.only or known.get("change") != changes_of(name) else known["runs"]
        for seed in range(len(runs) + 1, arguments.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(run(changes_of(name), seed, data, Path(folder)))
            study["options"][name] = {"against": OPTIONS[name].against, "change": changes_of(name), "commit": measured,
                                      "runs": runs}
            write_json(arguments.output, study)
            print(f"{name:28} seed {seed}: gain {runs[-1]['ssim'] - baseline['ssim']:+.4f}", flush=True)


def commit() -> str:
    """Of the code that is measured; the record itself may have changed."""
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=tissue.ROOT, check=False)

    changed = git("diff", "--quiet", "HEAD", "--", "superres", "csrc", "benchmarks/*.py").returncode != 0
    return git("rev-parse", "--short", "HEAD").stdout.strip() + ("-dirty" if changed else "")


if __name__ == "__main__":
    main()
