"""The contract suites can fail: each refuses a plug-in that breaks one promise, and accepts it once that is mended."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from superres.api import (
    Acquisition,
    Evaluator,
    FineField,
    Geometry,
    Image,
    Loss,
    Model,
    Mosaic,
    Registrar,
    Registration,
    Scan,
    Score,
    Source,
    Tile,
    Transform,
)
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.builtin.evaluators.ssim import structural_similarity
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.builtin.registrars.paper import PaperRegistrar
from superres.testing import (
    EvaluatorContract,
    LossContract,
    ModelContract,
    PluginContract,
    RegistrarContract,
    SourceContract,
)


def broken_promises(suite: type[PluginContract], plugin: type, **settings: Any) -> set[str]:
    """The names of the suite's tests that fail for a plug-in, run as pytest would run them."""
    checked = type("Checked", (suite,), {"plugin": plugin, **settings})
    names = [name for name in dir(checked) if name.startswith("test_")]
    failed = set()
    for name in names:
        arguments = [(size,) for size in ModelContract.sizes] if "output_is_ceil" in name else [()]
        for values in arguments:
            try:
                getattr(checked(), name)(*values)
            except (Exception, pytest.fail.Exception):
                failed.add(name)
    return failed


# Models

TILES = "test_a_tile_gives_what_the_whole_gives"
HALO = "test_nothing_beyond_the_halo_is_felt"


def with_geometry(parent: type[Model] = Rivenson2017Model, **changes: Any) -> type[Model]:
    class Mistaken(parent):
        @property
        def geometry(self) -> Geometry:
            return replace(super().geometry, **changes)

    return Mistaken


@pytest.mark.parametrize("halo_px", [12, 11, 10, 9])
def test_a_halo_that_is_too_narrow_is_refused(halo_px):
    """The paper's network feels 13 pixels; a halo of 12 changes a tile by 1e-6 where its output is about 0.2."""
    assert {HALO, TILES} <= broken_promises(ModelContract, with_geometry(halo_px=halo_px))


def test_a_halo_that_is_too_narrow_by_one_changes_the_tiles():
    options = {"base_channels": 8, "blocks": 1, "alpha": 2}
    assert broken_promises(ModelContract, with_geometry(halo_px=5), options=options) == set()
    assert {HALO, TILES} <= broken_promises(ModelContract, with_geometry(halo_px=4), options=options)


@pytest.mark.parametrize("options", [{}, {"up": 4, "down": 3}])
def test_an_origin_between_the_strides_is_refused(options):
    small = {"base_channels": 8, "blocks": 2, "alpha": 4, **options}
    assert TILES in broken_promises(ModelContract, with_geometry(origin_multiple=1), options=small)


class Alternating(Model):
    """Nearest-neighbour up-sampling, in which every second pixel (counted from the tile's edge) is darker."""

    name = "alternating"
    summary = "whole scale, and yet a phase of two pixels"
    period = 2

    @property
    def geometry(self) -> Geometry:
        return Geometry(2, 1)

    def build(self) -> nn.Module:
        period = self.period

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gain = nn.Parameter(torch.ones(1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                stripes = (torch.arange(x.shape[3]) % period == 0).to(x.dtype)
                return (self.gain * x * (1 - 0.5 * stripes)).repeat_interleave(2, 2).repeat_interleave(2, 3)

        return Network()


def test_a_phase_that_only_odd_origins_show_is_refused():
    assert broken_promises(ModelContract, Alternating) == {TILES}
    assert broken_promises(ModelContract, with_geometry(Alternating, origin_multiple=2)) == set()
    assert broken_promises(ModelContract, type("Slow", (Alternating,), {"period": 3})) == {TILES}


class ZeroStart(Model):
    """Its 5 × 5 kernel begins as zero: only training shows how far it sees."""

    name = "zero-start"
    summary = "a residual whose last layer begins as zero"

    @property
    def geometry(self) -> Geometry:
        return Geometry(1, 1, halo_px=1)

    def build(self) -> nn.Module:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.residual = nn.Conv2d(3, 3, 5, padding=2)
                nn.init.zeros_(self.residual.weight)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + self.residual(x)

        return Network()


def test_what_a_network_will_see_after_training_counts():
    assert broken_promises(ModelContract, ZeroStart) == {HALO, TILES}
    assert broken_promises(ModelContract, with_geometry(ZeroStart, halo_px=2)) == set()


class Clamping(ZeroStart):
    """Clamps its input where it lies, which the images of the suite, in [0, 1], do not show by their values."""

    @property
    def geometry(self) -> Geometry:
        return Geometry(1, 1, halo_px=2)

    def build(self) -> nn.Module:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Conv2d(3, 3, 5, padding=2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x.clamp_(0, 1))

        return Network()


def test_a_model_that_clamps_its_input_in_place_is_refused():
    assert broken_promises(ModelContract, Clamping) == {"test_input_is_untouched"}


# Evaluators


class FittingSsim(Evaluator):
    """SSIM after the gain of the prediction was fitted to the truth."""

    name = "fitting-ssim"
    summary = "flatters"

    def __init__(self, options=None, **values) -> None:
        super().__init__(options, **values)
        self.rows: list[tuple[float, float]] = []

    def fit(self, image, truth):
        return image * (np.vdot(image, truth) / np.vdot(image, image))

    def similarity(self, image, truth):
        fitted = self.fit(image.astype(np.float64), truth.astype(np.float64))
        return float(np.mean([structural_similarity(fitted[:, :, i], truth[:, :, i]) for i in range(3)]))

    def update(self, case) -> None:
        if case.truth is not None:
            self.rows.append(tuple(self.similarity(image, case.truth) for image in (case.prediction, case.bicubic)))

    def compute(self) -> tuple[Score, ...]:
        if not self.rows:
            return ()
        model, bicubic = np.mean(self.rows, axis=0)
        return (Score("ssim", float(model), "", len(self.rows), "higher", float(bicubic)),)

    def merge(self, other) -> None:
        self.rows += other.rows


class ShiftingSsim(FittingSsim):
    """SSIM after the best of the shifts by up to 3 px."""

    def fit(self, image, truth):
        shifts = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
        return min((np.roll(image, shift, (0, 1)) for shift in shifts), key=lambda each: np.sum((each - truth) ** 2))


class PlainSsim(FittingSsim):
    def fit(self, image, truth):
        return image


@pytest.mark.parametrize("plugin", [FittingSsim, ShiftingSsim])
def test_an_evaluator_that_fits_first_is_refused(plugin):
    assert broken_promises(EvaluatorContract, plugin) == {"test_nothing_is_fitted_to_the_truth"}


def test_the_same_evaluator_without_the_fit_is_accepted():
    assert broken_promises(EvaluatorContract, PlainSsim) == set()


class WithoutBaseline(PsnrEvaluator):
    def compute(self) -> tuple[Score, ...]:
        return tuple(replace(score, baseline=0.0) for score in super().compute())


def test_a_baseline_that_is_not_measured_is_refused():
    assert broken_promises(EvaluatorContract, WithoutBaseline) == {
        "test_the_baseline_is_the_same_number_about_bicubic"
    }


# Registrars

IN_A_MOSAIC = {"test_finds_the_field", "test_finds_the_field_across_the_tiles_of_a_scan"}


class OnlyImages(PaperRegistrar):
    """Takes whatever it is given for an image."""

    def register(self, fine, coarse, guess=None) -> Registration:
        return super().register(fine, Mosaic.of(Image(coarse.grey(), coarse.pixel_size_um)), guess)


class OnlyTheFirstTile(PaperRegistrar):
    def register(self, fine, coarse, guess=None) -> Registration:
        return super().register(fine, coarse.frame(0) if isinstance(coarse, Mosaic) else coarse, guess)


class Yes(Registrar):
    name = "yes"
    summary = "everything lies where the scan begins, beyond doubt"

    def register(self, fine, coarse, guess=None) -> Registration:
        return Registration(Transform.identity(), 0.0, 1.0)


def test_a_registrar_that_knows_no_mosaics_is_refused():
    assert broken_promises(RegistrarContract, OnlyImages) >= IN_A_MOSAIC


def test_a_registrar_that_looks_at_one_tile_is_refused():
    assert broken_promises(RegistrarContract, OnlyTheFirstTile) == {"test_finds_the_field_across_the_tiles_of_a_scan"}


def test_a_registrar_that_always_agrees_is_refused():
    refusals = {
        "test_a_blank_field_is_refused_with_its_reason",
        "test_a_field_that_is_not_there_is_refused_or_doubted",
    }
    assert broken_promises(RegistrarContract, Yes) == IN_A_MOSAIC | refusals
    # Where the right answer is the identity, only the fields that are not there show it.
    assert broken_promises(RegistrarContract, Yes, shifts_px=((0, 0),)) == refusals


class OneAtATime(PaperRegistrar):
    """Says that threads may share it, and keeps the field that it works on in itself."""

    def register(self, fine, coarse, guess=None) -> Registration:
        self.present = fine
        time.sleep(0.05)
        return super().register(self.present, coarse, guess)


def test_a_registrar_that_mixes_up_fields_of_two_threads_is_refused():
    assert broken_promises(RegistrarContract, OneAtATime) == {"test_several_threads_get_what_one_gets"}


# Losses and sources


class SquaredError(Loss):
    name = "squared-error"
    summary = "reduced as the parameter says"
    reduction = "mean"

    def build(self) -> nn.Module:
        return nn.MSELoss(reduction=self.reduction)


class SumOfPixels(SquaredError):
    """A mean over the images of a batch only: the learning rate would depend on the patch size."""

    def build(self) -> nn.Module:
        class PerImage(nn.Module):
            def forward(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
                return ((prediction - truth) ** 2).sum(dim=(1, 2, 3)).mean()

        return PerImage()


def test_a_loss_that_sums_is_refused():
    over_pixels, over_batch = "test_is_a_mean_over_the_pixels", "test_is_a_mean_over_the_batch"
    assert broken_promises(LossContract, SquaredError) == set()
    assert broken_promises(LossContract, type("Sum", (SquaredError,), {"reduction": "sum"})) == {
        over_pixels,
        over_batch,
    }
    assert broken_promises(LossContract, SumOfPixels) == {over_pixels}


class Noise(Source):
    name = "noise"
    summary = "noise, from a seed or from nowhere"
    seed: int | None = 0

    def acquire(self) -> Acquisition:
        rng = np.random.default_rng(self.seed)
        coarse, fine = (rng.random((side, side), dtype=np.float32) for side in (40, 50))
        tile, field = Image(coarse, 0.185, name="tile"), Image(fine, 0.074, name="field")
        return Acquisition((Scan("slide", (Tile(tile),), (FineField(field, "specimen"),)),))


def test_a_source_that_is_new_every_time_is_refused():
    assert broken_promises(SourceContract, Noise) == set()
    assert broken_promises(SourceContract, type("Fresh", (Noise,), {"seed": None})) == {
        "test_the_same_options_give_the_same_acquisition"
    }


def test_a_source_that_tells_other_specimens_than_it_gives_is_refused():
    told = {"known_specimens": lambda self: ("another",)}
    assert broken_promises(SourceContract, type("Misled", (Noise,), told)) == {
        "test_specimens_told_beforehand_are_those_of_the_acquisition"
    }
