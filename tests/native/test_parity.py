"""The kernels against the float64 twin: by emulation on the host everywhere, on a GPU where there is one.

The emulation runs the source of the kernels itself, under address and undefined-behaviour sanitizers; shared memory,
workspace and outputs begin as NaN or 0xA5.  What only a GPU can show is in test_gpu.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from . import builds
from .conftest import Specimen, random_specimen, stained
from .parity import DEFAULT, EMULATED, LAYERS, POISON, Request, Service

RELATIVE = 5e-4
"""Of the root mean square: a dozen roundings to float16 in a row, each 2⁻¹² at most, of weights and of values."""

TILE_EDGES = [(height, width) for height in (15, 16, 17, 18) for width in (31, 32, 33, 34)]
SMALL = {"base_channels": 6, "blocks": 1, "alpha": 2}


@dataclass(frozen=True)
class Driver:
    command: tuple[str, ...] | Service
    device: int
    folder: Path
    variant: int = DEFAULT

    def forwards(self, case: Specimen, *inputs: np.ndarray, reverse: bool = False) -> list[np.ndarray]:
        """Outputs, contiguous, one for each (N, 3, H, W) input."""
        request = Request()
        request.model(case.hyper, case.tensors, self.device, variant=self.variant)
        for images in inputs:
            request.forward(images, np.empty(case.output_shape(images), images.dtype))
        environment = {**os.environ, **({"SUPERRES_EMULATION_REVERSED": "1"} if reverse else {})}
        made, *outcomes = request.serve(self.command, self.folder, environment)
        assert made.status == 0, made.message
        assert [each.message for each in outcomes if each.status] == []
        return [each.output.reshape(case.output_shape(images)) for each, images in zip(outcomes, inputs, strict=True)]


@pytest.fixture(scope="module", params=[
    "emulated", pytest.param("emulated, layer by layer", marks=pytest.mark.slow), "gpu", "gpu, layer by layer"])
def driver(request, tmp_path_factory) -> Iterator[Driver]:
    """Fused blocks with the folded tail, which is the default, and the kernels that take whatever these do not; bit by
    bit the two are compared in test_fused.py."""
    place, _, variant = request.param.partition(", ")
    folder, number = tmp_path_factory.mktemp("parity"), LAYERS if variant else DEFAULT
    if place == "emulated":
        yield Driver((str(builds.emulation() / "superres_parity"),), EMULATED, folder, number)
        return
    service = Service(builds.on_gpu() / "superres_parity")
    yield Driver(service, 0, folder, number)
    service.stop()


def levels(images: np.ndarray) -> np.ndarray:
    return np.rint(images * 255).astype(np.uint8)


def check(case: Specimen, images: np.ndarray, result: np.ndarray, relative: float = RELATIVE) -> None:
    assert result.shape == case.output_shape(images)
    if images.dtype == np.uint8:
        expected = np.rint(np.clip(case.expected(images / 255.0), 0, 1) * 255)
        assert np.abs(result - expected).max() <= 1
        return
    expected = case.expected(images)
    scale = np.sqrt(np.mean(expected ** 2))
    assert np.sqrt(np.mean((result - expected) ** 2)) <= relative * scale
    # Single values err by a few standard deviations of that.
    assert np.abs(result - expected).max() <= 8 * relative * scale


def both(driver: Driver, case: Specimen, *inputs: np.ndarray) -> None:
    """Each float32 input, and the same as uint8."""
    everything = [each for images in inputs for each in (images, levels(images))]
    for images, result in zip(everything, driver.forwards(case, *everything), strict=True):
        check(case, images, result)


def test_the_papers_network_as_trained(driver, trained):
    both(driver, trained, stained(1, 17, 33))


@pytest.mark.parametrize("grow", ["second", "first"])
def test_the_papers_network_with_random_weights(driver, grow):
    both(driver, random_specimen(grow=grow), stained(1, 9, 12))


def test_every_size_around_a_tile(driver):
    """16 × 32 pixels are a tile."""
    sizes = [(1, 1), (1, 2), (1, 40), (40, 1), (2, 2), (3, 5), (37, 41), *TILE_EDGES]
    both(driver, random_specimen(**SMALL), *[stained(1, *size) for size in sizes])


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_images_of_a_batch_do_not_touch(driver, count):
    case, images = random_specimen(**SMALL), stained(count, 5, 6)
    together, *alone = driver.forwards(case, images, *[image[None] for image in images])
    check(case, images, together)
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("channels", [1, 3, 7, 8, 9, 16, 23, 24, 33, 48, 56, 64, 65, 80, 129, 256])
def test_a_block_of_any_width(driver, channels):
    """From one lane of eight to four chunks of input and four blocks of output."""
    both(driver, random_specimen(seed=channels, base_channels=channels, blocks=1, alpha=0), stained(1, 3, 4))


@pytest.mark.parametrize("options", [
    {"base_channels": 30, "blocks": 2, "alpha": 50, "grow": "first"}, {"base_channels": 5, "blocks": 3, "alpha": 9},
    {"up": 1, "down": 1}, {"up": 2, "down": 1}, {"up": 3, "down": 2}, {"up": 4, "down": 4}, {"up": 7, "down": 3},
    {"up": 8, "down": 1}, {"up": 8, "down": 3, "input_relu": True}, {"up": 6, "down": 4, "grow": "first"}])
def test_every_scale_and_growth(driver, options):
    both(driver, random_specimen(**{"base_channels": 9, "blocks": 1, "alpha": 4, **options}), stained(2, 7, 33))


def test_constants_and_impulses(driver):
    """A wrong border, a wrong phase and a mirrored kernel each show somewhere."""
    height, width = 18, 35
    images = [np.full((1, 3, height, width), value, np.float32) for value in (0.0, 0.5, 1.0)]
    for y in (0, height // 2, height - 1):
        for x in (0, width // 2, width - 1):
            images.append(np.zeros((1, 3, height, width), np.float32))
            images[-1][0, :, y, x] = 1.0
    both(driver, random_specimen(**SMALL), *images)


def test_beyond_the_image_is_zero_not_what_biases_make_of_it(driver):
    case = random_specimen(**SMALL)
    for name, values in case.tensors.items():
        if name.endswith("bias"):
            values[:] = 3.0
    both(driver, case, np.zeros((1, 3, 18, 35), np.float32))


def test_ties_go_to_even_and_the_ends_are_clamped(driver):
    case = random_specimen(**SMALL)
    for values in case.tensors.values():
        values[:] = 0
    seen = []
    for bias in (0.5, 1.5, 2.5, 3.5, -2.0, 254.5, 255.5, 300.0):
        case.tensors["output.bias"][:] = np.float32(bias) / np.float32(255)
        (result,) = driver.forwards(case, np.zeros((1, 3, 2, 2), np.uint8))
        exact = np.float32(case.tensors["output.bias"][0]) * np.float32(255)
        seen.append(exact == bias)
        assert (result == np.rint(np.clip(exact, 0, 255))).all()
    assert sum(seen) >= 4, "most biases are ties exactly"


def test_float_input_is_better_than_float16(driver):
    """What float16 leaves of a colour is carried in other channels: 0.3 and its neighbour in float16 are told apart."""
    case = random_specimen(base_channels=3, blocks=1, alpha=0, up=1, down=1)
    for values in case.tensors.values():
        values[:] = 0
    for name in ("input", "expand", "output"):
        for colour in range(3):
            case.tensors[f"{name}.weight"][colour, colour, 1, 1] = 1.0
    case.tensors["input.bias"][:] = -0.3
    step = 2.0 ** -14                   # a quarter of the distance of float16 values there
    images = np.full((1, 3, 2, 2), 0.3, np.float32)
    first, second = driver.forwards(case, images, images + np.float32(step))
    assert np.abs(second - first - step).max() < step / 16


def test_padded_channels_stay_zero(driver):
    """Six channels give what eight give, two of which are nothing."""
    six = random_specimen(base_channels=6, blocks=1, alpha=0)
    eight = random_specimen(base_channels=8, blocks=1, alpha=0)
    for name, values in eight.tensors.items():
        values[:] = 0
        values[tuple(slice(extent) for extent in six.tensors[name].shape)] = six.tensors[name]
    images = stained(1, 17, 20)
    np.testing.assert_array_equal(driver.forwards(six, images)[0], driver.forwards(eight, images)[0])


@pytest.mark.parametrize("view", [
    lambda x: x[:, :, ::-1], lambda x: x[:, :, :, ::-1], lambda x: x[:, ::-1], lambda x: x[:, :, 1:, 1:],
    lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    lambda x: np.broadcast_to(x[:, :1], x.shape)])
def test_views_are_read_where_they_lie(driver, view):
    case, images = random_specimen(**SMALL), stained(2, 9, 12)
    inputs = [view(images), view(levels(images))]
    results = driver.forwards(case, *inputs, *[np.ascontiguousarray(each) for each in inputs])
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


def test_outputs_go_where_they_are_wanted_and_nowhere_else(driver):
    case, images = random_specimen(**SMALL), levels(stained(2, 5, 7))
    count, _, height, width = case.output_shape(images)
    (expected,) = driver.forwards(case, images)
    buffer = np.empty((count, height + 3, width + 5, 4), np.uint8)
    place = buffer[:, 1:1 + height, 2:2 + width, :3].transpose(0, 3, 1, 2)[:, :, ::-1]
    request = Request()
    request.model(case.hyper, case.tensors, driver.device, variant=driver.variant)
    request.forward(images, place)
    (_, outcome) = request.serve(driver.command, driver.folder)
    filled = outcome.output.reshape(buffer.shape)
    np.testing.assert_array_equal(filled[:, 1:1 + height, 2:2 + width, :3].transpose(0, 3, 1, 2)[:, :, ::-1], expected)
    filled[:, 1:1 + height, 2:2 + width, :3] = POISON
    assert (filled == POISON).all()


def test_uint8_needs_no_alignment_and_nothing_gives_nothing(driver):
    case, images = random_specimen(**SMALL), levels(stained(1, 6, 9))
    memory = np.zeros(images.size + 1, np.uint8)
    memory[1:] = images.ravel()
    empty = np.zeros((0, 3, 4, 4), np.uint8)
    aligned, odd, nothing = driver.forwards(case, images, memory[1:].reshape(images.shape), empty)
    np.testing.assert_array_equal(aligned, odd)
    assert nothing.size == 0


def test_the_same_bits_again_and_in_another_order_of_warps(driver):
    """Without a barrier that is needed, a warp that runs first would read what another has not written yet."""
    case, images = random_specimen(base_channels=20, blocks=1, alpha=60), stained(1, 17, 33)
    once, again = driver.forwards(case, images, images)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(driver.forwards(case, images, reverse=True)[0], once)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(160, 160), (333, 555), (127, 131)])
def test_large_sizes(driver, size):
    both(driver, random_specimen(**SMALL), stained(1, *size))


@pytest.mark.slow
@pytest.mark.parametrize("grow", ["second", "first"])
def test_the_papers_network_at_160_px(driver, trained, grow):
    both(driver, trained if grow == "second" else random_specimen(grow=grow), stained(1, 160, 160))


def test_an_activation_beyond_float16_makes_the_output_plainly_wrong(driver):
    """Not always infinite or NaN, which the ReLU takes for 0: so `Engine` compares a test frame with float32."""
    case = random_specimen(**SMALL)
    for name in ("input.weight", "input.bias", "blocks.0.first.weight"):
        case.tensors[name][:] = {"input.weight": 0.0, "input.bias": 1.0, "blocks.0.first.weight": 6e4}[name]
    images = stained(1, 5, 6)
    expected = case.expected(images)
    assert np.isfinite(expected).all() and np.abs(expected).max() > 65504
    (result,) = driver.forwards(case, images)
    assert not np.sqrt(np.mean((result - expected) ** 2)) <= 0.02 * np.sqrt(np.mean(expected ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("check_name", ["memcheck", "racecheck"])
@pytest.mark.parametrize("network", ["trained", "more than 64 channels", "up 6"])
def test_compute_sanitizer_finds_nothing(tmp_path, trained, check_name, network):
    """The paper's network; input in chunks and output in blocks; a sub-pixel layer of two blocks of channels."""
    case = {"trained": trained,
            "more than 64 channels": random_specimen(base_channels=72, blocks=1, alpha=64),
            "up 6": random_specimen(base_channels=9, blocks=1, alpha=4, up=6, down=4, grow="first")}[network]
    build = builds.on_gpu()
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        builds.missing("compute-sanitizer is not installed")
    command = (str(sanitizer), "--tool", check_name, "--error-exitcode", "9", str(build / "superres_parity"))
    both(Driver(command, 0, tmp_path), case, stained(2, 33, 50) if network == "trained" else stained(1, 17, 33))


def test_the_suite_would_see_a_wrong_network(driver):
    """One weight of the sub-pixel layer off by a tenth is far outside the tolerance."""
    case = random_specimen(**SMALL)
    wrong = Specimen(case.model, case.hyper, {name: values.copy() for name, values in case.tensors.items()})
    wrong.tensors["expand.weight"][0, 0, 1, 1] += 0.1
    images = stained(1, 5, 5)
    (result,) = driver.forwards(wrong, images)
    with pytest.raises(AssertionError):
        check(case, images, result)


