"""The pieces of registration against analytic truth: similarities, places from shifts, sub-pixel peaks, features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from superres.registration.edges import Edge
from superres.registration.features import Method, detect, matches
from superres.registration.graph import checked, components, solve
from superres.registration.shifts import find_peak, measure, signal_fraction, spectrum
from superres.registration.similarity import expected_error_um, least_squares, robust_similarity
from superres.registration.stage import fit_stage
from superres.transform import Transform, rms_distance_um
from tests.registration.specimens import COARSE_UM, Slide, speckle


@pytest.fixture(scope="module")
def slide() -> Slide:
    return Slide(speckle(8, 900))


def test_least_squares_inverts_transform_similarity() -> None:
    truth = Transform.similarity(1.02, 3.0, (5.0, -7.0), (10.0, 20.0))
    points = np.random.default_rng(0).uniform(0, 40, (9, 2))
    np.testing.assert_allclose(least_squares(points, truth.apply(points)).matrix, truth.matrix, atol=1e-9)


def test_robust_similarity_survives_half_wrong_matches() -> None:
    """60 matches good to 0.05 µm, 60 random ones: no worse than the 60 alone, within a factor of two."""
    rng = np.random.default_rng(1)
    truth = Transform.similarity(0.99, -4.0, (100.0, 30.0))
    a = rng.uniform(0, 40, (120, 2))
    b = truth.apply(a) + 0.05 * rng.standard_normal(a.shape)
    b[60:] = rng.uniform(60, 160, (60, 2))
    fit = robust_similarity(a, b, 0.3)
    assert fit is not None and 50 <= fit.count <= 63
    alone = rms_distance_um(least_squares(a[:60], b[:60]), truth, 40, 40)
    assert rms_distance_um(fit.transform, truth, 40, 40) < 2 * alone


def test_unrelated_points_have_no_similarity() -> None:
    rng = np.random.default_rng(2)
    fit = robust_similarity(rng.uniform(0, 40, (60, 2)), rng.uniform(0, 200, (60, 2)), 0.3)
    assert fit is None or fit.count < 8


def test_expected_error_is_the_rms_over_many_draws() -> None:
    """Gaussian errors of 0.05 µm on 40 points that cover a corner of the field; 300 draws fix an RMS to 4 %."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 20, (40, 2))
    truth = Transform.similarity(1.0, 2.0, (3.0, 4.0))
    squares, predictions = [], []
    for _ in range(300):
        noisy = truth.apply(points) + 0.05 * rng.standard_normal(points.shape)
        fit = least_squares(points, noisy)
        squares.append(rms_distance_um(fit, truth, 30, 30) ** 2)
        residual = np.sqrt(np.mean(np.sum((fit.apply(points) - noisy) ** 2, axis=1)))
        predictions.append(expected_error_um(points, float(residual), (30, 30)) ** 2)
    assert np.sqrt(np.mean(predictions)) == pytest.approx(np.sqrt(np.mean(squares)), rel=0.12)


def edges_of(places: np.ndarray, pairs: list[tuple[int, int]]) -> list[Edge]:
    return [Edge(a, b, tuple(places[b] - places[a]), 0.9, 20.0, "accepted") for a, b in pairs]  # type: ignore[arg-type]


def grid_pairs(side: int) -> list[tuple[int, int]]:
    cells = [(r, c) for r in range(side) for c in range(side)]
    return [(cells.index((r, c)), cells.index(n)) for r, c in cells for n in ((r + 1, c), (r, c + 1)) if n in cells]


def test_a_false_edge_is_thrown_out_and_spreads_nowhere() -> None:
    places = np.array([(200.0 * r + 3 * c, 210.0 * c) for r in range(4) for c in range(4)])
    pairs = grid_pairs(4)
    edges = edges_of(places, pairs)
    inner = pairs.index((5, 6))  # both of its tiles have three other edges; a corner tile with two has no majority
    edges[inner] = Edge(5, 6, (90.0, 40.0), 0.95, 30.0, "accepted")
    solved, judged = solve(16, edges)
    np.testing.assert_allclose(solved, places, atol=1e-3)
    assert [edge.verdict for edge in judged].count("inconsistent") == 1 and judged[inner].verdict == "inconsistent"


def test_components_are_listed_largest_first() -> None:
    edges = edges_of(np.zeros((6, 2)), [(4, 5), (1, 2), (2, 3)])
    assert components(6, edges) == [[1, 2, 3], [4, 5], [0]]


def test_nominal_fit_recovers_rotation_and_pitch() -> None:
    nominal = np.array([(100.0 * r, 120.0 * c) for r in range(3) for c in range(3)])
    truth = Transform.similarity(0.995, 0.4, (7.0, -2.0))
    fit = fit_stage(nominal, truth.apply(nominal), [list(range(9))])
    np.testing.assert_allclose(fit.matrix, truth.matrix[:2], atol=1e-9)


@pytest.mark.parametrize("parts", [[[0, 1, 2], [6, 7, 8]], [[0, 1, 3, 4], [7, 8]], [[0, 1, 2, 3, 4, 5], [8]]])
def test_how_far_a_part_lies_off_is_known_beforehand(parts: list[list[int]]) -> None:
    """A stage that errs by 2 px on each axis, 2000 times: the last part's RMS distance from where it goes is what is
    said of it, RMS over the scans; to 5 %, three standard errors of two such means."""
    rng = np.random.default_rng(0)
    nominal = np.array([(100.0 * r, 120.0 * c) for r in range(3) for c in range(3)])
    off, said = [], []
    for _ in range(2000):
        true = nominal + rng.normal(0, 2, nominal.shape)
        stage = fit_stage(nominal, true, parts)
        off.append(((stage.expected(nominal) - true)[parts[-1]].mean(axis=0) ** 2).sum())
        good_to = stage.good_to_px(nominal[parts[-1]])
        said.append(good_to ** 2)
    assert np.sqrt(np.mean(said)) == pytest.approx(np.sqrt(np.mean(off)), rel=0.05)


def test_three_tiles_in_a_row_do_not_say_how_good_a_stage_is() -> None:
    nominal = np.array([(100.0 * r, 0.0) for r in range(3)])
    stage = fit_stage(nominal, nominal + np.random.default_rng(0).normal(0, 2, (3, 2)), [[0, 1, 2]])
    assert np.isnan(stage.good_to_px(np.array([(0.0, 100.0)]))) and stage.notes(0.5) == {}


def test_an_edge_outside_all_loops_checks_nothing() -> None:
    """A square of tiles with a tail of two, and a pair elsewhere; what is rejected closes no loop."""
    edges = edges_of(np.zeros((9, 2)), [(4, 5), (0, 1), (1, 3), (0, 2), (2, 3), (3, 4), (7, 8)])
    closing = Edge(5, 0, (0.0, 0.0), 0.9, 20.0, "inconsistent")
    assert checked(9, [*edges, closing]) == [1, 2, 3, 4]
    assert checked(9, [*edges, replace(closing, verdict="accepted")]) == [0, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("shift", [(3.37, -171.62), (-170.25, 5.81), (140.5, 150.5)])
def test_shift_of_two_frames(slide: Slide, shift: tuple[float, float]) -> None:
    """Noise-free frames with 15 to 30 % overlap: 0.02 px, a tenth of which is the 8-bit camera's rounding."""
    origin = (20.0 + max(0.0, -shift[0]), 20.0 + max(0.0, -shift[1]))
    a = slide.coarse(origin, (200, 200)).grey()
    b = slide.coarse((origin[0] + shift[0], origin[1] + shift[1]), (200, 200)).grey()
    peak = find_peak(*(spectrum(frame - frame.mean()) for frame in (a, b)), near=shift, bound_px=12)
    found = measure(a, b, peak.shift_px)
    np.testing.assert_allclose(found.shift_px, shift, atol=0.02)
    assert found.correlation > 0.9


def test_signal_fraction_tells_tissue_from_noise(slide: Slide) -> None:
    noise = 0.9 + 0.01 * np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    assert signal_fraction(noise)[0] < 0.2
    assert signal_fraction(slide.coarse((20.0, 20.0), (200, 200), noise=0.01).grey())[0] > 0.95
    assert signal_fraction(np.full((200, 200), 0.9, np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["sift", "surf"])
def test_features_of_a_turned_frame_lie_where_they_should(slide: Slide, method: Method) -> None:
    """The same slide at an angle of 30 degrees and 20 % closer: matched places agree with the true map to 0.5 px at
    the median, and their mean offset, a convention error, is below 0.05 px."""
    turn = Transform.similarity(0.8, 30.0, (8.0, 8.0), (18.0, 18.0))
    b = slide.sample(False, turn, (200, 200), COARSE_UM).mean(axis=2)
    a = slide.sample(False, Transform.identity(), (330, 330), COARSE_UM).mean(axis=2)
    (pa, da), (pb, db) = (detect(method, frame.astype(np.float32), upright=False) for frame in (a, b))
    pairs = matches(da, db)
    off = turn.apply(pb[pairs[:, 1]] * COARSE_UM) / COARSE_UM - pa[pairs[:, 0]]
    near = np.hypot(*off.T) < 3
    assert near.sum() >= 30
    assert np.median(np.hypot(*off[near].T)) < 0.5
    assert np.hypot(*np.median(off[near], axis=0)) < 0.05
