"""What a process that runs only the engine takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak in /proc")
PROGRAM = """
import numpy as np, superres
from pathlib import Path
engine = superres.Engine.load("tests/data/quickstart-weights.safetensors", device="cpu", engine={engine!r})
image = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), dtype=np.uint8)
shape = engine(image).shape
# Not ru_maxrss, which begins with the peak of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(shape, int(status["VmHWM"].split()[0]) * 1.024e-3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_2048_px_stay_under_1500_mb(engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(engine=engine)], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    shape, megabytes = done.stdout.rsplit(maxsplit=1)
    assert shape == "(5120, 5120, 3)"
    assert float(megabytes) < 1500
