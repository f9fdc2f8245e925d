"""Small frames, one after another: one size of frame through a NativeModel whose launches are queued as one."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from superres.errors import ImageError
from superres.native.model import NativeModel


class CapturedModel:
    """A NativeModel for one size of frame, whose launches were captured once and are queued as one.

    For a GPU and frames so small that queueing seven launches takes longer than computing them: every launch of the
    paper's 160² frame is 50 tiles, one wave on a card.  Larger frames gain nothing, nor does a CPU, where it works all
    the same.  Input, output and workspace stay where the model is.  Any number of threads may call it; the calls run
    one after the other.  Never yet run on a GPU.
    """

    def __init__(self, model: NativeModel, shape: tuple[int, int, int, int], dtype: str = "uint8") -> None:
        """shape: (N, 3, H, W).  dtype: "uint8" or "float32".  Raises ImageError for others."""
        import torch

        if dtype not in ("uint8", "float32"):
            raise ImageError(f"dtype is '{dtype}'; expected uint8 or float32")
        self._lock = threading.Lock()
        self._on_gpu = model.device >= 0
        self._device = torch.device("cuda", model.device) if self._on_gpu else torch.device("cpu")
        # Outside of inference mode: what is made there can only be written to in it.
        with torch.inference_mode(False), torch.no_grad():
            self._input = torch.zeros(shape, dtype=getattr(torch, dtype), device=self._device)
            self._output = model.allocate(self._input)
            self._launch = model.capture(self._input, self._output)
        self._done = self._stream().record_event() if self._on_gpu else None

    def __call__(self, image: Any) -> Any:
        """A torch tensor of the captured shape and dtype, on the model's device → its output, a tensor of the caller's.

        On a GPU queued on torch's current stream.  Raises ImageError for another tensor.
        """
        import torch

        wanted = tuple(self._input.shape), self._input.dtype, self._device
        if not isinstance(image, torch.Tensor) or (tuple(image.shape), image.dtype, image.device) != wanted:
            seen = (tuple(image.shape), image.dtype, image.device) if isinstance(image, torch.Tensor) else type(image)
            raise ImageError(f"image is {seen}; this graph was captured for {wanted}",
                             hint="capture another one, or call the model itself")
        with self._lock, torch.no_grad(), torch.cuda.device(self._device) if self._on_gpu else nullcontext():
            if self._on_gpu:
                # The call before may have come on another stream, and uses the same buffers.
                self._stream().wait_event(self._done)
            self._input.copy_(image, non_blocking=True)
            self._launch()
            result = self._output.clone()
            if self._on_gpu:
                self._done = self._stream().record_event()
        return result

    def _stream(self) -> Any:
        import torch

        return torch.cuda.current_stream(self._device)
