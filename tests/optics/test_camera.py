"""The camera against what its settings promise."""

from __future__ import annotations

import numpy as np
import pytest

from superres.optics.camera import CameraSettings, expose, integrate_pixels, relative_illumination, sample
from superres.transform import Transform

PITCH_UM = 0.074
PIXEL_UM = 0.185


def wave(shape: tuple[int, int], frequency_y: float, frequency_x: float) -> np.ndarray:
    """Continuous test intensity at object samples: 0.5 + 0.3 cos 2π(f·p), p the sample's centre in µm."""
    y, x = ((np.arange(side) + 0.5) * PITCH_UM for side in shape)
    return (0.5 + 0.3 * np.cos(2 * np.pi * (frequency_y * y[:, None] + frequency_x * x[None]))).astype(np.float32)


def flat(level: float, side: int = 80) -> np.ndarray:
    return np.full((side, side), level, dtype=np.float32)


@pytest.mark.parametrize(("rotation_deg", "scale"), [(0.0, 1.0), (0.3, 1.004), (20.0, 0.98)])
def test_a_turned_and_magnified_frame_holds_the_integral_over_each_pixel(rotation_deg: float, scale: float) -> None:
    fy, fx = 0.9, 1.3
    place = Transform.similarity(scale, rotation_deg, (11.13, 9.87), (0.0, 0.0))
    signal = integrate_pixels(wave((520, 520), fy, fx), PITCH_UM, place.matrix[:2, :2] * PIXEL_UM)
    frame = sample(signal, place, (40, 50), PIXEL_UM)
    # The mean of a cosine over a parallelogram of sides a, b: sinc(f·a) sinc(f·b) times its value at the centre.
    y, x = np.meshgrid((np.arange(40) + 0.5) * PIXEL_UM, (np.arange(50) + 0.5) * PIXEL_UM, indexing="ij")
    centres = place.apply(np.stack([y, x], axis=-1))
    sides = place.matrix[:2, :2] * PIXEL_UM
    damping = np.sinc(np.array([fy, fx]) @ sides[:, 0]) * np.sinc(np.array([fy, fx]) @ sides[:, 1])
    expected = 0.5 + 0.3 * damping * np.cos(2 * np.pi * (centres @ [fy, fx]))
    assert frame == pytest.approx(expected, abs=3e-4)  # quintic spline at 0.12 cycles/sample, float32


def test_pixels_of_the_object_grid_are_returned_exactly() -> None:
    intensity = wave((64, 64), 0.5, 0.7)
    signal = integrate_pixels(intensity, PITCH_UM, np.eye(2) * 1e-6)
    assert sample(signal, Transform.identity(), (64, 64), PITCH_UM)[4:-4, 4:-4] == pytest.approx(
        intensity[4:-4, 4:-4], abs=1e-5)


def test_vignetting_darkens_the_corners_by_what_is_set(rng: np.random.Generator) -> None:
    signal = integrate_pixels(flat(0.8, 200), PITCH_UM, np.eye(2) * PITCH_UM)
    camera = CameraSettings(PITCH_UM, vignetting=0.3, bits=16)
    frame = expose(signal, Transform.identity(), (120, 180), camera, rng) / 65535
    assert frame[59:61, 89:91] == pytest.approx(0.8, abs=1e-4)
    # The centre of the corner pixel lies a little inside the corner.
    assert frame[0, 0] == frame[-1, -1] == pytest.approx(0.8 * 0.7, rel=0.02)
    assert relative_illumination((1001, 1001), 0.3)[0, 500] == pytest.approx(1 - 0.15, abs=1e-3)


@pytest.mark.parametrize(("level", "shot_share", "expected"), [
    (0.9, 0.0, 0.01), (0.2, 0.0, 0.01), (0.9, 1.0, 0.01 * 0.9 ** 0.5), (0.2, 1.0, 0.01 * 0.2 ** 0.5),
    (0.5, 0.5, 0.01 * 0.75 ** 0.5)])
def test_noise_has_the_stated_deviation(level: float, shot_share: float, expected: float,
                                        rng: np.random.Generator) -> None:
    signal = integrate_pixels(flat(level, 300), PITCH_UM, np.eye(2) * PITCH_UM)
    camera = CameraSettings(PITCH_UM, 0.0, 0.01, shot_share, 16)
    frame = expose(signal, Transform.identity(), (300, 300), camera, rng) / 65535
    assert frame.mean() == pytest.approx(level, abs=5 * expected / 300)
    assert frame.std() == pytest.approx(expected, rel=0.015)  # 90,000 samples: 5 sd of the estimate are 1.2 %


@pytest.mark.parametrize(("bits", "dtype", "white"),
                         [(8, np.uint8, 255), (12, np.uint16, 4095), (16, np.uint16, 65535)])
def test_bits_set_type_and_white_level(bits: int, dtype: type, white: int, rng: np.random.Generator) -> None:
    camera = CameraSettings(PITCH_UM, bits=bits)  # type: ignore[arg-type]
    assert camera.white_level == white
    for level in (0.0, 0.37, 1.0):
        signal = integrate_pixels(flat(level), PITCH_UM, np.eye(2) * PITCH_UM)
        frame = expose(signal, Transform.identity(), (80, 80), camera, rng)
        assert frame.dtype == dtype
        assert set(np.unique(frame)) <= {int(np.floor(level * white)), int(np.ceil(level * white))}


def test_light_beyond_white_is_clipped(rng: np.random.Generator) -> None:
    signal = integrate_pixels(flat(1.0), PITCH_UM, np.eye(2) * PITCH_UM)
    frame = expose(signal, Transform.identity(), (80, 80), CameraSettings(PITCH_UM, noise=0.05, bits=12), rng)
    assert frame.max() == 4095
    assert 0.45 < np.mean(frame == 4095) < 0.55  # half of a symmetric noise lies above white


def test_colour_channels_keep_their_order(rng: np.random.Generator) -> None:
    scene = np.stack([flat(0.2), flat(0.5), flat(0.8)], axis=2)
    frame = expose(integrate_pixels(scene, PITCH_UM, np.eye(2) * PITCH_UM), Transform.identity(), (8, 8),
                   CameraSettings(PITCH_UM), rng)
    assert frame.shape == (8, 8, 3)
    assert frame[4, 4].tolist() == [51, 128, 204] or frame[4, 4].tolist() == [51, 127, 204]
