"""`superres register`, on folders and on a pipeline file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from superres.builtin.sources.simulate import SimulateSource
from superres.cli import app
from superres.cli.words import for_a_scan
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.scan_folder import write_scan_folder

SCENES = {"scenes": ["builtin:tissue:1"], "tissue_px": 512, "tile_px": 128, "field_px": 200, "fields_per_specimen": 3}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan folder whose last field shows nothing."""
    folder = tmp_path_factory.mktemp("register")
    write_scan_folder(SimulateSource(**SCENES).acquire(), folder / "scan")
    path = sorted((folder / "scan/fine").glob("*/*.tif"))[-1]
    image = read_image(path)
    noise = np.random.default_rng(0).normal(240, 1, image.pixels.shape)
    write_image(path, image.with_pixels(np.rint(noise).clip(0, 255).astype(np.uint8)))
    return folder


def test_folders_need_no_pipeline_file(desk: Path) -> None:
    done = CliRunner().invoke(app, ["register", str(desk / "scan"), "--out", str(desk / "found")])
    assert done.exit_code == 0, done.output
    assert "kept 2 of 3 fields; residual, by the registrar's own estimate: median 0.00" in done.stdout
    assert "rejected tissue-0_f02 (blank)" in done.stdout
    page = (desk / "found/registration.html").read_text()
    assert page.count("<polygon") == 2 and "tissue-0_f02" in page
    rows = json.loads((desk / "found/registration.json").read_text())["pairs"]
    assert [len(row["outline_um"] or ()) for row in rows] == [4, 4, 0]
    assert all(len(row["residuals_um"]) >= 9 for row in rows if row["kept"])


def test_a_run_goes_on_from_it(desk: Path) -> None:
    """The same pipeline file and folder: the register stage is taken over."""
    pipeline = desk / "pipeline.toml"
    pipeline.write_text(f"""
        run.output = "{desk / 'run'}"
        source = {{ plugin = "acquisition", options = {{ folder = "{desk / 'scan'}" }} }}
        model.plugin = "bicubic"
        split = {{ test = 1, validation = 0 }}
        evaluate = [{{ plugin = "ssim" }}]
    """)
    first = CliRunner().invoke(app, ["register", str(pipeline)])
    assert first.exit_code == 0, first.output
    made = (desk / "run/registration.json").stat().st_mtime_ns
    done = CliRunner().invoke(app, ["run", str(pipeline)])
    assert done.exit_code == 0, done.output
    assert (desk / "run/registration.json").stat().st_mtime_ns == made
    assert (desk / "run/report.html").read_text().count("<polygon") == 2


@pytest.mark.parametrize("left", ["scan.json", "positions.csv"])
def test_a_scan_is_no_pairs_to_evaluate_before_it_is_registered(desk: Path, tmp_path: Path, left: str) -> None:
    scan = shutil.copytree(desk / "scan", tmp_path / "scan")
    for name in {"scan.json", "positions.csv"} - {left}:
        (scan / name).unlink()
    done = CliRunner().invoke(app, ["evaluate", str(scan)])
    assert done.exit_code == 2 and "'scan' is a scan" in done.output, done.output
    assert f"`superres register {scan}`" in done.output and "source.options" not in done.output


def test_the_pairs_of_a_registered_scan_can_be_evaluated(desk: Path, tmp_path: Path) -> None:
    """Where the hint says that they are."""
    CliRunner().invoke(app, ["register", str(desk / "scan"), "--out", str(tmp_path)])
    pairs, = tmp_path.glob("work/register-*/pairs")
    done = CliRunner().invoke(app, ["evaluate", str(pairs), "--evaluator", "psnr", "--device", "cpu"])
    assert done.exit_code == 0 and "psnr" in done.output, done.output


@pytest.mark.parametrize("scale", ["2.5", "a/b", "/2"])
def test_a_scale_that_is_no_ratio(desk: Path, scale: str) -> None:
    done = CliRunner().invoke(app, ["register", str(desk / "scan"), "--scale", scale])
    assert done.exit_code == 2 and "is not a ratio of whole numbers" in done.output


@pytest.mark.parametrize(("scale", "said"), [("3/0", "'3/0' is not a ratio"), ("5/2/1", "'5/2/1' is not a ratio"),
                                             ("2/3", "--scale:"), ("9", "--scale:")])
def test_a_scale_that_cannot_be(desk: Path, scale: str, said: str) -> None:
    """Said of the option, not of a section in a file that nobody wrote."""
    done = CliRunner().invoke(app, ["register", str(desk / "scan"), "--scale", scale])
    assert done.exit_code == 2 and said in done.output and "model.options" not in done.output


def test_nothing_of_that_name(desk: Path) -> None:
    done = CliRunner().invoke(app, ["register", str(desk / "nowhere")])
    assert done.exit_code == 2 and "no such file or folder" in done.output and "coarse/<slide>/" in done.output


def test_hints_name_options_of_the_command_where_folders_were_given(desk: Path) -> None:
    """A mirrored scan: the page and the command say what to set, and setting it helps."""
    scan = desk / "mirrored"
    shutil.copytree(desk / "scan", scan)
    for path in (scan / "fine").glob("*/*.tif"):
        image = read_image(path)
        write_image(path, image.with_pixels(np.ascontiguousarray(image.pixels[:, ::-1])))
    done = CliRunner().invoke(app, ["register", str(scan), "--out", str(desk / "out")])
    assert done.exit_code == 2 and "give --set register.options.flip=x" in done.output
    again = CliRunner().invoke(app, ["register", str(scan), "--out", str(desk / "out"), "--set",
                                     "register.options.flip=x"])
    assert again.exit_code == 0 and "kept 2 of 3 fields" in again.output
    page = (desk / "out/registration.html").read_text()
    assert "what to do" in page and "leave the field out, or check focus and exposure" in page
    assert "<code>" not in page, "nothing to set"


def test_notes_meanwhile_speak_as_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    from superres.cli.shared import console_events

    text = 'parts lie beside their place; set register.options.warp = "smooth"'
    with console_events(for_a_scan) as events:
        events.note("register", text)
    assert "give --set register.options.warp=smooth" in capsys.readouterr().err
    with console_events() as events:
        events.note("register", text)
    assert text in capsys.readouterr().err


def test_pixel_sizes_that_do_not_make_the_scale_name_its_option() -> None:
    """The hint as the stage says it."""
    from superres.api.model import Geometry
    from superres.api.source import Acquisition, Pair
    from superres.errors import SourceError
    from superres.stages.split import check_scale

    pair = Pair("p", "s", Image(np.zeros((4, 4), np.uint8), 0.185), Image(np.zeros((10, 10), np.uint8), 0.09))
    with pytest.raises(SourceError) as refused:
        check_scale(Acquisition(pairs=(pair,), fine_pixel_size_um=0.09), Geometry(5, 2, origin_multiple=2))
    said = for_a_scan(str(refused.value.hint))
    assert "--scale" in said and "[source]" not in said and "model.options" not in said



@pytest.mark.parametrize("sizes", ["stated", "given", "unknown"])
def test_folders_that_stand_in_each_others_place(desk: Path, sizes: str) -> None:
    """The files say so, or, where they say nothing of pixel sizes, the images do."""
    scan = desk / f"exchanged-{sizes}"
    for ours, theirs in (("coarse", "fine"), ("fine", "coarse")):
        for path in sorted((desk / "scan" / theirs).glob("*/*.tif"))[:2 if ours == "coarse" else None]:
            image = read_image(path)
            target = scan / ours / "tissue-0" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if sizes == "unknown":
                write_png(target.with_suffix(".png"), image)
            else:
                write_image(target, image)
    given = ["--coarse-pixel-size", "0.185", "--fine-pixel-size", "0.074"] if sizes != "stated" else []
    done = CliRunner().invoke(app, ["register", str(scan), "--out", str(desk / f"out-{sizes}"), *given])
    assert done.exit_code == 2 and "look exchanged" in done.output and "exchange the two folders" in done.output


def write_png(path: Path, image: Image) -> None:
    """Without a pixel size."""
    assert cv2.imwrite(str(path), np.ascontiguousarray(image.pixels[..., ::-1]))
