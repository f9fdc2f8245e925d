"""A small made-up run, and a reader of the page that knows nothing of the template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pytest

from superres.api import Optics, Picture, Score
from superres.report.builder import render
from superres.report.data import (
    FieldView,
    ImageScores,
    Layer,
    PairRow,
    RegistrationView,
    ReportData,
    SpecimenUse,
    StageTime,
    TrainingView,
)

VOID = {"meta", "link", "img", "input", "br"}


@dataclass
class Page(HTMLParser):
    """Tags in order with their attributes, the visible text, and whether every tag is closed where it should be."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1] if self.stack else 'nothing'}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "defs"} & set(self.stack):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Page]:
    def read(html: str) -> Page:
        page = Page()
        page.feed(html)
        page.close()
        assert page.stack == []
        return page

    return read


def _scores(ssim: float, bicubic: float) -> tuple[Score, ...]:
    return (Score("ssim", ssim, "", 1, "higher", baseline=bicubic),
            Score("difference-mean", 2.5, "%", 1, "lower", baseline=3.75))


def _layers(seed: int, with_truth: bool = True) -> tuple[Layer, ...]:
    rng = np.random.default_rng(seed)

    def plain(side: int) -> np.ndarray:
        return np.broadcast_to(rng.integers(40, 220, 3, dtype=np.uint8), (side, side, 3)).copy()

    layers = [Layer("input", plain(16), pixelated=True), Layer("bicubic", plain(40)), Layer("output", plain(40))]
    return (*layers, Layer("truth", plain(40))) if with_truth else tuple(layers)


@pytest.fixture(scope="session")
def html(run: ReportData) -> str:
    """The page of that run."""
    return render(run)


@pytest.fixture(scope="session")
def run() -> ReportData:
    """Two test specimens, one of them worse than bicubic; a simulated scan with one rejected field."""
    images = (ImageScores("slide 1/a", "lung-1", _scores(0.912, 0.861)),
              ImageScores("slide 2/b", "lung-2", _scores(0.7, 0.75)))
    fields = tuple(
        FieldView(image.name, image.specimen, place, image.scores, _layers(index), 2.96, "the whole field",
                  (Picture("Map of b", "0–100 %", np.full((30, 60, 3), 90, dtype=np.uint8)),))
        for index, (image, place) in enumerate(zip(images[::-1], ("worst of 2", "best of 2"), strict=True)))
    return ReportData(
        title="quickstart", model="rivenson2017", coarse_pixel_size_um=0.185, fine_pixel_size_um=0.074,
        created="2024-05-06 07:08", engine="torch on cpu: no CUDA device",
        simulated="A virtual microscope over two drawn sections.",
        coarse=Optics(0.95, magnification=40), fine=Optics(1.4, refractive_index=1.515, magnification=100),
        specimens=(SpecimenUse("lung-3", "training", 9), SpecimenUse("lung-4", "validation", 2),
                   SpecimenUse("lung-1", "test", 1), SpecimenUse("lung-2", "test", 1)),
        summary=(Score("ssim", 0.806, "", 2, "higher", baseline=0.801),
                 Score("difference-mean", 2.5, "%", 2, "lower", baseline=3.75)),
        by_specimen=(("lung-1", _scores(0.912, 0.861)), ("lung-2", _scores(0.7, 0.75))), images=images,
        fields=fields, fields_total=2,
        registration=RegistrationView("paper", 0.5, (
            PairRow("slide 1/a", "lung-1", True, 0.0123, 0.97, true_error_px=0.031),
            PairRow("slide 2/b", "lung-2", True, 0.0345, 0.88, true_error_px=0.052),
            PairRow("slide 2/c", "lung-2", False, None, 0.12, "ambiguous", "two places match equally well"))),
        training=TrainingView(((0.5, 0.02), (1.0, 0.01)), ((1.0, 0.012), (2.0, 0.006)), 2.0, 400, 800, 1200, 245.0),
        plan=(("train.patch_px", "40"), ("model.options.up", "5")),
        versions=(("superres", "0.1.0"), ("torch", "2.13.0")),
        hashes=(("weights.safetensors", "9f2c" * 16),), provenance=(("lung-1", "drawn, seed 7"),),
        times=(StageTime("train", 245.0), StageTime("register", 4.21, "taken from the earlier run")),
        notes=("psnr: 'slide 2/x' is not scored",))
