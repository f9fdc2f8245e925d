"""What a process that runs only the engine takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import resource, numpy as np, superres
engine = superres.Engine.load("tests/data/quickstart-weights.safetensors", device="cpu", engine={engine!r})
image = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3)).astype(np.uint8)
for number, band in enumerate(engine.stream_rows(image)):
    if number == 1:
        break
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_2048_px_stay_under_1500_mb(engine):
    """Two bands tell what all of them need; the whole output, 79 MB, comes on top in a call."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(engine=engine)], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    assert float(done.stdout) * 1.048576 + 79 < 1500
