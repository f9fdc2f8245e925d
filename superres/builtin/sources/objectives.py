"""Options that say with which objectives a scan was taken."""

from __future__ import annotations

from pydantic import Field

from superres.api.plugin import PluginOptions
from superres.optics import PAPER_COARSE, PAPER_FINE, Optics
from superres.scan_folder import ScanDescription


class OpticsOptions(PluginOptions):
    """The numbers behind the labels and the transfer functions of a report; the paper's where nothing is known."""

    coarse_na: float | None = Field(None, gt=0, lt=2, description="NA (default: scan.json, or 0.95)")
    fine_na: float | None = Field(None, gt=0, lt=2, description="NA (default: scan.json, or 1.4)")
    coarse_magnification: float | None = Field(None, gt=0, description="for labels (default: scan.json, or 40)")
    fine_magnification: float | None = Field(None, gt=0, description="for labels (default: scan.json, or 100)")
    condenser_na: float | None = Field(None, gt=0, lt=2, description="NA (default: scan.json, or 0.55)")
    wavelength_um: float | None = Field(None, gt=0.2, lt=2, description="mean (default: scan.json, or 0.55)")

    def objectives(self, description: ScanDescription | None) -> tuple[Optics, Optics]:
        """Coarse and fine: what is set here, over what scan.json says, over the paper's."""
        said = (None, None) if description is None else (description.coarse, description.fine)
        return (self._objective(said[0] or PAPER_COARSE, self.coarse_na, self.coarse_magnification),
                self._objective(said[1] or PAPER_FINE, self.fine_na, self.fine_magnification))

    def _objective(self, said: Optics, na: float | None, magnification: float | None) -> Optics:
        def settled(own: float | None, other: float) -> float:
            return other if own is None else own

        index = said.refractive_index if na is None or na == said.objective_na else (1.0 if na < 1 else 1.515)
        return Optics(settled(na, said.objective_na), settled(self.condenser_na, said.condenser_na),
                      settled(self.wavelength_um, said.wavelength_um), said.defocus_um, index,
                      said.magnification if magnification is None else magnification)
