"""Write what the guard compares images with into a weights file that lacks it, or has that of an older superres: the
stains of the training slides, and the worst noise and blocks of its inputs.

    python examples/weights/stains.py examples/weights/pipeline.toml runs/weights/weights.safetensors

Training does this by itself.  Here the pipeline's virtual microscope images the specimens that the weights say they
were trained on, as often as there, but without registration: neither depends on it.  The network stays as it is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import superres
from superres.builtin.sources.simulate import SimulateSource
from superres.io.weights import Weights, read_weights, write_weights
from superres.training.inputs import worst_of
from superres.training.stain import stains_of


def of_training(pipeline: Path, weights: Weights) -> Weights:
    """With both, of the specimens in the weights' provenance.  pipeline: that of their training, with source
    'simulate'."""
    source = superres.load_plan(pipeline).source
    if not isinstance(source, SimulateSource):
        raise SystemExit(f"error: the source of '{pipeline}' is '{source.name}'; expected 'simulate'\n"
                         "hint: train again; training writes the stains itself")
    trained_on = weights.provenance["training"]["specimens"]
    options = {**source.options.model_dump(), "give": "pairs"}
    once = SimulateSource(**{**options, "visits": 1, "vary": {}})  # a stain is that of the slide, not of a visit
    stains = stains_of(pair for pair in once.acquire().pairs if pair.specimen in trained_on)
    missing = set(trained_on) - {stain.specimen for stain in stains}
    if missing:
        raise SystemExit(f"error: '{pipeline}' has no stained pixels of {', '.join(sorted(missing))}\n"
                         "hint: give the pipeline that these weights were trained with")
    seen = (pair for pair in SimulateSource(**options).acquire().pairs if pair.specimen in trained_on)
    return replace(weights, stains=stains, worst_inputs=worst_of(seen, weights.coarse, weights.coarse_pixel_size_um))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what the guard compares images with into weights.")
    parser.add_argument("pipeline", type=Path, help="the pipeline file that the weights were trained with")
    parser.add_argument("weights", type=Path, help="weights.safetensors; changed in place")
    arguments = parser.parse_args()
    weights = of_training(arguments.pipeline, read_weights(arguments.weights))
    write_weights(arguments.weights, weights)
    named = ", ".join(stain.specimen for stain in weights.stains)
    print(f"{arguments.weights}: stains of {named}; {weights.worst_inputs}")


if __name__ == "__main__":
    main()
