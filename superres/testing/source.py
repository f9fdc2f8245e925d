"""What a source promises: a complete, repeatable acquisition with sampling and specimen ids."""

from __future__ import annotations

import numpy as np

from superres.api import Acquisition
from superres.image import Image
from superres.testing.plugin import PluginContract


class SourceContract(PluginContract):
    """For subclasses of superres.api.Source.  Give options for a small acquisition: it is made several times."""

    def frames(self, acquisition: Acquisition) -> list[Image]:
        tiles = [tile.image.read() for scan in acquisition.scans for tile in scan.tiles]
        fields = [fine.image.read() for scan in acquisition.scans for fine in scan.fields]
        return tiles + fields + [image for pair in acquisition.pairs for image in (pair.coarse, pair.fine)]

    def test_gives_readable_images_with_sampling(self) -> None:
        acquisition = self.make().acquire()
        assert isinstance(acquisition, Acquisition)
        frames = self.frames(acquisition)
        assert frames
        assert all(frame.pixel_size_um > 0 and frame.name for frame in frames)

    def test_pixel_sizes_agree_with_the_frames(self) -> None:
        acquisition = self.make().acquire()
        for scan in acquisition.scans:
            for tile in scan.tiles:
                np.testing.assert_allclose(tile.image.read().pixel_size_um, acquisition.coarse_pixel_size_um, rtol=1e-4)
            for fine in scan.fields:
                np.testing.assert_allclose(fine.image.read().pixel_size_um, acquisition.fine_pixel_size_um, rtol=1e-4)

    def test_tiles_of_a_scan_have_one_shape(self) -> None:
        for scan in self.make().acquire().scans:
            assert (
                len({(tile.image.read().pixels.shape, str(tile.image.read().pixels.dtype)) for tile in scan.tiles}) == 1
            )

    def test_every_field_has_a_specimen(self) -> None:
        acquisition = self.make().acquire()
        assert acquisition.specimens and all(acquisition.specimens)

    def test_specimens_told_beforehand_are_those_of_the_acquisition(self) -> None:
        source = self.make()
        told = source.known_specimens()
        assert told is None or told == source.acquire().specimens

    def test_the_same_options_give_the_same_acquisition(self) -> None:
        first, second = self.make().acquire(), self.make().acquire()
        assert [frame.name for frame in self.frames(first)] == [frame.name for frame in self.frames(second)]
        assert all(
            np.array_equal(a.pixels, b.pixels) for a, b in zip(self.frames(first), self.frames(second), strict=True)
        )
        assert self.make().fingerprint() == self.make().fingerprint()
