"""What superres asks this package."""

from superres import hookimpl


@hookimpl
def superres_models():
    from superres_edsr.model import EdsrModel

    return [EdsrModel]
