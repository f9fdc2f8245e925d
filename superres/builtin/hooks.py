"""The built-ins' implementation of the hooks: what a third party's hooks module looks like."""

from __future__ import annotations

from superres.api.evaluator import Evaluator
from superres.api.loss import Loss
from superres.api.model import Model
from superres.api.registrar import Registrar
from superres.api.source import Source
from superres.hookspecs import hookimpl


@hookimpl
def superres_sources() -> list[type[Source]]:
    from superres.builtin.sources.acquisition import AcquisitionSource
    from superres.builtin.sources.pairs import PairsSource
    from superres.builtin.sources.simulate import SimulateSource

    return [SimulateSource, AcquisitionSource, PairsSource]


@hookimpl
def superres_registrars() -> list[type[Registrar]]:
    from superres.builtin.registrars.identity import IdentityRegistrar
    from superres.builtin.registrars.paper import PaperRegistrar
    from superres.builtin.registrars.phase import PhaseRegistrar

    return [PaperRegistrar, PhaseRegistrar, IdentityRegistrar]


@hookimpl
def superres_models() -> list[type[Model]]:
    from superres.builtin.models.bicubic import BicubicModel
    from superres.builtin.models.rivenson2017 import Rivenson2017Model

    return [Rivenson2017Model, BicubicModel]


@hookimpl
def superres_losses() -> list[type[Loss]]:
    from superres.builtin.losses.l1 import L1Loss
    from superres.builtin.losses.mse import MseLoss
    from superres.builtin.losses.mse_gradient import MseGradientLoss

    return [MseGradientLoss, MseLoss, L1Loss]


@hookimpl
def superres_evaluators() -> list[type[Evaluator]]:
    from superres.builtin.evaluators.consistency import ConsistencyEvaluator
    from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
    from superres.builtin.evaluators.frc import FrcEvaluator
    from superres.builtin.evaluators.mtf import MtfEvaluator
    from superres.builtin.evaluators.psnr import PsnrEvaluator
    from superres.builtin.evaluators.spectrum import SpectrumEvaluator
    from superres.builtin.evaluators.ssim import SsimEvaluator

    return [SsimEvaluator, PsnrEvaluator, DifferenceMapEvaluator, ConsistencyEvaluator, SpectrumEvaluator, MtfEvaluator,
            FrcEvaluator]
