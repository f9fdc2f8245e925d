"""The same scan, directly and from folders in every state that laboratories keep them in, gives the same result."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import superres
from superres.builtin.sources.simulate import SimulateSource
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.plan import make_plan
from superres.scan_folder import write_scan_folder

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


def without_tables(desk, name, change=lambda path: path.name):
    """Only the images, under names that `change` gives them."""
    target = desk / name
    for path in sorted((desk / "scan").glob("*/*/*.tif")):
        place = target / path.parent.relative_to(desk / "scan")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / change(path))
    return target


def test_without_positions(desk, direct):
    found = scores(desk / "no-positions-run", acquisition(without_tables(desk, "no-positions")))
    assert found == pytest.approx(direct, abs=MARGIN)


def test_shuffled_names_without_positions(desk, direct):
    names = random.Random(5).sample(range(10**6), 1000)
    folder = without_tables(desk, "shuffled", lambda path: f"{names.pop():06d}.tif")
    assert scores(desk / "shuffled-run", acquisition(folder)) == pytest.approx(direct, abs=MARGIN)


def test_twelve_bits_in_sixteen(desk, direct):
    """The same grey levels stored as 12 bits: 255 becomes 4080, which is then what means white."""
    folder = desk / "twelve"
    shutil.copytree(desk / "scan", folder)
    for path in folder.glob("*/*/*.tif"):
        image = read_image(path)
        write_image(path, Image(image.pixels.astype(np.uint16) * 16, image.pixel_size_um, 4080.0))
    run_folder = desk / "twelve-run"
    assert scores(run_folder, acquisition(folder)) == pytest.approx(direct, abs=MARGIN)
    output = read_image(next((run_folder / "outputs").glob("*.tif")))
    assert output.pixels.dtype == np.uint16 and output.white == 4080 and output.pixels.max() <= 4080


def test_single_channel_images_run_through(desk):
    write_scan_folder(SimulateSource(**SCENES, monochrome=True).acquire(), desk / "mono")
    found = scores(desk / "mono-run", acquisition(desk / "mono"))
    assert set(found) == {"tissue-0", "tissue-1"} and min(found.values()) > 0.5
    assert read_image(next((desk / "mono-run" / "outputs").glob("*.tif"))).channels == 1


def test_a_positions_table_of_ones_own(desk, direct):
    """Names of one's own, and a table with other columns, as another program would write it."""
    rows = (desk / "scan" / "positions.csv").read_text().splitlines()
    header = rows[0].split(",")
    table = [dict(zip(header, row.split(","), strict=True)) for row in rows[1:]]
    folder = without_tables(desk, "own-table", lambda path: f"img-{path.name}" if "coarse" in path.parts else path.name)
    lines = ["file;x_um;y_um"]
    lines += [
        f"{Path(row['file']).parent.as_posix()}/img-{Path(row['file']).name};{row['x_um']};{row['y_um']}"
        for row in table
    ]
    (folder / "stage.csv").write_text("\n".join(lines) + "\n")
    found = scores(
        desk / "own-table-run", acquisition(folder, positions="csv", positions_csv=str(folder / "stage.csv"))
    )
    assert found == pytest.approx(direct, abs=MARGIN)
