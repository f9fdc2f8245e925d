"""The fine objective, which a Case does not carry: the options of evaluators that need it."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from superres.api.evaluator import Case
from superres.api.plugin import PluginOptions
from superres.optics import PAPER_COARSE, PAPER_FINE, Optics
from superres.optics.consistency import ForwardModel


class FineOpticsOptions(PluginOptions):
    """The paper's fine objective, unless said otherwise; the coarse one comes with the case."""

    fine_na: float = Field(PAPER_FINE.objective_na, gt=0.05, lt=1.6, description="aperture of the fine objective")
    fine_immersion: float = Field(PAPER_FINE.refractive_index, ge=1.0, le=1.7,
                                  description="refractive index before the fine objective")


def optics_of(case: Case, options: FineOpticsOptions) -> tuple[Optics, Optics]:
    """(coarse, fine); the paper's 40×/0.95NA where the case does not know its own.  Condenser and wavelength are one
    for both."""
    coarse = replace(case.coarse or PAPER_COARSE, defocus_um=0.0)
    return coarse, replace(coarse, objective_na=options.fine_na, refractive_index=options.fine_immersion,
                           magnification=None)


def forward_model(case: Case, options: FineOpticsOptions) -> ForwardModel:
    coarse, fine = optics_of(case, options)
    return ForwardModel(coarse, fine, case.input.pixel_size_um, case.fine_pixel_size_um)
