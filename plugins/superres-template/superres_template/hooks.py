"""What superres asks this package: the classes of each kind."""

from superres import hookimpl


@hookimpl
def superres_models():
    from superres_template.model import EspcnModel

    return [EspcnModel]


@hookimpl
def superres_registrars():
    from superres_template.registrar import CorrelationRegistrar

    return [CorrelationRegistrar]


@hookimpl
def superres_losses():
    from superres_template.loss import CharbonnierLoss

    return [CharbonnierLoss]


@hookimpl
def superres_evaluators():
    from superres_template.evaluator import ColourEvaluator

    return [ColourEvaluator]


@hookimpl
def superres_sources():
    from superres_template.source import CellsSource

    return [CellsSource]
