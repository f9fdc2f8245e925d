"""Transforms between frames in µm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.transform import Transform, Warp, grid_points, rms_distance_um

scales = st.floats(0.2, 5)
angles = st.floats(-179, 179)
lengths = st.floats(-1000, 1000)


@given(scales, angles, lengths, lengths, lengths, lengths)
def test_inverse_undoes_a_similarity(scale, angle, dy, dx, y, x):
    transform = Transform.similarity(scale, angle, (dy, dx), (3.0, 4.0))
    back = transform.then(transform.inverse()).apply((y, x))
    np.testing.assert_allclose(back, (y, x), atol=1e-6)


@given(scales, angles)
def test_scale_and_rotation_are_read_back(scale, angle):
    transform = Transform.similarity(scale, angle, (1.0, 2.0))
    assert transform.scale == pytest.approx(scale)
    assert transform.rotation_deg == pytest.approx(angle, abs=1e-6)
    assert not transform.mirrored


def test_positive_rotation_turns_y_towards_x():
    np.testing.assert_allclose(Transform.similarity(1, 90).apply((1.0, 0.0)), (0.0, 1.0), atol=1e-12)


def test_centre_of_a_similarity_only_moves_by_the_shift():
    np.testing.assert_allclose(Transform.similarity(1.3, 20, (5, -2), (7, 9)).apply((7, 9)), (12, 7))


def test_then_applies_left_to_right():
    shifted_then_doubled = Transform.shift(1, 0).then(Transform.similarity(2, 0))
    np.testing.assert_allclose(shifted_then_doubled.apply((0, 0)), (2, 0))


def test_mirror_is_seen():
    assert Transform(np.diag([1.0, -1.0, 1.0])).mirrored


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan), np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]])]
)
def test_what_is_no_invertible_affine_matrix_is_refused(matrix):
    with pytest.raises(ValueError):
        Transform(matrix)


def test_matrix_cannot_be_changed():
    with pytest.raises(ValueError):
        Transform.identity().matrix[0, 0] = 2


def test_grid_covers_the_field_symmetrically():
    np.testing.assert_allclose(grid_points(10, 20).mean(axis=0), (5, 10))


def test_rms_distance_of_a_shift_is_its_length():
    assert rms_distance_um(Transform.identity(), Transform.shift(3, 4), 10, 10) == pytest.approx(5)


def bent() -> Warp:
    """A smooth displacement of up to 0.3 µm on a frame of 20 × 30 µm, between two similarities."""
    y, x = np.meshgrid(np.linspace(0, np.pi, 33), np.linspace(0, np.pi, 41), indexing="ij")
    field = 0.3 * np.stack([np.sin(y) * np.sin(x), np.sin(y) * np.cos(x)], axis=-1)
    return Warp(Transform.similarity(1.01, 2.0), field, (20.0, 30.0), Transform.similarity(0.5, -1.0, (3.0, 4.0)))


def test_a_warp_is_its_three_maps_in_a_row():
    warp = bent()
    points = np.array([(5.0, 6.0), (12.0, 20.0)])
    between = warp.before.apply(points)
    unit = between / (20.0, 30.0) * np.pi
    moved = 0.3 * np.stack([np.sin(unit[:, 0]) * np.sin(unit[:, 1]), np.sin(unit[:, 0]) * np.cos(unit[:, 1])], axis=-1)
    # Linear between nodes: a sine of amplitude 0.3 bends by 0.3·(π/32)²/8 at most.
    np.testing.assert_allclose(warp.apply(points), warp.after.apply(between + moved), atol=4e-4)


def test_a_warp_composes_with_linear_maps_and_inverts():
    warp, turn = bent(), Transform.similarity(2.0, 30.0, (1.0, -1.0))
    points = np.random.default_rng(0).uniform(2, 17, (50, 2))
    np.testing.assert_allclose(turn.then(warp).apply(points), warp.apply(turn.apply(points)), atol=1e-12)
    np.testing.assert_allclose(warp.then(turn).apply(points), turn.apply(warp.apply(points)), atol=1e-12)
    np.testing.assert_allclose(warp.inverse().apply(warp.apply(points)), points, atol=1e-3)
    assert warp.linear.scale == pytest.approx(0.505)


def test_a_displacement_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="rows, columns, 2"):
        Warp(Transform.identity(), np.zeros((4, 4)), (1.0, 1.0), Transform.identity())
