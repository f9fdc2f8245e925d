"""Evaluator `frc`: down to which detail the camera's noise lets the *input* be seen (Fourier ring correlation)."""

from __future__ import annotations

from typing import Any, ClassVar

from superres.api.evaluator import Case, Picture
from superres.builtin.evaluators.case_mean import CaseMeanEvaluator, Quantity
from superres.builtin.evaluators.pictures import COLOURS, draw_curves
from superres.errors import ImageError
from superres.image import Image
from superres.optics.spectrum import (
    RingCorrelation,
    single_image_correlation,
    why_not_camera_noise,
    why_nothing_in_common,
)


class FrcEvaluator(CaseMeanEvaluator):
    """Noise-limited resolution of the coarse input in µm (period), from one image by the diagonal split.

    Outputs, bicubic images and resampled truths are refused: what a network invents the same way twice correlates with
    itself, and interpolated noise is shared by neighbours.  So there is no baseline, and nothing to be better at.
    """

    name = "frc"
    summary = "noise-limited resolution of the input by Fourier ring correlation; refuses outputs"
    quantities: ClassVar[tuple[Quantity, ...]] = (Quantity("frc-input", "µm", "neither"),)

    def update(self, case: Case) -> None:
        try:
            correlation = input_correlation(case.input)
        except ImageError as reason:
            self.leave_out(f"'{case.name}' is not scored: {reason.message}")
            return
        if correlation.limit is None:
            self.leave_out(f"'{case.name}' is not scored: its noise lets detail through up to a period of 4 px, the "
                           f"finest that one image can tell ({4 * case.input.pixel_size_um:.2f} µm)")
            return
        self.record((case.input.pixel_size_um / correlation.limit, None))

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        try:
            correlation = input_correlation(case.input)
        except ImageError:
            return ()

        def draw(axes: Any) -> None:
            pixel = case.input.pixel_size_um
            axes.plot(correlation.frequency / pixel, correlation.correlation, color=COLOURS["output"],
                      label="input split in two")
            axes.axhline(correlation.threshold, color=COLOURS["bicubic"], linewidth=1, label="threshold 1/7")
            if correlation.limit is not None:
                axes.axvline(correlation.limit / pixel, color="#222222", linewidth=1, linestyle=(0, (4, 3)))
            if case.coarse is not None:
                axes.axvline(case.coarse.cutoff_cycles_per_um, color="#8a9199", linewidth=1, label="optical cut-off")
            axes.set_xlabel("cycles/µm", fontsize=9)
            axes.set_title("correlation of rings", loc="left", fontsize=9)
            axes.set_ylim(-0.15, 1.05)

        return (Picture("Fourier ring correlation of the input",
                        "Noise-limited resolution: at most the optical cut-off. Outputs are not measured: what is "
                        "invented the same way twice correlates with itself.", draw_curves(draw)),)


def input_correlation(image: Image) -> RingCorrelation:
    """Raises ImageError where one image cannot be split: an output, too small, resampled, compressed, without noise, or
    nothing else."""
    if image.made_by:
        raise ImageError(f"one image gives no ring correlation: its file says that {image.made_by} made it",
                         hint="measure the camera's own files")
    grey = image.grey()
    # Greys of colour mix three noises; one channel keeps the camera's own.
    plane = image.unit()[:, :, 1] if image.channels == 3 else grey
    step = 1.0 / image.white if image.pixels.dtype.kind == "u" else 0.0
    correlation = single_image_correlation(plane)
    reason = why_not_camera_noise(plane, step)
    if reason:
        raise ImageError(f"one image gives no ring correlation: {reason}",
                         hint="take two exposures of the same field, and give both camera files")
    reason = why_nothing_in_common(correlation)
    if reason:
        raise ImageError(f"there is nothing but noise in it: {reason}", hint="give an image with structure in it")
    return correlation
