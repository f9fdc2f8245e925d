"""What is seen while a training runs: speed, remaining time, curves, and a field that gets sharper."""

import re
import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from superres.errors import Cancelled, TrainingError
from superres.events import Events
from superres.resample import bicubic
from superres.training.curves import GAP_PX
from superres.training.loop import _duration, train

from .jobs import Watch, small_job
from .specimens import make_pair


def test_progress_tells_the_remaining_time(tmp_path):
    events = Watch()
    train(small_job(tmp_path, steps=8), events)
    assert all(re.search(r"\d+ patches/s, \d+ s left$", each) for each in events.messages[:-1])
    assert not events.messages[-1].endswith("left")
    assert any("history.csv" in note for note in events.notes), "where the curve can be read meanwhile"


def test_the_last_step_is_told_when_its_validation_is_over(tmp_path, monkeypatch):
    """Told before, a console says "done" and then shows the error of that validation."""
    from superres.training import loop

    def fails(self, patches):
        raise TrainingError("no validation today")

    monkeypatch.setattr(loop._Training, "_validate", fails)
    events = Watch()
    with pytest.raises(TrainingError, match="no validation today"):
        train(small_job(tmp_path, steps=3, validate_every=3), events)
    assert events.steps == [1, 2]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min"), (3599, "1 h 00 min"),
                                               (12_000, "3 h 20 min")])
def test_durations_are_for_people(seconds, text):
    assert _duration(seconds) == text


def test_the_picture_shows_bicubic_network_and_truth_of_one_field(tmp_path):
    pair = make_pair(3, (30, 24))
    result = train(small_job(tmp_path, validation=[pair]), Events())
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [f"step-{step:07d}.png" for step in (6, 12, 18, 24)] and result.best_step in (6, 12, 18, 24)
    first, last = (cv2.imread(str(tmp_path / "pictures" / name))[:, :, ::-1] for name in (names[0], names[-1]))
    assert first.shape == (75, 3 * 60 + 2 * GAP_PX, 3)
    panels = [last[:, left:left + 60].astype(float) / 255 for left in (0, 60 + GAP_PX, 120 + 2 * GAP_PX)]
    # Rounded to 8 bits once more than the images are.
    assert np.abs(panels[0] - np.clip(bicubic(pair.coarse.rgb(), Fraction(5, 2)), 0, 1)).max() < 0.003
    assert np.abs(panels[2] - pair.fine.unit()).max() < 0.003
    early = first[:, 60 + GAP_PX:120 + GAP_PX].astype(float) / 255
    assert np.abs(panels[1] - panels[2]).mean() < np.abs(early - panels[2]).mean(), "the network's panel gets nearer"


def test_pictures_change_no_result_and_can_be_left_out(tmp_path):
    drawn, none = (train(small_job(tmp_path / str(shown), pictures=shown), Events()) for shown in (True, False))
    assert all(np.array_equal(drawn.tensors[name], none.tensors[name]) for name in drawn.tensors)
    assert not (tmp_path / "False" / "pictures").exists()


def test_tensorboard_gets_the_curves_once_even_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra superres[track] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = small_job(tmp_path, track="tensorboard")
    with pytest.raises(Cancelled):
        train(job, Watch({14: Events.cancel}))
    result = train(job, Events())
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("training_loss", "validation_loss", "learning_rate"):
        told = [(each.step, each.value) for each in events.Scalars(name)]
        assert told == [(row.step, pytest.approx(getattr(row, name), rel=1e-6)) for row in result.history]
    assert [each.step for each in events.Images("validation field")] == [6, 12, 18, 24]


def test_without_tensorboard_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match="tensorboard, which cannot be loaded") as caught:
        train(small_job(tmp_path, track="tensorboard"), Events())
    assert "superres[track]" in caught.value.hint
