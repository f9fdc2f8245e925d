"""Every network on every specimen, and two of them fed into each other: `superres cross-tissue` (Fig. S9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from superres.api.evaluator import Picture
from superres.api.source import Acquisition, Pair
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.engine import Engine
from superres.events import Events, Progress
from superres.image import FloatArray
from superres.measuring.drift import brought_back
from superres.measuring.scoring import (
    as_stored,
    caution,
    doubts,
    not_new,
    score_weights,
    seen_caution,
    seen_warnings,
    super_resolved,
)
from superres.report.fields import to_uint8
from superres.report.pages import Page, Section, Table
from superres.resample import bicubic
from superres.stages.seen import LEGEND, marked

CHAIN_PX = 128
"""Side of the piece on which two networks are chained: its second output has (6.25 × 128)² pixels."""

SCORES, CHAINS = "cross-tissue", "chains"
"""What progress is told of."""


@dataclass(frozen=True, eq=False)
class CrossTissue:
    """ssim: (weights, specimen) → network, bicubic: specimen → value.  chains: (first, second weights) → mean SSIM of
    the second network's output, brought back to the truth's grid, over specimens.  alone: first weights → the same of
    its own output, on the same pixels.  pictures: specimen → what each network makes of it; chained: of the first
    specimen, what every two make.  doubted: pixel sizes that do not fit a network, of stains the table itself tells;
    and pairs that nobody told apart by specimen.  seen: weights → those specimens that their training had seen, and
    what it called them."""

    weights: tuple[str, ...]
    specimens: tuple[str, ...]
    ssim: Mapping[tuple[str, str], float]
    bicubic: Mapping[str, float]
    chains: Mapping[tuple[str, str], float]
    alone: Mapping[str, float]
    pictures: Mapping[str, tuple[Picture, ...]]
    chained: tuple[Picture, ...]
    doubted: tuple[str, ...] = ()
    seen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def cross_tissue(engines: Mapping[str, Engine], acquisition: Acquisition, events: Events) -> CrossTissue:
    """Every weights file on every specimen, and every two of them fed into each other (the second on the first's
    output)."""
    ssim: dict[tuple[str, str], float] = {}
    beside: dict[str, float] = {}
    for number, (name, engine) in enumerate(engines.items()):
        told = _OfNetwork(events, name, number, len(engines))
        evaluation = score_weights(engine, acquisition, [SsimEvaluator()], told)
        for specimen, scores in evaluation.by_specimen.items():
            score = next(score for score in scores if score.name == "ssim")
            ssim[name, specimen] = score.value
            beside[specimen] = math.nan if score.baseline is None else score.baseline
    specimens = tuple(beside)
    first_pairs = [next(pair for pair in acquisition.pairs if pair.specimen == specimen) for specimen in specimens]
    middles = [_middle(pair) for pair in first_pairs]
    outputs = {name: [as_stored(super_resolved(engine, middle.coarse.rgb()), middle.coarse) for middle in middles]
               for name, engine in engines.items()}
    chains: dict[tuple[str, str], float] = {}
    chained: list[Picture] = []
    for row, first in enumerate(engines):
        for column, (second, engine) in enumerate(engines.items()):
            events.raise_if_cancelled()
            events.progress(Progress(CHAINS, row * len(engines) + column, len(engines) ** 2, f"{first}, then {second}"))
            twice = [super_resolved(engine, output) for output in outputs[first]]
            chained.append(Picture(f"{first}, then {second}", "", to_uint8(twice[0])))
            chains[first, second] = _mean_ssim(
                [brought_back(each, 1 / Fraction(engine.geometry.scale), output.shape)
                 for each, output in zip(twice, outputs[first], strict=True)], middles)
    events.progress(Progress(CHAINS, 1, 1, "every two networks one after another"))
    pictures = {}
    for number, middle in enumerate(middles):
        shown = [(name, outputs[name][number]) for name in engines]
        shown = [("bicubic", bicubic(middle.coarse.rgb(), next(iter(engines.values())).geometry.scale)), *shown,
                 ("truth", middle.fine.rgb())]
        pictures[specimens[number]] = tuple(Picture(label, "", to_uint8(image)) for label, image in shown)
    doubted = [f"{text} Network: {name}." for name, engine in engines.items()
               for text in doubts(engine, acquisition, ("pixel size",))]
    if len(specimens) == 1 < len(acquisition.pairs):
        doubted.append(f"All {len(acquisition.pairs)} pairs count as one specimen, '{specimens[0]}', so that there is "
                       "one column: put the pairs of every slide into a folder of its own, in coarse/ and in fine/.")
    alone = {name: _mean_ssim(images, middles) for name, images in outputs.items()}
    seen = {name: not_new(engine, acquisition) for name, engine in engines.items()}
    return CrossTissue(tuple(engines), specimens, ssim, beside, chains, alone, pictures, tuple(chained), tuple(doubted),
                       seen)


class _OfNetwork(Events):
    """Tells of the scoring of one of several networks, by its name and as its part of all."""

    def __init__(self, events: Events, name: str, number: int, networks: int) -> None:
        super().__init__()
        self._events, self._name, self._number, self._networks = events, name, number, networks

    @property
    def cancelled(self) -> bool:
        return self._events.cancelled

    def progress(self, progress: Progress) -> None:
        done, total = self._number * progress.total + progress.done, self._networks * progress.total
        self._events.progress(Progress(SCORES, done, total, f"{self._name}: {progress.message}"))

    def note(self, stage: str, text: str) -> None:
        self._events.note(SCORES, f"{self._name}: {text}")


def _mean_ssim(images: Sequence[FloatArray], truths: Sequence[Pair]) -> float:
    return float(np.mean([SsimEvaluator().measure(np.clip(image, 0, 1), np.clip(truth.fine.rgb(), 0, 1))[0]
                          for image, truth in zip(images, truths, strict=True)]))


def cross_tissue_page(found: CrossTissue, acquisition: Acquisition) -> Page:
    rows = [["bicubic", *(f"{found.bicubic[specimen]:.3f}" for specimen in found.specimens)]]
    rows += [[name, *(marked(f"{found.ssim[name, specimen]:.3f} "
                             f"({found.ssim[name, specimen] - found.bicubic[specimen]:+.3f})",
                             specimen in found.seen.get(name, ())) for specimen in found.specimens)]
             for name in found.weights]
    seen = sum(len(each) for each in found.seen.values())
    cells = len(found.weights) * len(found.specimens)
    chain_rows = [[first, f"{found.alone[first]:.3f}",
                   *(f"{found.chains[first, second]:.3f}" for second in found.weights)] for first in found.weights]
    worst = min((found.ssim[name, specimen] - found.bicubic[specimen], name, specimen) for name in found.weights
                for specimen in found.specimens)
    sizes = [text for text in found.doubted if text.startswith("Pixel size")]
    return Page(
        "Networks on other tissues", f"Least gain over bicubic: {worst[0]:+.3f} SSIM, {worst[1]} on {worst[2]}."
        + seen_caution(seen, cells, "score") + caution(sizes[:1]),
        subtitle="Fig. S9 of the paper", sections=[
            Section("SSIM, weights × specimens", ["In brackets: above bicubic. A network that was trained on another "
                                                  "tissue or stain may still gain; less than on its own is the rule."],
                    table=Table(["weights", *found.specimens], rows, legend=f"{LEGEND}." if seen else ""),
                    warnings=[*(text for name, each in found.seen.items() for text in seen_warnings(each, name)),
                              *found.doubted, *([acquisition.simulated] if acquisition.simulated else [])]),
            Section("One network after another", [
                f"SSIM against the fine image after both (rows first, columns second), the {CHAIN_PX} px in the middle "
                "of a field; the second output is brought back by the network's scale. On the diagonal: self-feeding. "
                "Above “alone”, of the first network on the same pixels, the second one gained."],
                    table=Table(["first \\ second", "alone", *found.weights], chain_rows)),
            *(Section(specimen, pictures=pictures, side_by_side=True) for specimen, pictures in found.pictures.items()),
            Section(f"{found.specimens[0]}, one network after another", pictures=found.chained, side_by_side=True)])


def cross_tissue_numbers(found: CrossTissue) -> Table:
    """Every score of the matrix, for a CSV."""
    return Table(["weights", "specimen", "seen_in_training", "ssim", "bicubic"], [
        [name, specimen, "yes" if specimen in found.seen.get(name, ()) else "no", repr(found.ssim[name, specimen]),
         repr(found.bicubic[specimen])] for name in found.weights for specimen in found.specimens])


def _middle(pair: Pair) -> Pair:
    """The middle of a pair on pixels that both grids share."""
    scale = Fraction(pair.coarse.pixel_size_um / pair.fine.pixel_size_um).limit_denominator(8)
    step = scale.denominator
    side = [min(CHAIN_PX, length) // step * step for length in pair.coarse.shape_px]
    top, left = ((length - part) // 2 // step * step for length, part in zip(pair.coarse.shape_px, side, strict=True))
    coarse = pair.coarse.crop(top, left, side[0], side[1])
    fine = pair.fine.crop(int(top * scale), int(left * scale), int(side[0] * scale), int(side[1] * scale))
    return Pair(pair.name, pair.specimen, coarse, fine)
