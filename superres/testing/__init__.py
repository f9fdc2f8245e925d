"""Contract suites: inherit one per plug-in, say how to make it, and pytest checks that it keeps its contract.

from superres.testing import ModelContract

class TestMyModel(ModelContract):
    plugin = MyModel
    options = {"width": 16}
"""

from superres.testing.evaluator import EvaluatorContract
from superres.testing.loss import LossContract
from superres.testing.model import ModelContract
from superres.testing.plugin import PluginContract
from superres.testing.registrar import RegistrarContract
from superres.testing.source import SourceContract

__all__ = [
    "EvaluatorContract",
    "LossContract",
    "ModelContract",
    "PluginContract",
    "RegistrarContract",
    "SourceContract",
]
