"""The C API when memory runs out: a status, wherever it happens, and never the end of the program."""

from __future__ import annotations

from . import builds


def test_every_allocation_may_fail():
    model, forward = (int(count) for count in builds.run(builds.emulation() / "superres_out_of_memory").split())
    assert model > 20, "a model has layers, each with weights and biases"
    assert forward >= 4, "four threads are started"
