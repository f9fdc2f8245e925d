"""The compiled network as an operator of torch."""

from __future__ import annotations

import gc

import pytest
import torch

from superres import native
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.errors import EngineError
from superres.inference.native_network import native_forward, native_network

from ..models.networks import seeded_network

pytestmark = pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())


@pytest.fixture(scope="module")
def reference():
    model = Rivenson2017Model(base_channels=6, blocks=1, alpha=2)
    return model, seeded_network(model)


@pytest.fixture(scope="module")
def compiled(reference):
    model, network = reference
    return native_network(model.native(network), torch.device("cpu"), threads=1)


def batch(*shape, dtype=torch.float32):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    return values if dtype == torch.float32 else (values * 255).to(dtype)


@pytest.mark.parametrize("image", [batch(1, 3, 5, 6), batch(2, 3, 7, 4, dtype=torch.uint8),
                                   batch(1, 3, 8, 8).to(memory_format=torch.channels_last)])
def test_the_operator_keeps_torchs_rules(compiled, image):
    """Schema, fake shapes, no hidden mutation, dynamic shapes: torch's own check of a custom operator."""
    torch.library.opcheck(native_forward, (image, compiled.number, 5, 2))


def test_it_gives_what_the_module_gives(compiled, reference):
    image = batch(2, 3, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), reference[1](image), atol=2e-6, rtol=0)


def test_it_is_one_node_of_a_compiled_graph(compiled):
    """Without a graph break, and for other sizes without compiling again."""
    graphs = []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    whole = torch.compile(lambda image: compiled(image * 0.5) + 1, backend=backend, fullgraph=True, dynamic=True)
    for size in ((5, 6), (9, 14), (4, 31)):
        image = batch(1, 3, *size)
        torch.testing.assert_close(whole(image), compiled(image * 0.5) + 1)
    assert len(graphs) == 1
    assert any(node.target is torch.ops.superres.native_forward.default for node in graphs[0].graph.nodes
               ) or "native_forward" in graphs[0].print_readable(print_output=False)


def test_shapes_are_known_without_computing(compiled):
    with torch._subclasses.FakeTensorMode():
        shape = native_forward(torch.empty(2, 3, 555, 333), compiled.number, 5, 2).shape
    assert shape == (2, 3, 1388, 833)


def test_a_model_that_is_gone_is_an_error(reference):
    model, network = reference
    short_lived = native_network(model.native(network), torch.device("cpu"), threads=1)
    number = short_lived.number
    del short_lived
    gc.collect()
    with pytest.raises(EngineError, match="is gone"):
        native_forward(batch(1, 3, 4, 4), number, 5, 2)
