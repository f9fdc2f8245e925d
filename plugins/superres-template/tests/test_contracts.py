"""The plug-ins keep superres's contracts."""

from superres_template.evaluator import ColourEvaluator
from superres_template.loss import CharbonnierLoss
from superres_template.model import EspcnModel
from superres_template.registrar import CorrelationRegistrar
from superres_template.source import CellsSource

from superres.testing import EvaluatorContract, LossContract, ModelContract, RegistrarContract, SourceContract


class TestEspcn(ModelContract):
    plugin = EspcnModel
    options = {"width": 8}


class TestCorrelation(RegistrarContract):
    plugin = CorrelationRegistrar


class TestCharbonnier(LossContract):
    plugin = CharbonnierLoss


class TestColour(EvaluatorContract):
    plugin = ColourEvaluator


class TestCells(SourceContract):
    plugin = CellsSource
    options = {"specimens": 2, "fields": 2}
