"""Weights and images of the size that a test needs, from seeds."""

from dataclasses import asdict

import numpy as np
import torch
from scipy import ndimage

from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.io.weights import Stain, Weights
from superres.optics import Optics


def make_weights(seed=0, **options):
    """A network that roughly keeps the image (so that outputs fill the grey levels) with random details on top."""
    model = Rivenson2017Model(**options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensors = {name: tensor.numpy().copy() for name, tensor in model.build().state_dict().items()}
    rng = np.random.default_rng(seed)
    squared = model.options.up ** 2
    for colour in range(3):
        # The colour goes straight through: input layer → shortcuts → sub-pixel layer → middle of the output layer.
        tensors["input.weight"][colour] = 0.0
        tensors["input.weight"][colour, colour, 1, 1] = 1.0
        tensors["expand.weight"][colour * squared:(colour + 1) * squared, colour, 1, 1] += 1.0
        tensors["output.weight"][colour, colour, 1, 1] += 1.0
    for name in tensors:
        if name.endswith("bias"):
            tensors[name] = rng.normal(0, 0.02, tensors[name].shape).astype(np.float32)
    return Weights(
        plugin="rivenson2017", options=model.options.model_dump(), geometry=asdict(model.geometry),
        coarse_pixel_size_um=0.185, fine_pixel_size_um=0.074, tensors=tensors,
        coarse=Optics(0.95, magnification=40), fine=Optics(1.4, refractive_index=1.515, magnification=100),
        stains=(Stain("blobs", (0.3, 0.35, -0.5), ((0.02, -0.01, 0.0), (-0.01, 0.02, 0.0), (0.0, 0.0, 0.4))),),
        provenance={"seed": seed, "simulated": "virtual microscope", "versions": {"torch": "2"}})


SMALL = {"base_channels": 6, "blocks": 1, "alpha": 2}


def stained(height, width, dtype=np.uint8, white=255.0, seed=0):
    """Blobs of stain with grain; (H, W, 3), from black to beyond white."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (2, 2, 0), mode="reflect")
    unit = np.clip(0.6 + 1.5 * blobs + 0.05 * rng.standard_normal((height, width, 3)), 0, 1)
    stored = unit * white
    return (np.rint(stored) if np.issubdtype(dtype, np.integer) else stored).astype(dtype)
