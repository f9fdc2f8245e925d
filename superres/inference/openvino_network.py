"""The network through OpenVINO, built from its native form.  Needs the extra `openvino`."""

from __future__ import annotations

from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from superres.api.model import NativeSpec
from superres.config import Precision
from superres.errors import EngineError
from superres.inference.folded_tail import (
    STRIP_PX,
    FoldedTail,
    PlainTail,
    Strips,
    fold,
    is_worth_folding,
    mend_borders,
)
from superres.native.model import ARCHITECTURE

HINTS: dict[Precision, str] = {"exact": "f32", "fast": "bf16"}


def openvino_version() -> str:
    """The version of the installed OpenVINO; empty where there is none that loads."""
    try:
        import openvino
    except ImportError:
        return ""
    return str(openvino.__version__).partition("-")[0]


class OpenvinoNetwork(nn.Module):
    """A compiled OpenVINO model as a module: (N, 3, H, W) float32 → (N, 3, ceil(L·H), ceil(L·W)) float32, on the CPU.

    Any number of threads may call it: each call takes an inference request that no other one uses.
    """

    def __init__(self, compiled: Any, folded: FoldedTail | None, tail: PlainTail) -> None:
        """folded: where the compiled model ends with the folded tail, and gives strips of its features as well."""
        super().__init__()
        self.compiled, self.folded, self.tail = compiled, folded, tail
        self._requests: SimpleQueue[Any] = SimpleQueue()

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.permute(0, 2, 3, 1).contiguous().numpy()  # no copy for a tensor that is channels last
        try:
            request = self._requests.get_nowait()
        except Empty:
            request = self.compiled.create_infer_request()
        results = request.infer([pixels], share_inputs=True, share_outputs=False)
        output, *edges = [torch.from_numpy(results[index]) for index in range(len(results))]
        self._requests.put(request)
        output = output.permute(0, 3, 1, 2)
        if self.folded is None:
            return output
        height, width = (-(-length * self.folded.up // self.folded.down) for length in image.shape[2:])
        output = output[:, :, :height, :width]
        mend_borders(output, self._strips(edges, image.shape[2], image.shape[3]), self.tail)
        return output

    def _strips(self, edges: list[Tensor], height: int, width: int) -> Strips:
        """The last two edges cut to where a multiple of the stride begins."""
        assert self.folded is not None
        top, bottom, left, right = edges
        down, across = (max(0, length - STRIP_PX) // self.folded.stride * self.folded.stride
                        for length in (height, width))
        return Strips(top, bottom[:, :, down - (height - bottom.shape[2]):], left,
                      right[:, :, :, across - (width - right.shape[3]):])


def openvino_network(spec: NativeSpec | None, precision: Precision, threads: int) -> OpenvinoNetwork:
    """Compile a network for this CPU.

    spec: what `Model.native` gave.  threads: at most so many.
    Raises EngineError where OpenVINO is not installed, or for a network without a native form that is known here.
    """
    if not openvino_version():
        raise EngineError("engine 'openvino' cannot run here: OpenVINO is not installed",
                          hint="pip install 'superres[openvino]', or use engine = \"torch\"")
    if spec is None or spec.architecture != ARCHITECTURE:
        what = "it has no native form" if spec is None else f"it cannot be given the architecture '{spec.architecture}'"
        raise EngineError(f"engine 'openvino' cannot run this model: {what}",
                          hint="use engine = \"torch\", or \"auto\"")
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY"}
    folded = fold(spec) if is_worth_folding(spec) else None
    return OpenvinoNetwork(_core().compile_model(_graph(spec, folded), "CPU", settings), folded, PlainTail(spec))


@cache
def _core() -> Any:
    """OpenVINO's runtime, one for the process and never let go.

    Each one that is made puts its own stack for signal handlers in place, and takes it away when it goes: of two that
    go in the order in which they came, the second one brings back the stack of the first, which is gone, and the next
    Ctrl-C ends the process by a segmentation fault (seen with 2026.4.1).
    """
    import openvino

    return openvino.Core()


def _graph(spec: NativeSpec, folded: FoldedTail | None) -> Any:
    """(N, H, W, 3) → (N, H', W', 3): what the network's module computes, between two changes of layout.

    With a folded tail: a little more than H' × W' where they are no multiples of its block, the outermost pixels wrong,
    and then the features (N, C, h, w) along the top, bottom, left and right edges.
    """
    import openvino
    from openvino import opset13 as ops

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        weight, bias = spec.tensors[f"{name}.weight"], spec.tensors[f"{name}.bias"]
        summed = ops.convolution(x, ops.constant(weight), [stride, stride], [1, 1], [1, 1], [1, 1])
        return ops.add(summed, ops.constant(bias.reshape(1, -1, 1, 1)))

    def channels(name: str) -> int:
        return int(spec.tensors[f"{name}.bias"].shape[0])

    image = ops.parameter([-1, -1, -1, 3], np.float32, name="image")
    x = convolution(ops.transpose(image, [0, 3, 1, 2]), "input")
    width = channels("input")
    if spec.hyper["input_relu"]:
        x = ops.relu(x)
    for block in range(int(spec.hyper["blocks"])):
        y = ops.relu(convolution(ops.relu(convolution(x, f"blocks.{block}.first")), f"blocks.{block}.second"))
        wider = channels(f"blocks.{block}.second")
        if wider > width:
            x = ops.pad(x, [0, 0, 0, 0], [0, wider - width, 0, 0], "constant", np.float32(0))
        x, width = ops.add(x, y), wider
    if folded is None:
        fine = ops.depth_to_space(convolution(x, "expand"), "depth_first", int(spec.hyper["up"]))
        output = convolution(fine, "output", int(spec.hyper["down"]))
        return openvino.Model([ops.transpose(output, [0, 2, 3, 1])], [image], "superres")
    # Zeros enough below and right for a last block that lies partly beyond the image; what is too much is cut off.
    before, beyond = folded.padding, folded.weight.shape[2] - 1 - folded.padding
    summed = ops.convolution(x, ops.constant(folded.weight.numpy()), [folded.stride] * 2, [before] * 2, [beyond] * 2,
                             [1, 1])
    packed = ops.add(summed, ops.constant(folded.bias.numpy().reshape(1, -1, 1, 1)))
    output = ops.transpose(ops.depth_to_space(packed, "depth_first", folded.shuffle), [0, 2, 3, 1])
    wide = STRIP_PX + folded.stride - 1
    edges = [ops.slice(x, [start], [stop], [1], [axis])
             for axis in (2, 3) for start, stop in ((0, STRIP_PX), (-wide, np.iinfo(np.int64).max))]
    return openvino.Model([output, *edges], [image], "superres")
