"""The same scan, directly and from folders in every state that laboratories keep them in, gives the same result."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

import superres
from superres.builtin.sources.simulate import SimulateSource
from superres.io.images import read_image
from superres.plan import make_plan
from superres.scan_folder import write_scan_folder
from tests.run.scan_variants import OWN_TABLE, own_table, shuffled, twelve_bits, without_tables

SCENES = {"scenes": ["builtin:tissue:2"], "tissue_px": 560, "tile_px": 128, "field_px": 200, "fields_per_specimen": 3}
BICUBIC = {
    "model": {"plugin": "bicubic"},
    "split": {"test": ["tissue-0", "tissue-1"], "validation": 0},
    "evaluate": [{"plugin": "ssim"}],
}
MARGIN = 0.002
"""The issue's bar for scores of one scan through different folders."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    write_scan_folder(SimulateSource(**SCENES).acquire(), folder / "scan")
    return folder


def scores(run_folder, source):
    """SSIM by specimen of bicubic up-sampling: it depends on every step of the registration and on nothing else."""
    plan = make_plan({**BICUBIC, "source": source, "run": {"output": str(run_folder)}})
    result = superres.Pipeline(plan).run(until="evaluate")
    return {specimen: values["ssim"]["model"] for specimen, values in result.scores["specimens"].items()}


def acquisition(folder, **options):
    return {"plugin": "acquisition", "options": {"folder": str(folder), **options}}


@pytest.fixture(scope="module")
def direct(desk):
    return scores(desk / "direct", {"plugin": "simulate", "options": SCENES})


def pairs_of(run_folder):
    return {path.name: tifffile.imread(path) for path in Path(run_folder).glob("work/register-*/pairs/*/*/*.tif")}


def test_a_folder_with_positions_gives_the_very_same_pairs(desk, direct):
    assert scores(desk / "from-folder", acquisition(desk / "scan")) == direct
    ours, theirs = pairs_of(desk / "direct"), pairs_of(desk / "from-folder")
    assert ours.keys() == theirs.keys() and len(ours) >= 5
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def contents(run_folder):
    """The pixels of all pairs, whatever they are called."""
    return sorted(pixels.tobytes() for pixels in pairs_of(run_folder).values())


def test_without_positions_the_pairs_are_the_very_same(desk, direct):
    """Places are measured in the camera's own pixels and until they stand still, wherever the search began."""
    found = scores(desk / "no-positions-run", acquisition(without_tables(desk / "scan", desk / "no-positions")))
    assert found == direct
    assert contents(desk / "no-positions-run") == contents(desk / "direct")


def test_shuffled_names_without_positions(desk, direct):
    found = scores(desk / "shuffled-run", acquisition(shuffled(desk / "scan", desk / "shuffled")))
    assert found == pytest.approx(direct, abs=1e-6)
    ours, theirs = contents(desk / "shuffled-run"), contents(desk / "direct")
    # A shift of exactly half a pixel between tiles may round either way: then a pair differs by a few units.
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= 0.8 * len(theirs)


def test_twelve_bits_in_sixteen(desk, direct):
    run_folder = desk / "twelve-run"
    folder = twelve_bits(desk / "scan", desk / "twelve")
    assert scores(run_folder, acquisition(folder)) == pytest.approx(direct, abs=MARGIN)
    output = read_image(next((run_folder / "outputs").glob("*.tif")))
    assert output.pixels.dtype == np.uint16 and output.white == 4080 and output.pixels.max() <= 4080


def test_single_channel_images_run_through(desk):
    write_scan_folder(SimulateSource(**SCENES, monochrome=True).acquire(), desk / "mono")
    found = scores(desk / "mono-run", acquisition(desk / "mono"))
    assert set(found) == {"tissue-0", "tissue-1"} and min(found.values()) > 0.5
    assert read_image(next((desk / "mono-run" / "outputs").glob("*.tif"))).channels == 1


def test_a_positions_table_of_ones_own(desk, direct):
    folder = own_table(desk / "scan", desk / "own-table")
    source = acquisition(folder, positions="csv", positions_csv=str(folder / OWN_TABLE))
    assert scores(desk / "own-table-run", source) == pytest.approx(direct, abs=MARGIN)
