"""One frame on several devices: each computes a band of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from superres.errors import EngineError, ImageError
from superres.native.buffer import is_tensor
from superres.native.model import Band, NativeModel


class SeveralModels:
    """The same network on several devices (or several times on one), as one callable; thread-safe.

    Every device gets one band of rows, of nearly equal height, with the halo that it reads; the bits are those of one
    device.  Devices of unlike speed wait for the slowest.  Exercised on CPUs and by two workers on one device; never
    yet on two GPUs.
    """

    def __init__(self, models: Sequence[NativeModel]) -> None:
        """models: of one network.  Raises EngineError for none, or for networks of unlike geometry or weights."""
        facts = [{key: model.describe()[key] for key in ("channels", "up", "down")} for model in models]
        if not facts or any(each != facts[0] for each in facts):
            raise EngineError(f"models have geometries {facts}; expected one or more of the same")
        unlike = [number for number, model in enumerate(models) if model.weights_id != models[0].weights_id]
        if unlike:
            raise EngineError(f"models {unlike} (from 0) have other weights than the first; expected the same for all")
        self.models = tuple(models)
        self._multiple = int(models[0].describe()["origin_multiple"])

    def bands(self, height: int) -> tuple[Band, ...]:
        """A band for each device, from the first on; fewer where the frame has fewer rows than that."""
        share = -(-height // (len(self.models) * self._multiple)) * self._multiple
        return self.models[0].bands(height, share)

    def __call__(self, image: Any) -> Any:
        """(N, 3, H, W) numpy array or torch tensor, uint8 or float32, on the host or on a GPU → (N, 3, H', W') of the
        same kind, where the input lies.  Raises ImageError, EngineError of the first band that failed."""
        if not isinstance(image, np.ndarray) and not is_tensor(image):
            raise ImageError(f"image is a {type(image).__name__}; expected a numpy array or a torch tensor")
        if len(image.shape) != 4 or 0 in image.shape[2:]:
            raise ImageError(f"image has shape {tuple(image.shape)}; expected (N, 3, H, W)")
        result = self.models[0].allocate(image)
        if not isinstance(image, np.ndarray) and image.is_cuda:
            import torch

            # The bands run on streams of their own, which know nothing of the caller's.
            torch.cuda.current_stream(image.device).synchronize()
        bands = self.bands(image.shape[2])
        with ThreadPoolExecutor(max_workers=len(bands), thread_name_prefix="superres-band") as pool:
            for done in [pool.submit(_compute, model, image, result, band)
                         for model, band in zip(self.models, bands, strict=False)]:
                done.result()
        return result


def _compute(model: NativeModel, image: Any, result: Any, band: Band) -> None:
    source = image[:, :, band.read_first:band.read_first + band.read_rows]
    target = result[:, :, band.out_first:band.out_first + band.out_rows]
    if model.device < 0:
        model.run_band(source, target, band)
        return
    import torch

    if isinstance(image, np.ndarray):
        source, target = torch.from_numpy(np.ascontiguousarray(source)), torch.from_numpy(target)
    device = torch.device("cuda", model.device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    # This thread is in no mode of the caller's, and what is made in inference mode can only be written to in it.
    with torch.inference_mode(), torch.cuda.device(device), torch.cuda.stream(stream):
        near = source.to(device)
        output = near.new_empty(tuple(target.shape))
        model.run_band(near, output, band)
        target.copy_(output)
        torch.cuda.current_stream(device).synchronize()
