"""Specimens are dealt out whole."""

import pytest

from superres.config import SplitSection
from superres.errors import SourceError
from superres.stages.split import choose_split

NINE = tuple(f"s{i}" for i in range(9))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_stands_on_two_sides_and_nothing_is_lost(seed):
    split = choose_split(NINE, SplitSection(test=2, validation=["s4"]), seed, trains=True)
    everything = [*split.training, *split.validation, *split.test]
    assert sorted(everything) == sorted(NINE)
    assert split.validation == ("s4",) and len(split.test) == 2


def test_the_same_seed_deals_the_same_way_and_another_does_not():
    deals = [choose_split(NINE, SplitSection(test=3, validation=2), seed, trains=True) for seed in (1, 1, 2, 3, 4)]
    assert deals[0] == deals[1]
    assert len(set(deals)) > 1


def test_the_order_of_the_specimens_does_not_matter():
    forth = choose_split(NINE, SplitSection(test=2, validation=2), 1, trains=True)
    back = choose_split(NINE[::-1], SplitSection(test=2, validation=2), 1, trains=True)
    assert (set(forth.test), set(forth.validation)) == (set(back.test), set(back.validation))


def test_unknown_ids_are_named_with_those_that_exist():
    with pytest.raises(SourceError) as caught:
        choose_split(NINE, SplitSection(test=["s1", "slide-x"]), 0, trains=True)
    assert "slide-x" in caught.value.message and "s0, s1" in caught.value.hint


def test_too_few_specimens_say_how_many_there_are():
    with pytest.raises(SourceError, match="2 specimens"):
        choose_split(("a", "b"), SplitSection(test=1, validation=1), 0, trains=True)


def test_a_model_that_is_not_trained_needs_no_training_specimen():
    assert choose_split(("a",), SplitSection(test=1, validation=0), 0, trains=False).test == ("a",)
