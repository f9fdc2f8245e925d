"""The compiled convolutions of training are those of torch, to rounding."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from superres import native
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.errors import Cancelled
from superres.events import Events
from superres.training.convolution import take_fast_convolutions
from superres.training.loop import train

from .jobs import Watch, small_job
from .test_resume import assert_same

compiled = pytest.mark.skipif(native.winograd() is None, reason=native.reason_unavailable() or
                              "this processor, or the build, has no AVX2 convolutions")

SIZES = [(2, 9, 14, 17, 19), (1, 8, 8, 16, 16), (3, 12, 7, 34, 38), (1, 1, 1, 16, 24), (1, 5, 3, 44, 75),
         (5, 4, 4, 62, 16), (2, 39, 40, 16, 18), (1, 59, 59, 16, 16)]


def random_case(n, h, w, inputs, outputs, layout):
    generator = torch.Generator().manual_seed(n * h * w + inputs)
    x = torch.rand(n, inputs, h, w, generator=generator).contiguous(memory_format=layout)
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1).to(memory_format=layout)
    return x.requires_grad_(), convolution, torch.randn(n, outputs, h, w, generator=generator)


@compiled
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_values_and_gradients_are_those_of_float64(size, layout, threads):
    x, convolution, gradient = random_case(*size, layout)
    exact = x.detach().double().requires_grad_()
    weight, bias = (each.detach().double().requires_grad_() for each in (convolution.weight, convolution.bias))
    expected = functional.conv2d(exact, weight, bias, padding=1)
    expected.backward(gradient.double())
    assert take_fast_convolutions(convolution) == 1
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = convolution(x)
        found.backward(gradient)
    finally:
        torch.set_num_threads(before)
    for ours, theirs in ((found, expected), (x.grad, exact.grad), (convolution.weight.grad, weight.grad),
                         (convolution.bias.grad, bias.grad)):
        # float32 has 1.2e-7; the transform's sums of up to 100 such terms lose a digit and a half.
        assert float((ours.detach().double() - theirs.detach()).abs().max()) < 1e-5 * float(theirs.detach().abs().max())


@compiled
def test_the_same_number_of_threads_gives_the_same_bits():
    results = []
    for _ in range(2):
        x, convolution, gradient = random_case(3, 24, 24, 20, 24, torch.channels_last)
        torch.manual_seed(1)
        nn.init.normal_(convolution.weight)
        take_fast_convolutions(convolution)
        convolution(x).backward(gradient)
        results.append(convolution.weight.grad)
    assert torch.equal(*results)


@compiled
def test_only_in_training_and_only_where_it_is_the_same_convolution():
    network = Rivenson2017Model().build()
    names = list(network.state_dict())
    # Ten in the blocks and the one that expands; not the first (3 channels in) and not the last (stride 2).
    assert take_fast_convolutions(network) == 11 and list(network.state_dict()) == names
    image = torch.rand(1, 3, 10, 12)
    plain = Rivenson2017Model().build()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network.eval()(image), plain(image)), "validation is torch's, bit for bit"
    odd = [nn.Conv2d(16, 16, 3, padding=1, stride=2), nn.Conv2d(16, 16, 3, padding=1, groups=2),
           nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"), nn.Conv2d(16, 16, 1),
           nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.Conv2d(8, 16, 3, padding=1)]
    assert take_fast_convolutions(nn.ModuleList(odd)) == 0


@compiled
def test_a_training_with_them_follows_the_one_without_and_resumes_bit_for_bit(tmp_path):
    model = Rivenson2017Model(base_channels=16, blocks=1, alpha=2)
    values = {"model": model, "steps": 14, "learning_rate": 1e-3}
    fast = train(small_job(tmp_path / "fast", **values), Events())
    plain = train(small_job(tmp_path / "plain", convolutions="torch", **values), Events())
    losses = [[row.training_loss for row in result.history] for result in (fast, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert any(not np.array_equal(fast.tensors[name], plain.tensors[name]) for name in plain.tensors), "both ran"
    with pytest.raises(Cancelled):
        train(small_job(tmp_path / "parts", **values), Watch({5: Events.cancel}))
    again = Watch()
    assert_same(train(small_job(tmp_path / "parts", **values), again), fast)
    assert not any("convolutions" in note for note in again.notes)
    assert (len(fast.convolutions), plain.convolutions) == (1, ("torch",))
    assert fast.convolutions[0].startswith("libsuperres (Winograd) in ")


@compiled
def test_a_training_that_goes_on_elsewhere_says_whose_convolutions_ran(tmp_path, monkeypatch):
    values = {"model": Rivenson2017Model(base_channels=16, blocks=1, alpha=2), "steps": 8}
    began = Watch({3: Events.cancel})
    with pytest.raises(Cancelled):
        train(small_job(tmp_path, **values), began)
    monkeypatch.setattr(native, "winograd", lambda: None)
    went_on = Watch()
    result = train(small_job(tmp_path, **values), went_on)
    first, second = result.convolutions
    assert first.startswith("libsuperres (Winograd)") and second == "torch"
    assert f"convolutions: {first}" in began.notes
    assert any(f"computed by {first}; from here on by torch" in note for note in went_on.notes)


def test_without_the_compiled_module_torch_computes(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "winograd", lambda: None)
    network = Rivenson2017Model().build()
    assert take_fast_convolutions(network) == 0
