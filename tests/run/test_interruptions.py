"""What a user does to a run from outside: Ctrl-C, a disk that is full; nothing half-written is left."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from superres.errors import StorageError
from superres.io.atomic import write_text

PIPELINE = """
[run]
output = "run"
[source]
plugin = "template-cells"
[register]
plugin = "template-ncc"
[model]
plugin = "template-espcn"
options = { width = 8 }
[train]
patch_px = 16
batch_size = 4
steps = 400
validate_every = 20
"""


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    return tmp_path


def start(desk, *words, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "superres", "run", "pipeline.toml", *words],
        cwd=desk,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def temporary_files(folder):
    return [path for path in folder.rglob(".*") if path.name != ".gitignore"]


def test_ctrl_c_in_training_keeps_the_work_and_ends_with_130(desk):
    child = start(desk)
    give_up = time.monotonic() + 60
    while not list(desk.glob("run/work/train-*/checkpoint.safetensors")) and time.monotonic() < give_up:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "stopped: training stopped at step" in err and "hint: run the same command again" in err
    assert not (desk / "run" / "weights.safetensors").exists() and not temporary_files(desk)
    again = start(desk)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "going on from the checkpoint at step" in err
    assert (desk / "run" / "report.html").exists()


def limit_files(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("kilobytes", [1, 12, 40, 120])
def test_a_disk_that_takes_no_more_is_an_error_in_plain_words_and_the_next_run_succeeds(desk, kilobytes):
    """Each limit stops a run at another file: the plan, an image, a checkpoint or the report."""
    child = start(desk, "--set", "train.steps=20", preexec_fn=partial(limit_files, kilobytes * 1024))
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2, err
    assert "error: cannot write" in err and "Traceback" not in err
    assert not temporary_files(desk)
    # Pairs without the rest of their stage would only fill the disk.
    assert all(pairs.with_name("done.json").exists() for pairs in desk.glob("run/work/register-*/pairs"))
    again = start(desk, "--set", "train.steps=20")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err


def test_no_space_left_is_said_with_the_file_and_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_text(path, "old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("superres.io.atomic.os.fsync", full)
    with pytest.raises(StorageError, match=r"no space left on the disk for '.*scores.json'") as caught:
        write_text(path, "new")
    assert "free some space" in caught.value.hint
    assert path.read_text() == "old" and [each.name for each in tmp_path.iterdir()] == ["scores.json"]
