"""Registrar `ashlar`: tiles stitched by ashlar, fields placed as registrar `paper` places them."""

from __future__ import annotations

from pydantic import Field

from superres.api import Mosaic, PlacedTile
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import RegistrationError
from superres.transform import Transform
from superres_ashlar.stitching import place_tiles

DEFAULT_OVERLAP = 0.1


class AshlarRegistrar(PaperRegistrar):
    """Places as ashlar's spanning tree gives them; no flat field."""

    name = "ashlar"
    summary = "tiles stitched by ashlar, fields found as registrar paper does"

    class Options(PaperRegistrar.Options):
        filter_sigma: float = Field(1.0, ge=0, le=10, description=(
            "ashlar's Gaussian before it correlates, in pixels; its own default 0 fails on bright field"))
        max_shift_um: float = Field(15.0, gt=0, description="largest error of a stage position")

    def assemble(self, tiles, overlap=None):
        """Raises RegistrationError ("no-positions") for tiles without positions or grid indices, ("no-java") where
        ashlar cannot start Java."""
        images = [tile.image.read() for tile in tiles]
        pixel, size = images[0].pixel_size_um, images[0].shape_px
        if len(tiles) == 1:
            return Mosaic.of(images[0])
        nominal = [self._nominal(tile, overlap, size, pixel) for tile in tiles]
        origins = place_tiles([image.grey() for image in images], nominal, pixel, self.options.filter_sigma,
                              self.options.max_shift_um)
        placed = tuple(PlacedTile(tile.image, Transform.shift(y * pixel, x * pixel))
                       for tile, (y, x) in zip(tiles, origins, strict=True))
        far = origins.max(axis=0)
        return Mosaic(placed, (int(far[0]) + size[0] + 1, int(far[1]) + size[1] + 1), pixel,
                      notes={"stitched by": "ashlar"}, tile_shape_px=size)

    def _nominal(self, tile, overlap, size, pixel_um):
        if tile.position_um is not None:
            return tile.position_um
        if tile.grid is None:
            raise RegistrationError(
                f"tile '{tile.name}' has no position; ashlar needs stage positions or grid indices",
                reason="no-positions", hint='give positions, or use plugin = "paper", which finds them')
        step = 1 - (DEFAULT_OVERLAP if overlap is None else overlap)
        return tile.grid[0] * size[0] * step * pixel_um, tile.grid[1] * size[1] * step * pixel_um
