"""The numbers that describe how an image was formed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Optics:
    """A bright-field objective with its condenser.

    objective_na, condenser_na: numerical apertures (> 0).  wavelength_um: mean vacuum wavelength in µm.
    defocus_um: distance of the object from the plane of focus.  refractive_index: immersion (1.0 air, 1.515 oil).
    magnification: nominal, for labels only.
    """

    objective_na: float
    condenser_na: float = 0.55
    wavelength_um: float = 0.55
    defocus_um: float = 0.0
    refractive_index: float = 1.0
    magnification: float | None = None

    @property
    def cutoff_cycles_per_um(self) -> float:
        """Highest spatial frequency of a weak object that reaches the image: (NA_objective + NA_condenser)/λ."""
        return (self.objective_na + min(self.condenser_na, self.objective_na)) / self.wavelength_um

    @property
    def label(self) -> str:
        power = f"{self.magnification:g}×/" if self.magnification else ""
        return f"{power}{self.objective_na:g}NA"


PAPER_COARSE = Optics(0.95, magnification=40.0)
PAPER_FINE = Optics(1.4, refractive_index=1.515, magnification=100.0)
"""The objectives of Rivenson et al. 2017: 40×/0.95NA, and 100×/1.4NA in oil; condenser 0.55NA."""
