"""Slanted edges whose transfer is known in closed form."""

import numpy as np
from scipy.special import erf


def gaussian_edge(angle_deg, sigma_px, rows=200, columns=100):
    """0.1 → 0.9, point samples of an edge blurred by a Gaussian."""
    return 0.1 + 0.4 * (1 + erf(_distance(angle_deg, rows, columns) / (sigma_px * np.sqrt(2))))


def boxed_edge(angle_deg, rows=200, columns=100):
    """0.1 → 0.9, each pixel the mean of a sharp edge over its square: the ramp function twice differenced."""
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    d = _distance(angle_deg, rows, columns)

    def ramp(u):
        return np.where(u > 0, u * u / 2, 0)

    share = sum(sign_a * sign_b * ramp(d + sign_a * cosine / 2 + sign_b * sine / 2)
                for sign_a in (1, -1) for sign_b in (1, -1)) / (cosine * sine)
    return 0.1 + 0.8 * share


def _distance(angle_deg, rows, columns):
    y, x = np.mgrid[0:rows, 0:columns]
    angle = np.deg2rad(angle_deg)
    return (x - columns / 2 + 0.3) * np.cos(angle) - (y - rows / 2) * np.sin(angle)
