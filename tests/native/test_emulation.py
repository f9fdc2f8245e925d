"""What passes by emulation is worth as much as the emulation notices: barriers and waits are taken away one by one."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from . import builds
from .conftest import random_specimen, stained
from .parity import DEFAULT, EMULATED, LAYERS, Request, Service

KERNELS = Path("csrc/kernels")
GUARD = re.compile(r"^ *(if \(chunk > 0\)\n *)?block\.(sync|template wait<[^>]*>)\(\);.*\n", re.MULTILINE)
GUARDS = {"implicit_gemm.h": ("template wait<kSlots - 2>", "sync"),
          "convolution.h": ("template wait<0>", "sync", "sync", "template wait<0>", "sync", "sync"),
          "residual_block.h": ("template wait<0>", "sync", "sync"),
          "folded_tail.h": ("sync", "template wait<0>", "sync", "sync")}
"""Every barrier and wait of the kernels, in the order in which they stand."""
NEEDLESS = {("convolution.h", 3), ("residual_block.h", 0), ("folded_tail.h", 1)}
"""The last wait of a product: only commits without copies are open there.  A promise to those who change the loop."""


@dataclass(frozen=True)
class Guard:
    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.file} {self.number}"


def guards(source: str) -> list[re.Match[str]]:
    return list(GUARD.finditer(source))


def test_every_barrier_of_the_kernels_is_known(project_root):
    """If one comes or goes, the list of the next test follows."""
    found = {path.name: tuple(match[2] for match in guards(path.read_text()))
             for path in (project_root / KERNELS).glob("*.h") if not path.name.startswith("shim")}
    assert {name: known for name, known in found.items() if known} == GUARDS


@pytest.mark.slow
@pytest.mark.parametrize("guard", [Guard(name, number) for name, known in GUARDS.items()
                                   for number in range(len(known))], ids=str)
def test_without_a_barrier_or_wait_the_result_is_wrong(tmp_path, project_root, guard):
    for name in ("csrc", "CMakeLists.txt", "superres/_version.py"):
        origin, target = project_root / name, tmp_path / "sources" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, target) if origin.is_dir() else shutil.copy(origin, target)
    kernel = tmp_path / "sources" / KERNELS / guard.file
    source = kernel.read_text()
    match = guards(source)[guard.number]
    kernel.write_text(source[:match.start()] + source[match.end():])
    builds.run(builds.tool("cmake"), "-S", tmp_path / "sources", "-B", tmp_path / "build", "-G", "Ninja",
               f"-DCMAKE_MAKE_PROGRAM={builds.tool('ninja')}", "-DSUPERRES_PYTHON=OFF", "-DSUPERRES_CUDA=OFF",
               "-DSUPERRES_EMULATION=ON", "-DSUPERRES_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release",
               "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    builds.run(builds.tool("cmake"), "--build", tmp_path / "build", "--target", "superres_parity")
    errors = errors_of(tmp_path)
    worst = float(np.max(errors))   # NaN where one is
    if (guard.file, guard.number) in NEEDLESS:
        assert worst <= 5e-4, errors
    else:
        assert not worst <= 5e-4, errors


def errors_of(folder: Path) -> list[float]:
    """Relative errors of both kinds of kernels, the warps in either order; infinite for a crash."""
    # More than 64 channels, so that the tile is filled in two chunks; and blocks that are fused, with and without the
    # input convolution.  Two rows of tiles, and more than four groups for the folded tail.
    cases = [(random_specimen(base_channels=72, blocks=1, alpha=8), LAYERS),
             (random_specimen(base_channels=32, blocks=2, alpha=10), DEFAULT)]
    images = stained(1, 17, 9)
    errors = []
    for case, variant in cases:
        request = Request()
        request.model(case.hyper, case.tensors, EMULATED, variant=variant)
        request.forward(images, np.empty(case.output_shape(images), np.float32))
        expected = case.expected(images)
        for environment in ({}, {"SUPERRES_EMULATION_REVERSED": "1"}):
            try:
                made, outcome = request.serve([folder / "build" / "superres_parity"], folder, environment)
            except AssertionError:
                errors.append(np.inf)   # it crashed: an address that was not there yet
                continue
            assert variant == LAYERS or "one launch a block: 1 2, the first with the input convolution" in made.message
            result = outcome.output.reshape(case.output_shape(images))
            errors.append(float(np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected ** 2))))
    return errors


def test_a_driver_that_stays_serves_what_processes_of_their_own_do_and_is_there_again_after_a_failure(tmp_path):
    """The GPU's tests reach their card through one process."""
    program = builds.emulation() / "superres_parity"
    case, images = random_specimen(base_channels=6, blocks=1, alpha=2), stained(1, 3, 4)
    asked, broken = Request(), Request(parts=[b"NONE"])
    asked.model(case.hyper, case.tensors, EMULATED)
    asked.forward(images, np.empty(case.output_shape(images), np.float32))
    _, expected = asked.serve([program], tmp_path)
    service = Service(program)
    for _ in range(2):
        _, outcome = asked.serve(service, tmp_path)
        np.testing.assert_array_equal(outcome.output, expected.output)
    with pytest.raises(AssertionError, match="error: the request is none\nthe driver ended with status 1"):
        broken.serve(service, tmp_path)
    refused = Request()
    refused.model(case.hyper, case.tensors, device=99)
    (answer,) = refused.serve(service, tmp_path)
    assert answer.status != 0
    refused.forward(images, np.empty(case.output_shape(images), np.float32))
    with pytest.raises(AssertionError, match=r"error: there is no model: .*(device 99|CUDA)"):
        refused.serve(service, tmp_path)
    _, outcome = asked.serve(service, tmp_path)
    np.testing.assert_array_equal(outcome.output, expected.output)
    service.stop()
