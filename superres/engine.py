"""Engine: trained weights as one small object to embed.  Thread-safe, no globals, any image size in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from superres.api.model import Geometry
from superres.catalog import Catalog
from superres.config import Precision
from superres.errors import EngineError, ImageError
from superres.events import Events
from superres.image import NETWORK, Array, Image, from_unit
from superres.inference.device import resolve_device
from superres.inference.engines import EngineName, arrange, check_names
from superres.inference.exchange import SupportsDLPack, layout_of, tensor_on
from superres.inference.forward import Band, Runner
from superres.inference.frames import kept, require_many
from superres.inference.load import model_of, network_of
from superres.inference.overlap import DEPTH, Overlap, TorchCard
from superres.inference.pixels import ArrayPixels, StoredPixels, TensorPixels
from superres.inference.streaming import Streamed, stream_in_order
from superres.io.weights import Weights, read_weights
from superres.native.buffer import array_or_tensor


@dataclass(frozen=True)
class EngineDescription:
    """Which path runs, and why.

    engine: "torch", "native" or "openvino".  device: as torch names it.  precision: as asked for.  arithmetic: what
    that means here.  threads: of the CPU, 0 on a GPU.  tile_px: side of a tile's core in input pixels, 0 for a
    network that is never tiled.
    """

    model: str
    parameters: int
    scale: str
    engine: str
    device: str
    precision: Precision
    arithmetic: str
    threads: int
    tile_px: int
    why: str

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.threads else ""
        tiles = f"tiles of {self.tile_px} px" if self.tile_px else "whole images"
        return (f"{self.model} ({self.parameters:,} parameters, L = {self.scale}) through {self.engine} on "
                f"{self.device}{threads}, {self.precision}: {self.arithmetic}, {tiles}; {self.why}")


class Engine:
    """Super-resolves images with one set of weights.  Make it with `load`; call it from as many threads as you like."""

    def __init__(self, weights: Weights, runner: Runner, description: EngineDescription,
                 reads_as_stored: bool) -> None:
        """Use `load` or `from_weights`."""
        self._reads_as_stored = reads_as_stored
        self._weights = weights
        self._runner = runner
        self._description = description

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", engine: EngineName = "auto", precision: Precision = "exact",
             catalog: Catalog | None = None, tile_px: int | None = None) -> Engine:
        """Read a weights file and prepare its network.

        device: "auto", "cpu", "cuda" or "cuda:N".  engine: "torch"; "native", libsuperres; "openvino", the extra of
        that name; or "auto": on a CPU the fastest that was measured and can run (docs/engine.md).
        precision: "exact" is float32 on a CPU, and float16 storage with float32 sums on a GPU; "fast" is bfloat16 on a
        CPU that has it, and on another what "exact" is.
        catalog: where the model plug-in is looked up; None for everything that is installed.  tile_px: side of a tile's
        core in input pixels; None for what suits the engine.
        Raises WeightsError (missing, damaged or mismatched file), EngineError (an engine, device or precision that
        cannot run here: nothing else is taken in its place), PluginError (the model plug-in fails).
        """
        return cls.from_weights(read_weights(Path(path)), device, engine, precision, catalog, tile_px)

    @classmethod
    def from_weights(cls, weights: Weights, device: str = "auto", engine: EngineName = "auto",
                     precision: Precision = "exact", catalog: Catalog | None = None,
                     tile_px: int | None = None) -> Engine:
        """The same from weights in memory, which are copied."""
        check_names(engine, precision)
        if tile_px is not None and tile_px < 1:
            raise EngineError(f"tile_px is {tile_px}; expected at least 1")
        place = resolve_device(device)
        model = model_of(weights, catalog if catalog is not None else Catalog.discover())
        arranged = arrange(model, network_of(model, weights.tensors), place, engine, precision)
        chosen = "asked for" if device != "auto" else \
            "chosen, as torch sees a GPU" if place.type == "cuda" else "chosen, as torch sees no GPU"
        tile_px = tile_px if tile_px is not None else arranged.tile_px
        tiled = model.geometry.halo_px is not None
        description = EngineDescription(
            model=weights.plugin, parameters=weights.parameters, scale=str(model.geometry.scale),
            engine=arranged.engine, device=str(place), precision=precision, arithmetic=arranged.arithmetic,
            threads=torch.get_num_threads() if place.type == "cpu" else 0, tile_px=tile_px if tiled else 0,
            why=f"device {place}: {chosen}; engine: {arranged.why}")
        runner = Runner(arranged.network, model.geometry, place, arranged.dtype, tile_px, arranged.reads_as_stored,
                        f"model '{weights.plugin}'")
        return cls(weights, runner, description, arranged.reads_as_stored)

    @property
    def weights(self) -> Weights:
        return self._weights

    @property
    def geometry(self) -> Geometry:
        return self._runner.geometry

    def describe(self) -> EngineDescription:
        """Which path runs and why; `str()` of it is one line for a log."""
        return self._description

    def output_shape(self, height: int, width: int, passes: int = 1) -> tuple[int, int]:
        """(height, width) after `passes` applications: ceil(L·H) × ceil(L·W) each time."""
        for _ in range(passes):
            height, width = self.geometry.output_shape(height, width)
        return height, width

    @overload
    def __call__(self, image: Image, white_level: float | None = None, *, passes: int = 1,
                 events: Events | None = None) -> Image: ...

    @overload
    def __call__(self, image: Tensor, white_level: float | None = None, *, passes: int = 1,
                 events: Events | None = None) -> Tensor: ...

    @overload
    def __call__(self, image: Array, white_level: float | None = None, *, passes: int = 1,
                 events: Events | None = None) -> Array: ...

    @overload
    def __call__(self, image: SupportsDLPack, white_level: float | None = None, *, passes: int = 1,
                 events: Events | None = None) -> Array | Tensor: ...

    def __call__(self, image: Array | Tensor | Image | SupportsDLPack, white_level: float | None = None, *,
                 passes: int = 1, events: Events | None = None) -> Array | Tensor | Image:
        """Super-resolve an image.

        image: (H, W, 3) or (H, W) numpy array, uint8, uint16 or float; a superres.Image; a torch tensor (N, 3, H, W) or
        (N, 1, H, W), of floats with 1.0 for white or uint8 with 255; or an object of another framework that has
        `__dlpack__`, as an image or as a batch.  white_level: the value that means 1.0; None for the maximum of an
        integer dtype, 1.0 for floats, or what the Image says.  A single channel is fed three times, and the mean of the
        three output channels comes back.  passes: how often the network is applied, fed with its own output.
        Returns the input's type, dtype, device and layout, ceil(L·H) × ceil(L·W) for each pass; for an object of
        another framework a numpy array from the CPU and a torch tensor from a GPU (both have `__dlpack__`).
        Integers are clamped to white and rounded half to even; floats are not clamped.  An Image gets its new pixel
        size and keeps its profile.
        Everything is read where it lies.  With the native engine uint8 and float32 frames of three channels that fit
        one tile are not copied on their way in or out; otherwise tiles are.
        Raises ImageError for another shape or dtype, NaN or infinity; Cancelled; EngineError when memory runs out, or
        where the network gives NaN or infinity for an array or an Image; PluginError when the network fails.
        """
        events = events if events is not None else Events()
        if isinstance(image, Tensor):
            if white_level is not None:
                raise ImageError("white_level is given for a tensor; expected floats with 1.0 for white, or uint8 with "
                                 "255", hint="divide the tensor by its white level")
            _require_passes(passes)
            return self._tensor(image, passes, events)
        if not isinstance(image, np.ndarray | Image) and isinstance(image, SupportsDLPack):
            return self._foreign(array_or_tensor(image), white_level, passes, events)
        bands = self.stream_rows(image, white_level, passes=passes, events=events)
        pixels = image.pixels if isinstance(image, Image) else image
        height, width = self.output_shape(pixels.shape[0], pixels.shape[1], passes)
        result, top = np.empty(0, dtype=pixels.dtype), 0
        for band in bands:
            if len(band) == height and band.flags.c_contiguous and band.flags.writeable:
                result = band
                break
            if top == 0:
                result = np.empty((height, width, *pixels.shape[2:]), dtype=pixels.dtype)
            result[top:top + len(band)] = band
            top += len(band)
        if isinstance(image, Image):
            return image.with_pixels(result, pixel_size_um=image.pixel_size_um / float(self.geometry.scale) ** passes,
                                     made_by=NETWORK)
        return result

    def stream_rows(self, image: Array | Image, white_level: float | None = None, *, passes: int = 1,
                    events: Events | None = None) -> Iterator[Array]:
        """The same for a numpy array (a memory map too) or an Image, as bands of finished rows from top to bottom.

        The bands, (rows, W') or (rows, W', 3) of the input's dtype, put together are what a call returns; neither input
        nor output is ever held as floats.  The input is checked before this returns.
        """
        _require_passes(passes)
        if isinstance(image, Image):
            if white_level is not None and white_level != image.white:
                raise ImageError(f"white_level is {white_level}, but image '{image.name}' says {image.white}",
                                 hint="leave white_level out for an Image")
            pixels = ArrayPixels.of(image.pixels, image.white)
        else:
            pixels = ArrayPixels.of(image, white_level)
        return self._rows(pixels, passes, events if events is not None else Events())

    def stream(self, frames: Iterable[Array | Tensor | Image], white_level: float | None = None, *, passes: int = 1,
               ahead: int = 2, events: Events | None = None
               ) -> Generator[Streamed[Array | Tensor | Image], None, None]:
        """Super-resolve frames as they come: reading, computing and what the caller does with results overlap.

        frames: anything that gives images as a call takes them; it is read on a thread of its own, so a generator that
        reads files, or waits for a camera, costs the computing no time.  Arrays and tensors on the host are copied as
        they come, so that it may fill the same memory again; memory maps, tensors on a GPU, which must be complete, and
        objects of other frameworks are not, and must stay as they are until their result is there.
        ahead: how many frames may wait to be computed, and how many results to be taken; whoever is faster waits, so
        that memory stays bounded.
        Results come in the order of the frames, one for each: `for result in stream: result.unwrap()`.  A frame that
        fails is reported in its place, and the next ones go on.  `events.cancel()`, from any thread, ends the stream
        with Cancelled; leaving the loop ends it too, or `close()` where a variable, or the traceback that a notebook
        keeps, still holds the stream.  What a source raises that is no Exception, such as SystemExit, is raised here.
        Raises EngineError for `passes` or `ahead` below 1, ImageError for a single image.
        """
        _require_passes(passes)
        require_many(frames)
        if ahead < 1:
            raise EngineError(f"ahead is {ahead}; expected at least 1")

        device = self._runner.device
        overlap = Overlap(TorchCard(device)) if device.type == "cuda" else None

        def start(frame: Array | Tensor | Image, inner: Events) -> Callable[[], Array | Tensor | Image]:
            if overlap is not None and isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 \
                    and frame.shape[2] == 3 and frame.size and white_level in (None, 255):
                return overlap.start(frame, self.output_shape(frame.shape[0], frame.shape[1], passes),
                                     lambda tensor: self._tensor(tensor, passes, inner))
            result = self(frame, white_level, passes=passes, events=inner)
            return lambda: result

        return stream_in_order(frames, start, ahead, events if events is not None else Events(),
                               depth=1 if overlap is None else DEPTH, keep=kept)

    def _rows(self, source: ArrayPixels, passes: int, events: Events) -> Iterator[Array]:
        array = source.array
        stored = source.white == 255 if array.dtype == np.uint8 else array.dtype == np.float32 and source.white == 1
        if self._reads_as_stored and passes == 1 and stored and array.ndim == 3:
            for band in self._runner.bands(StoredPixels(array), events):
                yield band.pixels[0].permute(1, 2, 0).cpu().numpy()
            return
        bands = map(self._finite, self._runner.bands(source, events, passes=passes))
        # map, because a loop's variable would keep a band of floats until the next one is ready.
        yield from map(partial(_stored, like=array, white=source.white), bands)

    def _finite(self, band: Band) -> Band:
        """The band itself, which is about to become stored values: NaN would become black without a word."""
        if not bool(torch.isfinite(torch.stack(torch.aminmax(band.pixels))).all()):    # nothing as large as the band
            rows = f"{band.top} to {band.top + band.pixels.shape[2] - 1}"
            raise EngineError(f"{self._runner.who} gave NaN or infinite values in rows {rows} of the output",
                              hint="where device = \"cpu\" gives numbers, float16 is too narrow for these weights; "
                                   "else train it again with a lower learning_rate")
        return band

    def _foreign(self, image: Array | Tensor, white_level: float | None, passes: int, events: Events) -> Array | Tensor:
        """An image (H, W, 3) or (H, W) like an array; a batch like a tensor."""
        if isinstance(image, np.ndarray) and image.ndim != 4:
            return self(image, white_level, passes=passes, events=events)
        tensor = tensor_on(image) if isinstance(image, np.ndarray) else image
        if tensor.ndim == 4:
            result = self(tensor, white_level, passes=passes, events=events)
            return result.numpy() if isinstance(image, np.ndarray) else result
        if tensor.ndim not in (2, 3):
            raise ImageError(f"image has shape {tuple(tensor.shape)}; expected (H, W), (H, W, 3) or (N, 3, H, W)")
        planes = tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]
        result = self(planes, white_level, passes=passes, events=events)
        return result[0, 0] if tensor.ndim == 2 else result[0].permute(1, 2, 0)

    def _tensor(self, image: Tensor, passes: int, events: Events) -> Tensor:
        if image.ndim != 4 or image.shape[1] not in (1, 3) or 0 in image.shape[2:]:
            raise ImageError(f"tensor has shape {tuple(image.shape)}; expected (N, 3, H, W) or (N, 1, H, W)")
        if not image.dtype.is_floating_point and image.dtype != torch.uint8:
            raise ImageError(f"tensor has dtype {image.dtype}; expected floats with 1.0 for white, or uint8",
                             hint="convert it to float and divide it by its white level")
        if image.dtype.is_floating_point and not bool(torch.isfinite(image).all()):
            raise ImageError("tensor contains NaN or infinite values")
        count, channels, height, width = image.shape
        shape = (count, channels, *self.output_shape(height, width, passes))
        as_stored = self._reads_as_stored and passes == 1 and channels == 3
        result: Tensor | None = None
        layout = layout_of(image)
        # Small images go through together, as many as fill one tile.
        together = max(1, self._runner.tile_px ** 2 // (height * width))
        for first in range(0, count, together):
            batch = TensorPixels(image.detach()[first:first + together].expand(-1, 3, -1, -1), as_stored)
            for band in self._runner.bands(batch, events, passes=passes):
                # A card is not asked: that would wait for it, and hold up a stream of frames.
                stored = image.dtype == torch.uint8 and band.pixels.dtype != torch.uint8 and image.device.type == "cpu"
                pixels = _like(self._finite(band) if stored else band, image.dtype, channels)
                if pixels.shape == shape and pixels.device == image.device and pixels.is_contiguous(
                        memory_format=layout):
                    return pixels
                if result is None:
                    result = torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=layout)
                result[first:first + together, :, band.top:band.top + pixels.shape[2]] = pixels
        return result if result is not None else image.new_empty(shape)


STRIP_ROWS = 64
"""Rows that are turned into stored values at once: what that takes beside a band stays small."""


def _stored(band: Band, like: Array, white: float) -> Array:
    """The band's rows as an array with the input's number of channels and dtype."""
    unit = band.pixels[0].permute(1, 2, 0).cpu().numpy()
    rows = np.empty(unit.shape[:2] if like.ndim == 2 else unit.shape, dtype=like.dtype)
    for top in range(0, len(unit), STRIP_ROWS):
        strip = unit[top:top + STRIP_ROWS]
        rows[top:top + STRIP_ROWS] = from_unit(strip.mean(axis=2) if like.ndim == 2 else strip, like.dtype, white)
    return rows


def _like(band: Band, dtype: torch.dtype, channels: int) -> Tensor:
    """The band's pixels with the input's number of channels; uint8 clamped and rounded half to even."""
    pixels = band.pixels.mean(dim=1, keepdim=True) if channels == 1 else band.pixels
    if dtype == torch.uint8 and pixels.dtype != torch.uint8:
        return pixels.clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return pixels.to(dtype)


def _require_passes(passes: int) -> None:
    if passes < 1:
        raise EngineError(f"passes is {passes}; expected at least 1")
