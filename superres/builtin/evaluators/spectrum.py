"""Evaluator `spectrum`: radially averaged power of input, bicubic, output and truth against the optical cut-offs."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np

from superres.api.evaluator import Case, Picture
from superres.builtin.evaluators.case_mean import CaseMeanEvaluator, Quantity
from superres.builtin.evaluators.fine_optics import FineOpticsOptions, optics_of
from superres.builtin.evaluators.pictures import COLOURS, draw_curves
from superres.image import luma
from superres.optics.spectrum import LEAST_SIDE_PX, radial_spectrum

FROM_CYCLES_PER_UM = 0.5
"""Below this everything agrees, and windows leak."""


class SpectrumEvaluator(CaseMeanEvaluator):
    """Power of the output over that of the truth in dB, 0 where they are equal.

    "spectrum-passed": mean of the logarithm over 0.5 cycles/µm … the coarse cut-off; "spectrum-added": from there to
    the fine cut-off, what only the fine objective sees.  Power says nothing about place: invented detail has power too.
    """

    name = "spectrum"
    summary = "power spectra against the optical cut-offs, output over truth in dB"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("spectrum-passed", "dB", "neither"), Quantity("spectrum-added", "dB", "neither"))

    class Options(FineOpticsOptions):
        pass

    def update(self, case: Case) -> None:
        if case.truth is None:
            self.leave_out(f"'{case.name}' is not scored, it has no fine image to compare with")
            return
        if min(case.truth.shape[:2]) < LEAST_SIDE_PX:
            self.leave_out(f"'{case.name}' is not scored, it is smaller than {LEAST_SIDE_PX} px")
            return
        coarse, fine = optics_of(case, self.options)
        edges = FROM_CYCLES_PER_UM, coarse.cutoff_cycles_per_um, fine.cutoff_cycles_per_um
        truth = radial_spectrum(luma(case.truth))
        frequency = truth.frequency / case.fine_pixel_size_um
        rows = []
        for low, high in itertools.pairwise(edges):
            band = (frequency >= low) & (frequency < high)
            if not band.any():
                self.leave_out(f"'{case.name}' is not scored, its pixels are too coarse for {low:.2f} cycles/µm")
                return
            model, bicubic = (
                float(np.mean(10 * np.log10((radial_spectrum(luma(image)).power[band] + 1e-12)
                                            / (truth.power[band] + 1e-12))))
                for image in (case.prediction, case.bicubic))
            rows.append((model, bicubic))
        self.record(*rows)

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        images = {"input": (case.input.grey(), case.input.pixel_size_um)}
        for title, image in (("bicubic", case.bicubic), ("output", case.prediction), ("truth", case.truth)):
            if image is not None:
                images[title] = (luma(image), case.fine_pixel_size_um)
        if any(min(plane.shape) < LEAST_SIDE_PX for plane, _ in images.values()):
            return ()
        coarse, fine = optics_of(case, self.options)

        def draw(axes: Any) -> None:
            for title, (plane, pixel_um) in images.items():
                spectrum = radial_spectrum(plane)
                # Per area of the object, so that curves of different pixels lie upon each other.
                axes.semilogy(spectrum.frequency / pixel_um, spectrum.power * pixel_um ** 2, color=COLOURS[title],
                              label=title, linewidth=1.3)
            for optics, name in ((coarse, "coarse cut-off"), (fine, "fine cut-off")):
                axes.axvline(optics.cutoff_cycles_per_um, color="#8a9199", linewidth=1, linestyle=(0, (4, 3)))
                axes.text(optics.cutoff_cycles_per_um, 0.99, name, rotation=90, va="top", ha="right", fontsize=7.5,
                          transform=axes.get_xaxis_transform())
            axes.set_xlim(0, min(1.5 * fine.cutoff_cycles_per_um, 0.5 / case.fine_pixel_size_um))
            axes.set_xlabel("cycles/µm", fontsize=9)
            axes.set_title("power per area (µm²)", loc="left", fontsize=9)

        return (Picture("Power spectra",
                        "Rings of equal frequency, averaged; dashed: the objectives' cut-offs for weak objects. Power "
                        "beyond the coarse cut-off is inferred, not seen; it says nothing about its being in the right "
                        "place.", draw_curves(draw)),)
