"""Three chrome bars (density 3) under an objective and a camera, at any phase and angle, without noise."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from superres.optics import Optics
from superres.optics.camera import PixelSignal, integrate_pixels, sample
from superres.optics.modes import coherent_modes, image_with_modes
from superres.optics.usaf.contrast import BarPlace
from superres.transform import Transform

PITCH_UM = 0.0185
TRANSMITTANCE = 0.001
COARSE, FINE = Optics(0.95, magnification=40), Optics(1.4, refractive_index=1.515, magnification=100)


@dataclass(frozen=True)
class BarScene:
    """signal: of a camera turned by angle_deg.  centre_um: of the bars on the object, y = x."""

    signal: PixelSignal
    centre_um: float
    period_um: float
    pixel_um: float
    angle_deg: float

    @property
    def turn(self):
        angle = np.deg2rad(self.angle_deg)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def frame(self, phase_px=(0.0, 0.0), oversampling=1):
        """(image, centre of the bars in index coordinates): the bars lie phase_px (of the camera) off its middle."""
        pixel = self.pixel_um / oversampling
        side = int((2.5 * self.period_um + 4.0) / self.pixel_um) * oversampling
        matrix = np.eye(3)
        matrix[:2, :2] = self.turn
        middle = np.full(2, side * pixel / 2) + np.array(phase_px) * self.pixel_um
        matrix[:2, 2] = self.centre_um - self.turn @ middle
        image = sample(self.signal, Transform(matrix), (side, side), pixel)
        return image.astype(np.float64), tuple((side - 1) / 2 + np.array(phase_px) * oversampling)

    def place(self, centre_px):
        across = self.turn.T @ np.array([0.0, 1.0])
        along = self.turn.T @ np.array([1.0, 0.0])
        period_px = self.period_um / self.pixel_um
        return BarPlace(centre_px, tuple(across * period_px), tuple(along * 2.5 * period_px))


def bar_scene(period_um, optics, pixel_um, angle_deg):
    """Standing bars, drawn here from the definition (three bars, half a period wide, 2.5 periods long)."""
    side = int(np.ceil((2.5 * period_um + 8.0) / PITCH_UM))
    centre = side * PITCH_UM / 2
    edges = (np.arange(side + 1) * PITCH_UM - centre) / period_um

    def covered(intervals):
        return sum(np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
                   for low, high in intervals) / np.diff(edges)

    bars = np.outer(covered([(-1.25, 1.25)]), covered([(k - 0.25, k + 0.25) for k in (-1, 0, 1)]))
    intensity = image_with_modes((1 - bars * (1 - TRANSMITTANCE)).astype(np.float32), PITCH_UM, coherent_modes(optics))
    scene = BarScene(None, centre, period_um, pixel_um, angle_deg)
    return replace(scene, signal=integrate_pixels(intensity, PITCH_UM, scene.turn * pixel_um))


def procedure_of_section_6(image, centre_px, scene, oversampling=1):
    """The supplement's procedure with known geometry on a noise-free image; nothing of it is taken from superres."""
    pixel = scene.pixel_um / oversampling
    across, along = scene.turn.T @ np.array([0.0, 1.0]), scene.turn.T @ np.array([1.0, 0.0])
    periods = np.linspace(-1.25, 1.25, 2001)
    rows = np.linspace(-0.425, 0.425, 201) * 2.5
    points = (np.array(centre_px)[:, None, None]
              + (across[:, None, None] * periods[None, None] + along[:, None, None] * rows[None, :, None])
              * scene.period_um / pixel)
    profile = ndimage.map_coordinates(image, points, order=5, mode="mirror").mean(axis=0)
    highest = max(profile[np.abs(periods - gap) <= 0.25].max() for gap in (-0.5, 0.5))
    lowest = min(profile[np.abs(periods - bar) <= 0.25].min() for bar in (-1, 0, 1))
    return (highest - lowest) / (highest + lowest)
