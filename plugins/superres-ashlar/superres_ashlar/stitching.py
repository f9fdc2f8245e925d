"""ashlar behind one function.  Importing this module starts no Java; calling `place_tiles` does."""

from __future__ import annotations

import numpy as np

from superres.errors import RegistrationError


def place_tiles(frames, positions_um, pixel_size_um, filter_sigma, max_shift_um):
    """Where ashlar's EdgeAligner puts tiles: (n, 2) (y, x) in pixels, smallest 0.

    frames: (h, w) float in units of white, of one shape.  positions_um: (y, x) of each.
    """
    reg = _ashlar()
    stack = [np.clip(frame * 65535, 0, 65535).astype(np.uint16) for frame in frames]

    class Positions(reg.Metadata):
        _num_images = len(stack)
        num_channels = 1
        pixel_size = pixel_size_um
        pixel_dtype = np.dtype(np.uint16)

        def tile_position(self, i):
            # Whole pixels: ashlar 1.20 loses the fractions of nominal positions, half a pixel of error a tile.
            return np.rint(np.asarray(positions_um[i]) / pixel_size_um)

        def tile_size(self, i):
            return np.array(stack[i].shape)

    class Frames(reg.Reader):
        metadata = Positions()

        def read(self, series, c):
            return stack[series]

    aligner = reg.EdgeAligner(Frames(), max_shift=max_shift_um, filter_sigma=filter_sigma, do_make_thumbnail=False)
    aligner.run()
    return np.asarray(aligner.positions, dtype=float)


def _ashlar():
    try:
        import jnius_config

        if not jnius_config.vm_running and "-Xrs" not in jnius_config.get_options():
            jnius_config.add_options("-Xrs")
        from ashlar import reg
    except Exception as error:  # pyjnius raises whatever the search for Java ran into
        raise RegistrationError(f"ashlar cannot be used: {type(error).__name__}: {error}", reason="no-java",
                                hint="install a Java runtime and ashlar==1.20.0, or use plugin = \"paper\"") from error
    return reg
