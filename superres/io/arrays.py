"""Images as NumPy files, which say nothing but their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from superres.errors import ImageError
from superres.image import Image


def read_array(path: Path, pixel_size_um: float) -> Image:
    """An .npy file of intensities, (H, W) or (H, W, 3), whose largest value means white; float32 pixels.

    Raises ImageError, with the file's name, for a file that is missing or holds something else, NaN, or negative values
    (a camera's offset was subtracted).  Never unpickles.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ImageError(f"no such file: '{path}'", hint="check the path and its spelling") from None
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"'{path}' cannot be read: {error}", hint="expected a NumPy array file") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uifb":
        raise ImageError(f"'{path.name}' holds {getattr(array, 'dtype', 'several arrays')}; expected one array of "
                         "numbers", hint="save the intensities with numpy.save")
    if array.size == 0:
        raise ImageError(f"'{path.name}' is empty: shape {array.shape}", hint="give an image with pixels in it")
    array = np.asarray(array, dtype=np.float32)
    if np.isfinite(array).all() and not (array.min() >= 0 and array.max() > 0):
        raise ImageError(f"'{path.name}' holds values from {array.min():g} to {array.max():g}; expected intensities "
                         "of 0 and more, not all 0", hint="add the camera's offset, or give the image before it was "
                         "subtracted")
    return Image(array, pixel_size_um, float(array.max()), path.name)
