"""A second implementation of the paper's network, in numpy float64, written from the equations of the supplement.

It shares nothing with the product's code but the names of the weights.
"""

import math

import numpy as np


def channel_counts(base, blocks, alpha):
    """Eq. S3."""
    counts = [base]
    for k in range(1, blocks + 1):
        counts.append(counts[-1] + math.floor(alpha * k / blocks + 0.5))
    return counts


def convolve(f, w, beta, stride=1):
    """Eq. S2 on a (channels, H, W) array zero-padded by one pixel: a sum over taps of shifted copies."""
    rows, columns = f.shape[1:]
    padded = np.zeros((f.shape[0], rows + 2, columns + 2))
    padded[:, 1:-1, 1:-1] = f
    g = np.zeros((w.shape[0], -(-rows // stride), -(-columns // stride))) + beta[:, None, None]
    for dy in range(3):
        for dx in range(3):
            shifted = padded[:, dy:dy + rows:stride, dx:dx + columns:stride]
            g += np.tensordot(w[:, :, dy, dx], shifted, axes=(1, 0))
    return g


def relu(x):
    return np.maximum(0.0, x)


def forward(image, weights, *, blocks, up, down, input_relu=False):
    """(H, W, 3) in units of white → (ceil(up·H/down), ceil(up·W/down), 3), float64."""
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}

    def layer(x, name, stride=1):
        return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride)

    x = layer(np.moveaxis(np.asarray(image, dtype=np.float64), 2, 0), "input")
    if input_relu:
        x = relu(x)
    for k in range(blocks):
        y = relu(layer(relu(layer(x, f"blocks.{k}.first")), f"blocks.{k}.second"))
        augmented = np.concatenate([x, np.zeros((y.shape[0] - x.shape[0], *x.shape[1:]))])
        x = augmented + y
    packed = layer(x, "expand")
    fine = np.zeros((3, up * x.shape[1], up * x.shape[2]))
    for colour in range(3):
        for i in range(up):
            for j in range(up):
                fine[colour, i::up, j::up] = packed[colour * up * up + i * up + j]
    return np.moveaxis(layer(fine, "output", stride=down), 0, 2)
