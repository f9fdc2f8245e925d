"""Frames of a scan, read when needed and kept while memory allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import cv2
import numpy as np

from superres.errors import ImageError
from superres.image import FloatArray, Image, Readable
from superres.registration.blend import grey_frame

CACHE_BYTES = 256 * 1024 * 1024


class Frames:
    """The tiles of one scan, all of one shape and pixel size.

    flat_field, dust: set them once they are known; grey frames are divided by them from then on.
    Raises ImageError, naming both tiles, where shapes, channels or pixel sizes differ.
    """

    def __init__(self, images: Sequence[Readable], cache_bytes: int = CACHE_BYTES) -> None:
        self._images = images
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self._capacity_bytes = cache_bytes
        self._lock = threading.Lock()
        self.flat_field: FloatArray | None = None
        self.dust: FloatArray | None = None
        first = self.raw(0)
        self.shape_px = first.shape_px
        self.pixel_size_um = first.pixel_size_um
        self.channels = first.channels
        for index in range(1, len(images)):
            image = self.raw(index)
            if image.shape_px != self.shape_px or image.channels != self.channels:
                raise ImageError(f"tile '{image.name}' is {image.shape_px} px with {image.channels} channels, tile "
                                 f"'{first.name}' is {self.shape_px} px with {self.channels}; expected equal tiles",
                                 hint="leave out the tiles of another camera setting")
            if abs(image.pixel_size_um / self.pixel_size_um - 1) > 1e-6:
                raise ImageError(f"tile '{image.name}' has {image.pixel_size_um} µm/px, tile '{first.name}' has "
                                 f"{self.pixel_size_um}; expected one pixel size a scan",
                                 hint="split the scan by objective, or fix the metadata")

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return self._images[index].name

    def raw(self, index: int) -> Image:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        image = self._images[index].read()
        with self._lock:
            self._cache[index] = image
            while len(self._cache) > 2 and sum(i.pixels.nbytes for i in self._cache.values()) > self._capacity_bytes:
                self._cache.popitem(last=False)
        return image

    def grey(self, index: int) -> FloatArray:
        """(h, w) float32 in units of white, divided by the flat field and the dust where there are any."""
        grey = grey_frame(self.raw(index), self.flat_field)
        return grey if self.dust is None else grey / self.dust

    def reduced(self, index: int, reduction: int) -> FloatArray:
        """Grey means of reduction × reduction pixels; rows and columns that fill no block are left out."""
        grey = self.grey(index)
        if reduction == 1:
            return grey
        height, width = grey.shape[0] // reduction, grey.shape[1] // reduction
        cut = np.ascontiguousarray(grey[:height * reduction, :width * reduction])
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)
