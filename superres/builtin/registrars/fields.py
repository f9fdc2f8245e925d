"""What registrar `paper` keeps of a fine field and of a mosaic while it looks for the one in the other."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from superres.api import Mosaic
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.registration.blend import overview
from superres.registration.diagnose import Flip
from superres.registration.features import Features, Method, detect, smooth
from superres.registration.find import Found, locate, reduction_for, searchable
from superres.registration.shifts import signal_fraction
from superres.resample import bicubic
from superres.transform import Transform

MIN_FIELD_PX = 24
MIN_SIGNAL = 0.75
"""Signal power / total power of a band-passed field whose standard deviation is twice that of its noise."""
CONTEXT_FEATURES = 30000
CONFIRMING_PX = 200
"""Fields larger than this in coarse pixels are reduced before features confirm their place: some hundred features do,
and those of 1024 fine pixels took 2 s to match."""
Refine = Literal["icgn", "sift", "surf"]


@dataclass(frozen=True, eq=False)
class Field:
    """A fine field at the coarse pitch.

    template: (h, w) grey.  pixel_um: its pitch.  flip: (mirrored) field µm → fine µm, its own inverse.  features: of
    the smoothed template, `reduction` times smaller; places in pixels of feature_pixel_um.
    """

    image: Image
    template: FloatArray
    pixel_um: float
    flip: Transform
    reduction: int
    features: Features

    @property
    def feature_pixel_um(self) -> float:
        return self.pixel_um * self.reduction

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def corners_um(self) -> npt.NDArray[np.float64]:
        height, width = self.image.size_um
        return np.array([(0.0, 0.0), (0.0, width), (height, 0.0), (height, width)])

    def centre_px(self, mosaic: Mosaic, to_mosaic: Transform) -> tuple[float, float]:
        """Where the centre of the template lies in the mosaic, in pixels."""
        half = np.asarray(self.template.shape) * self.pixel_um / 2
        centre = to_mosaic.apply(half) / mosaic.pixel_size_um
        return float(centre[0]), float(centre[1])


def prepare(fine: Image, coarse_pixel_um: float, flip: Flip, refine: Refine, upright: bool) -> Field:
    """A field ready to be looked for.

    refine: decides which features are detected; where they only start a refinement, large fields are reduced for them.
    Raises RegistrationError ("blank", "too-few-features") for a field that cannot be looked for.
    """
    grey = fine.grey()
    signal, strength = signal_fraction(grey)
    if signal < MIN_SIGNAL or strength == 0:
        raise RegistrationError(
            f"field '{fine.name}' shows no structure: {100 * max(0.0, signal):.0f} % of its fine contrast is "
            f"signal, expected at least {100 * MIN_SIGNAL:.0f} %", reason="blank",
            hint="leave the field out, or check focus and exposure")
    back = Transform.identity()
    if flip != "none":
        axis = 1 if flip == "x" else 0
        grey = np.ascontiguousarray(np.flip(grey, axis))
        matrix = np.eye(3)
        matrix[axis, axis], matrix[axis, 2] = -1.0, fine.size_um[axis]
        back = Transform(matrix)
    scale = Fraction(fine.pixel_size_um / coarse_pixel_um).limit_denominator(64)
    template = bicubic(grey, scale)
    if min(template.shape) < MIN_FIELD_PX:
        raise RegistrationError(
            f"field '{fine.name}' covers {template.shape[0]} × {template.shape[1]} coarse pixels; expected "
            f"at least {MIN_FIELD_PX} × {MIN_FIELD_PX}", reason="too-few-features",
            hint="take larger fields, or check the pixel sizes")
    reduction = max(1, round(min(template.shape) / CONFIRMING_PX)) if refine == "icgn" else 1
    features = detect(features_of(refine), smooth(block_means(template, reduction)), upright=upright)
    return Field(fine, template, fine.pixel_size_um / float(scale), back, reduction, features)


def features_of(refine: Refine) -> Method:
    """The features that confirm a place, and give it where nothing refines it."""
    return "surf" if refine == "surf" else "sift"


def block_means(plane: FloatArray, reduction: int) -> FloatArray:
    """Means of reduction × reduction pixels; rows and columns that fill no block are left out."""
    if reduction == 1:
        return plane
    height, width = plane.shape[0] // reduction, plane.shape[1] // reduction
    cut = np.ascontiguousarray(plane[:height * reduction, :width * reduction])
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


class Context:
    """What all fields of one mosaic share: its overviews, and the features of the whole.

    It does not hold the mosaic, whose weak reference is its key.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[int, tuple[FloatArray, npt.NDArray[np.bool_]]] = {}
        self._bands: dict[int, FloatArray] = {}
        self._features: dict[int, Features] = {}

    def view(self, mosaic: Mosaic, reduction: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        with self._lock:
            if reduction not in self._views:
                self._views[reduction] = overview(mosaic, reduction)
            return self._views[reduction]

    def find(self, field: Field, mosaic: Mosaic, rotations_deg: tuple[float, ...]) -> Found:
        reduction = reduction_for((field.template.shape[0], field.template.shape[1]))
        scene, covered = self.view(mosaic, reduction)
        with self._lock:
            if reduction not in self._bands:
                self._bands[reduction] = searchable(scene, covered)
        return locate(field.template, self._bands[reduction], reduction, rotations_deg)

    def features(self, mosaic: Mosaic, reduction: int) -> Features:
        scene, covered = self.view(mosaic, reduction)
        with self._lock:
            if reduction not in self._features:
                filled = np.where(covered, scene, np.float32(np.median(scene[covered])))
                self._features[reduction] = detect("sift", smooth(filled), upright=False, limit=CONTEXT_FEATURES)
            return self._features[reduction]
