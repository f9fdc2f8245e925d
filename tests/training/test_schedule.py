"""How many steps, and at which rate."""

import pytest

from superres.config import TrainSection
from superres.errors import TrainingError
from superres.training.schedule import learning_rate, step_count, validation_interval


def test_the_papers_lung_training_has_93870_steps():
    assert step_count(TrainSection(), patches=9_536) == 93_870
    assert step_count(TrainSection(epochs=460), patches=51_008) == 366_620


def test_steps_win_over_the_default_epochs():
    assert step_count(TrainSection(steps=800), patches=10) == 800
    assert step_count(TrainSection(epochs=2, batch_size=8), patches=9) == 3


def test_twenty_validations_by_default():
    assert validation_interval(TrainSection(), 800) == 40
    assert validation_interval(TrainSection(), 7) == 1
    assert validation_interval(TrainSection(validate_every=33), 800) == 33


def test_one_cycle_rises_to_its_peak_once_and_falls_to_nearly_nothing():
    rates = [learning_rate("one-cycle", 2e-3, step, 800) for step in range(800)]
    peak = rates.index(max(rates))
    assert rates[peak] == pytest.approx(2e-3) and peak == 80
    assert rates[:peak + 1] == sorted(rates[:peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(2e-3 * 0.04) and rates[-1] == pytest.approx(2e-3 * 0.001)


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
def test_short_schedules_stay_positive_and_below_the_peak(steps):
    assert all(0 < learning_rate("one-cycle", 1.0, step, steps) <= 1.0 for step in range(steps))


def test_constant_is_constant():
    assert {learning_rate("constant", 1e-4, step, 9) for step in range(9)} == {1e-4}


def test_cosine_falls_from_the_peak_and_warm_up_rises_to_it():
    rates = [learning_rate("cosine", 1e-3, step, 101, warm_up=20) for step in range(101)]
    assert rates[:20] == [pytest.approx(1e-3 * (step + 1) / 20) for step in range(20)]
    assert rates[20] == pytest.approx(1e-3) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(1e-3 * (0.001 + 0.999 / 2)) and rates[-1] == pytest.approx(1e-6)
    constant = [learning_rate("constant", 1e-3, step, 30, warm_up=5) for step in range(30)]
    assert constant[4:] == [1e-3] * 26 and constant[0] == pytest.approx(2e-4)


@pytest.mark.parametrize(("values", "message"), [
    ({"schedule": "one-cycle", "warm_up": 5}, "rise of its own"),
    ({"schedule": "cosine", "warm_up": 50, "steps": 50}, "fewer than all"),
])
def test_warm_ups_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrainSection(**values)


@pytest.mark.parametrize("epochs", [{}, {"epochs": 2}], ids=["default epochs", "two epochs"])
def test_a_warm_up_longer_than_the_epochs_is_refused_once_their_steps_are_known(epochs):
    settings = TrainSection(batch_size=8, warm_up=10_000, **epochs)
    assert step_count(settings.model_copy(update={"warm_up": 24}), 100) >= 25
    with pytest.raises(TrainingError, match=r"train.warm_up is 10000 of \d+ steps, which \d+ epochs of 100 patches"):
        step_count(settings, 100)
