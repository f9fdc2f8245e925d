"""`superres reproduce`: the paper's tables and figures beside our own runs.  A thin driver over the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from superres.api.source import Acquisition
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.diagnosis import processor
from superres.engine import Engine
from superres.errors import SourceError
from superres.events import Events
from superres.image import Image
from superres.measuring import paper, virtual_target
from superres.measuring.cross_tissue import cross_tissue, cross_tissue_page
from superres.measuring.drift import drift_page, measure_passes
from superres.measuring.mtf import measure_target_at, measure_target_image
from superres.measuring.mtf_pages import target_page, target_table
from superres.measuring.run_times import run_times_page
from superres.measuring.scoring import (
    cases_of,
    caution,
    doubts,
    evaluated_page,
    not_new,
    seen_caution,
    seen_warnings,
)
from superres.measuring.training_pages import losses_page, training_page
from superres.optics import PAPER_COARSE, PAPER_FINE
from superres.optics.usaf.target import Element
from superres.report.pages import Page, Section, Table
from superres.stages.seen import LEGEND, marked
from superres.training.history import read_history

Item = Literal["S1", "S2", "S3", "S4", "figure-S4", "figure-S6", "figure-S7", "figure-S9"]

PAIRED: frozenset[Item] = frozenset({"S1", "figure-S6", "figure-S7", "figure-S9"})
"""What is made of pairs of images; the others are about weights, runs, times and a target of their own."""

DEFAULT_SUBJECT = ("builtin:tissue",)
"""A section in haematoxylin and eosin, which is drawn: the photographed scene that superres has is of a stain that its
weights were not trained on."""

OTHER_DATA = ("Ours and the paper's numbers are not comparable as they stand: the paper photographed lung and breast "
              "sections with two real objectives; ours are what the lines below say.")


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured.  engines: by name, the first is the one for everything but Fig. S9.  acquisition: pairs, None
    for an item that is not of PAIRED.
    run: folder of a finished run, for what only a run knows (history.csv), or None.  sides_px: of Table S3's inputs."""

    engines: Mapping[str, Engine]
    acquisition: Acquisition | None = None
    run: Path | None = None
    sides_px: tuple[int, ...] = (160, 818)
    repeats: int = 3

    @property
    def engine(self) -> Engine:
        return next(iter(self.engines.values()))

    @property
    def name(self) -> str:
        return next(iter(self.engines))

    @property
    def pairs(self) -> Acquisition:
        assert self.acquisition is not None, "an item of PAIRED has them"
        return self.acquisition


def require(item: Item, networks: int, run: Path | None) -> None:
    """Raises SourceError where the item needs something else than is given; nothing has to be loaded to know it."""
    if item == "figure-S4" and (run is None or not (run / "history.csv").exists()):
        raise SourceError("Fig. S4 is the course of a training, which only a run knows",
                          hint="give the folder of a finished run: --run runs/quickstart")
    if item == "figure-S9" and networks < 2:
        raise SourceError("Fig. S9 compares networks of several tissues; one weights file is given",
                          hint="give --weights once for each network")


def reproduce(item: Item, subject: Subject, events: Events) -> Page:
    """Our counterpart of one table or figure, with the paper's numbers in it.

    Raises SourceError where it needs something that the subject lacks (see `require`).
    """
    require(item, len(subject.engines), subject.run)
    makers = {"S1": _s1, "S2": _s2, "S3": _s3, "S4": _s4, "figure-S4": _figure_s4, "figure-S6": _figure_s6,
              "figure-S7": _figure_s7, "figure-S9": _figure_s9}
    page = makers[item](subject, events)
    label = item.replace("figure-", "Fig. ") if item.startswith("figure-") else f"Table {item}"
    return replace(page, title=f"{label}: {page.title}")


def _s1(subject: Subject, events: Events) -> Page:
    made_of = [SsimEvaluator(), PsnrEvaluator()]
    page, found = evaluated_page("structural similarity", subject.engine, subject.pairs, made_of, events)
    rows = [["paper", row.tissue, f"{row.images} of {row.side_px}²", f"{row.bicubic:.3f}", f"{row.network:.3f}",
             f"{row.network - row.bicubic:+.3f}"] for row in paper.TABLE_S1]
    seen = not_new(subject.engine, subject.pairs)
    for specimen, scores in found.by_specimen.items():
        score = next(score for score in scores if score.name == "ssim")
        beside = score.baseline or 0.0
        sizes = {"×".join(map(str, each.coarse.shape_px)) for each in subject.pairs.pairs if each.specimen == specimen}
        of = f" of {sizes.pop()}" if len(sizes) == 1 else ""
        rows.append([subject.name, marked(specimen, specimen in seen), f"{score.n}{of}", f"{beside:.3f}",
                     f"{score.value:.3f}", f"{score.value - beside:+.3f}"])
    table = Table(["whose", "tissue", "images", "bicubic", "network", "gain"], rows, words=3,
                  legend=f"{LEGEND}." if seen else "")
    return _page(subject, page, Section("SSIM, paper and ours", table=table))


def _s2(subject: Subject, events: Events) -> Page:
    history = subject.run / "history.csv" if subject.run else None
    rows = read_history(history) if history and history.exists() else ()
    return _page(subject, training_page(subject.name, subject.engine.weights, rows), paired=False)


def _s3(subject: Subject, events: Events) -> Page:
    return _page(subject, run_times_page(subject.engine, subject.sides_px, subject.repeats, events), paired=False)


def _s4(subject: Subject, events: Events) -> Page:
    coarse = subject.engine.weights.coarse or PAPER_COARSE
    fine = subject.engine.weights.fine or PAPER_FINE
    images = virtual_target.images(subject.engine, coarse, fine, events)
    found = {name: measure_target_image(name, *images[name]) for name in images if name != "network output"}
    found["bicubic"] = replace(found["bicubic"], input_cutoff_per_um=coarse.cutoff_cycles_per_um)
    # A network may leave nothing of the target that could be found: it is measured where bicubic has it.
    found["network output"] = measure_target_at("network output", images["network output"][0], found["bicubic"])
    results, truth = [found[name] for name in images], found[fine.label]
    page = target_page(results, [coarse, fine], truth=truth)
    ours = target_table(results, truth)
    known = {Element.at(48 + number).label: row[1:] for number, row in enumerate(paper.TABLE_S4)}  # from group 8 on
    rows = [[*row, *(f"{value:.3f}" for value in known[row[0]])] if row[0] in known else [*row, "–", "–"]
            for row in ours.rows]
    kept = [each for each in page.sections if each.title != "By element"]
    page = replace(page, title="contrast of a resolution target", sections=kept)
    table = Table([*ours.head, "paper, 100×/1.4NA", "paper, output"], rows, legend=ours.legend, wraps=True)
    return _page(subject, page, Section("Contrast, paper and ours", [
        "The paper fed the 100× image of the target to the network, with an air gap before the target that left an "
        "effective aperture of 1.0; we feed the 40× image and have no gap. The network never saw bars in training."],
        table=table), paired=False)


def _figure_s4(subject: Subject, events: Events) -> Page:
    assert subject.run is not None, "require() sees to it"
    return _page(subject, losses_page(read_history(subject.run / "history.csv")), paired=False)


def _figure_s6(subject: Subject, events: Events) -> Page:
    case = next(cases_of(subject.engine, subject.pairs.pairs, subject.pairs.coarse, events))
    fed, images = case.input.with_pixels(case.input.unit(), white_level=1.0), [case.input]
    for _ in range(3):
        events.raise_if_cancelled()
        fed = subject.engine(fed)
        images.append(fed)
    weights = subject.engine.weights
    passes = measure_passes(images, subject.engine.geometry.scale, weights.coarse, case.truth)
    truth = None if case.truth is None else Image(case.truth, case.fine_pixel_size_um, 1.0)
    page = drift_page(case.name, passes, weights.coarse, weights.fine, truth)
    shown = replace(subject.pairs, pairs=subject.pairs.pairs[:1])
    doubted, seen = doubts(subject.engine, shown), not_new(subject.engine, shown)
    what, *others = page.sections
    what = replace(what, warnings=[*seen_warnings(seen), *doubted, *what.warnings])
    headline = page.headline + seen_caution(len(seen), 1) + caution(doubted)
    return _page(subject, replace(page, headline=headline, sections=[what, *others]),
                 Section("Beside the paper", [paper.FIGURE_S6]))


def _figure_s7(subject: Subject, events: Events) -> Page:
    made_of = [DifferenceMapEvaluator()]
    page, _ = evaluated_page("difference maps, 0–100 %", subject.engine, subject.pairs, made_of, events, "maps")
    return _page(subject, page, Section("Beside the paper", [paper.FIGURE_S7]))


def _figure_s9(subject: Subject, events: Events) -> Page:
    found = cross_tissue(subject.engines, subject.pairs, events)
    return _page(subject, cross_tissue_page(found, subject.pairs))


def _page(subject: Subject, page: Page, first: Section | None = None, paired: bool = True) -> Page:
    """The page with our numbers beside the paper's in front, and what differs behind.  paired: made of the pairs."""
    trained = subject.engine.weights.provenance.get("simulated")
    images = [OTHER_DATA, subject.pairs.simulated or "Images of your own."] if paired else []
    differs = [*images, f"Network: {subject.engine.describe()}.", f"Processor: {processor()}.",
               *([f"Its training: {trained}"] if trained else [])]
    sections: Sequence[Section] = ([first] if first else []) + list(page.sections)
    return Page(page.title, page.headline, [*sections, Section("What differs in data and hardware", differs)],
                subtitle="superres reproduce")
