"""A forward that is captured once and launched again and again: through C on every device, and as CapturedModel."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from superres.errors import EngineError, ImageError
from superres.native.graph import CapturedModel
from superres.native.model import NativeModel

from . import builds
from .conftest import random_specimen, stained
from .parity import BLOCKS, CPU, EMULATED, FOLDED, LAYERS, POISON, Request, Service

SMALL = {"base_channels": 6, "blocks": 2, "alpha": 2}


@pytest.fixture(scope="module", params=["emulated", "gpu"])
def driver(request, tmp_path_factory):
    """(what serves requests, the device with the kernels)"""
    if request.param == "emulated":
        yield (str(builds.emulation() / "superres_parity"),), EMULATED
        return
    service = Service(builds.on_gpu() / "superres_parity")
    yield service, 0
    service.stop()


@pytest.mark.parametrize("variant", [LAYERS, BLOCKS, FOLDED])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_graph_gives_the_bits_of_a_forward_from_what_its_input_holds_when_it_is_launched(driver, tmp_path, variant,
                                                                                          dtype):
    """The driver captures over black frames, watches that nothing is computed by that, launches, writes the frames and
    launches again."""
    command, device = driver
    case, images = random_specimen(**SMALL), stained(2, 17, 9)
    images = images if dtype is np.float32 else np.rint(images * 255).astype(np.uint8)
    request = Request()
    for place in (device, CPU):
        request.model(case.hyper, case.tensors, place, variant=variant)
        for by_graph in (False, True):
            request.forward(images, np.empty(case.output_shape(images), dtype), by_graph=by_graph)
    outcomes = request.serve(command, tmp_path)
    assert [each.message for each in outcomes if each.status] == []
    for _, plain, captured in (outcomes[:3], outcomes[3:]):
        np.testing.assert_array_equal(captured.output, plain.output)
    assert not (outcomes[1].output == outcomes[1].output[0]).all()


def test_a_graph_of_no_images_does_nothing(driver, tmp_path):
    command, device = driver
    case = random_specimen(**SMALL)
    request = Request()
    for place in (device, CPU):
        request.model(case.hyper, case.tensors, place)
        request.forward(stained(1, 4, 5)[:0], np.empty((1, 3, 10, 13), np.float32)[:0], by_graph=True)
    outcomes = request.serve(command, tmp_path)
    assert [each.status for each in outcomes] == [0] * 4


@pytest.fixture(scope="module")
def model():
    case = random_specimen(**SMALL)
    return NativeModel.create(case.hyper, case.tensors, threads=1)


def frame(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.rint(stained(1, 9, 12, seed=seed) * 255).astype(np.uint8))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("later", [torch.inference_mode, torch.enable_grad])
def test_a_captured_model_gives_what_the_model_gives_in_whatever_mode(model, mode, later):
    with mode():
        captured = CapturedModel(model, (1, 3, 9, 12))
    frames = [frame(seed) for seed in range(3)]
    with later():
        results = [captured(each) for each in frames]
    for given, result in zip(frames, results, strict=True):     # the later calls have left the former results alone
        assert torch.equal(result, model(given))


def test_a_captured_model_takes_floats(model):
    captured, image = CapturedModel(model, (2, 3, 5, 7), "float32"), torch.from_numpy(stained(2, 5, 7)).requires_grad_()
    result = captured(image)
    assert not result.requires_grad and torch.equal(result, model(image.detach()))


def test_threads_share_a_captured_model(model):
    captured = CapturedModel(model, (1, 3, 9, 12))
    wrong = []

    def work(seed: int) -> None:
        given, expected = frame(seed), model(frame(seed))
        for _ in range(50):
            if not torch.equal(captured(given), expected):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


@pytest.mark.parametrize("image", [frame(0).float(), frame(0)[:, :, :8], frame(0).numpy(), None])
def test_another_frame_than_the_captured_one_is_refused(model, image):
    with pytest.raises(ImageError, match="this graph was captured for"):
        CapturedModel(model, (1, 3, 9, 12))(image)


def test_what_cannot_be_captured_is_refused(model):
    with pytest.raises(ImageError, match="dtype is 'float64'; expected uint8 or float32"):
        CapturedModel(model, (1, 3, 4, 4), "float64")
    with pytest.raises(ImageError, match="expected \\(N, 3, H, W\\)"):
        CapturedModel(model, (1, 2, 4, 4))
    image = np.zeros((1, 3, 4, 4), np.uint8)
    with pytest.raises(ImageError, match="the output is"):
        model.capture(image, np.zeros((1, 3, 9, 10), np.uint8))
    with pytest.raises(EngineError, match="too large for one call"):
        model.capture(np.broadcast_to(image[:, :, :1, :1], (1, 3, 1 << 25, 1)), np.empty((1, 3, 5 << 24, 3), np.uint8))


def test_a_capture_holds_its_model_and_buffers():
    """Python's garbage collection must not take them from under it."""
    case = random_specimen(**SMALL)
    model = NativeModel.create(case.hyper, case.tensors, threads=1)
    image, result = np.rint(stained(1, 9, 12) * 255).astype(np.uint8), np.full((1, 3, 23, 30), POISON, np.uint8)
    expected, seen = model(image), result[:]
    launch = model.capture(image.copy(), result)
    assert (seen == POISON).all()
    del model, result
    launch()
    np.testing.assert_array_equal(seen, expected)
