"""Networks learn the border of images whose sides are no multiple of L's denominator."""

import functools
from collections import Counter

import numpy as np
import pytest
import torch

from superres.api.model import Geometry
from superres.api.source import Pair
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.config import TrainSection
from superres.events import Events
from superres.image import Image
from superres.training.batches import Batches
from superres.training.loop import train
from superres.training.patches import cut_patches, random_sides
from superres.training.ranks import ALONE, Ranks

from .jobs import small_job
from .specimens import make_pair

PAPER = Geometry(5, 2, halo_px=13, origin_multiple=2)
CPU = torch.device("cpu")


def ramp(side_px, down):
    """Brightness grows along y and x alike in µm, so that a pixel's value tells where it lies."""
    def image(side, pitch):
        along = ((np.arange(side) + 0.5) * pitch / 100).astype(np.float32)
        return Image(np.stack([*np.broadcast_arrays(along[:, None], along[None, :]), np.zeros((side, side))],
                              axis=-1, dtype=np.float32), pitch)

    return Pair("ramp", "s", image(side_px, 1.0), image(side_px * 5 // down, down / 5))


def batches(pair, geometry, ranks=ALONE, **settings):
    values = {"patch_px": 12, "batch_size": 4, "odd_sides": 1.0, **settings}
    return Batches(cut_patches([pair], geometry, values["patch_px"], 12), TrainSection(**values), 3, CPU, ranks)


def test_a_share_of_the_steps_loses_a_row_and_as_many_a_column():
    drawn = Counter(random_sides(0.5, 60, PAPER, step, seed=7) for step in range(800))
    # A quarter of 800 each: 200 ± 12; five standard deviations.
    assert set(drawn) == {(60, 60), (59, 60), (60, 59), (59, 59)} and min(drawn.values()) > 140
    some = [random_sides(0.1, 60, PAPER, step, seed=7) for step in range(800)]
    assert 40 < sum(height == 59 for height, _ in some) < 120
    assert drawn != Counter(random_sides(0.5, 60, PAPER, step, seed=8) for step in range(800))


def test_every_rest_that_a_stride_can_leave_is_drawn():
    fourths = Geometry(5, 4, origin_multiple=4)
    assert {random_sides(1.0, 12, fourths, step, 0)[0] for step in range(60)} == {9, 10, 11}
    for nothing_to_learn in (Geometry(2, 1), Geometry(8, 2), Geometry(2, 1, origin_multiple=16)):
        assert {random_sides(1.0, 12, nothing_to_learn, step, 0) for step in range(20)} == {(12, 12)}
    assert {random_sides(0.0, 12, PAPER, step, 0) for step in range(20)} == {(12, 12)}, "the paper's"


@pytest.mark.parametrize("down", [2, 3, 4])
def test_coarse_and_fine_keep_their_first_pixel_and_the_size_that_the_network_gives(down):
    pair, geometry = ramp(24, down), Geometry(5, down, origin_multiple=down)
    network = Rivenson2017Model(up=5, down=down, base_channels=4, blocks=1, alpha=1).build()
    drawn, sides = batches(pair, geometry), set()
    for step in range(30):
        coarse, fine = drawn.at(step)
        assert coarse.is_contiguous(memory_format=torch.channels_last)
        assert fine.shape == network(coarse).shape
        sides.add(tuple(coarse.shape[2:]))
        for axis in (0, 1):
            y = coarse[:, axis].mean(dim=2 - axis) * 100, fine[:, axis].mean(dim=2 - axis) * 100
            # Half a pixel from the first centres to the patch's border, in coarse pixels (1 µm) and in fine ones.
            torch.testing.assert_close(y[0][:, 0] - 0.5, y[1][:, 0] - down / 10, atol=1e-4, rtol=0)
    assert all(height < 12 and width < 12 for height, width in sides) and len(sides) == (down - 1) ** 2


def test_a_patch_of_59_has_148_of_150_fine_pixels():
    coarse, fine = batches(make_pair(coarse_px=(60, 60)), PAPER, patch_px=60).at(0)
    assert coarse.shape == (4, 3, 59, 59) and fine.shape == (4, 3, 148, 148)


def test_processes_that_train_together_draw_the_same_sides():
    both = [batches(make_pair(), PAPER, Ranks(rank, 2), odd_sides=0.5) for rank in (0, 1)]
    together = batches(make_pair(), PAPER, odd_sides=0.5)
    for step in range(8):
        for shared, whole in zip(zip(*(each.at(step) for each in both), strict=True), together.at(step), strict=True):
            torch.testing.assert_close(torch.cat(shared), whole, rtol=0, atol=0)


def border_errors(network, seeds=range(10, 16)):
    """Mean absolute error of the first and the last row and column of fields of 27 × 27 px."""
    errors = []
    for seed in seeds:
        pair = make_pair(seed, (28, 28))
        coarse, fine = (torch.from_numpy(image.unit()[:side, :side].copy()).permute(2, 0, 1)[None]
                        for image, side in ((pair.coarse, 27), (pair.fine, 68)))
        with torch.no_grad():
            errors.append((network(coarse) - fine).abs().mean(1)[0])
    error = torch.stack(errors).mean(0)
    return (float(error[0].mean()), float(error[:, 0].mean())), (float(error[-1].mean()), float(error[:, -1].mean()))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_last_row_of_an_odd_image_is_as_good_as_the_other_borders(tmp_path, share):
    model = Rivenson2017Model(base_channels=8, blocks=1, alpha=2)
    result = train(small_job(tmp_path, model=model, steps=200, learning_rate=1e-2, validation=[], odd_sides=share),
                   Events())
    network = model.build()
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in result.tensors.items()})
    first, last = border_errors(network)
    if share:
        assert max(last) < 1.5 * max(first)
    else:
        assert min(last) > 2 * max(first), "what the option is for"


def test_a_compiled_training_compiles_a_few_graphs_whatever_the_sides(tmp_path, monkeypatch):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    pair = ramp(24, 4)
    train(small_job(tmp_path, model=Rivenson2017Model(base_channels=4, blocks=1, alpha=1, up=5, down=4), steps=40,
                    training=[pair], validation=[pair], compile=True), Events())
    # The sixteen shapes of L = 5/4: one graph for the first, then sides are variables.  Beyond 8 torch would give up
    # and run the network uncompiled.
    assert 2 <= counter.frame_count <= 6
