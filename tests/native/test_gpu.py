"""What only a GPU can show: streams, graphs, other devices, indices beyond 2³¹.

Skipped without one; SUPERRES_REQUIRE_CUDA=1 turns that into a failure.  Not yet run on a GPU.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from superres import native
from superres.errors import EngineError, ImageError
from superres.native.model import NativeModel

from . import builds
from .conftest import stained

SMALL = {"base_channels": 6, "blocks": 1, "alpha": 2}


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if not torch.cuda.is_available():
        builds.missing("torch sees no GPU")
    if not native.device_count():
        builds.missing(f"the native module uses no GPU: {native.build_info()} {native.reason_unavailable()}")
    return torch.device("cuda", 0)


@pytest.fixture(scope="module")
def small(specimen):
    case = specimen(**SMALL)
    return case, NativeModel.create(case.hyper, case.tensors, device=0)


def on_gpu(array):
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def relative(result, expected):
    return np.sqrt(np.mean((result.cpu().numpy() - expected) ** 2) / np.mean(expected ** 2))


def test_trained_weights_are_within_the_tolerance(trained):
    model = NativeModel.create(trained.hyper, trained.tensors, device=0)
    images = stained(2, 160, 170)
    assert relative(model(on_gpu(images)), trained.expected(images)) <= 5e-4
    grey = np.rint(images * 255).astype(np.uint8)
    expected = np.rint(np.clip(trained.expected(grey / 255.0), 0, 1) * 255)
    assert np.abs(model(on_gpu(grey)).cpu().numpy() - expected).max() <= 1


def test_views_of_any_stride(small):
    _, model = small
    images = on_gpu(stained(2, 20, 24))
    grey = images[:, :1].expand(-1, 3, -1, -1)
    for view in (images.to(memory_format=torch.channels_last), images[:, :, ::2, 1::3], grey):
        assert torch.equal(model(view), model(view.contiguous()))


def test_the_current_stream_is_used_and_two_do_not_disturb_each_other(small):
    _, model = small
    streams = [torch.cuda.Stream() for _ in range(2)]
    images = [on_gpu(stained(1, 200 + 8 * index, 300, seed=index)) for index in range(2)]
    alone = [model(image) for image in images]
    torch.cuda.synchronize()
    results: list[list[torch.Tensor]] = [[], []]
    for _ in range(10):
        for index, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                results[index].append(model(images[index]))
    torch.cuda.synchronize()
    assert all(torch.equal(result, alone[index]) for index in range(2) for result in results[index])
    # Work queued after a long kernel of the same stream sees what that kernel wrote.
    with torch.cuda.stream(streams[0]):
        late = torch.zeros_like(images[0])
        torch.cuda._sleep(50_000_000)
        late.copy_(images[0])
        result = model(late)
    torch.cuda.synchronize()
    assert torch.equal(result, alone[0])


def test_a_forward_can_be_captured_in_a_graph(small):
    """Nothing is allocated by the library: workspace and output come from the capture's own pool."""
    _, model = small
    static = on_gpu(stained(1, 40, 50))
    model(static)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = model(static)
    for seed in range(3):
        image = on_gpu(stained(1, 40, 50, seed=seed))
        static.copy_(image)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(result, model(image))


def test_four_threads_share_one_model(small):
    _, model = small
    images = [on_gpu(stained(1, 64 + 16 * index, 80, seed=index)) for index in range(4)]
    alone = [model(image) for image in images]
    torch.cuda.synchronize()
    wrong = []

    def work(index):
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(10):
                result = model(images[index])
                torch.cuda.current_stream().synchronize()
                if not torch.equal(result, alone[index]):
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_image_on_the_cpu_is_refused(small):
    _, model = small
    with pytest.raises(ImageError, match="lies on the CPU; the model runs on cuda:0"):
        model(stained(1, 4, 4))


def test_a_device_that_is_not_current_is_used_and_the_current_one_stays(specimen):
    if torch.cuda.device_count() < 2:
        builds.beyond("one GPU is here; two are needed")
    case = specimen(**SMALL)
    model = NativeModel.create(case.hyper, case.tensors, device=1)
    with torch.cuda.device(0):
        result = model(torch.from_numpy(stained(1, 9, 9)).cuda(1))
        assert torch.cuda.current_device() == 0 and result.device.index == 1


@pytest.mark.slow
def test_more_than_2_to_the_31_elements(specimen):
    """An output of 3 · 28,000² elements: the last rows are those of the last rows alone."""
    case = specimen(base_channels=3, blocks=1, alpha=0, up=1, down=1)
    model = NativeModel.create(case.hyper, case.tensors, device=0)
    side = 28_000
    if torch.cuda.mem_get_info()[0] < 2 * 3 * side ** 2 + model.workspace_bytes(1, side, side):
        builds.beyond(f"the card has {torch.cuda.mem_get_info()[0] >> 30} GiB free, too little for this test")
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, device="cuda")
    whole = model(image)
    assert torch.equal(whole[:, :, -32:], model(image[:, :, -64:])[:, :, -32:])


def test_memory_that_is_not_there_is_an_error_not_a_crash(specimen):
    case = specimen(**SMALL)
    with pytest.raises(EngineError, match="not here"):
        NativeModel.create(case.hyper, case.tensors, device=torch.cuda.device_count())


def test_the_engine_runs_uint8_through_the_kernels(project_root):
    from superres.engine import Engine

    weights = project_root / "tests" / "data" / "quickstart-weights.safetensors"
    image = np.rint(stained(1, 90, 70)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    whole = Engine.load(weights, device="cuda", engine="native")(image)
    tiled = Engine.load(weights, device="cuda", engine="native", tile_px=32)(image)
    reference = Engine.load(weights, device="cpu", engine="torch")(image)
    np.testing.assert_array_equal(whole, tiled)
    assert np.abs(whole.astype(int) - reference).max() <= 1


def test_the_operator_compiles_for_the_gpu(small):
    from superres.inference.native_network import NativeNetwork, native_forward

    network = NativeNetwork(small[1])
    image = on_gpu(stained(1, 12, 14))
    torch.library.opcheck(native_forward, (image, network.number, 5, 2))
    assert torch.equal(torch.compile(network, fullgraph=True)(image), network(image))


def test_a_stream_gives_what_calls_give(project_root):
    """Copies beside the computing, page-locked buffers used again and again; frames of two sizes."""
    from superres.engine import Engine

    weights = project_root / "tests" / "data" / "quickstart-weights.safetensors"
    units = [stained(1, 98 if index % 3 == 2 else 90, 70, seed=index)[0].transpose(1, 2, 0) for index in range(9)]
    frames = [np.rint(unit * 255).astype(np.uint8) for unit in units]
    for name in ("native", "torch"):
        engine = Engine.load(weights, device="cuda", engine=name)
        for frame, result in zip(frames, engine.stream(iter(frames)), strict=True):
            np.testing.assert_array_equal(result.unwrap(), engine(frame))


@pytest.mark.parametrize("variant", ["layers", "blocks", "folded"])
def test_two_workers_on_one_gpu_give_the_bits_of_one(trained, variant):
    from superres.native.several import SeveralModels

    models = [NativeModel.create(trained.hyper, trained.tensors, device=0, variant=variant) for _ in range(2)]
    images = stained(1, 131, 150)
    alone = models[0](on_gpu(images))
    assert torch.equal(SeveralModels(models)(on_gpu(images)), alone)
    np.testing.assert_array_equal(SeveralModels(models)(images), alone.cpu().numpy())
    limit = models[0].workspace_bytes(1, 60, 150)
    assert torch.equal(models[0](on_gpu(images), workspace_bytes=limit), alone)


def test_two_gpus_give_the_bits_of_one(trained):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU is here; two are needed")
    from superres.native.several import SeveralModels

    models = [NativeModel.create(trained.hyper, trained.tensors, device=device) for device in range(2)]
    images = on_gpu(stained(1, 131, 150))
    assert torch.equal(SeveralModels(models)(images), models[0](images))


@pytest.mark.parametrize("variant", ["layers", "folded"])
def test_a_captured_model_gives_what_the_model_gives_on_any_stream(trained, variant):
    from superres.native.graph import CapturedModel

    model = NativeModel.create(trained.hyper, trained.tensors, device=0, variant=variant)
    frames = [on_gpu(np.rint(stained(1, 160, 160, seed=seed) * 255).astype(np.uint8)) for seed in range(4)]
    expected = [model(frame) for frame in frames]
    captured = CapturedModel(model, (1, 3, 160, 160))
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(2)]
    results = []
    for index, frame in enumerate(frames):
        with torch.cuda.stream(streams[index % 2]):
            results.append(captured(frame))
    torch.cuda.synchronize()
    assert all(torch.equal(one, other) for one, other in zip(results, expected, strict=True))
    with pytest.raises(ImageError, match="this graph was captured for"):
        captured(frames[0].float())


def test_a_capture_may_be_dropped_while_its_launch_is_on_its_way(small):
    """Its workspace is not given away until the launch has ended."""
    _, model = small
    image = on_gpu(stained(1, 64, 80))
    expected, result = model(image), model.allocate(image)
    launch = model.capture(image, result)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        launch()
    del launch
    junk = [torch.full((model.workspace_bytes(1, 64, 80) + 256,), 255, dtype=torch.uint8, device="cuda")
            for _ in range(8)]
    torch.cuda.synchronize()
    assert torch.equal(result, expected) and len(junk) == 8
