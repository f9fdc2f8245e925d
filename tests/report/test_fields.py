"""Which fields are shown, and which part of each."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.api import Case, Score
from superres.image import Image
from superres.report.data import FieldView
from superres.report.fields import MEMORY, WORST, FieldSelection, field_view
from superres.resample import bicubic


def ranking(value: float, better: str = "higher") -> Score:
    return Score("ssim", value, "", 1, better)  # type: ignore[arg-type]


def view(name: str) -> FieldView:
    return FieldView(name, "s", "", (), (), 1.0, "")


def choose(values: list[float], better: str = "higher") -> tuple[list[float], list[str], int]:
    selection = FieldSelection()
    made = []
    for value in values:
        selection.offer(ranking(value, better), lambda value=value: made.append(value) or view(repr(value)))  # type: ignore[misc]
    assert len(selection._held) <= MEMORY
    chosen = selection.chosen()
    return [float(field.name) for field in chosen], [field.place for field in chosen], len(made)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=90, unique=True))
def test_worst_first_then_median_then_best_and_the_labels_are_true(numbers: list[int]) -> None:
    values, places, _ = choose([float(number) for number in numbers])
    order = sorted(float(number) for number in numbers)
    assert values == sorted(values)
    assert values[:WORST] == order[:WORST]
    assert values[-1] == order[-1]
    median_is_apart = len(order) // 2 >= WORST  # of fewer, it stands among the worst already
    assert len(values) == min(len(order), WORST + (2 if median_is_apart else 1))
    for value, place in zip(values, places, strict=True):
        rank = order.index(value)
        if len(order) == 1:
            assert place == "the only field"
        elif place.startswith("median"):
            assert abs(rank - (len(order) - 1) / 2) <= 0.5
        elif place.startswith("best"):
            assert rank == len(order) - 1
        else:
            expected = "worst" if rank == 0 else f"number {rank + 1} from the worst"
            assert place == f"{expected} of {len(order)} by ssim"


def test_where_lower_is_better_the_highest_is_the_worst() -> None:
    values, places, _ = choose([3.0, 9.0, 1.0], better="lower")
    assert values == [9.0, 3.0, 1.0] and places[0] == "worst of 3 by ssim"


def test_many_fields_are_not_all_drawn_and_the_median_is_near_the_middle() -> None:
    values = np.random.default_rng(4).permutation(400).astype(float).tolist()
    chosen, places, made = choose(values)
    assert made < 200
    assert abs(chosen[WORST] - 199.5) <= 20, places[WORST]


def test_fields_without_a_score_are_shown_only_if_there_is_nothing_else() -> None:
    selection = FieldSelection()
    for index in range(5):
        selection.offer(None, lambda index=index: view(f"blind {index}"))  # type: ignore[misc]
    assert [field.name for field in selection.chosen()] == ["blind 0", "blind 1", "blind 2"]
    selection.offer(ranking(0.5), lambda: view("seen"))
    assert [field.name for field in selection.chosen()] == ["seen"]


def ramp_case(height_px: int, width_px: int, bad: tuple[int, int] | None = None, with_truth: bool = True) -> Case:
    """A coarse image that is a linear ramp in y and x: whoever cuts it wrongly shows other values."""
    y, x = np.meshgrid(np.arange(height_px) + 0.5, np.arange(width_px) + 0.5, indexing="ij")
    plane = np.stack([y / 400, x / 400, 0 * x + 0.5], axis=2).astype(np.float32)
    fine = bicubic(plane, Fraction(5, 2))
    prediction = fine.copy()
    if bad is not None:
        prediction[bad[0] - 5:bad[0] + 5, bad[1] - 5:bad[1] + 5, 2] = 0.0
    return Case("ramp", "s", Image(plane, 0.185), prediction, fine, fine if with_truth else None, 0.074)


def test_a_small_field_is_shown_whole() -> None:
    shown = field_view(ramp_case(40, 60), ())
    assert [layer.pixels.shape for layer in shown.layers] == [(40, 60, 3), *[(100, 150, 3)] * 3]
    assert shown.window == "the whole field, 11.1 × 7.4 µm" and shown.width_um == pytest.approx(11.1)


def test_the_window_holds_the_worst_spot_and_its_layers_cover_one_area() -> None:
    shown = field_view(ramp_case(300, 320, bad=(690, 60)), ())
    layers = {layer.title: layer.pixels for layer in shown.layers}
    assert layers["output"].shape[0] <= 448 and "where the output is farthest from the truth" in shown.window
    assert (layers["output"][..., 2] == 0).sum() == 100  # all of the 10 × 10 px that are wrong
    assert shown.width_um == pytest.approx(layers["output"].shape[1] * 0.074)
    for channel in (0, 1):  # the ramps' means tell the place: equal to a grey level or half a fine pixel
        assert layers["input"][..., channel].mean() == pytest.approx(layers["truth"][..., channel].mean(), abs=0.5)
    assert layers["truth"].shape[0] == 2.5 * layers["input"].shape[0]


def test_without_truth_the_middle_is_shown() -> None:
    shown = field_view(ramp_case(300, 320, with_truth=False), ())
    assert [layer.title for layer in shown.layers] == ["input", "bicubic", "output"]
    assert "in its middle" in shown.window
    # the middle of the field has y = 150, x = 160; the window is placed in steps of 16 coarse px
    assert shown.layers[0].pixels[..., 0].mean() * 400 / 255 == pytest.approx(150, abs=9)
    assert shown.layers[0].pixels[..., 1].mean() * 400 / 255 == pytest.approx(160, abs=9)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (97, 131), (181, 179)])
def test_any_size_can_be_shown(shape: tuple[int, int]) -> None:
    shown = field_view(ramp_case(*shape), ())
    assert all(min(layer.pixels.shape) >= 1 for layer in shown.layers) and shown.width_um > 0
