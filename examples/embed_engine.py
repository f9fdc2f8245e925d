"""Embed the engine in a program of your own: one image in, one image out, from as many threads as you like.

    python examples/embed_engine.py runs/quickstart/weights.safetensors
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import superres


def main(weights: str) -> None:
    engine = superres.Engine.load(weights, device="auto", precision="exact")
    print(engine.describe())

    frames = [np.random.default_rng(i).integers(0, 256, (120, 160, 3), dtype=np.uint8) for i in range(4)]
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(engine, frames))
    for frame, output in zip(frames, outputs, strict=True):
        print(f"{frame.shape} {frame.dtype} -> {output.shape} {output.dtype}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python examples/embed_engine.py WEIGHTS.safetensors", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
