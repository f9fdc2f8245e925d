"""Write the stains of the training slides into a weights file that lacks them, or has those of an older superres.

    python examples/weights/stains.py examples/weights/pipeline.toml runs/weights/weights.safetensors

Training does this by itself.  Here the pipeline's virtual microscope images the specimens that the weights say they
were trained on, once each and without registration: stains depend on neither.  The network stays as it is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import superres
from superres.builtin.sources.simulate import SimulateSource
from superres.io.weights import Stain, Weights, read_weights, write_weights
from superres.training.stain import stains_of


def stains_of_training(pipeline: Path, weights: Weights) -> tuple[Stain, ...]:
    """Of the specimens in the weights' provenance.  pipeline: that of their training, with source 'simulate'."""
    source = superres.load_plan(pipeline).source
    if not isinstance(source, SimulateSource):
        raise SystemExit(f"error: the source of '{pipeline}' is '{source.name}'; expected 'simulate'\n"
                         "hint: train again; training writes the stains itself")
    once = SimulateSource(**{**source.options.model_dump(), "give": "pairs", "visits": 1, "vary": {}})
    trained_on = weights.provenance["training"]["specimens"]
    stains = stains_of(pair for pair in once.acquire().pairs if pair.specimen in trained_on)
    missing = set(trained_on) - {stain.specimen for stain in stains}
    if missing:
        raise SystemExit(f"error: '{pipeline}' has no stained pixels of {', '.join(sorted(missing))}\n"
                         "hint: give the pipeline that these weights were trained with")
    return stains


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the stains of the training slides into a weights file.")
    parser.add_argument("pipeline", type=Path, help="the pipeline file that the weights were trained with")
    parser.add_argument("weights", type=Path, help="weights.safetensors; changed in place")
    arguments = parser.parse_args()
    weights = read_weights(arguments.weights)
    stains = stains_of_training(arguments.pipeline, weights)
    write_weights(arguments.weights, replace(weights, stains=stains))
    print(f"{arguments.weights}: stains of {', '.join(stain.specimen for stain in stains)}")


if __name__ == "__main__":
    main()
