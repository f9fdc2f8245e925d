"""Everything that the report shows, as plain values: whoever has these can have a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superres.api.evaluator import Picture, Score
from superres.image import Array
from superres.optics import Optics

Role = Literal["training", "validation", "test"]
Title = Literal["input", "bicubic", "output", "truth"]


@dataclass(frozen=True)
class ImageScores:
    """The scores of one test field, each of n = 1.  scores: empty where it could not be scored."""

    name: str
    specimen: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """One image of a field for the slider.

    pixels: (H, W, 3) uint8, any size: all layers of a field show the same area.  pixelated: show its pixels as squares
    (the coarse input), not smoothed by the browser.
    """

    title: Title
    pixels: Array
    pixelated: bool = False


@dataclass(frozen=True, eq=False)
class FieldView:
    """One test field to look at.

    place: why it is shown ("worst of 24 by ssim").  scores: of the whole field.  layers: input, bicubic, output and,
    where there is one, truth, all of the same window.  width_um: width of that window.  window: which part of the field
    it is.  pictures: what the evaluators drew.
    """

    name: str
    specimen: str
    place: str
    scores: tuple[Score, ...]
    layers: tuple[Layer, ...]
    width_um: float
    window: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class PairRow:
    """One fine field's registration.

    residual_um, confidence: None where none was found.  reason: a short word for why it was rejected, "" if kept;
    message: the same as a sentence; hint: what to do about it.  true_error_px: distance from the simulated truth in
    coarse pixels (RMS over the field), None for real acquisitions.  warning: of a kept one, "" if nothing is wrong.
    unjudged: what could not be seen of a kept one, "" if everything was.  visible_tear_px: the smallest tear that a
    kept one would have shown, in coarse pixels, None where it is not known.
    """

    name: str
    specimen: str
    kept: bool
    residual_um: float | None = None
    confidence: float | None = None
    reason: str = ""
    message: str = ""
    true_error_px: float | None = None
    hint: str = ""
    warning: str = ""
    unjudged: str = ""
    visible_tear_px: float | None = None


@dataclass(frozen=True)
class FieldOutline:
    """A fine field on the picture of its mosaic.

    corners_px: (y, x) in pixels of the picture, around the field.  arrows_um: (y, x) in mosaic µm and what the place
    leaves there, (y, x) in µm.
    """

    name: str
    kept: bool
    corners_px: tuple[tuple[float, float], ...]
    arrows_um: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class SlideView:
    """A stitched scan.  pixels: (H, W) uint8, small, 0 where no tile lies.  notes: what stitching found."""

    name: str
    pixels: Array
    pixel_size_um: float
    fields: tuple[FieldOutline, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LostSlide:
    """A scan that could not be stitched; reason, message and hint as in PairRow."""

    name: str
    reason: str
    message: str
    hint: str = ""


@dataclass(frozen=True, eq=False)
class RegistrationView:
    """All pairs of the run.

    registrar: the plug-in's name.  min_confidence: pairs below it were rejected.  slides: the scans with the fields
    that were found.  checkerboards: coarse and fine by turns, the largest residuals first.  lost: the scans without a
    mosaic.
    """

    registrar: str
    min_confidence: float
    pairs: tuple[PairRow, ...]
    slides: tuple[SlideView, ...] = ()
    checkerboards: tuple[Picture, ...] = ()
    lost: tuple[LostSlide, ...] = ()


@dataclass(frozen=True, eq=False)
class RegistrationPage:
    """The page of a registration alone.  title, created, simulated: as in ReportData."""

    title: str
    coarse_pixel_size_um: float
    fine_pixel_size_um: float
    registration: RegistrationView
    created: str = ""
    simulated: str = ""


@dataclass(frozen=True)
class TrainingView:
    """The course of the training (Fig. S4).

    training_loss, validation_loss: (epoch, loss) points, epoch fractional.  best_epoch, best_step: whose weights
    were kept.  seconds: of training, 0 where unknown.  convolutions: who computed them, "" where unknown.
    """

    training_loss: tuple[tuple[float, float], ...]
    validation_loss: tuple[tuple[float, float], ...] = ()
    best_epoch: float | None = None
    best_step: int | None = None
    steps: int = 0
    patches: int = 0
    seconds: float = 0.0
    convolutions: str = ""


@dataclass(frozen=True)
class SpecimenUse:
    """What a specimen was used for."""

    specimen: str
    role: Role
    fields: int


@dataclass(frozen=True)
class StageTime:
    """remark: such as "taken from an earlier run"."""

    stage: str
    seconds: float
    remark: str = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """One run.

    title: of the page, usually the run folder's name.  created: date and time as text, "" for none.
    model: the plug-in's name.  trained: False for fixed up-samplers.  engine: what `Engine.describe()` says.
    simulated: the source's sentence on what was simulated, "" for camera images.  coarse, fine: the two objectives.
    summary: means over specimens (Score.n counts images).  by_specimen: (specimen, its means).  images: every test
    field.
    fields: those to look at, worst first; fields_total: how many there were.
    self_feeding: the output after each pass (Fig. S6), empty for one pass.
    plan: (dotted option, resolved value).  versions, hashes, provenance: (name, value).
    notes: sentences for the user (fields that could not be scored, a smaller tile).
    seen: specimens among those scored that training had seen; seen_note: the sentence that says so.
    """

    title: str
    model: str
    coarse_pixel_size_um: float
    fine_pixel_size_um: float
    created: str = ""
    trained: bool = True
    engine: str = ""
    simulated: str = ""
    coarse: Optics | None = None
    fine: Optics | None = None
    specimens: tuple[SpecimenUse, ...] = ()
    summary: tuple[Score, ...] = ()
    by_specimen: tuple[tuple[str, tuple[Score, ...]], ...] = ()
    images: tuple[ImageScores, ...] = ()
    fields: tuple[FieldView, ...] = ()
    fields_total: int = 0
    self_feeding: tuple[Picture, ...] = ()
    registration: RegistrationView | None = None
    training: TrainingView | None = None
    plan: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    times: tuple[StageTime, ...] = ()
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    seen_note: str = ""

    def specimens_of(self, role: Role) -> tuple[SpecimenUse, ...]:
        return tuple(use for use in self.specimens if use.role == role)
