"""What passes by emulation is worth as much as the emulation notices: barriers and waits are taken away one by one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from . import builds
from .conftest import random_specimen, stained
from .parity import EMULATED, Request

KERNEL = Path("csrc/kernels/convolution.h")
GUARD = re.compile(r"^ *(if \(chunk > 0\)\n *)?block\.(sync|template wait<[^>]*>)\(\);.*\n", re.MULTILINE)


def guards(source: str) -> list[re.Match[str]]:
    return list(GUARD.finditer(source))


def test_every_barrier_of_the_kernel_is_known(project_root):
    """If one comes or goes, the list of the next test follows; here it is only counted."""
    found = [match[2] for match in guards((project_root / KERNEL).read_text())]
    assert found.count("sync") == 5 and len(found) == 8


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_without_a_barrier_or_wait_the_result_is_wrong(tmp_path, project_root, number):
    for name in ("csrc", "CMakeLists.txt", "superres/_version.py"):
        origin, target = project_root / name, tmp_path / "sources" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, target) if origin.is_dir() else shutil.copy(origin, target)
    kernel = tmp_path / "sources" / KERNEL
    source = kernel.read_text()
    match = guards(source)[number]
    kernel.write_text(source[:match.start()] + source[match.end():])
    builds.run(builds.tool("cmake"), "-S", tmp_path / "sources", "-B", tmp_path / "build", "-G", "Ninja",
               f"-DCMAKE_MAKE_PROGRAM={builds.tool('ninja')}", "-DSUPERRES_PYTHON=OFF", "-DSUPERRES_CUDA=OFF",
               "-DSUPERRES_EMULATION=ON", "-DSUPERRES_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release",
               "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    builds.run(builds.tool("cmake"), "--build", tmp_path / "build")
    # More than 64 channels, so that the tile is filled in two chunks; two rows of tiles.
    case, images = random_specimen(base_channels=72, blocks=1, alpha=8), stained(1, 17, 9)
    request = Request()
    request.model(case.hyper, case.tensors, EMULATED)
    request.forward(images, np.empty(case.output_shape(images), np.float32))
    expected = case.expected(images)
    errors = []
    for environment in ({}, {"SUPERRES_EMULATION_REVERSED": "1"}):
        try:
            _, outcome = request.serve([tmp_path / "build" / "superres_parity"], tmp_path, environment)
        except AssertionError:
            errors.append(np.inf)   # it crashed: an address that was not there yet
            continue
        result = outcome.output.reshape(case.output_shape(images))
        errors.append(float(np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected ** 2))))
    last_wait = match[2] == "template wait<0>" and "if (args.residual != nullptr)\n    fetch_residual" in \
        source[match.start():match.start() + 200]
    if last_wait:
        # Only commits without copies are open there: it is a promise to those who change the loop, not a need.
        assert max(errors) <= 5e-4
    else:
        assert not max(errors) <= 5e-4, errors
