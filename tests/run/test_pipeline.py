"""Runs from end to end on small drawn specimens: results, resume, refusal, and what is left behind."""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import superres
from superres.api import Acquisition, PluginOptions, Registrar, Registration, Source
from superres.catalog import Catalog
from superres.errors import (
    Cancelled,
    EngineError,
    PluginError,
    RegistrationError,
    SourceError,
    StorageError,
    SuperresError,
)
from superres.events import Events
from superres.hookspecs import hookimpl
from superres.image import Image
from superres.io.images import read_image, write_image
from superres.io.weights import read_weights
from superres.plan import make_plan
from superres.stage_keys import stage_keys
from superres.stages.store import RunFolder
from superres.transform import Transform
from tests.run.specimens import FINE_UM, drawn_scan

TINY = {
    "source": {"plugin": "drawn"},
    "register": {"plugin": "known"},
    "model": {"plugin": "rivenson2017", "options": {"base_channels": 6, "blocks": 1, "alpha": 2}},
    "train": {"patch_px": 16, "batch_size": 4, "steps": 6, "validate_every": 3},
    "split": {"test": ["drawn-0"], "validation": ["drawn-1"]},
}


class DrawnSource(Source):
    name = "drawn"
    summary = "three drawn specimens"

    class Options(PluginOptions):
        specimens: int = 3

    acquired = 0

    def acquire(self):
        type(self).acquired += 1
        return Acquisition(
            tuple(drawn_scan(number) for number in range(self.options.specimens)),
            simulated="drawn specimens without optics",
        )


class KnownRegistrar(Registrar):
    """Reads the true place off the field's name: these tests are about the run, not about registration."""

    name = "known"
    summary = "for tests"

    class Options(PluginOptions):
        refuse: str = ""

    def register(self, fine, coarse, guess=None):
        if self.options.refuse and self.options.refuse in fine.name:
            raise RegistrationError(f"'{fine.name}' is blank", reason="blank")
        top, left = (int(part) for part in fine.name.split("_")[-2:])
        return Registration(Transform.shift(-top * FINE_UM, -left * FINE_UM), 0.001, 0.9)


class Hooks:
    @hookimpl
    def superres_sources(self):
        return [DrawnSource]

    @hookimpl
    def superres_registrars(self):
        return [KnownRegistrar]


def plan(folder, *overrides):
    catalog = Catalog.builtin()
    catalog.register(Hooks(), distribution="tests", version="1")
    return make_plan({**TINY, "run": {"output": str(folder), "seed": 3}}, overrides=overrides, catalog=catalog)


def run(folder, *overrides, until="report", resume=True, events=None):
    return superres.Pipeline(plan(folder, *overrides), events=events).run(until=until, resume=resume)


class Notes(Events):
    def __init__(self):
        super().__init__()
        self.texts = []

    def note(self, stage, text):
        self.texts.append(f"{stage}: {text}")


def test_a_run_leaves_every_result_that_is_promised(tmp_path):
    result = run(tmp_path / "run")
    folder = result.folder
    names = {path.name for path in folder.iterdir()}
    assert {
        "plan.json",
        "registration.json",
        "registration.html",
        "weights.safetensors",
        "history.csv",
        "outputs",
        "scores.json",
        "report.html",
        "pictures",
        "work",
    } == names
    scores = json.loads((folder / "scores.json").read_text())
    assert {"ssim", "psnr"} <= {name.split("-")[0] for name in scores["summary"]}
    assert all(score["bicubic"] is not None for name, score in scores["summary"].items() if name.startswith("ssim"))
    outputs = list((folder / "outputs").glob("*.tif"))
    assert len(outputs) == 2
    image = read_image(outputs[0])
    assert image.pixels.dtype == np.uint8 and image.pixel_size_um == pytest.approx(0.074)
    weights = read_weights(result.weights)
    assert weights.plugin == "rivenson2017" and weights.coarse_pixel_size_um == 0.185
    assert weights.provenance["simulated"] == "drawn specimens without optics"
    facts = weights.provenance["training"]
    assert {stain.specimen for stain in weights.stains} == set(facts["specimens"])
    assert all(np.linalg.eigvalsh(stain.covariance).min() >= 0 for stain in weights.stains)
    page = (folder / "report.html").read_text()
    assert "drawn specimens without optics" in page and "drawn-0" in page
    assert facts["convolutions"] and f"Convolutions in training: {facts['convolutions']}." in page
    saved = json.loads((folder / "plan.json").read_text())
    assert saved["pipeline"]["train"]["learning_rate"] == 1e-4 and saved["versions"]["superres"] == superres.__version__


def test_a_second_run_computes_nothing_again(tmp_path):
    run(tmp_path / "run")
    DrawnSource.acquired = 0
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    run(tmp_path / "run")
    assert DrawnSource.acquired == 0
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_a_later_option_keeps_the_earlier_stages(tmp_path):
    run(tmp_path / "run")
    DrawnSource.acquired = 0
    notes = Notes()
    run(tmp_path / "run", "train.steps=4", events=notes)
    assert DrawnSource.acquired == 0
    kept = list((tmp_path / "run").glob("weights-*.safetensors"))
    assert len(kept) == 1 and any(kept[0].name in text for text in notes.texts)
    assert read_weights(tmp_path / "run" / "weights.safetensors").provenance["training"]["steps"] == 4


def test_an_edited_plugin_is_used_anew(tmp_path, monkeypatch):
    """A method developer changes the file of a plug-in and runs again: yesterday's result must not come back."""
    run(tmp_path / "run", until="acquire")
    DrawnSource.acquired = 0
    edited = tmp_path / "edited.py"
    edited.write_text("# another text\n")
    real = inspect.getsourcefile
    monkeypatch.setattr(
        "superres.stage_keys.inspect.getsourcefile", lambda cls: str(edited) if cls is DrawnSource else real(cls)
    )
    run(tmp_path / "run", until="acquire")
    assert DrawnSource.acquired == 1


def test_a_plugin_that_was_typed_in_runs_and_is_used_anew_when_it_is_typed_again(tmp_path, monkeypatch):
    """A class of a notebook or of a prompt: Python knows no file of it."""
    known = stage_keys(plan(tmp_path))["acquire"]
    monkeypatch.setattr(DrawnSource, "__module__", "nowhere")
    typed = [stage_keys(plan(tmp_path))["acquire"] for _ in range(2)]
    monkeypatch.setitem(globals(), "DrawnSource", type("DrawnSource", (DrawnSource,), {"__module__": "nowhere"}))
    again = stage_keys(plan(tmp_path))["acquire"]
    assert typed[0] == typed[1] and len({known, typed[0], again}) == 3


def test_fresh_forgets_everything(tmp_path):
    run(tmp_path / "run", until="acquire")
    DrawnSource.acquired = 0
    run(tmp_path / "run", until="acquire", resume=False)
    assert DrawnSource.acquired == 1


def test_a_run_with_nothing_held_out_for_testing_goes_to_its_end(tmp_path):
    result = run(tmp_path / "run", "split.test=0")
    assert result.weights.exists() and result.report.exists() and not list((result.folder / "outputs").iterdir())


def test_until_stops_after_the_named_stage(tmp_path):
    result = run(tmp_path / "run", until="register")
    assert result.stages == ("acquire", "register")
    assert (result.folder / "registration.json").exists() and not (result.folder / "weights.safetensors").exists()


def test_results_of_other_options_do_not_stay_beside_a_failed_run(tmp_path):
    run(tmp_path / "run")
    with pytest.raises(RegistrationError):
        run(tmp_path / "run", "register.options.refuse=drawn")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert not names & {"scores.json", "report.html", "outputs", "history.csv", "pictures"}


def test_a_rejected_field_is_listed_with_its_reason_and_never_trained_on(tmp_path):
    notes = Notes()
    result = run(tmp_path / "run", "register.options.refuse=drawn-2_f0", events=notes)
    rows = json.loads((result.folder / "registration.json").read_text())["pairs"]
    rejected = [row for row in rows if not row["kept"]]
    assert [row["reason"] for row in rejected] == ["blank"] and rejected[0]["name"].startswith("drawn-2_f0")
    assert any("rejected (blank)" in text for text in notes.texts)
    assert "blank" in (result.folder / "report.html").read_text()


def test_if_every_field_is_rejected_the_reasons_are_in_the_error_and_in_the_table(tmp_path):
    with pytest.raises(RegistrationError, match=r"none of 6 fine fields .*6 × blank"):
        run(tmp_path / "run", "register.options.refuse=drawn")
    rows = json.loads((tmp_path / "run" / "registration.json").read_text())["pairs"]
    assert len(rows) == 6 and not any(row["kept"] for row in rows)


def test_low_confidence_is_a_rejection(tmp_path):
    with pytest.raises(RegistrationError, match="low-confidence"):
        run(tmp_path / "run", "register.min_confidence=0.95")


def test_a_wrong_specimen_of_a_virtual_scan_is_said_before_it_is_imaged(tmp_path, monkeypatch):
    def images(*_words, **_more):
        raise AssertionError("nothing is imaged for a split that cannot be")

    monkeypatch.setattr("superres.builtin.sources.simulate.read_scene", images)
    virtual = ("source.plugin=simulate", "source.options.scenes=['builtin:tissue:3']")
    with pytest.raises(SourceError, match=r"split\.test names specimens that have no fields: tissue-7") as caught:
        run(tmp_path / "run", *virtual, "split.test=['tissue-7']", "split.validation=0")
    assert "tissue-0, tissue-1, tissue-2" in caught.value.hint


@pytest.mark.parametrize("source", ["acquisition", "pairs"])
def test_a_wrong_specimen_of_files_is_said_before_one_is_opened(tmp_path, source):
    for kind in ("coarse", "fine"):
        (tmp_path / kind / "slide-1").mkdir(parents=True)
        (tmp_path / kind / "slide-1" / "a.tif").write_bytes(b"no image")
    files = (f"source.plugin={source}", f"source.options.folder={str(tmp_path)!r}", "split.validation=0")
    with pytest.raises(SourceError, match=r"split\.test names specimens that have no fields: slide-7") as caught:
        run(tmp_path / "run", *files, "split.test=['slide-7']")
    assert "slide-1" in caught.value.hint
    with pytest.raises(SuperresError, match=r"a\.tif"):
        run(tmp_path / "run", *files, "split.test=['slide-1']", "model.plugin='bicubic'", "model.options={}")


def test_a_scan_without_fields_is_told_that_and_not_that_its_specimens_are_too_few(tmp_path, rng):
    write_image(tmp_path / "coarse" / "slide-1" / "a.tif", Image(rng.random((30, 30), dtype=np.float32), 0.185))
    with pytest.raises(SourceError, match="1 scans and not one fine field"):
        run(tmp_path / "run", "source.plugin=acquisition", f"source.options.folder={str(tmp_path)!r}",
            "source.options.fine=[]", "source.options.fine_pixel_size_um=0.074")


def test_fewer_specimens_than_the_split_needs_is_said_before_registration(tmp_path):
    with pytest.raises(SourceError, match="too few"):
        run(tmp_path / "run", "source.options.specimens=2", "split.test=1", "split.validation=1")
    assert not (tmp_path / "run" / "registration.json").exists()


def test_a_scale_that_the_model_does_not_make_is_said_before_registration(tmp_path):
    with pytest.raises(SourceError, match="L = 4/2"):
        run(tmp_path / "run", "model.options.up=4")


def test_an_untrained_model_skips_training_and_says_so(tmp_path):
    notes = Notes()
    result = run(tmp_path / "run", "model={plugin='bicubic'}", events=notes)
    assert any("training is skipped" in text for text in notes.texts)
    for name, score in result.scores["summary"].items():
        if name.startswith("ssim"):
            # The model is bicubic itself; only the last grey level of 8 bits may differ.
            assert score["model"] == pytest.approx(score["bicubic"], abs=1e-4)


def test_self_feeding_writes_every_pass_with_its_own_pixel_size(tmp_path):
    result = run(tmp_path / "run", "infer.passes=2")
    second = sorted((result.folder / "outputs").glob("*_pass2.tif"))
    assert len(second) == 2
    first = read_image(second[0].with_name(second[0].name.replace("_pass2", "")))
    again = read_image(second[0])
    assert again.pixel_size_um == pytest.approx(0.185 / 6.25, rel=1e-4)
    assert again.shape_px == tuple(int(np.ceil(2.5 * side)) for side in first.shape_px)


def test_cancelling_keeps_the_work_and_the_next_run_ends_the_same(tmp_path):
    class StopsInTraining(Events):
        def progress(self, progress):
            if progress.stage == "train" and progress.done == 4:
                self.cancel()

    with pytest.raises(Cancelled):
        run(tmp_path / "stopped", events=StopsInTraining())
    assert not (tmp_path / "stopped" / "weights.safetensors").exists()
    stopped = read_weights(run(tmp_path / "stopped").weights)
    straight = read_weights(run(tmp_path / "straight").weights)
    assert all(np.array_equal(stopped.tensors[name], straight.tensors[name]) for name in straight.tensors)


def test_two_processes_cannot_share_a_run_folder(tmp_path):
    with RunFolder(tmp_path).locked(), pytest.raises(StorageError, match=f"process {os.getpid()}"):
        run(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        run(tmp_path / "file" / "run")


KILLED = """
import sys
from tests.run.test_pipeline import run
run(sys.argv[1], "train.steps=60", "train.checkpoint_every=5")
"""


def test_kill_9_in_training_then_the_same_command_ends_with_the_same_bits(tmp_path, project_root):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "killed")], cwd=project_root)
    checkpoints = (tmp_path / "killed" / "work").glob
    give_up = time.monotonic() + 60
    while not list(checkpoints("train-*/checkpoint.safetensors")) and time.monotonic() < give_up:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for name in ("killed", "straight"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], cwd=project_root, check=True)
    killed, straight = (read_weights(tmp_path / name / "weights.safetensors") for name in ("killed", "straight"))
    assert killed.provenance["training"]["steps"] == 60
    assert all(np.array_equal(killed.tensors[name], straight.tensors[name]) for name in straight.tensors)
    assert not list((tmp_path / "killed").glob(".*")), "temporary files were left behind"


def test_an_embedding_program_keeps_its_random_state_and_threads(tmp_path):
    import torch

    torch.manual_seed(11)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def modified(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("wrong", "right"), [("split.test=9", "split.test=1"), ("model.options.up=4", "model.options.up=5")]
)
def test_a_mistake_that_shows_after_imaging_can_be_mended_in_the_same_folder(tmp_path, wrong, right):
    with pytest.raises(SourceError):
        run(tmp_path / "run", wrong)
    assert run(tmp_path / "run", right, until="register").stages == ("acquire", "register")


def test_a_disk_that_is_full_after_training_costs_no_training(tmp_path, monkeypatch):
    from superres import results

    real = results.publish

    def full(source, target):
        if target.name == "weights.safetensors":
            raise StorageError("no space left on the disk")
        real(source, target)

    monkeypatch.setattr(results, "publish", full)
    with pytest.raises(StorageError):
        run(tmp_path / "run")
    monkeypatch.setattr(results, "publish", real)
    notes = Notes()
    run(tmp_path / "run", events=notes)
    assert any("going on from the checkpoint at step 6 of 6" in text for text in notes.texts)


class StopInTraining(Notes):
    def progress(self, progress):
        if progress.stage == "train" and progress.done == 2:
            self.cancel()


def test_other_settings_begin_another_training_aloud_and_the_unfinished_one_is_kept(tmp_path):
    with pytest.raises(Cancelled):
        run(tmp_path / "run", events=StopInTraining())
    notes = Notes()
    run(tmp_path / "run", "train.steps=9", events=notes)
    (told,) = [text for text in notes.texts if "unfinished training" in text]
    assert "'" + str(tmp_path / "run" / "work" / "train-") in told and told.endswith("another begins at step 0")
    back = Notes()
    run(tmp_path / "run", events=back)
    assert any("going on from the checkpoint at step 2 of 6" in text for text in back.texts)
    assert not any("unfinished" in text for text in back.texts)


def test_a_test_specimen_that_the_first_weights_had_seen_is_told_and_reported(tmp_path):
    """Fine-tuning with another split would otherwise score slides that training saw as if it had not."""
    first = run(tmp_path / "first").weights  # trains on drawn-2, validates on drawn-1, tests on drawn-0

    def tuned(name, start, test, validation):
        notes = Notes()
        result = run(tmp_path / name, f"train.start_from='{start}'", f"split.test=['{test}']",
                     f"split.validation=['{validation}']", events=notes)
        told = [text for text in notes.texts if "had seen specimens" in text]
        page = result.report.read_text()
        assert len(told) == ("had seen specimens" in page) == (f"<td>{test} †</td>" in page)
        assert json.loads((result.folder / "scores.json").read_text())["seen_in_training"] == [test] * len(told)
        return result.weights, told

    assert tuned("same split", first, "drawn-0", "drawn-1")[1] == []
    second, told = tuned("other split", first, "drawn-2", "drawn-0")
    assert len(told) == 1 and "of these names: drawn-2. Their scores are not of slides" in told[0]
    assert told[0].endswith("never saw; name others in split.test")
    assert 0 < read_weights(second).worst_inputs.blocks < 2, "what later images are compared with"
    assert read_weights(second).provenance["training"]["started_from"]["specimens"] == ["drawn-1", "drawn-2"]
    # drawn-2 was the second one's test, but the first one's training.
    assert "drawn-2" in tuned("twice removed", second, "drawn-2", "drawn-1")[1][0]


def test_the_report_says_where_fine_tuning_only_did_harm(tmp_path):
    first = run(tmp_path / "first").weights
    worse = run(tmp_path / "worse", f"train.start_from='{first}'", "train.learning_rate=1.0")
    assert read_weights(worse.weights).provenance["training"]["best_step"] == 0
    page = worse.report.read_text()
    assert "the weights that training started from, which were kept" in page and "lowest validation loss" not in page


def test_another_evaluator_does_not_train_again(tmp_path):
    run(tmp_path / "run")
    before = modified(tmp_path / "run")
    result = run(tmp_path / "run", "evaluate=[{plugin='psnr'}]")
    after = modified(tmp_path / "run")
    assert after["weights.safetensors"] == before["weights.safetensors"]
    assert set(result.scores["summary"]) == {"psnr"}


def test_a_glance_at_other_options_destroys_nothing(tmp_path):
    run(tmp_path / "run")
    before = modified(tmp_path / "run")
    run(tmp_path / "run", "register.min_confidence=0.6", "train.steps=3", until="acquire")
    assert modified(tmp_path / "run") == before
    notes = Notes()
    run(tmp_path / "run", events=notes)
    after = modified(tmp_path / "run")
    assert all(after[name] == before[name] for name in before if name != "plan.json") and not notes.texts


def test_a_device_that_is_not_here_is_said_first_and_destroys_nothing(tmp_path):
    run(tmp_path / "run")
    before = modified(tmp_path / "run")
    with pytest.raises(EngineError, match="cuda:7"):
        run(tmp_path / "run", "run.device='cuda:7'")
    assert modified(tmp_path / "run") == before


def test_deleted_results_come_back_without_computing(tmp_path):
    run(tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").unlink()
    (tmp_path / "run" / "registration.json").unlink()
    DrawnSource.acquired = 0
    run(tmp_path / "run")
    assert DrawnSource.acquired == 0
    assert (tmp_path / "run" / "weights.safetensors").exists() and (tmp_path / "run" / "registration.json").exists()


def test_what_a_killed_run_had_not_renamed_yet_is_cleared(tmp_path):
    run(tmp_path / "run", until="register")
    (tmp_path / "run" / ".outputs.4711-0123abcd").mkdir()
    (tmp_path / "run" / ".outputs.4711-0123abcd" / "half.tif").write_bytes(b"half")
    (tmp_path / "run" / ".report.4711-89abcdef.html").write_text("half")
    (tmp_path / "run" / "work" / "acquire-0" / ".scan.4711-89abcdef").mkdir(parents=True)
    run(tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_run_in_a_folder_of_ones_own_removes_nothing_of_it(tmp_path):
    """As `run.output = "."` has it, in a repository."""
    own = {".git/config": "[core]", ".env": "TOKEN", "work/notes-2026.txt": "notes", "work/register-slides/a.txt": "",
           "data/.x/a.txt": "a", "pipeline.toml": ""}
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    run(tmp_path, until="register")
    run(tmp_path, "register.min_confidence=0.6", until="register", resume=False)
    assert {name: (tmp_path / name).read_text() for name in own} == own


@pytest.mark.parametrize("name", ["outputs/photo.tif", "scores.json", "plan.json", "report.html"])
def test_files_that_no_run_wrote_are_not_replaced(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"theirs": 1}')
    with pytest.raises(StorageError, match=f"holds {name.partition('/')[0]}, which no run of superres wrote"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name.partition("/")[0]]
    assert (tmp_path / name).read_text() == '{"theirs": 1}'


def test_results_whose_work_was_deleted_are_still_a_runs_own(tmp_path):
    run(tmp_path, until="register")
    shutil.rmtree(tmp_path / "work")
    assert run(tmp_path, until="register").stages == ("acquire", "register")


def test_a_registrar_that_breaks_is_named_with_its_field(tmp_path, monkeypatch):
    def breaks(self, fine, coarse, guess=None):
        raise ZeroDivisionError("singular")

    monkeypatch.setattr(KnownRegistrar, "register", breaks)
    with pytest.raises(
        PluginError, match=r"registrar 'known' failed on field 'drawn-0_f0.*ZeroDivisionError: singular"
    ):
        run(tmp_path / "run")


def test_damaged_work_is_said_or_made_again(tmp_path):
    run(tmp_path / "run", until="register")
    (done,) = (tmp_path / "run" / "work").glob("register-*/done.json")
    done.write_text("{")
    assert run(tmp_path / "run", until="register").stages == ("acquire", "register")
    next((tmp_path / "run" / "work").glob("register-*/pairs/fine/*/*.tif")).write_bytes(b"cut")
    with pytest.raises(StorageError, match="changed or removed") as caught:
        run(tmp_path / "run")
    assert "--fresh" in caught.value.hint


@pytest.mark.parametrize(
    ("plugin", "method", "result", "message"),
    [
        (DrawnSource, "acquire", [], r"source 'drawn' failed while it acquired: TypeError: acquire returned a list"),
        (
            KnownRegistrar,
            "register",
            None,
            r"registrar 'known' failed on field .*: TypeError: register returned a NoneType",
        ),
        (KnownRegistrar, "assemble", 3, r"registrar 'known' failed while it stitched slide 'drawn-0': TypeError"),
    ],
)
def test_a_plugin_that_returns_something_else_is_named(tmp_path, monkeypatch, plugin, method, result, message):
    monkeypatch.setattr(plugin, method, lambda self, *given, **more: result)
    with pytest.raises(PluginError, match=message):
        run(tmp_path / "run")


@pytest.mark.parametrize(("method", "told", "message"), [
    ("fingerprint", KeyError("images"), "failed while it took the fingerprint .*KeyError"),
    ("known_specimens", "mouse", "failed while it named its specimens: TypeError: known_specimens returned 'mouse'"),
    ("known_specimens", [1, 2], r"known_specimens returned \[1, 2\]; expected a tuple of names, or None"),
])
def test_a_source_is_named_for_what_it_tells_beforehand(tmp_path, monkeypatch, method, told, message):
    def tells(self):
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(DrawnSource, method, tells)
    with pytest.raises(PluginError, match=f"source 'drawn' {message}" if message.startswith("failed") else message):
        run(tmp_path / "run")


def test_a_loss_that_breaks_in_training_is_named(tmp_path, monkeypatch):
    from superres.builtin.losses.mse_gradient import MseGradientLoss

    monkeypatch.setattr(MseGradientLoss, "build", lambda self: 3)
    with pytest.raises(PluginError, match=r"loss 'mse-gradient' failed on a trial patch.*build returned a int"):
        run(tmp_path / "run")


def test_no_evaluator_can_change_what_the_next_one_sees(tmp_path, monkeypatch):
    from superres.builtin.evaluators.ssim import SsimEvaluator

    def scribbles(self, case):
        case.prediction[:] = 0

    monkeypatch.setattr(SsimEvaluator, "update", scribbles)
    with pytest.raises(PluginError, match=r"evaluator 'ssim' failed on field .* read-only"):
        run(tmp_path / "run")


def test_an_unknown_stage_is_said(tmp_path):
    with pytest.raises(ValueError, match="'traning'"):
        run(tmp_path / "run", until="traning")


def test_the_fields_of_the_report_come_worst_first(tmp_path):
    result = run(tmp_path / "run")
    images = json.loads((result.folder / "scores.json").read_text())["images"]
    names = [image["name"] for image in sorted(images, key=lambda image: image["scores"]["ssim"]["model"])]
    page = (result.folder / "report.html").read_text()
    table = page[page.index("By field") :]
    assert [table.index(name) for name in names] == sorted(table.index(name) for name in names)
