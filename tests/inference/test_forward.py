"""Tiled inference equals whole inference; memory stays bounded; a tile that does not fit is halved aloud."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from superres.api.model import Geometry
from superres.builtin.models.bicubic import BicubicModel
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.errors import Cancelled, EngineError, PluginError
from superres.events import Events
from superres.inference.forward import Runner
from superres.inference.pixels import ArrayPixels, TensorPixels

CPU = torch.device("cpu")
# In units of white, for outputs between black and white as images have them.  float32: the same sums, in the order that
# the convolution library picks for another tile size.
ROUNDING = 1e-5


def seeded_network(model, seed=0):
    """Random weights of larger size than the initial ones, so that errors at tile edges are far above rounding; the
    last layer is scaled so that the outputs are as large as an image's, since rounding grows with them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.build().eval()
        for name, parameter in network.named_parameters():
            torch.nn.init.normal_(parameter, std=0.05 if name.endswith("bias") else 0.08)
        if isinstance(model, Rivenson2017Model):
            with torch.no_grad():
                largest = network(noise(64, 64)).abs().max()
                network.output.weight /= largest
                network.output.bias /= largest
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def noise(height, width, count=1, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


class Notes(Events):
    def __init__(self):
        super().__init__()
        self.texts = []

    def note(self, stage, text):
        self.texts.append(text)


@pytest.mark.parametrize("grow", ["second", "first"])
@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_tiled_equals_whole(grow, size):
    model = Rivenson2017Model(grow=grow)
    network = seeded_network(model)
    image = noise(*size)
    with torch.no_grad():
        whole = network(image)
    for core in (32, 48, 100):
        tiled = Runner(network, model.geometry, CPU, tile_px=core).whole(TensorPixels(image), Events())
        assert (tiled - whole).abs().max() <= ROUNDING


@pytest.mark.parametrize("core", [100, *(pytest.param(core, marks=pytest.mark.slow) for core in (32, 48))])
def test_tiled_equals_whole_at_the_papers_odd_size(core):
    model = Rivenson2017Model()
    network = seeded_network(model)
    image = noise(555, 333)
    with torch.no_grad():
        whole = network(image)
    tiled = Runner(network, model.geometry, CPU, tile_px=core).whole(TensorPixels(image), Events())
    assert tiled.shape == whole.shape == (1, 3, 1388, 833)
    assert (tiled - whole).abs().max() <= ROUNDING


@pytest.mark.parametrize(("up", "down"), [(1, 1), (3, 2), (4, 3), (5, 4), (4, 4), (8, 3), (6, 4), (2, 1)])
@pytest.mark.parametrize("kind", ["bicubic", "rivenson2017"])
def test_tiled_equals_whole_at_every_scale(kind, up, down):
    model = BicubicModel(up=up, down=down) if kind == "bicubic" else \
        Rivenson2017Model(up=up, down=down, blocks=1, base_channels=4)
    network = seeded_network(model)
    image = noise(41, 57, count=2)
    with torch.no_grad():
        whole = network(image)
    for core in (5, 12, 32):
        tiled = Runner(network, model.geometry, CPU, tile_px=core).whole(TensorPixels(image), Events())
        assert (tiled - whole).abs().max() <= ROUNDING


def test_a_smaller_halo_or_an_odd_origin_would_be_wrong():
    """The test above can fail: both mistakes stand far above rounding."""
    model = Rivenson2017Model()
    network = seeded_network(model)
    image = noise(64, 64)
    with torch.no_grad():
        whole = network(image)

    def error(geometry, core):
        tiled = Runner(network, geometry, CPU, tile_px=core).whole(TensorPixels(image), Events())
        return (tiled - whole).abs().max().item()

    # One pixel too few gives 1e-4 here, five too few 1e-2.
    assert error(replace(model.geometry, halo_px=12), 32) > 5 * ROUNDING
    assert error(replace(model.geometry, halo_px=8), 32) > 500 * ROUNDING
    with torch.no_grad():
        shifted = network(image[:, :, 1:])
    assert (shifted[:, :, 40:80] - whole[:, :, 42:82]).abs().max() > 10_000 * ROUNDING


def test_self_feeding_in_bands_equals_repeated_whole_passes():
    model = Rivenson2017Model(blocks=1, base_channels=6, alpha=2)
    network = seeded_network(model)
    image = noise(37, 22)
    with torch.no_grad():
        once = network(image)
        thrice = network(network(once))
    runner = Runner(network, model.geometry, CPU, tile_px=16)
    result = runner.whole(TensorPixels(image), Events(), passes=3)
    assert result.shape == thrice.shape
    assert (result - thrice).abs().max() <= ROUNDING


def test_bands_come_in_order_and_are_as_high_as_a_tile():
    model = BicubicModel()
    runner = Runner(model.build(), model.geometry, CPU, tile_px=16)
    bands = list(runner.bands(TensorPixels(noise(50, 30)), Events()))
    tops = [band.top for band in bands]
    heights = [band.pixels.shape[2] for band in bands]
    assert tops == [0, *np.cumsum(heights)[:-1]]
    assert sum(heights) == 125 and max(heights) <= 40


def test_the_result_can_take_part_in_autograd():
    model = BicubicModel()
    result = Runner(model.build(), model.geometry, CPU).whole(TensorPixels(noise(8, 8)), Events())
    assert not result.is_inference()
    result.requires_grad_(True).sum().backward()


class Greedy(torch.nn.Module):
    """A network that runs out of memory for tiles larger than its limit, as torch's CPU allocator words it."""

    def __init__(self, network, limit_px):
        super().__init__()
        self.network = network
        self.limit_px = limit_px

    def forward(self, x):
        if x.shape[2] > self.limit_px:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return self.network(x)


def test_a_tile_that_does_not_fit_is_halved_and_said():
    model = BicubicModel()
    image = noise(300, 40)
    with torch.no_grad():
        whole = model.build()(image)
    events = Notes()
    runner = Runner(Greedy(model.build(), 80), model.geometry, CPU, tile_px=512)
    result = runner.whole(TensorPixels(image), events)
    assert (result - whole).abs().max() <= 1e-6
    assert events.texts == ["out of memory with tiles of 512 px; going on with 150 px",
                            "out of memory with tiles of 150 px; going on with 75 px"]


def test_out_of_memory_with_the_smallest_tile_is_an_error():
    model = BicubicModel()
    runner = Runner(Greedy(model.build(), 10), model.geometry, CPU, tile_px=64)
    with pytest.raises(EngineError, match="not enough memory for a tile of 32 px"):
        runner.whole(TensorPixels(noise(300, 40)), Events())


def test_global_context_that_does_not_fit_is_an_error():
    runner = Runner(Greedy(torch.nn.Identity(), 10), Geometry(1, 1, halo_px=None), CPU)
    with pytest.raises(EngineError, match="cannot be tiled"):
        runner.whole(TensorPixels(noise(30, 40)), Events())


class Answering(torch.nn.Module):
    """Gives what a function makes of its input."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def test_other_errors_of_a_network_are_not_taken_for_memory_and_name_it():
    def refuse(x):
        raise RuntimeError("sizes do not match")

    runner = Runner(Answering(refuse), Geometry(1, 1), CPU, who="model 'broken'")
    with pytest.raises(PluginError, match="model 'broken' failed on a tile of 4 × 5 px: RuntimeError: sizes") as caught:
        runner.whole(TensorPixels(noise(4, 5)), Events())
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(("answer", "gave"), [
    (lambda x: x[:, :, :-1], r"\(1, 3, 3, 5\)"),
    (lambda x: x[:, :1], r"\(1, 1, 4, 5\)"),
    (lambda x: x.repeat(2, 1, 1, 1), r"\(2, 3, 4, 5\)"),
    (lambda x: (x, x), "a tuple"),
])
def test_an_output_of_another_size_than_promised_is_refused(answer, gave):
    """Put together with other tiles it would be cut, spread, or lie in the wrong place."""
    runner = Runner(Answering(answer), Geometry(1, 1), CPU, who="model 'broken'")
    with pytest.raises(PluginError, match=rf"model 'broken' gave {gave} for a tile of 4 × 5 px; its .* \(1, 3, 4, 5\)"):
        runner.whole(TensorPixels(noise(4, 5)), Events())


def test_cancelling_stops_between_tiles():
    model = BicubicModel()
    events = Events()
    bands = Runner(model.build(), model.geometry, CPU, tile_px=8).bands(TensorPixels(noise(64, 8)), events)
    next(bands)
    events.cancel()
    with pytest.raises(Cancelled):
        next(bands)


def test_an_array_is_read_by_region_as_floats():
    """Integers become floats of a tile's size only; a single channel is given three times; white is 1."""
    grey = np.arange(20, dtype=np.uint16).reshape(4, 5)
    tile = ArrayPixels.of(grey, white_level=10).read((1, 3), (2, 5))
    assert tile.shape == (1, 3, 2, 3) and tile.dtype == torch.float32
    np.testing.assert_array_equal(tile[0, 2].numpy(), grey[1:3, 2:5].astype(np.float32) / 10)
