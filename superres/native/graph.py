"""Small frames on a GPU: one size of frame through a NativeModel as a captured graph."""

from __future__ import annotations

import threading
from typing import Any

from superres.errors import EngineError, ImageError
from superres.native.model import NativeModel


class CapturedModel:
    """A NativeModel for one size of frame, whose launches were captured once and are replayed.

    For frames so small that queueing seven launches takes longer than computing them: every launch of the paper's 160²
    frame is 50 tiles, one wave on a card.  Larger frames gain nothing.  Input, output and workspace stay on the card.
    Any number of threads may call it, but the calls run one after the other.  Never yet run on a GPU.
    """

    def __init__(self, model: NativeModel, shape: tuple[int, int, int, int], dtype: str = "uint8") -> None:
        """shape: (N, 3, H, W).  dtype: "uint8" or "float32".  Raises EngineError for a model on the CPU."""
        if model.device < 0:
            raise EngineError("a model on the CPU cannot be captured", hint="call it as it is")
        import torch

        self._device = torch.device("cuda", model.device)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._graph, self._lock = torch.cuda.CUDAGraph(), threading.Lock()
        # Outside of inference mode: what is made there can only be written to in it.
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(self._device):
            self._input = torch.zeros(shape, dtype=getattr(torch, dtype), device=self._device)
            stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(stream):
                model(self._input)      # what the first call loads must not be captured
            stream.synchronize()
            with torch.cuda.graph(self._graph, stream=stream):
                self._output = model(self._input)
            self._done = stream.record_event()

    def __call__(self, image: Any) -> Any:
        """A torch tensor of the captured shape and dtype, on the model's device → its output, a tensor of the caller's.

        Queued on torch's current stream.  Raises ImageError for another tensor.
        """
        import torch

        wanted = tuple(self._input.shape), self._input.dtype, self._device
        if not isinstance(image, torch.Tensor) or (tuple(image.shape), image.dtype, image.device) != wanted:
            seen = (tuple(image.shape), image.dtype, image.device) if isinstance(image, torch.Tensor) else type(image)
            raise ImageError(f"image is {seen}; this graph was captured for {wanted}",
                             hint="capture another one, or call the model itself")
        with self._lock, torch.no_grad(), torch.cuda.device(self._device):
            stream = torch.cuda.current_stream(self._device)
            # The call before may have come on another stream, and uses the same buffers.
            stream.wait_event(self._done)
            self._input.copy_(image, non_blocking=True)
            self._graph.replay()
            result = self._output.clone()
            self._done = stream.record_event()
        return result
