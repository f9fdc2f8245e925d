"""Transfer functions in closed form: what an objective and a camera pixel do to a weak sinusoid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superres.optics.objective import Optics

Reals = npt.NDArray[np.float64]


def weak_object_transfer(frequency_cycles_per_um: npt.ArrayLike, optics: Optics) -> Reals:
    """Contrast of a weak absorbing sinusoid in the in-focus image over its contrast in the object.

    frequency_cycles_per_um: any shape, cycles per µm, the sign is ignored.  Returns float64 in [0, 1] of that shape:
    the overlap of a disc of radius NA_condenser (the source) with one of radius NA_objective (the pupil) whose centres
    lie f·λ apart, over the source's area: 1 up to (NA_o − NA_c)/λ, 0 from (NA_o + NA_c)/λ.  A condenser wider than the
    objective counts as equal to it: what misses the pupil is dark field and carries no first-order contrast.
    optics.defocus_um is ignored.
    Source: Hopkins, Proc. R. Soc. Lond. A 217, 408 (1953), doi:10.1098/rspa.1953.0071.
    """
    distance = np.abs(np.asarray(frequency_cycles_per_um, dtype=np.float64)) * optics.wavelength_um
    large = optics.objective_na
    small = min(optics.condenser_na, large)
    result = np.where(distance <= large - small, 1.0, 0.0)
    partial = (distance > large - small) & (distance < large + small)
    d = distance[partial]
    angle_small = np.arccos(np.clip((d * d + small * small - large * large) / (2 * d * small), -1, 1))
    angle_large = np.arccos(np.clip((d * d + large * large - small * small) / (2 * d * large), -1, 1))
    sides = (-d + small + large) * (d + small - large) * (d - small + large) * (d + small + large)
    kite = np.sqrt(np.clip(sides, 0, None))
    overlap = small * small * angle_small + large * large * angle_large - 0.5 * kite
    result[partial] = overlap / (np.pi * small * small)
    return np.asarray(result)


def pixel_transfer(frequency_cycles_per_um: npt.ArrayLike, pixel_size_um: float) -> Reals:
    """Contrast that a square pixel leaves of a sinusoid along one of its sides: sinc(f·pixel), signed.

    frequency_cycles_per_um: any shape.  pixel_size_um: side of the light-sensitive square in the object plane.
    """
    return np.asarray(np.sinc(np.asarray(frequency_cycles_per_um, dtype=np.float64) * pixel_size_um))
