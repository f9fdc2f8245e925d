"""The paper's network against a numpy float64 twin written from the equations."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from superres.builtin.models.rivenson2017 import Rivenson2017Model, pyramid_channels

from . import twin
from .networks import seeded_network

# float32 sums over at most 9·62 products a layer, 12 layers deep: rounding grows to a few 1e-7 of the largest value.
RELATIVE_ROUNDING = 5e-6


def run(network, image):
    with torch.no_grad():
        output = network(torch.from_numpy(image).permute(2, 0, 1)[None])
    return output[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("grow", "count"), [("second", 203_787), ("first", 229_197)])
def test_parameter_count_is_the_papers(grow, count):
    network = Rivenson2017Model(grow=grow).build()
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_channels_follow_equation_s3():
    assert pyramid_channels(32, 5, 10) == (32, 34, 38, 44, 52, 62)
    for base, blocks, alpha in ((7, 3, 5), (16, 4, 9), (1, 1, 0), (64, 7, 100)):
        assert list(pyramid_channels(base, blocks, alpha)) == twin.channel_counts(base, blocks, alpha)


def test_output_size_of_the_papers_example():
    model = Rivenson2017Model()
    assert model.geometry.output_shape(555, 333) == (1388, 833)
    with torch.no_grad():
        assert model.build()(torch.zeros(1, 3, 555, 333)).shape == (1, 3, 1388, 833)


@pytest.mark.parametrize("grow", ["second", "first"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (13, 10)])
def test_default_network_equals_its_twin(stained, seeded, grow, size):
    network = seeded(Rivenson2017Model(grow=grow))
    image = stained(*size)
    expected = twin.forward(image, network.state_dict(), blocks=5, up=5, down=2)
    assert run(network, image).shape == expected.shape == (math.ceil(2.5 * size[0]), math.ceil(2.5 * size[1]), 3)
    np.testing.assert_allclose(run(network, image), expected, atol=RELATIVE_ROUNDING * np.abs(expected).max(), rtol=0)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), up=st.integers(1, 8), down=st.integers(1, 4),
       grow=st.sampled_from(["second", "first"]), blocks=st.integers(1, 3), base=st.integers(1, 6),
       alpha=st.integers(0, 7), input_relu=st.booleans(), channels_last=st.booleans(), seed=st.integers(0, 2**31))
def test_every_scale_and_size_equals_the_twin(height, width, up, down, grow, blocks, base, alpha, input_relu,
                                              channels_last, seed):
    up = max(up, down)
    model = Rivenson2017Model(up=up, down=down, grow=grow, blocks=blocks, base_channels=base, alpha=alpha,
                              input_relu=input_relu)
    network = seeded_network(model, seed)
    image = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    expected = twin.forward(image, network.state_dict(), blocks=blocks, up=up, down=down, input_relu=input_relu)
    assert expected.shape[:2] == model.geometry.output_shape(height, width)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    np.testing.assert_allclose(run(network, image), expected, atol=RELATIVE_ROUNDING * max(1, np.abs(expected).max()),
                               rtol=0)


def test_gradients_do_not_change_the_values(stained, seeded):
    network = seeded(Rivenson2017Model())
    image = torch.from_numpy(stained(9, 8)).permute(2, 0, 1)[None]
    with torch.no_grad():
        without = network(image)
    with_gradients = network.requires_grad_(True)(image)
    torch.testing.assert_close(with_gradients.detach(), without, atol=1e-7, rtol=0)


def test_output_is_not_clamped(seeded):
    network = seeded(Rivenson2017Model())
    network.output.bias.fill_(2.0)
    assert run(network, np.ones((4, 4, 3), np.float32)).max() > 1.5


def test_initial_weights_are_a_truncated_normal():
    torch.manual_seed(1)
    network = Rivenson2017Model().build()
    named = list(network.named_parameters())
    weights = torch.cat([parameter.flatten() for name, parameter in named if name.endswith("weight")])
    assert weights.abs().max() <= 0.1
    # A normal cut at ±2 sd keeps 0.8796 of its sd; 203,247 samples put the estimate within 0.2 %.
    assert weights.std().item() == pytest.approx(0.8796 * 0.05, rel=0.01)
    assert abs(weights.mean().item()) < 5 * 0.05 / math.sqrt(weights.numel())
    assert all(not parameter.any() for name, parameter in named if name.endswith("bias"))


def test_halo_and_origin_of_the_default():
    geometry = Rivenson2017Model().geometry
    assert (geometry.halo_px, geometry.origin_multiple) == (13, 2)
    assert Rivenson2017Model(up=4, down=2).geometry.origin_multiple == 1
    assert Rivenson2017Model(up=8, down=3).geometry.origin_multiple == 3


def test_halo_is_enough_and_not_one_too_many(stained, seeded):
    """Change one pixel: the rows of the output that move lie within the halo, and reach to its end."""
    model = Rivenson2017Model()
    network = seeded(model).double()
    image = torch.from_numpy(stained(60, 60)).permute(2, 0, 1)[None].double()
    changed = image.clone()
    changed[:, :, 30, 30] += 1.0
    with torch.no_grad():
        moved = (network(changed) - network(image)).abs().amax(dim=(0, 1)).amax(dim=1) > 0
    rows = torch.nonzero(moved).flatten().tolist()
    # Rows of the coarse pixel d below start at ceil(2.5·(30 + d)); one halo further nothing may move.
    assert rows[0] >= math.ceil(2.5 * (30 - 13)) and rows[-1] < math.ceil(2.5 * (31 + 13))
    assert rows[-1] >= math.ceil(2.5 * (31 + 11))


@pytest.mark.parametrize(("options", "words"), [
    ({"up": 2, "down": 3}, "expected up >= down"),
    ({"up": 9}, "less than or equal to 8"),
    ({"down": 5, "up": 8}, "less than or equal to 4"),
    ({"base_channels": 250}, "expected at most 256"),
    ({"grow": "third"}, "'second' or 'first'"),
    ({"colour": 1}, "Extra inputs"),
])
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        Rivenson2017Model(**options)


def test_native_spec_names_every_tensor():
    model = Rivenson2017Model(grow="first")
    network = model.build().to(memory_format=torch.channels_last)
    spec = model.native(network)
    assert spec.architecture == "rivenson2017"
    assert spec.hyper == {"base_channels": 32, "blocks": 5, "alpha": 10, "grow": "first", "up": 5, "down": 2,
                          "input_relu": 0}
    assert spec.tensors["blocks.4.first.weight"].shape == (62, 52, 3, 3)
    assert all(tensor.dtype == np.float32 and tensor.flags["C_CONTIGUOUS"] for tensor in spec.tensors.values())
    assert sum(tensor.size for tensor in spec.tensors.values()) == 229_197


def test_describing_the_models_and_losses_needs_no_torch():
    code = ("import sys; from superres.builtin import hooks; hooks.superres_models(); hooks.superres_losses(); "
            "from superres.builtin.models.rivenson2017 import Rivenson2017Model as M; M().geometry; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
