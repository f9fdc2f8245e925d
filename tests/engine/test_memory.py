"""A large image in bounded memory, measured in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak in /proc")

PROGRAM = """
import sys, numpy as np, torch
from pathlib import Path
torch.set_num_threads(1)
from superres.catalog import Catalog
from superres.engine import Engine
from tests.engine.specimens import make_weights
side, bands, options = {side}, {bands}, {options}
image = np.full((side, side, 3), 128, np.uint8)
engine = Engine.from_weights(make_weights(**options), device="cpu", catalog=Catalog.builtin(), tile_px={tile_px})
rows = 0
for number, band in enumerate(engine.stream_rows(image, passes={passes})):
    rows += len(band)
    if number + 1 == bands:
        break
# Not ru_maxrss, which begins with the peak of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(rows, int(status["VmHWM"].split()[0]) / 1024)
"""


def rows_and_peak_mib(passes=1, **values):
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(passes=passes, **values)], cwd=ROOT, check=True,
                           capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    rows, peak = ended.stdout.split()
    return int(rows), float(peak)


@pytest.mark.slow
def test_6000_by_6000_px_stay_under_2_gb():
    """The paper's network, the engine and the tile that are chosen by default.  A band is all that is held beside the
    input, so three bands tell what all of them need: a band that outlives its turn shows in the second."""
    _, peak = rows_and_peak_mib(side=6000, bands=3, options={}, tile_px=None)
    assert peak * 2 ** 20 < 1.7e9


def test_memory_grows_with_a_band_not_with_the_image():
    """Whole, 9 Mpx as floats, with 3 input channels and 8 maps before and after a layer, would need 650 MiB more."""
    options = {"base_channels": 8, "blocks": 1, "alpha": 0, "up": 1, "down": 1}
    rows, peak = rows_and_peak_mib(side=3000, bands=-1, options=options, tile_px=128)
    _, alone = rows_and_peak_mib(side=300, bands=-1, options=options, tile_px=128)
    assert rows == 3000
    # What the libraries take differs between machines and cancels; the input takes 26 MiB, a band and a tile under 40,
    # and torch's allocator keeps about as much again.
    assert peak - alone < 250


def test_a_network_that_is_fed_with_its_own_output_holds_a_few_bands_of_each_pass():
    """The paper's 2048² → 5120² → 12800² would be 315 MB of floats between its passes.  Here 4 Mpx are 46 MiB of floats
    after each of two passes, and the third one's bands are given away."""
    options = {"base_channels": 3, "blocks": 1, "alpha": 0, "up": 1, "down": 1}
    rows, peak = rows_and_peak_mib(side=2000, bands=-1, options=options, tile_px=128, passes=3)
    _, alone = rows_and_peak_mib(side=300, bands=-1, options=options, tile_px=128, passes=3)
    assert rows == 2000
    assert peak - alone < 70, "11 MiB of input, and the bands"
