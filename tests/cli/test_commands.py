"""What a user types, and what comes back."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tifffile
import torch

from superres import native
from superres._version import __version__
from superres.cli.shared import saying_new_folders
from superres.image import Image
from superres.io.images import read_image, write_image

COMMANDS = ("run", "check", "simulate", "upscale", "plugins", "schema", "doctor")


def assert_two_lines(outcome, error, hint=""):
    lines = outcome.err.strip().splitlines()
    assert outcome.status == 2, outcome
    assert next(line for line in lines if line.startswith(("error:", "hint:"))).startswith("error:")
    assert error in outcome.err and hint in outcome.err
    assert "Traceback" not in outcome.err and outcome.out == ""


def test_version(superres):
    assert superres("--version").out.strip() == f"superres {__version__}"


def test_help_names_every_command(superres):
    text = superres("--help").out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "a.toml", "--until", "traning"),
        ("nope",),
        ("--nope",),
        ("upscale", "a.png", "b.tif", "--weights", "w", "--passes", "9"),
    ],
)
def test_wrong_use_is_two_lines_and_status_2(superres, words):
    assert_two_lines(superres(*words), "error: ", "--help")


def test_a_single_mistake_is_an_error_and_a_hint(superres, tmp_path):
    missing, folder = superres("run", tmp_path / "no.toml"), superres("check", tmp_path)
    assert missing.err == f"error: {tmp_path / 'no.toml'}: no such file\nhint: give the path of a pipeline file\n"
    assert folder.err == f"error: {tmp_path}: a folder; expected a pipeline file\nhint: name the .toml file in it\n"
    path = tmp_path / "p.toml"
    path.write_text('source = { plugin = "simulate", options = { scenes = ["builtin:ihc"] } }\nrun.sead = 7\n')
    wrong = superres("check", path)
    assert wrong.err == f"error: {path}: run.sead: unknown key\nhint: did you mean 'seed'?\n"


def test_check_prints_the_resolved_plan(superres, project_root):
    outcome = superres("check", project_root / "examples/quickstart/pipeline.toml", "--set", "train.steps=3")
    assert outcome.status == 0
    assert json.loads(outcome.out)["train"]["steps"] == 3


def test_check_reports_all_mistakes(superres, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[source]\nplugin = "simulat"\n[train]\npatch = 3\nbatch_size = 0\n[model]\nplugin = "rivensen"\n')
    outcome = superres("check", path)
    assert_two_lines(outcome, "4 problems")
    for place in ("source.plugin", "train.patch", "train.batch_size", "model.plugin"):
        assert place in outcome.err
    assert outcome.err.count("did you mean") >= 3


@pytest.mark.parametrize("none", ["0", "[]"])
def test_check_refuses_a_patience_that_nothing_could_try(superres, project_root, none):
    words = ("check", project_root / "examples/quickstart/pipeline.toml", "--set", "train.patience=3")
    assert superres(*words).status == 0
    outcome = superres(*words, "--set", f"split.validation={none}")
    assert_two_lines(outcome, "train.patience: patience is 3, but split.validation holds no specimen", "leave patience")


def test_check_refuses_float16_on_a_processor_that_lacks_it(superres, project_root):
    words = ("check", project_root / "examples/quickstart/pipeline.toml", "--set", "train.precision=float16")
    assert_two_lines(superres(*words, "--set", "run.device=cpu"), "train.precision: float16 needs a GPU", "float32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(("setting", "words"), [
    ("train.precision=float16", "train.precision is float16, which needs a GPU; this training runs on cpu"),
    ("run.device=cuda:1", "device 'cuda:1' is not here: torch"),
])
def test_check_notes_what_this_machine_lacks_and_run_stops_at_once(superres, project_root, tmp_path, setting, words):
    """The machine that is asked may be a cluster's front end, the one that will run it another."""
    pipeline = project_root / "examples/quickstart/pipeline.toml"
    outcome = superres("check", pipeline, "--set", setting)
    assert outcome.status == 0 and json.loads(outcome.out)["train"]
    assert outcome.err.startswith(f"note: {words}") and outcome.err.count("\n") == 1
    assert_two_lines(superres("run", pipeline, "--set", setting, "--set", f"run.output={tmp_path / 'run'}"), words)
    assert not list(tmp_path.glob("run/work/acquire-*/*"))


def test_an_error_under_torchrun_says_whose_the_traceback_is(superres, monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "7"), ("RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    lines = superres("nope").err.splitlines()
    assert lines[-3].startswith("error: ") and lines[-2].startswith("hint: ")
    assert lines[-1].startswith("note: process 1 of 2 says so; the traceback")


@pytest.mark.parametrize(("environment", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_of_torch_sleep_while_they_wait_unless_the_user_wants_it_otherwise(environment, policy):
    unset = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-m", "superres", "doctor"], capture_output=True, text=True, check=False,
                          env=unset | environment | {"OMP_DISPLAY_ENV": "true"})
    if "OPENMP DISPLAY ENVIRONMENT" not in done.stderr:
        pytest.skip("this torch brings an OpenMP runtime that does not tell its settings, or none")
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr


def test_plugins_lists_builtins_with_their_origin(superres):
    listed = json.loads(superres("plugins", "--json").out)["plugins"]
    assert {"kind": "model", "name": "rivenson2017"}.items() <= listed[
        [row["name"] for row in listed].index("rivenson2017")
    ].items()
    text = superres("plugins").out
    assert "rivenson2017" in text and f"superres {__version__}" in text


def test_schema_describes_the_options(superres):
    schema = json.loads(superres("schema", "model.rivenson2017").out)
    assert schema["properties"]["up"]["default"] == 5
    assert all("description" in each for each in schema["properties"].values())


@pytest.mark.parametrize(
    ("name", "message"), [("model.rivenson", "unknown model"), ("bicubic", "KIND.NAME"), ("modl.bicubic", "KIND.NAME")]
)
def test_schema_of_something_unknown(superres, name, message):
    assert_two_lines(superres("schema", name), message)


def test_doctor_says_once_that_the_native_module_is_not_built(superres, monkeypatch):
    monkeypatch.setitem(sys.modules, "superres.native._core", None)
    monkeypatch.setattr(native, "_load", native._load.__wrapped__)
    line, = (line for line in superres("doctor").out.splitlines() if "native module" in line)
    assert line.count("not built") == 1 and "no native module" not in line and "SUPERRES_NATIVE=ON" in line


def test_doctor_says_what_will_be_used(superres):
    text = superres("doctor").out
    for word in ("torch", "device", "native module", "OpenCV", "plug-ins"):
        assert word in text


def test_upscale_writes_an_image_of_the_same_kind(superres, tmp_path, weights_file, rng):
    pixels = rng.integers(0, 4096, (30, 41, 3)).astype(np.uint16)
    write_image(tmp_path / "in.tif", Image(pixels, 0.185, white_level=4095, icc_profile=b"\0" * 128))
    outcome = superres("upscale", tmp_path / "in.tif", tmp_path / "out.tif", "--weights", weights_file)
    assert outcome.status == 0 and outcome.out.strip() == str(tmp_path / "out.tif")
    result = read_image(tmp_path / "out.tif")
    assert result.pixels.dtype == np.uint16 and result.white == 4095 and result.pixels.max() <= 4095
    assert result.shape_px == (75, 103) and result.pixel_size_um == pytest.approx(0.074)
    assert result.icc_profile == b"\0" * 128
    assert tifffile.imread(tmp_path / "out.tif").shape == (75, 103, 3)
    assert "torch" in outcome.err and "rivenson2017" in outcome.err and "is new" not in outcome.err


def test_upscale_takes_off_what_the_camera_stores_without_light(superres, tmp_path, weights_file, rng):
    pixels = rng.integers(0, 3996, (30, 41, 3)).astype(np.uint16)
    write_image(tmp_path / "dark.tif", Image(pixels, 0.185, white_level=3995))
    write_image(tmp_path / "raw.tif", Image(pixels + np.uint16(100), 0.185, white_level=4095))
    for words in (("dark.tif", "one.tif"), ("raw.tif", "other.tif", "--black-level", "100")):
        done = superres("upscale", *(tmp_path / name for name in words[:2]), "--weights", weights_file, *words[2:])
        assert done.status == 0, done
    one, other = (read_image(tmp_path / name) for name in ("one.tif", "other.tif"))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.white == other.white == 3995


def test_upscale_of_a_single_channel_png_without_pixel_size(superres, tmp_path, weights_file, rng):
    import cv2

    cv2.imwrite(str(tmp_path / "in.png"), rng.integers(0, 256, (20, 20)).astype(np.uint8))
    outcome = superres("upscale", tmp_path / "in.png", tmp_path / "new" / "out.png", "--weights", weights_file,
                       "--passes", "2")
    assert outcome.status == 0, outcome
    assert "0.185 µm is assumed" in outcome.err and f"folder '{tmp_path / 'new'}' is new" in outcome.err
    assert cv2.imread(str(tmp_path / "new" / "out.png"), cv2.IMREAD_UNCHANGED).shape == (125, 125)


def test_upscale_refuses_what_it_cannot_do(superres, tmp_path, weights_file):
    write_image(tmp_path / "in.tif", Image(np.zeros((20, 20, 3), np.uint8), 0.185))
    (tmp_path / "text.tif").write_text("neither an image nor weights")
    (tmp_path / "cut.safetensors").write_bytes(weights_file.read_bytes()[:500])
    ok = ("upscale", tmp_path / "in.tif", tmp_path / "out.tif")
    assert_two_lines(superres(*ok, "--weights", tmp_path / "no"), "no weights file")
    assert_two_lines(superres(*ok, "--weights", tmp_path / "cut.safetensors"), "truncated or damaged")
    assert_two_lines(superres(*ok, "--weights", tmp_path / "text.tif"), "text.tif' is not a weights file", "hint: give")
    assert_two_lines(superres("upscale", tmp_path / "in.tif", tmp_path / "out"), "has no suffix", "suffix .tif")
    native = ("--engine", "native", "--precision", "fast")
    assert_two_lines(superres(*ok, "--weights", weights_file, *native), "native", "exact")
    assert_two_lines(superres(*ok, "--weights", weights_file, "--device", "cuda:7"), "cuda:7")
    assert_two_lines(
        superres("upscale", tmp_path / "text.tif", tmp_path / "out.tif", "--weights", weights_file), "text.tif"
    )
    assert_two_lines(superres("upscale", tmp_path / "in.tif", tmp_path / "out.jpg", "--weights", weights_file), ".tif")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in.tif", "text.tif", "cut.safetensors", "weights.safetensors"}


def test_simulate_writes_a_scan_and_refuses_to_mix(superres, tmp_path):
    words = (
        "simulate",
        "--out",
        tmp_path / "scan",
        "--set",
        "source.options.scenes=['builtin:tissue']",
        "--set",
        "source.options.tissue_px=300",
    )
    outcome = superres(*words)
    assert outcome.status == 0, outcome
    assert all(line.startswith("simulate: ") for line in outcome.err.splitlines()), outcome
    assert "simulate: imaging with source 'simulate'" in outcome.err
    assert re.search(r"^simulate: done in .* s, \d+ coarse tiles, \d+ fine fields$", outcome.err, re.MULTILINE)
    assert (tmp_path / "scan" / "positions.csv").exists()
    assert list((tmp_path / "scan" / "coarse").glob("*/*.tif")) and list((tmp_path / "scan" / "fine").glob("*/*.tif"))
    assert_two_lines(superres(*words), "scan")


@pytest.mark.parametrize(
    "words",
    [
        ("upscale", "in.png", "new/deep/sharp.png", "--weights", "weights.safetensors"),
        ("upscale", "in.png", "sharp.png", "--weights", "weights.safetensors", "--drift-report", "new/deep/a.html",
         "--passes", "2"),
        ("resolution", "in.png", "--pixel-size-um", "0.1", "--csv", "new/deep/a.csv", "--page", "new/deep/a.html"),
        ("simulate", "--out", "new/deep/scan", "--set", "source.options.scenes=['builtin:tissue']",
         "--set", "source.options.tissue_px=300"),
        ("run", "quick.toml", "--until", "acquire"),
        ("register", "empty", "--out", "new/deep/registered"),
    ],
)
def test_a_folder_that_a_command_had_to_make_is_said_once(superres, tmp_path, weights_file, rng, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "in.png", Image(rng.integers(0, 256, (150, 150), dtype=np.uint8), 0.185, 255.0))
    (tmp_path / "quick.toml").write_text(
        'run.output = "new/deep/run"\nsource.plugin = "simulate"\nmodel.plugin = "bicubic"\n'
        'source.options = { scenes = ["builtin:tissue"], tissue_px = 300, fields_per_specimen = 1 }\n'
        "split = { test = 0, validation = 0 }\n"
    )
    (tmp_path / "empty").mkdir()
    first, second = superres(*words), superres(*words)
    assert first.err.count("note: made the folder") == 1, first
    assert re.search(r"^note: made the folder '.*new/deep'$", first.err, re.MULTILINE), first
    assert "made the folder" not in second.err, second


def test_of_several_processes_the_first_says_what_was_made(tmp_path, monkeypatch, capsys):
    for rank, said in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        with saying_new_folders(tmp_path / rank / "run", None):
            (tmp_path / rank / "run").mkdir(parents=True)
        assert capsys.readouterr().err.count("made the folder") == said


MANY_FIELDS = (
    "--set",
    "source.options.scenes=['builtin:tissue']",
    "--set",
    "source.options.tissue_px=300",
    "--set",
    "source.options.fields_per_specimen=40",
)


def test_ctrl_c_stops_simulate_between_two_images(tmp_path):
    """As a user at a terminal does it: the bar is drawn there, and the folder is whole or absent."""
    import pty

    terminal, attached = pty.openpty()
    command = [sys.executable, "-m", "superres", "simulate", "--out", str(tmp_path / "scan"), *MANY_FIELDS]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=attached, text=True)
    os.close(attached)
    said = bytearray()

    def read_along():  # a terminal that nobody reads holds its writer up
        with contextlib.suppress(OSError):  # what the end of a terminal is on Linux
            while chunk := os.read(terminal, 4096):
                said.extend(chunk)

    reader = threading.Thread(target=read_along)
    reader.start()
    folder = None
    while started.poll() is None and folder is None:
        folder = next(tmp_path.glob(".scan.*"), None)
        time.sleep(0.005)
    assert folder is not None, "it has begun to write"
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=60)
    reader.join()
    os.close(terminal)
    said = said.decode(errors="replace")
    assert started.returncode == 130, said
    assert "stopped: simulation cancelled; nothing was written" in said and out == ""
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_the_source_acquires_writes_nothing(superres, tmp_path, monkeypatch):
    from superres.builtin.sources.simulate import SimulateSource

    real = SimulateSource.acquire

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return real(self)

    monkeypatch.setattr(SimulateSource, "acquire", interrupted)
    outcome = superres("simulate", "--out", tmp_path / "scan", *MANY_FIELDS[:4])
    assert outcome.status == 130 and "stopped: simulation cancelled" in outcome.err and outcome.out == ""
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_frames_are_imaged_ends_before_the_next_one(superres, tmp_path, monkeypatch):
    from superres.builtin.sources import virtual_scan

    real, exposed = virtual_scan.expose, []

    def interrupted(*words):
        exposed.append(words)
        if len(exposed) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*words)

    monkeypatch.setattr(virtual_scan, "expose", interrupted)
    outcome = superres("simulate", "--out", tmp_path / "scan", *MANY_FIELDS)
    assert outcome.status == 130 and "stopped: simulation cancelled" in outcome.err
    assert len(exposed) == 3 and not list(tmp_path.iterdir())


def test_a_long_task_draws_a_bar_at_a_terminal(capsys, monkeypatch):
    from superres.cli import console
    from superres.events import Progress

    monkeypatch.setattr(console, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with console.ConsoleEvents() as events:
        for number in range(3):
            events.progress(Progress("acquire", number, 3, f"tile_{number}"))
    drawn = capsys.readouterr().err
    assert "acquire" in drawn and "2/3" in drawn and "tile_2" in drawn


def test_a_traceback_is_shown_when_asked_for(superres, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERRES_TRACEBACK", "1")
    outcome = superres("check", tmp_path / "no.toml")
    assert outcome.status == 2 and outcome.err.startswith("Traceback") and "error: " in outcome.err


def test_upscale_never_touches_its_input_and_needs_a_file_name(superres, tmp_path, weights_file):
    write_image(tmp_path / "in.tif", Image(np.full((20, 20, 3), 7, np.uint8), 0.185))
    before = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "folder.tif").mkdir()
    words = ("upscale", tmp_path / "in.tif")
    assert_two_lines(superres(*words, tmp_path / "in.tif", "--weights", weights_file), "is the input itself")
    assert_two_lines(superres(*words, tmp_path / "folder.tif", "--weights", weights_file), "is a folder")
    assert (tmp_path / "in.tif").read_bytes() == before


def test_sixteen_bit_files_of_a_camera_with_fewer_bits_are_asked_about(superres, tmp_path, weights_file, rng):
    tifffile.imwrite(tmp_path / "in.tif", rng.integers(0, 4096, (20, 20, 3)).astype(np.uint16), photometric="rgb")
    words = ("upscale", tmp_path / "in.tif", tmp_path / "out.tif", "--weights", weights_file)
    refused = superres(*words)
    assert refused.status == 2 and "of 65535" in refused.err and "--white-level 4095" in refused.err
    assert superres(*words, "--white-level", "4095").status == 0
    assert read_image(tmp_path / "out.tif").white == 4095


@pytest.mark.parametrize(("command", "hint"), [
    ("stitch", "run the same command again"),
    ("register", "run the same command again; stages that are finished are not done again")])
def test_ctrl_c_before_anything_is_done_speaks_of_no_finished_stage(superres, tmp_path, monkeypatch, command, hint):
    """While the command still reads what it is given."""
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("superres.plan.make_plan", interrupted)
    outcome = superres(command, tmp_path)
    assert outcome.status == 130 and outcome.err.splitlines() == ["stopped: interrupted", f"hint: {hint}"]
