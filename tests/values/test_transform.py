"""Transforms between frames in µm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.transform import Transform, grid_points, rms_distance_um

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
