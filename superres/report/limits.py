"""What a reader may believe, in sentences made from the facts of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from superres.api.evaluator import Score
from superres.optics import Optics
from superres.report.data import ReportData

FEW_SPECIMENS = 3
"""Below this a mean over specimens has no spread worth the name."""


@dataclass(frozen=True)
class Statement:
    """heading: a few words.  text: what follows from the facts.  warning: the reader should not miss it."""

    heading: str
    text: str
    warning: bool = False


def is_worse(score: Score) -> bool:
    """Whether the model does worse than bicubic by this score."""
    if score.baseline is None or score.better == "neither":
        return False
    return score.value < score.baseline if score.better == "higher" else score.value > score.baseline


def limits(data: ReportData) -> tuple[Statement, ...]:
    """All statements about a run, the most general first."""
    return (*_sample(data), *_separation(data), *_optics(data), *_registration(data), *_comparison(data))


def _sample(data: ReportData) -> Iterator[Statement]:
    specimens = list(dict.fromkeys(image.specimen for image in data.images if image.scores))
    fields = sum(bool(image.scores) for image in data.images)
    if not fields:
        yield Statement(
            "Nothing was scored",
            "No test field has a fine image to compare with: this report shows outputs and says nothing about their "
            "quality.", warning=True)
        return
    few = len(specimens) < FEW_SPECIMENS
    caution = " So few specimens say little about the next one." if few else ""
    yield Statement(
        "How much was tested",
        f"The scores come from {count(fields, 'field')} of {count(len(specimens), 'specimen')} "
        f"({', '.join(specimens)}), each specimen weighing the same.{caution} A score averages over a field: one "
        "invented or lost object hardly moves it, so look at the worst fields.", warning=few)


def _separation(data: ReportData) -> Iterator[Statement]:
    test, training = data.specimens_of("test"), data.specimens_of("training")
    if not test or not data.trained:
        return
    seen = {*data.seen, *(use.specimen for use in (*training, *data.specimens_of("validation")))}
    both = [use.specimen for use in test if use.specimen in seen]
    if both:
        yield Statement(
            "Training has seen the test",
            f"{', '.join(both)} served for training or for choosing the weights, these or those that training started "
            "from: these scores flatter the network.",
            warning=True)
    else:
        yield Statement("Unseen specimens", "No test specimen served for training or for choosing the weights.")
    yield Statement(
        "Tissue and stain",
        "Which tissue and stain a specimen has is not recorded, so this report cannot tell whether those of the test "
        "were in training. A network infers what it has been shown; on another tissue or stain its detail is a guess. "
        "These scores speak of the test specimens' own.")


def _optics(data: ReportData) -> Iterator[Statement]:
    if data.coarse is None:
        yield Statement(
            "Finer than the objective",
            "The optics are not known. The coarse image holds nothing finer than a period of λ/(NA of the objective + "
            "NA of the condenser); whatever the output shows below that is inferred from the training images, not "
            "seen.")
        return
    finest_um = finest_period_um(data.coarse)
    strong_um = data.coarse.wavelength_um / (2 * data.coarse.objective_na)
    beside = ""
    if data.fine is not None:
        beside = f"; through {describe(data.fine)} it is {finest_period_um(data.fine):.3f} µm"
    yield Statement(
        "Finer than the objective",
        f"Through {describe(data.coarse)} the finest period of a weak object that reaches the camera is "
        f"{finest_um:.3f} µm, λ/(NA of the objective + NA of the condenser){beside}. Structure below {finest_um:.3f} "
        "µm in the output cannot come from the coarse image (strong stain reaches a little farther, to "
        f"{strong_um:.3f} µm at most): the network infers it from what training showed in such surroundings. It may be "
        "plausible and wrong; nothing here can confirm it where there is no fine image.")


def _registration(data: ReportData) -> Iterator[Statement]:
    if data.registration is None:
        return
    pairs = data.registration.pairs
    kept = [pair for pair in pairs if pair.kept]
    residuals = [pair.residual_um for pair in kept if pair.residual_um is not None]
    true = [pair.true_error_px for pair in kept if pair.true_error_px is not None]
    if not residuals:
        return
    typical = median(residuals)
    known = ""
    if true:
        known = f" and a median true error of {median(true):.3f} coarse px, known because the scan was simulated"
    lost = len(pairs) - len(kept)
    some = f" The scores leave out {count(lost, 'rejected field')}, which may be harder than the rest." if lost else ""
    yield Statement(
        "Registration",
        f"{len(kept)} of {count(len(pairs), 'field')} found their place, with a median residual of {typical:.4f} µm "
        f"({typical / data.coarse_pixel_size_um:.3f} coarse px) by the registrar's own estimate{known}. Misplaced "
        "truth lowers the scores of sharp outputs, and detail finer than this error was blurred in "
        f"training.{some}", warning=10 * lost > len(pairs))


def _comparison(data: ReportData) -> Iterator[Statement]:
    who = output_name(data)
    worse = [score.name for score in data.summary if is_worse(score)]
    if worse:
        yield Statement(
            "Worse than bicubic",
            f"By {', '.join(worse)} the mean of the {who} is worse than that of bicubic up-sampling, which needs no "
            "training.", warning=True)
    fields = [image.name for image in data.images if any(is_worse(score) for score in image.scores)]
    if fields:
        shown = ", ".join(fields[:8]) + (f" and {len(fields) - 8} more" if len(fields) > 8 else "")
        yield Statement(
            "Fields worse than bicubic",
            f"In {len(fields)} of {count(len(data.images), 'field')} at least one score of the {who} is worse than "
            f"bicubic's: {shown}.", warning=True)


def output_name(data: ReportData) -> str:
    """What the model's output is called on the page."""
    return "network" if data.trained else f"{data.model} output"


def finest_period_um(optics: Optics) -> float:
    """Period in µm beyond which a weak object has no contrast."""
    return 1 / optics.cutoff_cycles_per_um


def describe(optics: Optics) -> str:
    return f"{optics.label} (condenser {optics.condenser_na:g}NA, {optics.wavelength_um * 1000:g} nm)"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
