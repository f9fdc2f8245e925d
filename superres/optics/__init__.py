"""Optics: transfer functions, the partially coherent forward model, and the camera.  Pure functions on numpy arrays."""

from superres.optics.objective import PAPER_COARSE, PAPER_FINE, Optics

__all__ = ["PAPER_COARSE", "PAPER_FINE", "Optics"]
