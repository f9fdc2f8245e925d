"""libsuperres from Python: what goes in, where it comes out, and what is refused."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from superres import native
from superres.errors import EngineError, ImageError, WeightsError
from superres.native.model import NativeModel
from superres.native.several import SeveralModels

from .conftest import stained

pytestmark = pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())

SMALL = {"base_channels": 6, "blocks": 1, "alpha": 2}
# float32 sums of at most 9·62 products, a dozen layers deep, in another order than the twin's.
ROUNDING = 2e-6


@pytest.fixture(scope="module")
def small(specimen):
    return specimen(**SMALL)


@pytest.fixture(scope="module")
def model(small):
    return NativeModel.create(small.hyper, small.tensors, threads=2)


def close(result, expected):
    np.testing.assert_allclose(result, expected, atol=ROUNDING * max(1.0, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("options", [
    {}, {"grow": "first"}, {"up": 8, "down": 3}, {"up": 1, "down": 1}, {"up": 4, "down": 4, "input_relu": True},
    {"base_channels": 1, "blocks": 1, "alpha": 0}, {"base_channels": 246, "blocks": 1, "alpha": 10}])
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_every_geometry_equals_its_twin(specimen, options, size):
    case = specimen(**options)
    images = stained(2, *size)
    result = NativeModel.create(case.hyper, case.tensors)(images)
    assert result.shape == case.output_shape(images)
    close(result, case.expected(images))


def test_uint8_is_rounded_half_to_even_and_clamped(trained):
    images = np.rint(stained(1, 12, 15) * 255).astype(np.uint8)
    result = NativeModel.create(trained.hyper, trained.tensors)(images)
    expected = trained.expected(images / 255.0)
    assert result.dtype == np.uint8
    exact = np.clip(expected, 0, 1) * 255
    assert np.abs(result - exact).max() <= 0.5 + 1e-3
    # A bias of exactly half a grey level on a black image: 0.5 → 0, 1.5 → 2, 2.5 → 2; below 0 and above 255 → the ends.
    flat = {name: np.zeros_like(values) for name, values in trained.tensors.items()}
    for bias, level in ((0.5, 0), (1.5, 2), (2.5, 2), (-3.0, 0), (300.0, 255)):
        flat["output.bias"] = np.full(3, np.float32(bias) / np.float32(255), np.float32)
        if np.float32(flat["output.bias"][0]) * np.float32(255) == bias:
            black = NativeModel.create(trained.hyper, flat)(np.zeros((1, 3, 2, 2), np.uint8))
            assert (black == level).all()


@pytest.mark.parametrize("view", [
    lambda x: x[:, :, ::-1], lambda x: x[:, :, :, ::-2], lambda x: x[:, ::-1], lambda x: x[::-1],
    lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    lambda x: np.broadcast_to(x[:, :1], x.shape)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_views_are_read_where_they_lie(model, view, dtype):
    images = stained(2, 9, 12)
    images = view(images if dtype == np.float32 else np.rint(images * 255).astype(np.uint8))
    before = images.copy()
    np.testing.assert_array_equal(model(images), model(np.ascontiguousarray(images)))
    np.testing.assert_array_equal(images, before)


def test_outputs_go_where_they_are_wanted(model, small):
    images = stained(1, 6, 7)
    held = np.full((1, 40, 40, 3), 7, np.float32)
    model.run(images, held[:, 3:18, 5:23].transpose(0, 3, 1, 2))
    close(held[:, 3:18, 5:23].transpose(0, 3, 1, 2), small.expected(images))
    held[:, 3:18, 5:23] = 7
    assert (held == 7).all(), "nothing beside the output is written"


def test_torch_tensors_and_whatever_speaks_dlpack_go_in_without_a_copy(model, small):
    images = stained(2, 8, 9)
    expected = small.expected(images)
    tensor = torch.from_numpy(images)
    result = model(tensor)
    assert isinstance(result, torch.Tensor) and result.dtype == torch.float32
    close(result.numpy(), expected)
    close(model(tensor.to(memory_format=torch.channels_last)).numpy(), expected)

    for kind in (1, 3):  # the host's memory, and pinned
        foreign = Foreign(images, kind)
        result = model(foreign)
        assert isinstance(result, np.ndarray) and foreign.asked == 1
        close(result, expected)
        assert hasattr(result, "__dlpack__")


class Foreign:
    """Another framework's array.  kind: of DLPack's devices."""

    def __init__(self, images, kind):
        self.images, self.kind, self.asked = images, kind, 0

    def __dlpack__(self, **options):
        self.asked += 1
        if self.images is None:
            raise BufferError("bfloat16 is not there")
        return self.images.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.kind, 0


class Labelled(torch.Tensor):
    """A tensor of another library's class, as torchvision's tv_tensors are."""


def test_a_tensor_of_another_class_is_a_tensor(model):
    images = torch.from_numpy(stained(1, 5, 6))
    for special in (images.as_subclass(Labelled), images.clone().requires_grad_().as_subclass(Labelled)):
        for result in (model(special), SeveralModels([model, model])(special)):
            assert isinstance(result, torch.Tensor) and torch.equal(result, model(images))


def test_a_tensor_whose_memory_holds_the_other_sign_is_read_as_what_it_is(model):
    """As the imaginary part of a conjugate, for instance."""
    images = torch.from_numpy(stained(1, 5, 6))
    negative = torch.complex(torch.zeros_like(images), images).conj().imag
    assert negative.is_neg() and torch.equal(negative, -images)
    assert torch.equal(model(negative), model(-images))
    with pytest.raises(ImageError, match="holds the other sign"):
        model.run(negative, model.allocate(images))


def test_a_sparse_tensor_is_refused(model):
    with pytest.raises(ImageError, match=r"layout torch.sparse_coo; expected torch.strided"):
        model(torch.zeros(1, 3, 4, 4).to_sparse())


def test_an_output_in_the_memory_of_the_image_is_refused(model):
    """A second image would be read after the first one's output was written over it."""
    memory = np.ones(10_000, np.float32)
    images, before = memory[:96].reshape(2, 3, 4, 4), memory.copy()
    for offset in (0, 95):
        with pytest.raises(ImageError, match="lies in the memory of the image"):
            model.run(images, memory[offset:offset + 600].reshape(2, 3, 10, 10))
    with pytest.raises(ImageError, match="lies in the memory of the image"):
        model.run(images[:, :, ::-1], memory[95:695].reshape(2, 3, 10, 10)[::-1, :, ::-1])
    np.testing.assert_array_equal(memory, before)
    model.run(images, memory[96:696].reshape(2, 3, 10, 10))
    np.testing.assert_array_equal(memory[96:696].reshape(2, 3, 10, 10), model(images))


@pytest.mark.parametrize("bytes_", [0, -1])
def test_no_workspace_is_too_little(model, bytes_):
    with pytest.raises(EngineError, match=f"fits a workspace of {bytes_} bytes"):
        model(np.zeros((1, 3, 4, 4), np.float32), workspace_bytes=bytes_)


def test_nothing_in_nothing_out(model):
    assert model(np.zeros((0, 3, 4, 4), np.uint8)).shape == (0, 3, 10, 10)


@pytest.mark.parametrize(("image", "words"), [
    (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\); expected \(N, 3, H, W\)"),
    (np.zeros((1, 4, 4, 3), np.uint8), "expected"),
    (np.zeros((1, 3, 0, 4), np.uint8), "shape"),
    (np.zeros((1, 3, 4, 4)), "dtype float64; expected uint8 or float32"),
    (torch.zeros(1, 3, 4, 4, dtype=torch.float16), "dtype float16"),
    ([[1]], "is a list; expected"),
    (Foreign(None, 4), r"DLPack kind 4; expected the CPU"),
    (Foreign(None, 1), "a Foreign that numpy cannot read through DLPack: bfloat16"),
])
def test_wrong_images_are_refused(model, image, words):
    with pytest.raises(ImageError, match=words):
        model(image)


def test_an_image_elsewhere_and_an_output_of_another_size_are_refused(model):
    images = np.zeros((1, 3, 4, 4), np.uint8)
    with pytest.raises(ImageError, match="expected multiples of 4"):
        model(np.zeros((1, 3, 4, 9), np.dtype([("a", "u1"), ("b", "f4")]))["b"])
    with pytest.raises(ImageError, match=r"the output is \(1, 3, 9, 9\)"):
        model.run(images, np.zeros((1, 3, 9, 9), np.uint8))
    with pytest.raises(ImageError, match="the output is"):
        model.run(images, np.zeros((1, 3, 10, 10), np.float32))


def test_a_read_only_output_is_refused_and_stays_as_it_was(model):
    output = np.zeros((1, 3, 10, 10), np.float32)
    output.flags.writeable = False
    with pytest.raises(ImageError, match="the output is read-only"):
        model.run(np.ones((1, 3, 4, 4), np.float32), output)
    assert not output.any()


@pytest.mark.parametrize("strides", [(0, 0, 10, 1), (300, 100, 10, 0), (300, 100, 9, 1), (300, 1, 10, 1),
                                     (300, -99, 10, 1)])
def test_an_output_whose_elements_share_memory_is_refused(model, strides):
    memory = np.zeros(1000, np.float32)
    output = np.lib.stride_tricks.as_strided(memory[400:], (1, 3, 10, 10), [4 * stride for stride in strides])
    with pytest.raises(ImageError, match="elements share memory"):
        model.run(np.ones((1, 3, 4, 4), np.float32), output)
    with pytest.raises(ImageError, match="elements share memory"):
        model.run(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 10, 10).expand(1, 3, 10, 10))
    assert not memory.any()


def test_an_output_may_run_backwards_and_leave_gaps(model):
    images = stained(2, 4, 4)
    memory = np.zeros((2, 10, 6, 12), np.float32)
    output = memory[::-1, ::-1, ::2, 2:].transpose(0, 2, 1, 3)
    model.run(images, output)
    np.testing.assert_array_equal(output, model(images))


def test_a_float_at_an_odd_address_is_refused(model):
    memory = np.zeros(3 * 16 * 4 + 4, np.uint8)
    odd = np.frombuffer(memory.data, np.float32, 48, offset=1).reshape(1, 3, 4, 4)
    with pytest.raises(EngineError, match="aligned to 4 bytes"):
        model(odd)


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.pop("blocks.0.first.bias"), r"tensor 'blocks.0.first.bias' of shape \(6\) is missing"),
    (lambda t: t.update(extra=np.zeros(3, np.float32)), "tensor 'extra' is unknown"),
    (lambda t: t.update({"expand.bias": np.zeros(74, np.float32)}), r"'expand.bias' has shape \(74\); expected \(75\)"),
    (lambda t: t["input.weight"].__setitem__((0, 0, 0, 0), np.nan), "'input.weight' holds NaN"),
    (lambda t: t["output.bias"].__setitem__(0, np.inf), "'output.bias' holds NaN or infinite"),
    (lambda t: t["blocks.0.second.weight"].__setitem__((0, 0, 0, 0), 7e4), "'blocks.0.second.weight' holds 70000"),
])
def test_wrong_weights_are_refused_with_the_layer_named(small, change, words):
    tensors = {name: values.copy() for name, values in small.tensors.items()}
    change(tensors)
    with pytest.raises(WeightsError, match=words):
        NativeModel.create(small.hyper, tensors)


@pytest.mark.parametrize("offset", range(3))
def test_a_message_that_is_cut_ends_with_a_whole_character(small, offset):
    """Messages hold 511 bytes, a character here takes 3."""
    name = "x" * offset + "\N{EURO SIGN}" * 300
    with pytest.raises(WeightsError) as caught:
        NativeModel.create(small.hyper, small.tensors | {name: np.zeros(3, np.float32)})
    text = str(caught.value).partition("\n")[0]
    assert text.endswith("\N{EURO SIGN}") and 509 <= len(text.encode()) <= 511


@pytest.mark.parametrize(("change", "words"), [
    ({"blocks": 33}, "blocks is 33; expected 1 to 32"), ({"up": 9}, "up is 9"), ({"down": 3, "up": 2}, "at least down"),
    ({"base_channels": 0}, "base_channels is 0"), ({"alpha": 300}, "alpha is 300"),
    ({"base_channels": 250, "alpha": 30}, "channel count is 280; expected at most 256")])
def test_impossible_networks_are_refused(small, change, words):
    with pytest.raises(EngineError, match=words):
        NativeModel.create(small.hyper | change, small.tensors)


def test_devices_that_are_not_here_are_refused(small):
    with pytest.raises(EngineError, match=r"CUDA device 99 is not here|built without CUDA"):
        NativeModel.create(small.hyper, small.tensors, device=99)
    with pytest.raises(EngineError, match="without SUPERRES_EMULATION"):
        NativeModel.create(small.hyper, small.tensors, device=-2)
    with pytest.raises(EngineError, match="expected -1 for the CPU"):
        NativeModel.create(small.hyper, small.tensors, device=-3)


def test_a_bands_size_is_known_in_advance(model):
    """Three maps, the expanded one in the place of two, and a few rows for each thread."""
    maps = 100 * 100 * (8 + max(16, 75)) * 4
    assert maps < model.workspace_bytes(1, 100, 100) <= maps + 2 * (9 * 2 * (250 + 3) + 16) * 4
    assert model.workspace_bytes(0, 4, 4) == model.workspace_bytes(1, 1 << 25, 4) == 0


def test_describe_says_what_runs(model):
    facts = model.describe()
    assert facts["device"] == "cpu, threads 2" and facts["arithmetic"] == "float32"
    assert (facts["channels"], facts["up"], facts["halo_px"], facts["origin_multiple"]) == ("6 8", "5", "5", "2")


def test_the_same_bits_from_any_number_of_threads(small):
    images = stained(1, 33, 20)
    results = [NativeModel.create(small.hyper, small.tensors, threads=count)(images) for count in (1, 2, 7)]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_python_goes_on_while_the_network_runs(trained):
    """The lock of the interpreter is released: another thread counts on."""
    model = NativeModel.create(trained.hyper, trained.tensors, threads=1)
    done = threading.Event()
    worker = threading.Thread(target=lambda: (model(np.zeros((1, 3, 256, 256), np.float32)), done.set()))
    worker.start()
    ticks = 0
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    worker.join()
    assert ticks > 10, "with the lock held, this thread would have waited until the end"
