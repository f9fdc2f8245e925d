"""The fused kernels: which part of a network they take, and that they give what the kernels of single layers give.

Emulated, sanitizers on, as in test_parity.py, whose list runs through both kinds too; and on a GPU where there is one.
"""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from . import builds
from .conftest import random_specimen, stained
from .parity import BLOCKS, DEFAULT, EMULATED, FOLDED, LAYERS, Request, Service
from .test_parity import SMALL, check, levels

KIB = 1024
LIMITS = {"sm_80": 163 * KIB, "sm_86": 99 * KIB, "sm_89": 99 * KIB, "sm_90": 227 * KIB, "sm_120": 99 * KIB}
"""Shared memory that one block of threads may have: CUDA C++ Programming Guide, table of technical specifications."""
FUSED = "one launch a block: 1 2 3 4 5, the first with the input convolution; tail folded"


@pytest.fixture(scope="module", params=["emulated", "gpu"])
def place(request):
    """(what Request.serve takes, device)"""
    if request.param == "emulated":
        yield (str(builds.emulation() / "superres_parity"),), EMULATED
        return
    service = Service(builds.on_gpu() / "superres_parity")
    yield service, 0
    service.stop()


@pytest.fixture(scope="module", params=["emulated"])
def host():
    """The same for what concerns no card, or would take too much of its time."""
    return (str(builds.emulation() / "superres_parity"),), EMULATED


def served(place, folder, case, variants, *inputs, shared_bytes=None):
    """[(what the model says, its outputs)] for each variant."""
    command, device = place
    request = Request()
    for variant in variants:
        request.model(case.hyper, case.tensors, device, variant=variant)
        for images in inputs:
            request.forward(images, np.empty(case.output_shape(images), images.dtype))
    more = {} if shared_bytes is None else {"SUPERRES_EMULATION_SHARED": str(shared_bytes)}
    outcomes = request.serve(command, folder, {**os.environ, **more})
    assert [each.message for each in outcomes if each.status] == []
    of_each = len(inputs) + 1
    return [(outcomes[at].message, [each.output.reshape(case.output_shape(images)) for each, images in zip(
        outcomes[at + 1:at + of_each], inputs, strict=True)]) for at in range(0, len(outcomes), of_each)]


def same_bits(place, folder, case, *inputs):
    """A fused block computes the same sums in the same order, and rounds the same middle: not a bit may differ."""
    (_, apart), (_, fused) = served(place, folder, case, (LAYERS, BLOCKS), *inputs)
    for one, other in zip(apart, fused, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_page_tells_launches_and_workspace_of_each_variant(tmp_path, project_root):
    """docs/engine.md, for the paper's network and its largest frame."""
    case, request, side = random_specimen(), Request(), 2048
    variants = {"layers": LAYERS, "blocks": BLOCKS, "folded": FOLDED}
    for variant in variants.values():
        request.model(case.hyper, case.tensors, EMULATED, variant=variant)
        request.workspace(1, side, side)
    answers = [each.message for each in request.serve([builds.emulation() / "superres_parity"], tmp_path)]
    page = " ".join((project_root / "docs" / "engine.md").read_text(encoding="utf-8").split())
    told = dict(re.findall(r"\| `(\w+)`(?: \(default\))? \| (\d+) \|", page))
    assert told == {name: re.search(r"^launches=(\d+)$", said, re.MULTILINE)[1]
                    for name, said in zip(variants, answers[::2], strict=True)}
    layers, _, folded = (int(answer) for answer in answers[1::2])
    assert f"{folded / side ** 2:.0f} instead of {layers / side ** 2:.0f} bytes of workspace a pixel" in page
    assert f"frame takes {folded / 1e9:.2f} GB of workspace whole" in page


@pytest.mark.parametrize("architecture", LIMITS)
@pytest.mark.parametrize("grow", ["second", "first"])
def test_the_papers_network_is_fused_on_every_architecture(host, tmp_path, architecture, grow):
    ((said, _),) = served(host, tmp_path, random_specimen(grow=grow), (FOLDED,), shared_bytes=LIMITS[architecture])
    assert FUSED in said and "launches=7\n" in said


def test_the_default_is_the_folded_variant_and_says_that_no_card_chose_it(host, tmp_path):
    (by_default, _), (folded, _) = served(host, tmp_path, random_specimen(**SMALL), (DEFAULT, FOLDED))
    assert "choice=by design, not measured on a card\n" in by_default and "choice=asked for\n" in folded
    assert by_default.replace("by design, not measured on a card", "asked for") == folded


def test_fused_blocks_give_the_bits_of_single_layers(place, tmp_path, trained):
    same_bits(place, tmp_path, trained, levels(stained(1, 17, 33)))


@pytest.mark.parametrize("grow", ["second", "first"])
def test_fused_blocks_at_sides_of_a_few_pixels(place, tmp_path, grow):
    same_bits(place, tmp_path, random_specimen(grow=grow), *[stained(1, *size) for size in ((1, 1), (2, 3), (3, 2))])


def test_fused_blocks_at_every_edge_of_a_tile(place, tmp_path):
    sizes = [*((height, width) for height in (15, 16, 17) for width in (31, 32, 33)), (18, 34), (33, 9)]
    case = random_specimen(base_channels=6, blocks=2, alpha=2)
    same_bits(place, tmp_path, case, *[stained(1, *size) for size in sizes])


@pytest.mark.parametrize("options", [
    {"base_channels": 8, "alpha": 8}, {"base_channels": 25, "alpha": 14, "grow": "first"},
    {"base_channels": 33, "alpha": 7, "input_relu": True}, {"base_channels": 48, "alpha": 16},
    {"base_channels": 64, "alpha": 0, "blocks": 2}])
def test_other_widths_are_fused_too(place, tmp_path, options):
    case = random_specimen(**{"blocks": 1, **options})
    images = stained(2, 5, 7)
    same_bits(place, tmp_path, case, images)
    ((said, (result,)),) = served(place, tmp_path, case, (FOLDED,), images)
    check(case, images, result)
    assert ("one launch a block: 1" in said) == (options["base_channels"] < 57), said


def test_where_shared_memory_is_short_single_layers_take_over(host, tmp_path):
    """Block by block, and the model says so."""
    case, images = random_specimen(), stained(1, 5, 20)
    ((_, (expected,)),) = served(host, tmp_path, case, (LAYERS,), images)
    seen = set()
    for limit, which in ((98 * KIB, FUSED), (90 * KIB, "one launch a block: 1 2 3 4; one launch a layer: 5; tail"),
                         (48 * KIB, "; one launch a layer: 1 2 3 4 5; tail folded")):
        ((said, (result,)),) = served(host, tmp_path, case, (BLOCKS,), images, shared_bytes=limit)
        assert which.replace("folded", "in two launches") in said, said
        np.testing.assert_array_equal(result, expected)
        seen.add(said)
    assert len(seen) == 3


@pytest.mark.parametrize(("up", "down"), [(5, 2), (3, 2), (7, 2), (6, 4)])
def test_the_folded_tail_is_the_two_layers(place, tmp_path, up, down):
    """Odd and even sides, since the last output pixel reads beyond the picture for some; both kinds of output."""
    case = random_specimen(**SMALL, up=up, down=down)
    inputs = [kind(stained(2, height, width)) for height, width in ((1, 1), (2, 2), (3, 4), (4, 5), (17, 34), (18, 31))
              for kind in (lambda x: x, levels)]
    (said, plain), (folded_said, folded) = served(place, tmp_path, case, (BLOCKS, FOLDED), *inputs)
    assert "tail in two launches" in said and "tail folded" in folded_said
    for images, one, other in zip(inputs, plain, folded, strict=True):
        check(case, images, one)
        check(case, images, other)
        assert not np.array_equal(one, other) or images.dtype == np.uint8, "they are two ways to compute it"


@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 1), (4, 4), (7, 3), (8, 3), (4, 2)])
def test_other_scales_take_the_tail_in_two_launches(host, tmp_path, up, down):
    ((said, _),) = served(host, tmp_path, random_specimen(**SMALL, up=up, down=down), (FOLDED,))
    assert "tail in two launches" in said


def test_large_and_tiny_weights_survive_the_fold(place, tmp_path):
    """Their products are beyond float16, or below it: they are scaled by a power of two before they are packed."""
    for first, second in ((3e4, 8.0), (1e-4, 1e-3)):
        case = random_specimen(**SMALL)
        case.tensors["expand.weight"] *= first / np.abs(case.tensors["expand.weight"]).max()
        case.tensors["output.weight"] *= second / np.abs(case.tensors["output.weight"]).max()
        images = stained(1, 6, 7)
        ((_, (result,)),) = served(place, tmp_path, case, (FOLDED,), images)
        check(case, images, result)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(33, 47), (64, 64), (15, 31), (16, 32), (17, 33), (1, 65), (65, 1)])
@pytest.mark.parametrize("grow", ["second", "first"])
def test_the_papers_network_fused_at_larger_sizes(host, tmp_path, trained, size, grow):
    case = trained if grow == "second" else random_specimen(grow=grow)
    images = stained(1, *size)
    same_bits(host, tmp_path, case, images, levels(images))
    ((_, results),) = served(host, tmp_path, case, (FOLDED,), images, levels(images))
    for given, result in zip((images, levels(images)), results, strict=True):
        check(case, given, result)
