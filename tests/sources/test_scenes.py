"""Which scenes are found, whose they are, and what a user is told when something is wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from superres.builtin.sources.scenes import SceneRules, find_scenes, read_scene
from superres.builtin.sources.simulate import SimulateSource
from superres.builtin.sources.tissue import PALETTES, stained_section
from superres.errors import SourceError
from superres.optics.usaf.reading import read_target


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Four small images of three specimens, and a table of them."""
    for name in ("liver_a", "liver_b", "lung_1", "skin_1"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, size=(33, 41, 3), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "table.csv").write_text("folder,file,specimen,bin2_before_use\n"
                                        "x,liver_a.png,liver,no\nx,liver_b.png,liver,yes\nx,lung_1.png,lung,no\n"
                                        "x,skin_1.png,skin,no\nx,elsewhere.png,other,\n")
    return tmp_path


def rules(folder: Path, **changes: object) -> SceneRules:
    return SceneRules(**{"patterns": [f"{folder}/*"], **changes})  # type: ignore[arg-type]


def test_files_are_found_in_order_and_named_by_their_stem(folder: Path) -> None:
    scenes = find_scenes(rules(folder))
    assert [(scene.name, scene.specimen, scene.bin2) for scene in scenes] == [
        (name, name, False) for name in ("liver_a", "liver_b", "lung_1", "skin_1")]


def test_a_file_that_two_patterns_match_counts_once(folder: Path) -> None:
    scenes = find_scenes(rules(folder, patterns=[f"{folder}/lung*", f"{folder}/l*", "builtin:ihc"]))
    assert [scene.name for scene in scenes] == ["lung_1", "liver_a", "liver_b", "ihc"]


def test_specimens_and_binning_come_from_the_table_or_from_patterns(folder: Path) -> None:
    table = folder / "table.csv"
    scenes = find_scenes(rules(folder, specimen_csv=table, bin2="from-csv", exclude=["skin*"]))
    assert [(scene.specimen, scene.bin2) for scene in scenes] == [("liver", False), ("liver", True), ("lung", False)]
    (folder / "sheet.csv").write_text("# a spreadsheet's\n" + table.read_text().replace(",", ";"))
    assert scenes == find_scenes(rules(folder, specimen_csv=folder / "sheet.csv", bin2="from-csv", exclude=["skin*"]))
    scenes = find_scenes(rules(folder, specimen_csv=table, specimens={"lung_*": "mouse-3"}, bin2=["skin_1.png"]))
    assert [(scene.specimen, scene.bin2) for scene in scenes] == [
        ("liver", False), ("liver", False), ("mouse-3", False), ("skin", True)]


@pytest.mark.parametrize(("changes", "message", "hint"), [
    ({"patterns": ["{folder}/*.tif"]}, r"no image file matches '.*\*\.tif'", "check the folder"),
    ({"exclude": ["*"]}, "no scenes are left", "exclude"),
    ({"specimen_csv": "{folder}/absent.csv"}, r"no such file: '.*absent\.csv'", "the path"),
    ({"specimen_csv": "{folder}/poor.csv"}, "has the columns file, sort; expected", "needs the columns"),
    ({"specimen_csv": "{folder}/twice.csv"}, "line 3: 'liver_a.png' is listed before with another", "remove one"),
    ({"specimen_csv": "{folder}/word.csv"}, "line 2: bin2_before_use is 'ja'", "yes, true, 1, no, false, 0"),
    ({"specimen_csv": "{folder}/short.csv"}, "scene 'liver_b.png' is not listed", "add a row"),
    ({"bin2": "from-csv"}, "bin2 = \"from-csv\", but no specimen_csv is given", "bin2_before_use"),
    ({"bin2": "from-csv", "specimen_csv": "{folder}/short.csv"}, "has no column bin2_before_use", "bin2_before_use"),
    ({"bin2": ["livr_a*"]}, r"bin2: 'livr_a\*' matches none of the scenes liver_a.png", "spelling"),
    ({"specimens": {"kidney": "k"}}, "specimens: 'kidney' matches none", "spelling"),
])
def test_mistakes_are_named_with_a_way_out(folder: Path, changes: dict[str, object], message: str, hint: str) -> None:
    (folder / "poor.csv").write_text("file,sort\nliver_a.png,liver\n")
    (folder / "short.csv").write_text("file,specimen\nliver_a.png,liver\n")
    (folder / "twice.csv").write_text("file,specimen\nliver_a.png,liver\nx/liver_a.png,lung\n")
    (folder / "word.csv").write_text("file,specimen,bin2_before_use\nliver_a.png,liver,ja\n")
    filled = {key: ([each.format(folder=folder) for each in value] if isinstance(value, list) else
                    Path(value.format(folder=folder)) if key == "specimen_csv" else value)  # type: ignore[attr-defined]
              for key, value in changes.items()}
    with pytest.raises(SourceError, match=message) as caught:
        find_scenes(rules(folder, **filled))
    assert hint in caught.value.hint


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "lung_1.png").write_bytes((folder / "lung_1.png").read_bytes())
    with pytest.raises(SourceError, match="two scenes are named 'lung_1'"):
        find_scenes(rules(folder, patterns=[f"{folder}/**/lung*"]))


def test_patterns_start_at_the_pipeline_file_and_take_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDES_HERE", str(folder))
    options = SimulateSource.Options.model_validate({"scenes": ["${SLIDES_HERE}/lung*", "liver*", "builtin:ihc"]},
                                                    context={"base": folder})
    assert [scene.name for scene in find_scenes(SceneRules(options.scenes))] == ["lung_1", "liver_a", "liver_b", "ihc"]
    monkeypatch.delenv("SLIDES_HERE")
    with pytest.raises(ValidationError, match="'SLIDES_HERE' is not set"):
        SimulateSource.Options(scenes=["${SLIDES_HERE}/lung*"])


def test_unknown_builtin_scenes_get_a_suggestion() -> None:
    with pytest.raises(ValidationError, match="no scene 'builtin:tisue:3'; did you mean 'builtin:tissue'"):
        SimulateSource.Options(scenes=["builtin:tisue:3"])
    with pytest.raises(ValidationError, match="no scene 'builtin:tissue:0'"):
        SimulateSource.Options(scenes=["builtin:tissue:0"])


def test_pixels_are_unit_rgb_binned_and_cropped_to_the_centre(folder: Path) -> None:
    stored = cv2.imread(str(folder / "liver_b.png"))[:, :, ::-1].astype(np.float64) / 255
    scene = find_scenes(rules(folder, patterns=[f"{folder}/liver_b*"], bin2=["*"]))[0]
    binned = stored[:32, :40].reshape(16, 2, 20, 2, 3).mean(axis=(1, 3))
    assert read_scene(scene, rules(folder)) == pytest.approx(binned, abs=1e-6)
    assert read_scene(scene, rules(folder, max_scene_px=10)) == pytest.approx(binned[3:13, 5:15], abs=1e-6)
    luma = binned @ [0.299, 0.587, 0.114]
    assert read_scene(scene, rules(folder, monochrome=True)) == pytest.approx(luma, abs=1e-6)


def test_the_real_section_comes_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    scene = find_scenes(SceneRules(["builtin:ihc"]))[0]
    pixels = read_scene(scene, SceneRules([]))
    assert pixels.shape == (512, 512, 3)
    assert 0.5 < pixels.mean() < 0.75
    assert pixels[:, :, 2].mean() < pixels[:, :, 0].mean()  # brown DAB takes up blue light


def test_a_resolution_target_is_drawn_at_the_scenes_pixel_size() -> None:
    """Groups 8 to 11 are found in it, and it tells the pixel size that was asked for."""
    rules = SceneRules(["builtin:usaf"], scene_pixel_size_um=0.1)
    (scene,) = find_scenes(rules)
    pixels = read_scene(scene, rules)
    assert (scene.name, scene.specimen) == ("usaf", "usaf") and pixels.shape[2] == 3 and pixels.min() < 0.01
    reading = read_target(pixels[..., 1])
    assert reading.absolute and reading.pixel_size_um == pytest.approx(0.1, rel=0.01)
    assert {each.element.group for each in reading.patterns} >= {8, 9}


def test_drawn_sections_repeat_by_seed_and_differ_by_number() -> None:
    small = SceneRules([], tissue_px=160, seed=3)
    first, second = find_scenes(SceneRules(["builtin:tissue:2"]))
    assert [first.specimen, second.specimen] == ["tissue-0", "tissue-1"]
    drawn = read_scene(first, small)
    assert np.array_equal(drawn, read_scene(first, small))
    assert np.abs(drawn - read_scene(first, SceneRules([], tissue_px=160, seed=4))).mean() > 0.05
    assert np.abs(drawn - read_scene(second, small)).mean() > 0.05


@pytest.mark.parametrize("number", range(3))
def test_drawn_sections_have_the_spectrum_of_real_ones(number: int) -> None:
    """Power at 0.125, 0.275 and 0.475 cycles/px, as log10 of grey levels²: real sharp fields lie within 2.4 to 3.9,
    1.0 to 2.6 and −0.2 to 1.4 (a column of the data set's manifest)."""
    section = stained_section((512, 512), np.random.default_rng([0, number]), PALETTES[number])
    assert 0 < section.min() < 0.25 and 0.85 < section.max() <= 1
    window = np.hanning(512)[:, None] * np.hanning(512)
    grey = section.mean(axis=2) * 255
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2 / 512 ** 2
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])
    bands = [np.log10(power[np.abs(frequency - centre) < 0.0125].mean()) for centre in (0.125, 0.275, 0.475)]
    assert 2.4 < bands[0] < 3.9
    assert 1.0 < bands[1] < 2.6
    assert -0.2 < bands[2] < 1.4


def test_manifest_of_the_real_data_works_as_it_is(shared_data: Path) -> None:
    scenes = find_scenes(SceneRules([f"{shared_data}/train/*", f"{shared_data}/test/*"],
                                    specimen_csv=shared_data / "MANIFEST.csv", bin2="from-csv"))
    by_name = {scene.name: scene for scene in scenes}
    assert len(scenes) == 19
    assert by_name["he_tupac_a"].specimen == by_name["he_tupac_b"].specimen == "tupac"
    assert by_name["mt_liver_1"].bin2 and not by_name["he_histoqc_2"].bin2
    assert read_scene(by_name["mt_liver_1"], SceneRules([])).shape == (149, 149, 3)
    assert read_scene(by_name["he_CMU-1-small"], SceneRules([], max_scene_px=512)).shape == (512, 512, 3)
