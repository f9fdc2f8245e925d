"""Optics: transfer functions, the partially coherent forward model, and the camera.  Pure functions on numpy arrays."""

from superres.optics.objective import Optics

__all__ = ["Optics"]
