"""`superres stitch`: tiles alone become a mosaic, a table of places and a page."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from superres.api import Mosaic, PlacedTile, Tile
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.builtin.sources.acquisition import AcquisitionSource
from superres.cli import app
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.stitching import stitch_scans
from superres.transform import Transform
from tests.registration.specimens import COARSE_UM, Slide, layout_rmse_px, speckle


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder of 2 × 3 tiles and nothing else, and their true places in px."""
    folder = tmp_path_factory.mktemp("stitch") / "tiles"
    taken, true = Slide(speckle(3, 1000)).scan(2, 3, 128, 0.15, jitter_px=3, noise=0.01)
    for tile in taken:
        write_image(folder / f"{tile.name}.tif", tile.image.read())
    return folder, true


def stitch(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["stitch", *map(str, arguments)])
    return done.exit_code, done.output


def places(path: Path) -> tuple[list[str], np.ndarray]:
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [row["file"] for row in rows], np.array([(float(row["y_px"]), float(row["x_px"])) for row in rows])


def test_a_folder_of_tiles_is_all_it_needs(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Places against the truth; the written mosaic shows each tile where the table puts it."""
    folder, true = tiles
    out = tmp_path / "new" / "stitched"
    status, said = stitch(folder, "--out", out)
    assert status == 0, said
    assert said.count(f"note: made the folder '{tmp_path / 'new'}'\n") == 1
    assert str(out / "positions.csv") in said and "tiles: 6 tiles" in said
    names, found = places(out / "positions.csv")
    assert names == ["r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2"]
    assert layout_rmse_px(found, true) <= 0.05
    mosaic = read_image(out / "mosaics/tiles.tif")
    assert mosaic.pixel_size_um == pytest.approx(COARSE_UM) and mosaic.pixels.dtype == np.uint8
    assert mosaic.pixels.shape == (*np.ceil(found.max(axis=0) + 128 - 1e-4).astype(int), 3)
    for name, (y, x) in zip(names, found, strict=True):
        raw = read_image(folder / f"{name}.tif").grey()[32:96, 32:96]
        top, left = round(y) + 32, round(x) + 32
        shown = mosaic.grey()[top:top + 64, left:left + 64]
        assert np.corrcoef(raw.ravel(), shown.ravel())[0, 1] > 0.9
    page = (out / "stitching.html").read_text()
    assert "superres stitching" in page and "there were no fine fields to find" in page
    assert "Rejected" not in page and "0 fields" not in page and "edge residual" in page
    assert len(json.loads((out / "stitching.json").read_text())["mosaics"]["tiles"]["tiles"]) == 6


def test_its_table_is_read_as_positions(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, true = tiles
    assert stitch(folder, "--out", tmp_path, "--no-mosaic")[0] == 0
    assert not (tmp_path / "mosaics").exists()
    source = AcquisitionSource(folder=folder, coarse="*", fine=[], slide_from="one",
                               positions_csv=tmp_path / "positions.csv")
    read = np.array([tile.position_um for tile in source.acquire().scans[0].tiles])
    assert layout_rmse_px(read / COARSE_UM, true) <= 0.05


@pytest.mark.parametrize("options", [("source.options.slide_from=one",), (
                                     r"source.options.slide_from=(?P<slide>.)\d/", "source.options.coarse=*/*")])
def test_its_table_is_read_back_where_folders_hold_the_same_names(tiles: tuple[Path, np.ndarray], tmp_path: Path,
                                                                  options: tuple[str, ...]) -> None:
    """Two rows of a slide, each in a folder with tiles 0 to 2: of one slide, and of that which their folders begin
    with."""
    for row in range(2):
        (tmp_path / f"scan/r{row}").mkdir(parents=True)
        for column in range(3):
            shutil.copy(tiles[0] / f"r{row}c{column}.tif", tmp_path / f"scan/r{row}/{column}.tif")
    given = [word for option in options for word in ("--set", option)]
    found = []
    for again in ([], ["--positions", tmp_path / "out0/positions.csv"]):
        status, said = stitch(tmp_path / "scan", "--out", tmp_path / f"out{len(found)}", "--no-mosaic", *given, *again)
        assert status == 0, said
        found.append(places(tmp_path / f"out{len(found)}/positions.csv")[1])
    assert np.abs(found[1] - found[0]).max() < 0.01


def test_its_table_is_read_back_where_a_tile_is_damaged(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    scan = shutil.copytree(tiles[0], tmp_path / "scan")
    with open(scan / "r0c1.tif", "r+b") as stream:
        stream.truncate(3000)
    for out, again in (("out", []), ("again", ["--positions", tmp_path / "out/positions.csv"])):
        status, said = stitch(scan, "--out", tmp_path / out, "--no-mosaic", *again)
        assert status == 0 and "cannot be read (r0c1)" in said, said
        line = (tmp_path / out / "positions.csv").read_text().splitlines()[2]
        assert line == "r0c1,scan,,,,,no,,,,"


@pytest.mark.parametrize("layout", ["coarse/s1", "coarse", "s1"])
def test_tiles_lie_where_people_put_them(tiles: tuple[Path, np.ndarray], tmp_path: Path, layout: str) -> None:
    """As for register, all in coarse/, or a folder a slide."""
    scan = tmp_path / "scan"
    shutil.copytree(tiles[0], scan / layout)
    status, said = stitch(scan, "--out", tmp_path / "out", "--no-mosaic")
    assert status == 0, said
    assert ("scan" if layout == "coarse" else "s1") + ": 6 tiles" in said


def test_a_pipeline_file_needs_no_fine_field_either(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.toml"
    pipeline.write_text(f"""
        run.output = "{tmp_path / 'run'}"
        source = {{ plugin = "acquisition", options = {{ folder = "{tiles[0]}", coarse = "*", slide_from = "one" }} }}
        model.plugin = "bicubic"
    """)
    status, said = stitch(pipeline, "--out", tmp_path / "out", "--no-mosaic")
    assert status == 0, said
    for options in ((), ("--set", "source.options.fine=[]")):
        done = CliRunner().invoke(app, ["register", str(pipeline), *options])
        assert done.exit_code == 2 and "superres stitch" in done.output, done.output


def test_one_slide_that_falls_apart_leaves_the_others(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Everything of the good slide is written, and the status says that not all went well."""
    scan = tmp_path / "scan"
    shutil.copytree(tiles[0], scan / "good")
    rng = np.random.default_rng(0)
    for number in range(2):
        image = read_image(tiles[0] / f"r0c{number}.tif")
        noise = rng.normal(200, 1, image.pixels.shape).clip(0, 255).astype(np.uint8)
        (scan / "empty").mkdir(exist_ok=True)
        write_image(scan / "empty" / f"t{number}.tif", image.with_pixels(noise))
    status, said = stitch(scan, "--out", tmp_path / "out")
    assert status == 2 and "empty was not stitched (blank)" in said
    assert "error: 1 of 2 slides could not be stitched (blank: empty)\nhint: leave out empty tiles" in said
    assert said.count("2 of 2 tiles show no structure") == 1
    assert (tmp_path / "out/mosaics/good.tif").exists() and places(tmp_path / "out/positions.csv")[0][0] == "r0c0"
    page = (tmp_path / "out/stitching.html").read_text()
    assert "Not stitched (1)" in page and "<td>empty</td><td><strong>blank</strong></td>" in page
    facts = json.loads((tmp_path / "out/stitching.json").read_text())
    assert facts["not_stitched"]["empty"]["reason"] == "blank" and list(facts["mosaics"]) == ["good"]


@pytest.mark.parametrize("slides", [1, 2])
def test_what_ends_it_is_said_once(tmp_path: Path, slides: int) -> None:
    rng = np.random.default_rng(0)
    for slide in range(slides):
        for number in range(2):
            noise = rng.normal(200, 1, (64, 64)).clip(0, 255).astype(np.uint8)
            write_image(tmp_path / f"scan/s{slide}/t{number}.tif", Image(noise, COARSE_UM))
    status, said = stitch(tmp_path / "scan", "--out", tmp_path / "out")
    assert status == 2 and said.count("2 of 2 tiles show no structure") == slides, said
    assert ("error: 2 of 2 slides could not be stitched (blank: s0, s1)\n" in said) == (slides == 2)
    assert said.count("hint: ") == 1 and not (tmp_path / "out/positions.csv").exists()


def test_a_registrar_of_somebody_else_need_not_say_much(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """As ashlar's: places, and no notes that are ours."""

    class Terse(IdentityRegistrar):
        def assemble(self, tiles: Sequence[Tile], overlap: float | None = None) -> Mosaic:
            placed = (PlacedTile(tile.image, Transform.shift(0.0, number * 10.0)) for number, tile in enumerate(tiles))
            return Mosaic(tuple(placed), (128, 500), COARSE_UM, tile_shape_px=(128, 128))

    acquisition = AcquisitionSource(folder=tiles[0], coarse="*", fine=[], slide_from="one").acquire()
    said = stitch_scans(acquisition, Terse(), tmp_path, with_mosaics=False).summary()
    assert "tiles: 6 tiles" in said and len(places(tmp_path / "positions.csv")[0]) == 6


def test_nothing_is_named_that_is_not_there(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Every file that stitching.json speaks of."""
    assert stitch(tiles[0], "--out", tmp_path, "--no-mosaic")[0] == 0
    named = re.findall(r'"([^"]*\.(?:png|tif|csv|html))"', (tmp_path / "stitching.json").read_text())
    assert all((tmp_path / name).exists() for name in named), named


def test_nothing_there(tmp_path: Path) -> None:
    status, said = stitch(tmp_path / "nowhere")
    assert status == 2 and "no such file or folder" in said and "superres stitch" in said
    assert "fine/" not in said
    status, said = stitch(tmp_path)
    assert status == 2 and "no coarse tiles match" in said


def test_hints_name_options_that_it_has(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """A camera's PNG states no pixel size; and one tile is no scan."""
    (tmp_path / "scan").mkdir()
    cv2.imwrite(str(tmp_path / "scan/a.png"), read_image(tiles[0] / "r0c0.tif").pixels)
    status, said = stitch(tmp_path / "scan")
    assert status == 2 and "give --coarse-pixel-size, or fix the metadata" in said and "fine" not in said
    status, said = stitch(tiles[0] / "r0c0.tif")
    assert status == 2 and "is an image, not a scan" in said and "give a folder of tiles" in said


def test_scans_whose_names_begin_alike_have_folders_of_their_own(tiles: tuple[Path, np.ndarray], tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("liver.1", "liver.2"):
        shutil.copytree(tiles[0], tmp_path / name)
        assert stitch(name, "--no-mosaic")[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["stitch-liver.1", "stitch-liver.2"]


def test_one_scan_is_not_laid_over_another(tiles: tuple[Path, np.ndarray], tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Microscopes call every folder alike."""
    monkeypatch.chdir(tmp_path)
    for day in ("monday", "tuesday"):
        shutil.copytree(tiles[0], tmp_path / day / "tiles")
    assert stitch("monday/tiles", "--no-mosaic")[0] == stitch("monday/tiles", "--no-mosaic")[0] == 0
    before = (tmp_path / "runs/stitch-tiles/stitching.json").read_bytes()
    status, said = stitch("tuesday/tiles", "--no-mosaic")
    assert status == 2 and "monday/tiles', these are of '" in said and "--out" in said
    assert (tmp_path / "runs/stitch-tiles/stitching.json").read_bytes() == before


def test_the_stage_table_of_a_scan_is_not_replaced(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """The folder of the tiles is taken once nothing of the user's is at stake, and then again and again."""
    scan = shutil.copytree(tiles[0], tmp_path / "scan")
    table = scan / "positions.csv"
    table.write_text("file,row,column\n" + "".join(f"r{r}c{c},{r},{c}\n" for r in range(2) for c in range(3)))
    before = table.read_text()
    status, said = stitch(scan, "--out", scan)
    assert status == 2 and "holds positions.csv, which superres stitch did not write" in said and "--out" in said
    assert table.read_text() == before and not (scan / "mosaics").exists()
    table.unlink()
    for _ in range(2):
        status, said = stitch(scan, "--out", scan)
        assert status == 0, said


def test_a_killed_call_does_not_bar_the_next(tiles: tuple[Path, np.ndarray], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the first mosaic, before the tables."""
    with monkeypatch.context() as patched:
        patched.setattr("superres.stitching.write_table", None)
        assert stitch(tiles[0], "--out", tmp_path)[0] != 0
    assert (tmp_path / "mosaics/tiles.tif").exists()
    status, said = stitch(tiles[0], "--out", tmp_path)
    assert status == 0, said


def test_mosaics_of_slides_that_are_gone_do_not_look_current(tiles: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Put aside, not deleted, and said; what the user laid beside them stays.  So where no mosaics are wanted."""
    scan, out = tmp_path / "scan", tmp_path / "out"
    for slide in ("a", "b"):
        shutil.copytree(tiles[0], scan / slide)
    assert stitch(scan, "--out", out)[0] == 0
    (out / "mosaics/b-annotated.tif").write_bytes(b"mine")
    shutil.rmtree(scan / "b")
    written = (out / "mosaics/b.tif").read_bytes()

    def images() -> list[str]:
        return sorted(str(path.relative_to(out / "mosaics")) for path in (out / "mosaics").rglob("*.tif"))

    status, said = stitch(scan, "--out", out)
    assert status == 0 and f"put aside into '{out}/mosaics/earlier', of an earlier call: mosaics/b.tif" in said, said
    assert images() == ["a.tif", "b-annotated.tif", "earlier/b.tif"]
    assert (out / "mosaics/earlier/b.tif").read_bytes() == written
    status, said = stitch(scan, "--out", out)
    assert status == 0 and "earlier call" not in said
    status, said = stitch(scan, "--out", out, "--no-mosaic")
    assert status == 0 and "of an earlier call: mosaics/a.tif" in said
    assert images() == ["b-annotated.tif", "earlier/a.tif", "earlier/b.tif"]


def test_the_mosaic_of_a_killed_call_is_known_for_our_own(tiles: tuple[Path, np.ndarray], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    scan, out = tmp_path / "scan", tmp_path / "out"
    shutil.copytree(tiles[0], scan / "a")
    with monkeypatch.context() as patched:
        patched.setattr("superres.stitching.write_table", None)
        assert stitch(scan, "--out", out)[0] != 0
    (scan / "a").rename(scan / "b")
    status, said = stitch(scan, "--out", out)
    assert status == 0 and "of an earlier call: mosaics/a.tif" in said
    assert (out / "mosaics/b.tif").exists() and not (out / "mosaics/a.tif").exists()
