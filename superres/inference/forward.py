"""Running a network over an image of any size, band by band, tile by tile, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from superres.api.model import Geometry
from superres.errors import EngineError, PluginError, SuperresError
from superres.events import Events
from superres.inference.tiles import core_ranges, plan_axis, plan_span

MIN_TILE_PX = 32
"""Halving the tile stops here: with the paper's halo of 13 a smaller tile computes mostly halo."""

STAGE = "infer"
BLAME = "mend the plug-in's forward; SUPERRES_TRACEBACK=1 shows where it failed"
_log = logging.getLogger(__name__)


class Pixels(Protocol):
    """An image that gives its pixels by region, so that it need not be held as floats."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """(height, width)."""

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """(N, C, rows, columns) float32 in units of white, or uint8 for a network that takes it.

        Rows are asked for from top to bottom, a few again.
        """


@dataclass(frozen=True, eq=False)
class Band:
    """Finished rows of the output.

    top: its first row.  pixels: (N, C, rows, W), all columns; float32, not clamped, or uint8 where the input was.
    """

    top: int
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Runner:
    """A network with the place and the way it runs.  Immutable, so that any number of threads may use one.

    network: in evaluation mode, on `device`, of `dtype`.  tile_px: side of a tile's core in input pixels.
    any_layout: whether the network reads its input where it lies, whatever the strides, and gives an output of its own;
    others are given tiles that are channels last.  who: what it is called in errors.
    """

    network: nn.Module
    geometry: Geometry
    device: torch.device
    dtype: torch.dtype = torch.float32
    tile_px: int = 512
    any_layout: bool = False
    who: str = "the network"

    def bands(self, image: Pixels, events: Events, *, passes: int = 1) -> Iterator[Band]:
        """The output of `passes` applications, as bands of rows from top to bottom without gap or overlap.

        Between passes values are not clamped and not rounded.  Memory: one band and one tile for each pass.
        When memory runs out the tile is halved, and a note says so.
        Raises EngineError if the smallest tile (or a network with global context) does not fit; PluginError, which
        names the network, if it raises or gives another size than its geometry promises; Cancelled.
        """
        for _ in range(passes - 1):
            image = _BandedPixels(self, image, events)
        return self._bands(image, events)

    def whole(self, image: Pixels, events: Events, *, passes: int = 1) -> Tensor:
        """The same in one tensor: (N, C, H', W') float32."""
        bands = [band.pixels for band in self.bands(image, events, passes=passes)]
        return bands[0] if len(bands) == 1 else torch.cat(bands, dim=2)

    def _bands(self, image: Pixels, events: Events) -> Iterator[Band]:
        height = image.shape_px[0]
        runner = self
        pending = list(reversed(core_ranges(height, runner.tile_px, self.geometry)))
        while pending:
            events.raise_if_cancelled()
            core = pending.pop()
            try:
                made = [runner._band(image, core, events)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                runner = runner._with_smaller_tile(image.shape_px, events)
                rest = core_ranges(height - core[0], runner.tile_px, self.geometry)
                pending = [(core[0] + start, core[0] + stop) for start, stop in reversed(rest)]
                continue
            yield made.pop()    # kept here, a band would lie beside the next one until that is ready

    def _band(self, image: Pixels, core: tuple[int, int], events: Events) -> Band:
        height, width = image.shape_px
        rows = plan_span(height, core, self.geometry)
        shape = rows.place[1] - rows.place[0], self.geometry.output_shape(height, width)[1]
        band: Tensor | None = None
        plan = plan_axis(width, self.tile_px, self.geometry)
        for columns in plan:
            events.raise_if_cancelled()
            output = self._tile(image.read(rows.read, columns.read))
            kept = output[:, :, rows.keep[0]:rows.keep[1], columns.keep[0]:columns.keep[1]]
            if self.any_layout and len(plan) == 1:
                return Band(rows.place[0], kept)    # a network of this kind allocates its output anew
            if band is None:
                dtype = torch.uint8 if kept.dtype == torch.uint8 else torch.float32
                band = torch.empty((*kept.shape[:2], *shape), dtype=dtype, device=kept.device,
                                   memory_format=torch.channels_last)
            band[:, :, :, columns.place[0]:columns.place[1]] = kept
        assert band is not None
        return Band(rows.place[0], band)

    # Not in inference mode: what is born there would fail in the caller's autograd.
    @torch.no_grad()
    def _tile(self, pixels: Tensor) -> Tensor:
        dtype = torch.uint8 if pixels.dtype == torch.uint8 else self.dtype
        layout = torch.preserve_format if self.any_layout else torch.channels_last
        tile = pixels.to(device=self.device, dtype=dtype, memory_format=layout)
        try:
            output: Tensor = self.network(tile)
        except SuperresError:
            raise
        except Exception as error:  # the network is a plug-in's
            if is_out_of_memory(error):
                raise
            raise PluginError(f"{self.who} failed on a tile of {tile.shape[2]} × {tile.shape[3]} px: "
                              f"{type(error).__name__}: {error}", hint=BLAME) from error
        height, width = self.geometry.output_shape(tile.shape[2], tile.shape[3])
        promised = (*tile.shape[:2], height, width)
        if not isinstance(output, Tensor) or tuple(output.shape) != promised:
            gave = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise PluginError(f"{self.who} gave {gave} for a tile of {tile.shape[2]} × {tile.shape[3]} px; its "
                              f"geometry promises {promised}", hint="mend the model's geometry or its forward")
        return output

    def _with_smaller_tile(self, shape_px: tuple[int, int], events: Events) -> Runner:
        if self.geometry.halo_px is None:
            raise EngineError(f"not enough memory for {shape_px[0]} × {shape_px[1]} px: this network sees the "
                              "whole image at once and cannot be tiled",
                              hint="crop the image, or use a machine with more memory")
        # A tile larger than the image would be halved in vain.
        tile_px = min(self.tile_px, max(shape_px)) // 2
        if tile_px < MIN_TILE_PX:
            raise EngineError(f"not enough memory for a tile of {2 * tile_px} px",
                              hint="close other programs, or use a machine with more memory")
        text = f"out of memory with tiles of {self.tile_px} px; going on with {tile_px} px"
        _log.warning(text)
        events.note(STAGE, text)
        return replace(self, tile_px=tile_px)


class _BandedPixels:
    """The output of one pass as the input of the next: holds only the rows that the next pass still needs."""

    def __init__(self, runner: Runner, image: Pixels, events: Events) -> None:
        self._shape_px = runner.geometry.output_shape(*image.shape_px)
        self._bands = runner.bands(image, events)
        self._held: list[Band] = []

    @property
    def shape_px(self) -> tuple[int, int]:
        return self._shape_px

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        # No later request starts above this one's first row; a retry with smaller tiles starts at it.
        self._held = [band for band in self._held if band.top + band.pixels.shape[2] > rows[0]]
        while not self._held or self._held[-1].top + self._held[-1].pixels.shape[2] < rows[1]:
            self._held.append(next(self._bands))
        parts = [band.pixels[:, :, max(0, rows[0] - band.top):max(0, rows[1] - band.top), columns[0]:columns[1]]
                 for band in self._held]
        return torch.cat([part for part in parts if part.shape[2]], dim=2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out (torch has one class for GPUs, a text for CPUs)."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        phrase in text for phrase in ("out of memory", "can't allocate", "not enough memory", "cannot allocate"))
