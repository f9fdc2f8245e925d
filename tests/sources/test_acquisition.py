"""A microscopist's folders, in every layout that source `acquisition` promises to read."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pydantic
import pytest
import tifffile

from superres.api import Acquisition, FineField, Optics, Scan, Tile
from superres.builtin.sources.acquisition import AcquisitionSource
from superres.errors import ImageError, SourceError
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.scan_folder import write_scan_folder

COARSE, FINE = 0.185, 0.074


def save(path: Path, rng: np.random.Generator, pixel_size_um: float = COARSE, shape: tuple[int, ...] = (20, 24, 3),
         dtype: type = np.uint8, white: float | None = None) -> Image:
    image = Image(rng.integers(0, 255, shape).astype(dtype), pixel_size_um, white, path.name)
    write_image(path, image)
    return image


@pytest.fixture
def folder(tmp_path, rng) -> Path:
    """Slides 2 and 10 with three tiles and two fields each, without any table."""
    for slide in ("slide2", "slide10"):
        for number in (1, 2, 10):
            save(tmp_path / "coarse" / slide / f"tile{number}.tif", rng)
        for number in (1, 2):
            save(tmp_path / "fine" / slide / f"f{number}.tif", rng, FINE, (50, 50, 3))
    return tmp_path


def acquire(folder: Path, **options: object) -> Acquisition:
    source = AcquisitionSource(folder=folder, **options)
    acquisition = source.acquire()
    assert source.known_specimens() == acquisition.specimens, "what is told beforehand holds for every layout"
    return acquisition


# ---- what goes together --------------------------------------------------------------------------------------------

def test_folders_without_any_table(folder):
    (folder / "coarse" / "slide2" / "Thumbs.db").write_bytes(b"x")
    (folder / "coarse" / "slide2" / ".hidden.tif").write_bytes(b"x")
    (folder / "coarse" / "slide2" / "notes.csv").write_text("x")
    acquisition = acquire(folder)
    assert [scan.slide for scan in acquisition.scans] == ["slide2", "slide10"], "2 comes before 10"
    scan = acquisition.scans[1]
    assert [tile.name for tile in scan.tiles] == ["tile1", "tile2", "tile10"]
    assert [tile.position_um for tile in scan.tiles] == [None] * 3
    assert [(field.name, field.specimen) for field in scan.fields] == [
        ("fine-slide10-f1", "slide10"), ("fine-slide10-f2", "slide10")]
    assert (acquisition.coarse_pixel_size_um, acquisition.fine_pixel_size_um, acquisition.scale) == (
        COARSE, FINE, pytest.approx(2.5))
    assert (acquisition.coarse.label, acquisition.fine.label) == ("40×/0.95NA", "100×/1.4NA")
    assert acquisition.provenance["stage positions"].startswith("none: no positions.csv, and 6 of 6 tiles state none")
    assert acquisition.provenance["coarse pixel size"] == "0.185 µm (ImageJ calibration)"
    assert acquisition.simulated == ""
    assert scan.tiles[0].image.read().pixels.shape == (20, 24, 3)


def test_a_written_scan_folder_is_read_without_options(tmp_path, rng):
    tiles = tuple(Tile(Image(rng.integers(0, 4096, (9, 9), dtype=np.uint16), COARSE, 4095, f"t{number}"),
                       (number * 10.5, -3.0), (number, 0)) for number in range(3))
    fields = (FineField(Image(rng.integers(0, 4096, (20, 20), dtype=np.uint16), FINE, 4095, "f"), "mouse"),)
    made = Acquisition((Scan("b", tiles, fields, 0.2), Scan("a", tiles, ())), coarse=Optics(0.75, magnification=20),
                       fine=Optics(1.3, refractive_index=1.515), simulated="Simulated.", provenance={"seed": "1"})
    write_scan_folder(made, tmp_path / "scan")
    back = acquire(tmp_path / "scan")
    assert [scan.slide for scan in back.scans] == ["b", "a"], "in the order in which they were scanned"
    assert [(tile.name, tile.position_um, tile.grid) for tile in back.scans[0].tiles] == [
        (tile.name, tile.position_um, tile.grid) for tile in tiles]
    np.testing.assert_array_equal(back.scans[0].tiles[1].image.read().unit(), tiles[1].image.unit())
    assert [(field.name, field.specimen) for field in back.scans[0].fields] == [("f", "mouse")]
    assert (back.scans[0].overlap, back.scans[1].overlap) == (0.2, None)
    assert (back.coarse, back.fine, back.simulated) == (made.coarse, made.fine, "Simulated.")
    assert back.provenance["seed"] == "1" and back.truth is None
    assert acquire(tmp_path / "scan", overlap=0.3, coarse_na=0.5).scans[1].overlap == 0.3
    assert acquire(tmp_path / "scan", coarse_na=0.5).coarse == Optics(0.5, magnification=20)


def test_shuffled_names_keep_their_places(folder, rng):
    tiles = sorted((folder / "coarse" / "slide2").iterdir())
    names = rng.permutation(900)[:len(tiles)]
    lines = ["file,y_um,x_um"]
    content = {}
    for number, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        moved = tile.with_name(f"img_{name}.tif")
        tile.rename(moved)
        lines.append(f"{moved.name},{number * 4},{-number}")
        content[float(number * 4), float(-number)] = tifffile.imread(moved)
    (folder / "stage.csv").write_text("\n".join(lines))
    acquisition = acquire(folder, coarse="coarse/slide2/*", fine="fine/slide2/*", positions_csv=folder / "stage.csv")
    assert len(acquisition.scans[0].tiles) == 3
    for tile in acquisition.scans[0].tiles:
        np.testing.assert_array_equal(tile.image.read().pixels, content[tile.position_um])


def test_one_flat_slide_with_two_patterns(tmp_path, rng):
    for number in range(2):
        save(tmp_path / f"LR_{number}.png", rng)
        save(tmp_path / f"LR_{number}b.tif", rng)
        save(tmp_path / f"HR_{number}.tif", rng, FINE)
    acquisition = acquire(tmp_path, coarse=["LR_*.png", "LR_*.tif"], fine="HR_*", slide_from="one")
    (scan,) = acquisition.scans
    assert [tile.name for tile in scan.tiles] == ["LR_0", "LR_0b", "LR_1", "LR_1b"]
    assert scan.slide == tmp_path.name


def test_slide_and_specimen_from_expressions(tmp_path, rng):
    for name in ("40x_m1_a", "40x_m1_b", "40x_m2_a", "100x_m1_s7", "100x_m2_s8"):
        save(tmp_path / f"{name}.tif", rng, FINE if name.startswith("100x") else COARSE)
    acquisition = acquire(tmp_path, coarse="40x_*", fine="100x_*", slide_from=r"_(?P<slide>m\d)_",
                          specimen_from=r"_(?P<specimen>s\d)")
    assert [(scan.slide, len(scan.tiles), [field.specimen for field in scan.fields]) for scan in acquisition.scans] == [
        ("m1", 2, ["s7"]), ("m2", 1, ["s8"])]
    with pytest.raises(SourceError, match=r"'40x_m1_a.tif' does not match source.options.slide_from = '\(\?P<slide>x"):
        acquire(tmp_path, coarse="40x_*", fine="100x_*", slide_from="(?P<slide>x9)")


def test_specimens_from_a_table(folder):
    (folder / "who.csv").write_text("Specimen;File\nanna;slide2/f1.tif\nben;slide2/f2.tif\n"
                                    "anna;C:\\scans\\fine\\slide10\\f1.tif\nben;fine/slide10/f2\n")
    acquisition = acquire(folder, specimen_csv=folder / "who.csv")
    assert acquisition.specimens == ("anna", "ben")
    (folder / "who.csv").write_text("specimen,file\nanna,slide2/f1.tif\n")
    with pytest.raises(SourceError, match=r"'who.csv' gives no specimen for fine/slide2/f2.tif \(3 of 4 files\)"):
        acquire(folder, specimen_csv=folder / "who.csv")
    (folder / "who.csv").write_text("specimen,file\nanna,f1.tif\n")
    with pytest.raises(SourceError, match=r"line 2: 'f1.tif' may be fine/slide2/f1.tif or fine/slide10/f1.tif"):
        acquire(folder, specimen_csv=folder / "who.csv")


def test_single_channel_and_white_level(tmp_path, rng):
    bright = rng.integers(0, 65535, (9, 9), dtype=np.uint16)
    write_image(tmp_path / "coarse" / "s" / "a.tif", Image(bright, COARSE))
    save(tmp_path / "fine" / "s" / "b.ome.tif", rng, FINE, (9, 9), np.uint16, 4095)
    acquisition = acquire(tmp_path)
    assert acquisition.scans[0].tiles[0].image.read().white == 65535
    assert acquisition.scans[0].fields[0].image.read().white == 4095
    assert acquire(tmp_path, white_level=1023).scans[0].fields[0].image.read().white == 1023


def test_what_the_camera_stores_without_light_is_taken_off_tiles_and_fields(tmp_path, rng):
    for kind, size_um in (("coarse", COARSE), ("fine", FINE)):
        write_image(tmp_path / kind / "s" / f"{kind}.tif", Image(np.full((9, 9), 40000, np.uint16), size_um))
    acquisition = acquire(tmp_path, black_level=1000)
    scan = acquisition.scans[0]
    for image in (scan.tiles[0].image.read(), scan.fields[0].image.read()):
        assert image.white == 64535 and (image.pixels == 39000).all()
    assert acquisition.provenance["black level"] == "1000, taken off all pixels"
    with pytest.raises(SourceError, match=r"black level is 65535 for 'coarse/s/coarse.tif'") as caught:
        acquire(tmp_path, black_level=65535)
    assert caught.value.hint == "set source.options.black_level to what the camera stores without light"


def camera_files(folder: Path, values: tuple[int, int], suffix: str, rng: np.random.Generator) -> None:
    """Three tiles and a field as plain writers leave them, no tag about depth; values: largest of tiles and field."""
    for number, (kind, largest) in enumerate([("coarse", values[0])] * 3 + [("fine", values[1])]):
        pixels = rng.integers(largest // 2, largest + 1, (20, 24, 3)).astype(np.uint16)
        pixels[3, 4, 1] = largest
        (folder / kind / "s").mkdir(parents=True, exist_ok=True)
        path = folder / kind / "s" / f"{number}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, pixels, photometric="rgb")
        else:
            cv2.imwrite(str(path), pixels)


PIXEL_SIZES = {"coarse_pixel_size_um": COARSE, "fine_pixel_size_um": FINE}


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize(("values", "white"), [((250, 255), 255), ((900, 1023), 1023), ((900, 4000), 4095),
                                               ((4095, 3000), 4095), ((10000, 4000), 16383)])
def test_fewer_bits_than_the_file_has_are_noticed(tmp_path, rng, values, white, suffix):
    """At white = 65535 a 12-bit white would be 0.062; all images together tell the camera's depth."""
    camera_files(tmp_path, values, suffix, rng)
    with pytest.raises(SourceError, match=rf"largest value in 4 of the 16-bit images is {max(values)} ") as caught:
        acquire(tmp_path, **PIXEL_SIZES)
    assert caught.value.hint.startswith(f"set source.options.white_level = {white} (or 65535")
    scan = acquire(tmp_path, white_level=white, **PIXEL_SIZES).scans[0]
    assert scan.tiles[0].image.read().unit().max() == pytest.approx(values[0] / white)
    assert acquire(tmp_path, white_level=65535, **PIXEL_SIZES).scans[0].tiles[0].image.read().white == 65535


def test_dim_images_of_a_16_bit_camera_are_fine(tmp_path, rng):
    camera_files(tmp_path, (16384, 3000), ".tif", rng)
    assert acquire(tmp_path, **PIXEL_SIZES).scans[0].tiles[0].image.read().white == 65535


def test_only_a_few_files_are_opened_to_see_their_depth(tmp_path, rng, monkeypatch):
    """Of 12 dark tiles and a field 6 are looked at; files that state their white level, and 8-bit ones, never."""
    from superres.builtin.sources import headers

    opened = []

    def counting(path, **sizes):
        opened.append(path.name)
        return read_image(path, **sizes)

    monkeypatch.setattr(headers, "read_image", counting)
    for number in range(12):
        save(tmp_path / "coarse" / "s" / f"{number}.tif", rng, dtype=np.uint16)
    save(tmp_path / "fine" / "s" / "f.tif", rng, FINE, dtype=np.uint16)
    with pytest.raises(SourceError, match="in 6 of the 16-bit images"):
        acquire(tmp_path)
    assert opened == ["0.tif", "3.tif", "6.tif", "8.tif", "11.tif", "f.tif"]
    opened.clear()
    for dtype, white in ((np.uint8, None), (np.uint16, 4095)):
        for number in range(12):
            save(tmp_path / "coarse" / "s" / f"{number}.tif", rng, dtype=dtype, white=white)
        save(tmp_path / "fine" / "s" / "f.tif", rng, FINE, dtype=dtype, white=white)
        acquire(tmp_path)
    assert opened == []


# ---- stage positions -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("columns", "cells", "position", "grid"), [
    ("file,y_um,x_um", ("1.5,2.5", ",", "-3,0"), [(1.5, 2.5), None, (-3.0, 0.0)], [None] * 3),
    ("name,X_px,Y_px", ("100,0", "0,200", "0,0"), [(0.0, 18.5), (37.0, 0.0), (0.0, 0.0)], [None] * 3),
    ("file,X (µm),Y (μm)", ("2,1", ",", "0,-3"), [(1.0, 2.0), None, (-3.0, 0.0)], [None] * 3),
    ("file,stage_y_mm,Stage X [mm]", ("0.5,0.25", "0,0", ","), [(500.0, 250.0), (0.0, 0.0), None], [None] * 3),
    ("filename,Row,Col", ("0,1", "1,0", ","), [None] * 3, [(0, 1), (1, 0), None]),
])
def test_positions_from_a_table(folder, columns, cells, position, grid):
    tiles = [f"slide2/tile{number}.tif" for number in (1, 2, 10)]
    others = [f"slide10/tile{number}.tif," for number in (1, 2, 10)]
    (folder / "positions.csv").write_text("\n".join([
        columns, *(f"{tile},{cell}" for tile, cell in zip(tiles, cells, strict=True)), *others, "aborted.tif,1,1"]))
    acquisition = acquire(folder)
    scan = acquisition.scans[0]
    assert [tile.position_um for tile in scan.tiles] == [None if p is None else pytest.approx(p) for p in position]
    assert [tile.grid for tile in scan.tiles] == grid
    assert "of 6 from positions.csv" in acquisition.provenance["stage positions"]
    assert acquire(folder, positions="none").scans[0].tiles[0].position_um is None


@pytest.mark.parametrize(("content", "message"), [
    ("file,y,x\n", r"has the columns file, y, x; expected y_um, x_um or y_px, x_px or row, column"),
    ("y_um,x_um\n", r"has the columns y_um, x_um; expected the name of the image in a column file or"),
    ("file,y_um,x_um\nslide2/tile1.tif,0,0\n", r"has no line for coarse/slide2/tile2.tif \(5 of 6 tiles\)"),
    ("file,y_um,x_um\nslide2/tile1.tif,0,0\ncoarse/slide2/tile1.tif,0,0\n", r"lines 2 and 3 both name coarse/slide2/"),
    ("file,y_um,x_um\ntile1.tif,0,0\n", r"line 2: 'tile1.tif' may be coarse/slide2/tile1.tif or coarse/slide10/tile"),
])
def test_tables_that_do_not_fit_are_named(folder, content, message):
    (folder / "positions.csv").write_text(content)
    with pytest.raises(SourceError, match=message) as caught:
        acquire(folder)
    assert "'positions.csv'" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(("columns", "cells", "named"), [
    ("file,row,column,Y,X", "0,1,10.5,20.5", "y, x"), ("file,y,row,column", "10.5,0,1", "y"),
    ("file,row,column,y_um,x_um,y,x", "0,1,10.5,20.5,3,4", ""), ("file,row,column,year,exposure", "0,1,2026,3", ""),
])
def test_columns_without_a_unit_are_not_passed_over_in_silence(folder, caplog, columns, cells, named):
    """Nothing says whether they are µm or pixels; where row and column stand in for them, it is said."""
    (folder / "positions.csv").write_text("\n".join([columns, *(
        f"{slide}/tile{number}.tif,{cells}" for slide in ("slide2", "slide10") for number in (1, 2, 10))]))
    acquisition = acquire(folder)
    tile = acquisition.scans[0].tiles[0]
    assert tile.grid == (0, 1) and tile.position_um == ((10.5, 20.5) if "y_um" in columns else None)
    origin = acquisition.provenance["stage positions"]
    assert (f"columns {named} state no unit" in origin) == bool(named)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (len(said) == 1 and f"columns {named} state no unit" in said[0] and "y_um" in said[0]) if named else not said


def test_half_a_position_is_refused(folder):
    (folder / "positions.csv").write_text("file,y_um,x_um\n" + "".join(
        f"{slide}/tile{number}.tif,0,\n" for slide in ("slide2", "slide10") for number in (1, 2, 10)))
    with pytest.raises(SourceError, match="line 2: only one of y_um and x_um is given"):
        acquire(folder)


def ome_tile(path: Path, rng: np.random.Generator, **plane: object) -> None:
    tifffile.imwrite(path, rng.integers(0, 255, (9, 9, 3), dtype=np.uint8), photometric="rgb", ome=True,
                     metadata={"axes": "YXS", "PhysicalSizeX": COARSE, "PhysicalSizeY": COARSE, "Plane": plane})


def test_positions_from_ome_metadata(tmp_path, rng):
    (tmp_path / "coarse" / "s").mkdir(parents=True)
    save(tmp_path / "fine" / "s" / "f.tif", rng, FINE)
    for number in range(2):
        ome_tile(tmp_path / "coarse" / "s" / f"{number}.ome.tif", rng, PositionX=number * 0.04, PositionXUnit="mm",
                 PositionY=7.5, PositionYUnit="µm")
    tiles = acquire(tmp_path).scans[0].tiles
    assert [tile.position_um for tile in tiles] == [(7.5, 0.0), (7.5, pytest.approx(40.0))]
    for axes, turned in [("-y,x", (-7.5, 40.0)), ("x,y", (40.0, 7.5)), ("-x,-y", (-40.0, -7.5))]:
        assert acquire(tmp_path, stage_axes=axes).scans[0].tiles[1].position_um == pytest.approx(turned)
    ome_tile(tmp_path / "coarse" / "s" / "2.ome.tif", rng, PositionX=1.0, PositionY=7.5)  # OME's "reference frame"
    acquisition = acquire(tmp_path)
    assert [tile.position_um for tile in acquisition.scans[0].tiles] == [None] * 3
    assert "1 of 3 tiles state none" in acquisition.provenance["stage positions"]
    with pytest.raises(SourceError, match=r"no stage position .* metadata of coarse/s/2.ome.tif \(1 of 3 tiles"):
        acquire(tmp_path, positions="metadata")


def test_grid_from_file_names(tmp_path, rng):
    for row in range(2):
        save(tmp_path / "coarse" / "s" / f"r{row}_c{row + 1}.tif", rng)
    save(tmp_path / "fine" / "s" / "f.tif", rng, FINE)
    tiles = acquire(tmp_path, positions="grid", grid_pattern=r"r(?P<row>\d+)_c(?P<column>\d+)").scans[0].tiles
    assert [tile.grid for tile in tiles] == [(0, 1), (1, 2)]
    with pytest.raises(SourceError, match=r"finds row 'r' and column '0' in coarse/s/r0_c1.tif; expected whole"):
        acquire(tmp_path, positions="grid", grid_pattern=r"s/(?P<row>.)(?P<column>.)")


# ---- bad input -----------------------------------------------------------------------------------------------------

def test_nothing_found_shows_where_and_what_is_there(folder):
    (folder / "coarse").rename(folder / "Coarse scans")
    with pytest.raises(SourceError, match=r"no coarse tiles match coarse = 'coarse/\*/\*' in '.*' "
                                          r"\(which holds Coarse scans/, fine/\)") as caught:
        acquire(folder)
    assert str(folder) in caught.value.message and "source.options.coarse" in caught.value.hint
    with pytest.raises(SourceError, match="there is no such folder"):
        acquire(folder / "gone")
    (folder / "empty").mkdir()
    with pytest.raises(SourceError, match="which is empty"):
        acquire(folder / "empty")


def test_fields_of_a_slide_without_tiles(folder):
    (folder / "fine" / "slide2").rename(folder / "fine" / "Slide 2")
    with pytest.raises(SourceError, match=r"fine field fine/Slide 2/f1.tif is of slide 'Slide 2', which has no coarse "
                                          r"tiles \(those are of 'slide2', 'slide10'\)"):
        acquire(folder)


def test_files_that_match_both_patterns(folder):
    with pytest.raises(SourceError, match=r"coarse/slide2/tile1.tif matches both source.options.coarse and fine"):
        acquire(folder, fine="*/*/*")


@pytest.mark.parametrize(("changes", "message"), [
    ({"shape": (20, 25, 3)},
     r"tile2.tif of slide 'slide2' is \(20, 25, 3\) uint8, but coarse/slide2/tile1.tif is \(20, 24, 3\)"),
    ({"dtype": np.uint16}, r"is \(20, 24, 3\) uint16, but"),
    ({"pixel_size_um": 0.3},
     r"pixel size of coarse/slide2/tile2.tif is 0.3 µm, but coarse/slide2/tile1.tif has 0.185 µm"),
])
def test_a_tile_of_another_kind_is_named(folder, rng, changes, message):
    save(folder / "coarse" / "slide2" / "tile2.tif", rng, **changes)
    with pytest.raises(SourceError, match=message):
        acquire(folder)


def test_fields_of_another_kind_are_named(folder, rng):
    save(folder / "fine" / "slide10" / "f2.tif", rng, FINE, (50, 50))
    with pytest.raises(SourceError, match=r"f2\.tif is a single channel, but coarse tile coarse/slide10/tile1.tif is"):
        acquire(folder)
    save(folder / "fine" / "slide10" / "f2.tif", rng, FINE, (50, 50, 3), np.uint16)
    with pytest.raises(SourceError, match=r"f2\.tif of slide 'slide10' is uint16, but fine/slide10/f1.tif is uint8"):
        acquire(folder)


def test_swapped_objectives(folder):
    with pytest.raises(SourceError, match=r"the fine pixel size is 0.185 µm, the coarse one 0.074 µm"):
        acquire(folder, coarse="fine/*/*", fine="coarse/*/*")


def test_unknown_pixel_size_and_unreadable_tiles(folder, rng):
    for number in (1, 2, 10):
        pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        for slide in ("slide2", "slide10"):
            (folder / "coarse" / slide / f"tile{number}.tif").unlink()
            cv2.imwrite(str(folder / "coarse" / slide / f"tile{number}.png"), pixels)
    with pytest.raises(ImageError, match=r"no pixel size is known for 'coarse/slide2/tile1.png'") as caught:
        acquire(folder)
    assert "source.options.coarse_pixel_size_um" in caught.value.hint
    assert acquire(folder, coarse_pixel_size_um=0.2).scans[0].tiles[0].image.read().pixel_size_um == 0.2
    (folder / "coarse" / "slide2" / "tile2.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"'tile2.png' is empty.*coarse/slide2"):
        acquire(folder, coarse_pixel_size_um=0.2).scans[0].tiles[1].image.read()


@pytest.mark.parametrize(("options", "message"), [
    ({"slide_from": "(?P<slide"}, "is not a regular expression"),
    ({"specimen_from": "(mouse)"}, r"has no group 'specimen'; expected one such as \(\?P<specimen>"),
    ({"positions": "grid"}, "needs grid_pattern"), ({"positions": "csv"}, "needs positions_csv"),
    ({"positions": "none", "positions_csv": "p.csv"}, "positions_csv is set, but positions = 'none'"),
    ({"coarse": "${UNSET_FOLDER}/*"}, "'UNSET_FOLDER' is not set"),
    ({"overlap": 1.5}, "less than 0.9"), ({"coarse_pixel_size_um": 0}, "greater than 0"),
    ({"tiles": "x"}, "not permitted"),
])
def test_wrong_options_are_named_before_any_file_is_read(options, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        AcquisitionSource(**options)


def test_a_scan_without_fields(folder):
    acquisition = acquire(folder, fine=[], fine_pixel_size_um=FINE)
    assert [len(scan.fields) for scan in acquisition.scans] == [0, 0]


# ---- resuming ------------------------------------------------------------------------------------------------------

def test_fingerprint_changes_with_files_and_tables(folder, rng):
    source = AcquisitionSource(folder=folder)
    seen = {source.fingerprint()}
    assert seen == {AcquisitionSource(folder=folder).fingerprint()}
    os.utime(folder / "coarse" / "slide2" / "tile1.tif", ns=(1, 1))
    seen.add(source.fingerprint())
    save(folder / "fine" / "slide2" / "f3.tif", rng, FINE)
    seen.add(source.fingerprint())
    (folder / "fields.csv").write_text("file,specimen\n")
    seen.add(source.fingerprint())
    (folder / "coarse" / "slide2" / "notes.txt").write_text("no image")
    assert source.fingerprint() in seen and len(seen) == 4


def test_names_of_files_found_above_the_folder_are_valid(tmp_path):
    """Equal stems under a `../` pattern are told apart by their path, which must not begin with dots."""
    from superres.builtin.sources.files import unique_names

    paths = [tmp_path / "pipeline" / ".." / name / "x.tif" for name in ("a", "b")]
    assert unique_names(paths, tmp_path / "pipeline") == ("a-x", "b-x")


# ---- damaged files -------------------------------------------------------------------------------------------------

def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])


@pytest.mark.parametrize("kind", ["fine", "coarse"])
def test_a_damaged_file_waits_for_its_turn(folder, kind):
    """It costs a run that field or tile, not the slide; places from a table stay with the others."""
    name = "f1" if kind == "fine" else "tile1"
    before = acquire(folder).scans[0]
    cut_in_half(folder / kind / "slide2" / f"{name}.tif")
    scan = acquire(folder).scans[0]
    images = [each.image for each in (scan.fields if kind == "fine" else scan.tiles)]
    assert len(images) == len(before.fields if kind == "fine" else before.tiles)
    assert [tile.position_um for tile in scan.tiles] == [tile.position_um for tile in before.tiles]
    with pytest.raises(ImageError, match=rf"{name}\.tif.*{kind}/slide2"):
        images[0].read()
    assert images[1].read().shape_px


def test_a_slide_of_nothing_but_damaged_tiles_leaves_the_others(folder):
    for path in (folder / "coarse" / "slide2").glob("*.tif"):
        cut_in_half(path)
    assert [scan.slide for scan in acquire(folder).scans] == ["slide2", "slide10"]
    for path in (folder / "coarse" / "slide10").glob("*.tif"):
        cut_in_half(path)
    with pytest.raises(ImageError, match=r"coarse/slide2/tile1\.tif"):
        acquire(folder)


def test_a_folder_of_nothing_but_damaged_fields_is_an_error(folder):
    for path in (folder / "fine").glob("*/*.tif"):
        cut_in_half(path)
    with pytest.raises(ImageError, match=r"fine/slide2/f1\.tif"):
        acquire(folder)


def test_the_odd_tile_is_named_wherever_it_stands(tmp_path: Path) -> None:
    """An overview that was saved beside the tiles comes first by its name."""
    for name, side in (("00-overview", 90), ("t1", 40), ("t2", 40), ("t3", 40)):
        write_image(tmp_path / f"coarse/s/{name}.tif", Image(np.full((side, 40), 200, np.uint8), 0.2))
    with pytest.raises(SourceError, match=r"00-overview.tif of slide 's' is \(90, 40\) uint8, but coarse/s/t1.tif is "
                                          r"\(40, 40\) uint8, as are 3 of 4"):
        AcquisitionSource(folder=tmp_path, fine=[]).acquire()
