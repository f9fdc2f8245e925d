"""Arrays and tensors as input of a network: checked once, turned into floats tile by tile where they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from superres.errors import ImageError
from superres.image import FLOAT_LIMIT, Array, default_white_level, holds_white
from superres.inference.exchange import tensor_on

_CHECKED_ROWS = 256


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """An (H, W, 3) or (H, W) array that `Runner` can read by region; a single channel is given three times.

    white: the stored value that means 1.0.
    """

    array: Array
    white: float

    @classmethod
    def of(cls, array: Array, white_level: float | None) -> ArrayPixels:
        """Check an array.

        Raises ImageError for another shape or dtype than uint8, uint16, float32 and float64, an empty image, NaN or
        infinity, or a white level that the dtype cannot hold.
        """
        if not isinstance(array, np.ndarray):
            raise ImageError(
                f"image is a {type(array).__name__}; expected a numpy array, a torch tensor or a superres.Image"
            )
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
            raise ImageError(
                f"image has shape {array.shape}; expected (H, W) or (H, W, 3)",
                hint="convert it to RGB or to a single channel",
            )
        if array.shape[0] == 0 or array.shape[1] == 0:
            raise ImageError(f"image is empty: shape {array.shape}")
        if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float32, np.float64):
            raise ImageError(f"image has dtype {array.dtype}; expected uint8, uint16, float32 or float64")
        if array.dtype.kind == "f" and not all(
            np.isfinite(array[top : top + _CHECKED_ROWS]).all() for top in range(0, array.shape[0], _CHECKED_ROWS)
        ):
            raise ImageError("image contains NaN or infinite values", hint="repair or leave out the file")
        if white_level is None and array.dtype.kind == "f" and array.max() > FLOAT_LIMIT:
            raise ImageError(
                f"float image holds values up to {array.max():g}; expected 0 (black) … 1 (white)",
                hint="divide it by its white, or give white_level, such as 255 or 65535",
            )
        white = float(white_level) if white_level is not None else default_white_level(array.dtype)
        if not holds_white(array.dtype, white):
            raise ImageError(f"white level is {white:g}; expected a positive number that {array.dtype} can hold")
        return cls(array, white)

    @property
    def shape_px(self) -> tuple[int, int]:
        return int(self.array.shape[0]), int(self.array.shape[1])

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """(1, 3, rows, columns) float32, channels last in memory."""
        region = self.array[rows[0] : rows[1], columns[0] : columns[1]]
        unit = np.ascontiguousarray(region, dtype=np.float32) / np.float32(self.white)
        tensor = torch.from_numpy(unit)
        planes = tensor[:, :, None].expand(-1, -1, 3) if tensor.ndim == 2 else tensor
        return planes.permute(2, 0, 1)[None]


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """An (H, W, 3) array that `Runner` reads where it lies, for a network that takes it so: uint8 with 255 for white,
    or float32 with 1.0."""

    array: Array

    @property
    def shape_px(self) -> tuple[int, int]:
        return int(self.array.shape[0]), int(self.array.shape[1])

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """(1, 3, rows, columns) of the array's dtype and strides."""
        return tensor_on(self.array[rows[0] : rows[1], columns[0] : columns[1]]).permute(2, 0, 1)[None]


@dataclass(frozen=True, eq=False)
class TensorPixels:
    """Pixels of a tensor (N, C, H, W) on any device: of any float dtype, with 1.0 for white, or uint8 with 255.

    as_stored: whether uint8 is given as it is, for a network that takes it so.
    """

    tensor: Tensor
    as_stored: bool = False

    @property
    def shape_px(self) -> tuple[int, int]:
        return int(self.tensor.shape[2]), int(self.tensor.shape[3])

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """(N, C, rows, columns), float32 or as stored; a copy only where the dtype changes."""
        region = self.tensor[:, :, rows[0] : rows[1], columns[0] : columns[1]]
        if region.dtype != torch.uint8:
            return region.float()
        return region if self.as_stored else region.float() / 255
