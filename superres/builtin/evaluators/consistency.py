"""Evaluator `consistency`: does the output, seen through the coarse objective again, look like the input?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from superres.api.evaluator import Case, Picture
from superres.builtin.evaluators.case_mean import CaseMeanEvaluator, Quantity
from superres.builtin.evaluators.fine_optics import FineOpticsOptions, forward_model
from superres.builtin.evaluators.pictures import LabelledMap, draw_maps
from superres.image import FloatArray
from superres.optics.consistency import consistency_map, limit_of, noise_level, visible_spots
from superres.optics.spectrum import noise_sd


class ConsistencyEvaluator(CaseMeanEvaluator):
    """Mean over images of mean and 99th percentile of |G ∗ (A(output) − input)| in % of white; needs no truth.

    It can refute a structure, never confirm one: what the coarse objective does not transmit is not compared.
    """

    name = "consistency"
    summary = "output taken back to the coarse objective and compared with the input, with maps"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("consistency-mean", "%", "lower"), Quantity("consistency-p99", "%", "lower"))

    class Options(FineOpticsOptions):
        pass

    def update(self, case: Case) -> None:
        model, bicubic = (self._map(case, image) for image in (case.prediction, case.bicubic))
        self.record((float(model.mean(dtype=np.float64)), float(bicubic.mean(dtype=np.float64))),
                    (float(np.percentile(model, 99)), float(np.percentile(bicubic, 99))))

    def illustrate(self, case: Case) -> tuple[Picture, ...]:
        """Maps of the model's output and of bicubic up-sampling, with what they can show."""
        maps = [LabelledMap(f"{label}, mean {plane.mean():.2f} %", plane) for label, plane in (
            ("output", self._map(case, case.prediction)), ("bicubic", self._map(case, case.bicubic)))]
        channels = case.input.channels
        noise = 100 * noise_level(noise_sd(case.input.unit()), channels)
        top = max(5 * noise, 1.0)
        pixels, _ = draw_maps(maps, top, "%")
        model = forward_model(case, self.options)
        spots = "; ".join(
            f"{spot.side_um:.2f} µm: " + (f"{spot.contrast:.0%}" if spot.contrast is not None else "not even black")
            for spot in visible_spots(model, 2 * noise / 100))
        return (Picture(
            "Consistency with the optics",
            f"|A(output) − input| in % of white, blurred by 0.8 px; camera noise alone stays below {noise:.2f} % in 99 "
            f"% of pixels. {limit_of(model)} Smallest contrast of an invented dark spot that shows, by its side: "
            f"{spots}.", pixels),)

    def _map(self, case: Case, fine: FloatArray) -> FloatArray:
        coarse = case.input.rgb()
        return np.asarray(100 * consistency_map(forward_model(case, self.options), fine, coarse), dtype=np.float32)
