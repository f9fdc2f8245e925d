"""A scan folder gives back the acquisition that was written, and appears whole or not at all."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from superres.api import Acquisition, FineField, GroundTruth, Optics, Pair, Scan, Tile
from superres.errors import Cancelled, ImageError, SourceError, StorageError
from superres.events import Events
from superres.image import Image
from superres.io.images import ImageFile, write_image
from superres.scan_folder import file_stem, read_scan_folder, write_scan_folder
from superres.transform import Transform


def frame(rng: np.random.Generator, name: str, pixel_size_um: float, shape: tuple[int, ...] = (12, 16, 3)) -> Image:
    return Image(rng.integers(0, 4096, shape, dtype=np.uint16), pixel_size_um, 4095, name)


@pytest.fixture
def acquisition(rng) -> Acquisition:
    """Two slides of three tiles: with positions, with grid indices, with nothing; two fields of two specimens each."""
    scans, places = [], {}
    for slide in ("s 10", "s 2"):
        tiles = tuple(Tile(frame(rng, f"tile_{number}", 0.185), (number * 1.1, -number / 3) if number == 0 else None,
                           (0, number) if number == 1 else None) for number in range(3))
        fields = tuple(FineField(frame(rng, f"{slide}-field{number}.png", 0.074, (30, 40, 3)), f"mouse {number}")
                       for number in range(2))
        places |= {(slide, tile.name): Transform.similarity(1.01, 0.3, (number, 0.1))
                   for number, tile in enumerate(tiles)}
        scans.append(Scan(slide, tiles, fields, 0.1 if slide == "s 2" else None))
    return Acquisition(tuple(scans), coarse=Optics(0.95, magnification=40), fine=Optics(1.4, refractive_index=1.515),
                       simulated="Simulated from noise.", provenance={"seed": "7"},
                       truth=GroundTruth(places, {("s 2", "s 2-field1.png"): Transform.shift(0.1, 1 / 3)}))


def test_everything_comes_back(tmp_path, acquisition):
    write_scan_folder(acquisition, tmp_path / "scan")
    back = read_scan_folder(tmp_path / "scan")
    assert back.truth is None
    assert (back.coarse, back.fine, back.simulated, dict(back.provenance)) == (
        acquisition.coarse, acquisition.fine, acquisition.simulated, {"seed": "7"})
    assert (back.coarse_pixel_size_um, back.fine_pixel_size_um) == (0.185, 0.074)
    assert [scan.slide for scan in back.scans] == ["s 10", "s 2"]
    assert [scan.overlap for scan in back.scans] == [None, 0.1]
    for scan, was in zip(back.scans, acquisition.scans, strict=True):
        for tile, original in zip(scan.tiles, was.tiles, strict=True):
            assert isinstance(tile.image, ImageFile)
            assert (tile.name, tile.position_um, tile.grid) == (original.name, original.position_um, original.grid)
            np.testing.assert_array_equal(tile.image.read().pixels, original.image.read().pixels)
            assert (tile.image.read().white, tile.image.read().pixel_size_um) == (4095, 0.185)
        assert [field.specimen for field in scan.fields] == ["mouse 0", "mouse 1"]
        assert [field.name for field in scan.fields] == [f"{scan.slide}-field0", f"{scan.slide}-field1"]


def test_truth_is_read_only_when_asked(tmp_path, acquisition):
    write_scan_folder(acquisition, tmp_path / "scan")
    truth = read_scan_folder(tmp_path / "scan", with_truth=True).truth
    for key, transform in acquisition.truth.tiles.items():
        np.testing.assert_array_equal(truth.tiles[key].matrix, transform.matrix)
    np.testing.assert_array_equal(truth.fields["s 2", "s 2-field1"].matrix[:2, 2], [0.1, 1 / 3])


@pytest.mark.parametrize(("text", "words"), [
    ('{"tiles": [', "JSONDecodeError"), ("[]", "TypeError"), ('{"tiles": []}', "KeyError: 'fields'"),
    ('{"tiles": [{"slide": "s", "name": "t", "to_object_um": [[1, 0], [0, 1]]}], "fields": []}', "ValueError: .*3, 3"),
    (None, "UnicodeDecodeError")])
def test_a_damaged_truth_is_named_with_the_way_out(tmp_path, acquisition, text, words):
    write_scan_folder(acquisition, tmp_path / "scan")
    truth = tmp_path / "scan" / "truth.json"
    truth.write_bytes(b"\xff\xfe{" if text is None else text.encode())
    with pytest.raises(SourceError, match=rf"truth.json' is damaged: {words}") as caught:
        read_scan_folder(tmp_path / "scan", with_truth=True)
    assert "delete this file" in caught.value.hint
    truth.unlink()
    assert read_scan_folder(tmp_path / "scan", with_truth=True).truth is None


def test_outside_readers_understand_the_folder(tmp_path, acquisition):
    folder = tmp_path / "scan"
    write_scan_folder(acquisition, folder)
    with open(folder / "positions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows[:2]] == ["coarse/s 10/tile_0.tif", "coarse/s 10/tile_1.tif"]
    assert (rows[0]["y_um"], rows[0]["row"], rows[1]["y_um"], rows[1]["column"]) == ("0.0", "", "", "1")
    np.testing.assert_array_equal(tifffile.imread(folder / rows[0]["file"]),
                                  acquisition.scans[0].tiles[0].image.read().pixels)
    assert json.loads((folder / "scan.json").read_text())["coarse"]["objective_na"] == 0.95


def test_a_failure_leaves_nothing(tmp_path, acquisition):
    lost = Tile(ImageFile(tmp_path / "lost.tif"))
    broken = replace(acquisition, scans=(replace(acquisition.scans[0], tiles=(*acquisition.scans[0].tiles, lost)),))
    with pytest.raises(ImageError, match="no such file"):
        write_scan_folder(broken, tmp_path / "scan")
    assert not list(tmp_path.iterdir())


class Listening(Events):
    """Cancels when it hears of the image of a number."""

    def __init__(self, cancel_at=None):
        super().__init__()
        self.cancel_at = cancel_at
        self.heard = []

    def progress(self, progress):
        self.heard.append(progress)
        if progress.done == self.cancel_at:
            self.cancel()


def test_every_image_is_told(tmp_path, acquisition):
    events = Listening()
    write_scan_folder(acquisition, tmp_path / "scan", events)
    assert [each.done for each in events.heard] == list(range(10))
    assert {(each.stage, each.total) for each in events.heard} == {("acquire", 10)}
    assert [each.message for each in events.heard[:4]] == [
        f"writing {name}" for name in ("tile_0", "tile_1", "tile_2", "s 10-field0.png")]


@pytest.mark.parametrize("number", [0, 4, 9])
def test_cancelling_leaves_nothing(tmp_path, acquisition, number):
    events = Listening(number)
    with pytest.raises(Cancelled):
        write_scan_folder(acquisition, tmp_path / "scan", events)
    assert len(events.heard) == number + 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", ["positions.csv", "fields.csv"])
@pytest.mark.parametrize("named", ["../outside.tif", "coarse/../../outside.tif", "..\\outside.tif", "C:\\outside.tif",
                                   "", "{folder}/outside.tif"])
def test_tables_that_name_files_outside_are_refused(tmp_path, acquisition, table, named):
    folder = tmp_path / "scan"
    write_scan_folder(acquisition, folder)
    write_image(tmp_path / "outside.tif", acquisition.scans[0].tiles[0].image)
    lines = (folder / table).read_text().splitlines()
    lines[1] = ",".join([named.format(folder=tmp_path), *lines[1].split(",")[1:]])
    (folder / table).write_text("\n".join(lines))
    with pytest.raises(SourceError, match=r"line 2 of a table .* expected a path inside the folder"):
        read_scan_folder(folder)


def test_a_folder_with_files_is_left_alone(tmp_path, acquisition):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(StorageError, match=r"is not empty: it holds notes\.txt") as caught:
        write_scan_folder(acquisition, tmp_path)
    assert "name a new folder" in caught.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(StorageError, match="is a file; expected a new folder"):
        write_scan_folder(acquisition, tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    write_scan_folder(acquisition, tmp_path / "empty")
    assert read_scan_folder(tmp_path / "empty").scans


def test_names_that_clash_on_disk_are_refused(tmp_path, acquisition):
    scan = acquisition.scans[0]
    tiles = (Tile(replace(scan.tiles[0].image, name="a.png")), Tile(replace(scan.tiles[0].image, name="a.tif")))
    with pytest.raises(SourceError, match=r"'a.png' and 'a.tif' of slide 's 10' would share the file name 'a.tif'"):
        write_scan_folder(replace(acquisition, scans=(replace(scan, tiles=tiles),)), tmp_path / "scan")


def test_pairs_are_no_scan(tmp_path, rng):
    pair = Pair("a", "s", frame(rng, "c", 0.185), frame(rng, "f", 0.074, (30, 40, 3)))
    with pytest.raises(SourceError, match="nothing to write as a scan folder"):
        write_scan_folder(Acquisition(pairs=(pair,)), tmp_path / "scan")


def test_incomplete_folders_are_named(tmp_path, acquisition):
    with pytest.raises(SourceError, match=r"is not a scan folder: it has no scan\.json"):
        read_scan_folder(tmp_path)
    folder = tmp_path / "scan"
    write_scan_folder(acquisition, folder)
    (folder / "coarse" / "s 2" / "tile_1.tif").unlink()
    with pytest.raises(SourceError, match=r"tile_1.tif' is missing \(line 6 of a table"):
        read_scan_folder(folder)
    (folder / "scan.json").write_text('{"format": "superres scan folder", "version": 1}')
    with pytest.raises(SourceError, match=r"scan.json' is damaged: KeyError: 'coarse_pixel_size_um'"):
        read_scan_folder(folder)
    (folder / "scan.json").write_text('{"format": "superres scan folder", "version": 9}')
    with pytest.raises(SourceError, match="version 9; expected superres scan folder version 1"):
        read_scan_folder(folder)


@pytest.mark.parametrize(("name", "stem"), [("a.tif", "a"), ("a.ome.tiff", "a"), ("tile 1.5", "tile 1.5"),
                                            ("a.b.PNG", "a.b"), ("s1/a.tif", "s1/a")])
def test_file_stem(name, stem):
    assert file_stem(name) == stem
