"""NativeModel: libsuperres' network as a Python object, for numpy arrays, torch tensors and whatever speaks DLPack."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from superres import native
from superres.errors import EngineError, ImageError, SuperresError, WeightsError
from superres.native.buffer import (
    CPU,
    Buffer,
    array_or_tensor,
    buffer_name,
    buffer_of,
    have_common_memory,
    is_free_of_overlap,
    place_name,
)

ARCHITECTURE = "rivenson2017"
"""The one family of networks that has a form here and in OpenVINO, as `NativeSpec.architecture` names it."""
HYPER = ("base_channels", "blocks", "alpha", "grow", "up", "down", "input_relu")
EMULATED = -2
_INVALID_WEIGHTS = 2
_ALIGNMENT = 256

Variant = Literal["auto", "layers", "blocks", "folded"]
"""Which kernels run on a GPU, as sr_variant of superres/superres.h numbers them: the library's own choice; one launch a
layer; one a residual block; and with the last two layers as one."""


@dataclass(frozen=True)
class Band:
    """Rows of a frame that are computed on their own, half-open by first and number.

    read: of the input, the halo included.  out: of the output.  skip_rows: of the band's own output, dropped before.
    """

    read_first: int
    read_rows: int
    out_first: int
    out_rows: int
    skip_rows: int


class NativeModel:
    """A network of libsuperres with its weights, on one device.  Immutable: any number of threads may call it."""

    def __init__(self, core_model: Any, device: int, up: int, down: int, weights_id: str = "") -> None:
        """Use `create`.  weights_id: the same for models of the same network and weights."""
        self._core = core_model
        self.weights_id = weights_id
        self.device = device
        self.up = up
        self.down = down

    @classmethod
    def create(cls, hyper: Mapping[str, int | str], tensors: Mapping[str, npt.NDArray[np.float32]], device: int = CPU,
               threads: int = 0, variant: Variant = "auto") -> Self:
        """hyper, tensors: as `superres.api.model.NativeSpec` of the architecture "rivenson2017" has them.

        device: -1 for the CPU, otherwise the ordinal of a CUDA device.  threads: of the CPU; 0 for one a core.
        variant: of the kernels on a GPU; parts of the network for which it has none run layer by layer.  On the CPU
        "layers" is plain loops, and every other one Winograd's transform where the processor has AVX2.
        Raises EngineError where the native module is not installed or has no such device; WeightsError, naming the
        layer, for a tensor that is missing, of another shape, not finite, or beyond float16.
        """
        core = core_module()
        if variant not in get_args(Variant):
            raise EngineError(f"variant '{variant}' is unknown; expected one of {', '.join(get_args(Variant))}")
        numbers = [int(hyper[key] == "first") if key == "grow" else int(hyper[key]) for key in HYPER]
        try:
            made = core.Model(numbers, list(tensors.items()), device, threads, get_args(Variant).index(variant))
        except core.NativeFailure as failure:
            raise _error(failure) from None
        digest = hashlib.sha256(repr(numbers).encode())
        for name in sorted(tensors):
            digest.update(name.encode() + np.ascontiguousarray(tensors[name], np.float32).tobytes())
        return cls(made, device, int(hyper["up"]), int(hyper["down"]), digest.hexdigest())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing in it can change, so copies of a module around it share its weights."""
        return self

    def describe(self) -> dict[str, str]:
        """What runs: device, arithmetic, kernel, channels, up, down, halo_px, origin_multiple.

        On a GPU also launches (of a forward) and choice (who chose the variant, and by what).
        """
        return dict(self._core.describe())

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """(ceil(L·height), ceil(L·width))."""
        return math.ceil(height * self.up / self.down), math.ceil(width * self.up / self.down)

    def workspace_bytes(self, count: int, height: int, width: int) -> int:
        """Bytes that a forward needs beside input and output; 0 for a size that is too large for one call."""
        return int(self._core.workspace_size(count, height, width))

    def band_rows(self, count: int, height: int, width: int, workspace_bytes: int) -> int:
        """How many rows each band of a frame may have for a workspace of so many bytes: all where they fit, 0 where no
        band does."""
        return int(self._core.band_rows(count, height, width, max(0, workspace_bytes)))

    def band(self, height: int, first: int, rows: int) -> Band:
        """The band of rows [first, first + rows) of a frame of `height`.

        Both ends: multiples of the network's origin_multiple, or the frame's end.  Raises EngineError otherwise.
        """
        try:
            return Band(*self._core.band(height, first, rows))
        except core_module().NativeFailure as failure:
            raise _error(failure) from None

    def bands(self, height: int, rows: int) -> tuple[Band, ...]:
        """The bands of `rows` rows, a multiple of origin_multiple, that partition a frame of `height`."""
        return tuple(self.band(height, first, min(rows, height - first)) for first in range(0, height, rows))

    def __call__(self, image: Any, workspace_bytes: int | None = None) -> Any:
        """Super-resolve a batch.

        image: (N, 3, H, W), uint8 (255 is white) or float32 (1.0 is white): a numpy array, a torch tensor, or any
        object with `__dlpack__`, on the model's device, with whatever strides; it is read where it lies.
        Returns (N, 3, ceil(L·H), ceil(L·W)) of the same dtype and framework, contiguous, or channels last where a torch
        tensor is; another framework's object comes back as a numpy array from the CPU and as a torch tensor from a GPU
        (both speak DLPack).  uint8 is clamped and rounded half to even, floats are not clamped.
        workspace_bytes: what the forward may take beside input and output; a frame that needs more goes through in
        bands of rows, to the same bits.  None: as much as the frame needs.
        On a GPU the work is queued on torch's current stream.  Raises ImageError, EngineError.
        """
        image = array_or_tensor(image)
        source = buffer_of(image)
        result = self.allocate(image)
        count, _, height, width = source.shape
        if workspace_bytes is None or 0 < self.workspace_bytes(count, height, width) <= workspace_bytes or count == 0:
            self.run(image, result, source)
            return result
        rows = self.band_rows(count, height, width, workspace_bytes)
        if rows == 0:
            raise EngineError(f"no band of a frame {width} px wide fits a workspace of {workspace_bytes} bytes",
                              hint="allow more, or cut the frame into columns")
        for band in self.bands(height, rows):
            self.run_band(image[:, :, band.read_first:band.read_first + band.read_rows],
                          result[:, :, band.out_first:band.out_first + band.out_rows], band)
        return result

    def allocate(self, image: Any) -> Any:
        """An uninitialised output for `image`, of its framework."""
        count, _, height, width = image.shape
        shape = (count, 3, *self.output_shape(height, width))
        if isinstance(image, np.ndarray):
            return np.empty(shape, dtype=image.dtype)
        import torch

        last = image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
        return torch.empty(shape, dtype=image.dtype, device=image.device,
                           memory_format=torch.channels_last if last else torch.contiguous_format)

    def run(self, image: Any, result: Any, source: Buffer | None = None) -> None:
        """The same into an array of the caller's: (N, 3, H', W') of the dtype and device of `image`, writeable, of any
        strides by which no two elements share memory, and none with the image."""
        source = source if source is not None else buffer_of(image)
        rows = source.shape[2]
        self._run(result, source, Band(0, rows, 0, self.output_shape(rows, 1)[0], 0))

    def run_band(self, image: Any, result: Any, band: Band) -> None:
        """One band of a frame.  image: the rows that it reads, (N, 3, read_rows, W).  result: those that it gives,
        (N, 3, out_rows, W'), otherwise as for `run`."""
        source = buffer_of(image)
        if source.shape[2] != band.read_rows:
            raise ImageError(f"the image has {source.shape[2]} rows; expected the {band.read_rows} that the band reads")
        self._run(result, source, band)

    def capture(self, image: Any, result: Any) -> Callable[[], None]:
        """`run`, put together once: each call of what is returned reads `image` as it then is and fills `result`.

        On a GPU it is a CUDA graph, launched on torch's current stream; on the CPU a call is a forward.  Image, result
        and a workspace are held as long as the function is.  Not for two threads at a time.  Raises as `run` does.
        """
        source = buffer_of(image)
        count, _, height, width = source.shape
        target, size = self._checked(result, source, Band(0, height, 0, self.output_shape(height, 1)[0], 0))
        workspace, address = self._workspace(size)
        try:
            graph = self._core.capture(source.is_u8, source.address, source.strides, target.address, target.strides,
                                       (count, height, width), address, size)
        except core_module().NativeFailure as failure:
            raise _error(failure) from None
        held = (image, result, workspace)

        def launch() -> None:
            if self.device >= 0:
                import torch

                # Whoever drops the function must not have the memory given away while a launch is on its way.
                for each in held:
                    each.record_stream(torch.cuda.current_stream(each.device))
            try:
                graph.launch(self._stream())
            except core_module().NativeFailure as failure:
                raise _error(failure) from None

        return launch

    def _run(self, result: Any, source: Buffer, band: Band) -> None:
        target, size = self._checked(result, source, band)
        count, _, _, width = source.shape
        workspace, address = self._workspace(size)
        try:
            self._core.forward_band(source.is_u8, source.address, source.strides, target.address, target.strides,
                                    (count, width), (band.read_first, band.read_rows, band.out_first, band.out_rows,
                                                     band.skip_rows), address, size, self._stream())
        except core_module().NativeFailure as failure:
            raise _error(failure) from None
        del workspace  # it had to live until here; torch's allocator keeps it for the stream after that

    def _checked(self, result: Any, source: Buffer, band: Band) -> tuple[Buffer, int]:
        """Where the output lies, and how many bytes of workspace the forward needs."""
        target = buffer_of(result)
        if isinstance(result, np.ndarray) and not result.flags.writeable:
            raise ImageError("the output is read-only; expected an array that can be written")
        if not is_free_of_overlap(target):
            raise ImageError(f"the output has strides of {target.strides} elements for {target.shape}: elements share "
                             "memory; expected a place for each", hint="allocate it: NativeModel.allocate")
        if have_common_memory(source, target):
            raise ImageError("the output lies in the memory of the image; expected memory of its own",
                             hint="allocate it: NativeModel.allocate")
        wanted = (source.shape[0], 3, band.out_rows, self.output_shape(1, source.shape[3])[1])
        if target.shape != wanted or target.is_u8 != source.is_u8 or target.device != source.device:
            raise ImageError(f"the output is {buffer_name(target)}; expected {wanted}, of the input's dtype and device")
        here = self.device if self.device != EMULATED else CPU
        if source.device != here:
            raise ImageError(f"the image lies on {place_name(source.device)}; the model runs on {place_name(here)}",
                             hint="copy the image there first")
        count, _, height, width = source.shape
        size = self.workspace_bytes(count, height, width)
        if size == 0 and count:
            raise EngineError(f"a frame of {height} × {width} px is too large for one call",
                              hint="give workspace_bytes: it then goes through in bands of rows")
        return target, size

    def _workspace(self, size: int) -> tuple[Any, int]:
        """Memory of the model's device, and its first aligned address."""
        memory: Any
        if self.device < 0:
            memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
            address = memory.ctypes.data
        else:
            import torch

            memory = torch.empty(size + _ALIGNMENT, dtype=torch.uint8, device=torch.device("cuda", self.device))
            address = memory.data_ptr()
        return memory, -(-address // _ALIGNMENT) * _ALIGNMENT

    def _stream(self) -> int:
        """The stream to queue on: torch's current one."""
        if self.device < 0:
            return 0
        import torch

        return int(torch.cuda.current_stream(torch.device("cuda", self.device)).cuda_stream)


def core_module() -> ModuleType:
    """superres.native._core.  Raises EngineError with the reason where it cannot be loaded."""
    core, reason = native._load()
    if core is None:
        raise EngineError(f"the native engine is not here: {reason}", hint="use engine = \"torch\", or \"auto\"")
    return core


def _error(failure: Exception) -> SuperresError:
    status, text = failure.args
    if status == _INVALID_WEIGHTS:
        return WeightsError(text, hint="the compiled engine takes finite weights within float16; engine = \"torch\" "
                                       "takes larger ones")
    return EngineError(text)
