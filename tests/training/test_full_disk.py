"""A disk that fills up while a training runs costs the steps since the last checkpoint, and nothing else."""

import errno
import os
from contextlib import suppress

import pytest

from superres.errors import StorageError
from superres.events import Events
from superres.training.history import read_history
from superres.training.loop import CHECKPOINT_FILE, HISTORY_FILE, train

from .jobs import Watch, small_job
from .test_resume import assert_same


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(small_job(tmp_path_factory.mktemp("whole")), Events())


class Disk:
    """`os.fsync` and `os.replace` of a disk on which so many files still fit."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor):
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fsync(descriptor)


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_disk_stops_in_plain_words_and_the_same_command_goes_on(tmp_path, uninterrupted, monkeypatch, room):
    with monkeypatch.context() as patch:
        Disk(patch, room)
        with pytest.raises(StorageError, match="no space left on the disk") as caught:
            train(small_job(tmp_path, pictures=False), Events())
    assert "same command again" in caught.value.hint
    assert not list(tmp_path.rglob(".*")), "no half-written file is left to fill the disk"
    resumed = Watch()
    assert_same(train(small_job(tmp_path, pictures=False), resumed), uninterrupted)
    # The beginning of history.csv is the first file; each validation, every 6 steps, writes a checkpoint.
    assert resumed.steps[0] == 6 * max(0, room - 1) + 1


def test_a_history_that_cannot_be_continued_says_so(tmp_path, uninterrupted):
    def blocked(_):
        (tmp_path / HISTORY_FILE).unlink()
        (tmp_path / HISTORY_FILE).mkdir()

    with pytest.raises(StorageError, match=r"cannot write '.*history.csv'"):
        train(small_job(tmp_path), Watch({10: blocked}))
    (tmp_path / HISTORY_FILE).rmdir()
    assert_same(train(small_job(tmp_path), Events()), uninterrupted)
    assert len(read_history(tmp_path / HISTORY_FILE)) == 4


@pytest.mark.parametrize("call", ["add_scalar", "add_image", "flush", "close"])
def test_tensorboards_files_on_a_full_disk_do_not_blame_the_model(tmp_path, monkeypatch, call):
    """Its thread meets the full disk; the next call, whichever it is, raises."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="the extra superres[track] is not installed")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tensorboard.SummaryWriter, call, full)
    with pytest.raises(StorageError, match=r"no space left on the disk for .*tensorboard"):
        train(small_job(tmp_path, track="tensorboard"), Events())


@pytest.mark.slow
@pytest.mark.parametrize("track", ["none", "tensorboard"])
@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0,
                    reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path, uninterrupted, track):
    """A file system of a hundred pages: what is left of it beside the ballast holds no second checkpoint of 100 kB."""
    import subprocess

    if track == "tensorboard":
        pytest.importorskip("tensorboard", reason="the extra superres[track] is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True,
                             text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        ballast = disk / "ballast"

        def fill(_):
            with suppress(OSError), open(ballast, "wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(4096))

        with pytest.raises(StorageError, match="no space left"):
            train(small_job(disk, pictures=False, track=track), Watch({13: fill}))
        assert (disk / CHECKPOINT_FILE).stat().st_size > 0
        ballast.unlink()
        resumed = Watch()
        assert_same(train(small_job(disk, pictures=False, track=track), resumed), uninterrupted)
        assert resumed.steps[0] == 13
    finally:
        subprocess.run(["umount", str(disk)], check=False)
