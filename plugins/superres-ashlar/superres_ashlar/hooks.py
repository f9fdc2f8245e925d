"""What superres asks this package."""

from superres import hookimpl


@hookimpl
def superres_registrars():
    from superres_ashlar.registrar import AshlarRegistrar

    return [AshlarRegistrar]
