"""The plug-ins keep superres's contracts."""

import numpy as np
from superres_template.evaluator import ColourEvaluator
from superres_template.loss import CharbonnierLoss
from superres_template.model import EspcnModel
from superres_template.registrar import CorrelationRegistrar, _vertex
from superres_template.source import CellsSource

from superres.testing import EvaluatorContract, LossContract, ModelContract, RegistrarContract, SourceContract


class TestEspcn(ModelContract):
    plugin = EspcnModel
    options = {"width": 8}


class TestCorrelation(RegistrarContract):
    plugin = CorrelationRegistrar


def test_a_flat_peak_has_its_place_without_a_fraction():
    assert _vertex(np.ones(5), 2) == 0.0 and _vertex(np.array([0.0, 1.0, 0.5]), 1) == 1 / 6


class TestCharbonnier(LossContract):
    plugin = CharbonnierLoss


class TestColour(EvaluatorContract):
    plugin = ColourEvaluator


class TestCells(SourceContract):
    plugin = CellsSource
    options = {"specimens": 2, "fields": 2}
