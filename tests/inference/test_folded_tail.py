"""The last two layers as one: the same numbers, the outermost pixels too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.inference.engines import arrange
from superres.inference.folded_tail import FoldedNetwork, fold, is_worth_folding
from superres.inference.openvino_network import openvino_network, openvino_version

from ..models.networks import seeded_network

SCALES = [(up, down) for up in range(1, 9) for down in range(1, min(up, 4) + 1)]
SIZES = ((1, 1), (2, 3), (5, 4), (8, 9), (13, 12))
ROUNDING = 1e-6


def small(up, down, seed=0):
    model = Rivenson2017Model(base_channels=4, blocks=1, alpha=2, up=up, down=down)
    network = seeded_network(model, seed)
    return network, model.native(network)


def images(height, width):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))


@pytest.mark.parametrize(("up", "down"), SCALES)
def test_every_scale_and_size_gives_what_the_two_layers_give(up, down):
    network, spec = small(up, down)
    folded = FoldedNetwork(spec)
    for size in SIZES:
        with torch.inference_mode():
            torch.testing.assert_close(folded(images(*size)), network(images(*size)), atol=ROUNDING, rtol=0)


@pytest.mark.skipif(not openvino_version(), reason="the extra `openvino` is not installed")
@pytest.mark.parametrize(("up", "down"), [(5, 2), (4, 3), (8, 3), (3, 3), (1, 1)])
def test_openvinos_graph_ends_the_same_way(up, down):
    network, spec = small(up, down)
    compiled = openvino_network(spec, "exact", 1)
    for size in SIZES:
        with torch.inference_mode():
            torch.testing.assert_close(compiled(images(*size)), network(images(*size)), atol=ROUNDING, rtol=0)


def test_without_the_mended_border_only_the_outermost_pixels_are_wrong(monkeypatch):
    """What the module says about itself: and that the mending is needed."""
    network, spec = small(5, 2)
    monkeypatch.setattr("superres.inference.folded_tail.mend_borders", lambda output, strips, tail: None)
    with torch.inference_mode():
        difference = (FoldedNetwork(spec)(images(9, 7)) - network(images(9, 7))).abs()
    assert difference[:, :, 1:-1, 1:-1].max() < ROUNDING
    for edge in (difference[:, :, 0], difference[:, :, -1], difference[..., 0], difference[..., -1]):
        assert edge.max() > 1e-3


def test_the_papers_tail_is_five_by_five_with_stride_two():
    model = Rivenson2017Model()
    spec = model.native(seeded_network(model))
    folded = fold(spec)
    assert tuple(folded.weight.shape) == (75, 62, 5, 5) and (folded.stride, folded.shuffle) == (2, 5)
    assert folded.weight[0].numel() * 75 / folded.stride ** 2 == 29_062.5
    assert is_worth_folding(spec) and not is_worth_folding(small(1, 1)[1]) and not is_worth_folding(small(5, 1)[1])


def test_the_cpus_torch_engine_takes_the_folded_form_where_it_is_less_work():
    model = Rivenson2017Model(base_channels=4, blocks=1, alpha=2)
    arranged = arrange(model, seeded_network(model), torch.device("cpu"), "torch", "exact")
    assert isinstance(arranged.network, FoldedNetwork)
    whole = Rivenson2017Model(base_channels=4, blocks=1, alpha=2, up=2, down=1)
    network = seeded_network(whole)
    assert arrange(whole, network, torch.device("cpu"), "torch", "exact").network is network
    assert isinstance(network, nn.Module)
